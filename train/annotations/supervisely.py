"""Supervisely's JSON, one file per photo, `cat.jpg.json`: `size`, `objects`.

https://developer.supervisely.com/getting-started/supervisely-annotation-format/images
"""

from __future__ import annotations

import base64
import binascii
import zlib
from functools import partial
from typing import Any

import cv2
import numpy as np

from train.annotations.region import (
    BrokenRowError,
    Collector,
    Region,
    bitmap_region,
    box_of,
    class_name,
    number,
    outline_of,
)


def is_supervisely(data: Any) -> bool:
    """Whether this is Supervisely's JSON of one photo."""
    return isinstance(data, dict) and isinstance(data.get("objects"), list) and isinstance(data.get("size"), dict)


def read_supervisely(data: dict[str, Any], found: Collector, name: str) -> None:
    """Adds a document's regions to `found`; `name` is the file's: the photo's plus `.json`."""
    photo = name.removesuffix(".json")
    found.add(photo, name, lambda: None)
    for index, item in enumerate(data["objects"], 1):
        where = f"{name}: object {index}"
        found.add(photo, where, partial(_region, item, data["size"], where))


def _region(item: Any, size: dict[str, Any], where: str) -> Region:
    if not isinstance(item, dict):
        raise BrokenRowError("it is not an object")
    label, kind = class_name(item.get("classTitle")), item.get("geometryType")
    frame_wh = int(number(size.get("width"), "width")), int(number(size.get("height"), "height"))
    if kind == "bitmap":
        return bitmap_region(label, *_bitmap(item.get("bitmap")), where, frame_wh)
    points = item.get("points")
    exterior, interior = (points.get("exterior"), points.get("interior")) if isinstance(points, dict) else (None, None)
    if kind == "rectangle" and isinstance(exterior, list) and len(exterior) == 2:
        return Region(label, box_of(*exterior[0], *exterior[1]), where, frame_wh=frame_wh)
    if kind != "polygon":
        raise BrokenRowError(f"a {kind} is not an area; draw the outline as a polygon")
    outline = outline_of(exterior or ())
    if not interior:
        return Region(label, outline, where, frame_wh=frame_wh)
    left, top = np.floor(outline.min(axis=0)).astype(int)
    filled = np.zeros((np.ceil(outline.max(axis=0)).astype(int) - (left, top) + 1)[::-1], np.uint8)
    for value, ring in ((1, outline), *((0, outline_of(hole)) for hole in interior)):
        cv2.fillPoly(filled, [np.rint(ring - (left, top)).astype(np.int32)], value)
    return bitmap_region(label, filled, (left, top), where, frame_wh)


def _bitmap(bitmap: Any) -> tuple[np.ndarray, tuple[int, int]]:
    """uint8 (h, w) of 0 and 1, and its upper left pixel (x, y), from a PNG in base64, usually compressed again."""
    try:
        packed = base64.b64decode(bitmap["data"])
        content = np.frombuffer(packed if packed.startswith(b"\x89PNG") else zlib.decompress(packed), np.uint8)
        x, y = bitmap["origin"]
    except (TypeError, KeyError, ValueError, binascii.Error, zlib.error) as error:
        raise BrokenRowError("its bitmap can't be read") from error
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if image is None:
        raise BrokenRowError("its bitmap is not an image")
    inside = image[..., 3] if image.ndim == 3 and image.shape[2] == 4 else image.reshape(*image.shape[:2], -1).max(-1)
    return (inside > 0).astype(np.uint8), (int(number(x, "origin")), int(number(y, "origin")))
