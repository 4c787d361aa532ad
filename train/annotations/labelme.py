"""LabelMe's JSON, one file per photo: `shapes`, `imagePath` (labelme/_label_file.py of LabelMe 4 to 6)."""

from __future__ import annotations

import base64
import binascii
import math
from functools import partial
from typing import Any

import cv2
import numpy as np

from train.annotations.region import BrokenRowError, Collector, Region, bitmap_region, box_of, class_name, outline_of
from train.via.shapes import ellipse_outline

_OUTLINES = ("polygon", "oriented_rectangle", "rotation", "linestrip")  # `rotation` is X-AnyLabeling's


def is_labelme(data: Any) -> bool:
    """Whether this is LabelMe's JSON."""
    return isinstance(data, dict) and isinstance(data.get("shapes"), list) and "imagePath" in data


def read_labelme(data: dict[str, Any], found: Collector, name: str) -> None:
    """Adds a document's regions to `found`; `name` is the file's, for messages."""
    width, height = data.get("imageWidth"), data.get("imageHeight")
    frame_wh = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    found.add(data["imagePath"], name, lambda: None)
    for index, shape in enumerate(data["shapes"], 1):
        where = f"{name}: shape {index}"
        found.add(data["imagePath"], where, partial(_region, shape, where, frame_wh))


def _region(shape: Any, where: str, frame_wh: tuple[int, int] | None) -> Region:
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise BrokenRowError("it has no points")
    label, kind, points = class_name(shape.get("label")), shape.get("shape_type") or "polygon", shape["points"]
    if kind in _OUTLINES or (kind == "rectangle" and len(points) == 4):
        return Region(label, outline_of(points), where, frame_wh=frame_wh)
    if kind in ("rectangle", "mask", "circle") and len(points) != 2:
        raise BrokenRowError(f"a {kind} has 2 points, got {len(points)}")
    if kind == "rectangle":
        return Region(label, box_of(*points[0], *points[1]), where, frame_wh=frame_wh)
    if kind == "circle":  # its centre and a point on it
        (x, y), (x1, y1) = points
        radius = math.hypot(x1 - x, y1 - y)
        return Region(label, ellipse_outline(x, y, radius, radius, 0.0), where, True, frame_wh)
    if kind == "mask":
        return bitmap_region(label, _bitmap(shape.get("mask")), points[0], where, frame_wh)
    raise BrokenRowError(f"a {kind} is not an area; draw the outline as a polygon")


def _bitmap(text: Any) -> np.ndarray:
    """The PNG that a mask holds in base64."""
    try:
        content = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BrokenRowError("its mask is not an image in base64") from error
    image = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if image is None:
        raise BrokenRowError("its mask is not an image in base64")
    return (image > 0).astype(np.uint8)
