"""CVAT's own XML, "CVAT for images 1.1" (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import partial
from typing import Any

import numpy as np

from seg_edge.errors import DataError
from train.annotations.region import BrokenRowError, Collector, Region, box_of, class_name, number, outline_of
from train.annotations.rle import bitmap_of
from train.via.shapes import ellipse_outline

_SHAPES = ("polygon", "box", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton")


def read_cvat(root: ElementTree.Element, found: Collector, name: str) -> None:
    """Adds a document's regions to `found`; `name` is the file's, for messages.

    Raises:
        DataError: It annotates a video.
    """
    if root.find("track") is not None:
        raise DataError(f"{name} is CVAT's export of a video; export the task as 'CVAT for images 1.1'.")
    for image in root.iter("image"):
        photo = image.get("name")
        found.add(photo, name, lambda: None)
        shapes = [shape for shape in image if shape.tag in _SHAPES]
        for index, shape in enumerate(sorted(shapes, key=_z_order), 1):  # a stable sort: by z, then as in the file
            where = f"{name}: photo {photo!r}, shape {index}"
            found.add(photo, where, partial(_region, shape, where, image))


def _z_order(shape: ElementTree.Element) -> float:
    try:
        return float(shape.get("z_order") or 0)
    except ValueError:
        return 0.0


def _region(shape: ElementTree.Element, where: str, image: ElementTree.Element) -> Region:
    label = class_name(shape.get("label"))
    frame: Any = (
        tuple(int(number(image.get(side), side)) for side in ("width", "height")) if image.get("width") else None
    )
    if shape.tag == "polygon":
        pairs = [point.split(",") for point in (shape.get("points") or "").split(";")]
        return Region(label, outline_of(pairs), where, frame_wh=frame)
    if shape.tag == "box":
        return Region(label, box_of(*_numbers(shape, "xtl", "ytl", "xbr", "ybr")), where, frame_wh=frame)
    if shape.tag == "ellipse":
        cx, cy, rx, ry = _numbers(shape, "cx", "cy", "rx", "ry")
        return Region(label, ellipse_outline(cx, cy, rx, ry, 0.0), where, True, frame)
    if shape.tag == "mask":
        left, top, width, height = (int(value) for value in _numbers(shape, "left", "top", "width", "height"))
        runs = np.array([int(number(run, "rle")) for run in (shape.get("rle") or "").split(",")])
        bitmap_of(runs, (height, width), by_column=False)  # raises errors now instead of when it is drawn
        corners = box_of(left, top, left + width - 1, top + height - 1)
        return Region(
            label, corners, where, frame_wh=frame, bitmap=lambda: bitmap_of(runs, (height, width), by_column=False)
        )
    raise BrokenRowError(f"a {shape.tag} is not an area; draw the outline as a polygon")


def _numbers(shape: ElementTree.Element, *names: str) -> list[float]:
    return [number(shape.get(name), name) for name in names]
