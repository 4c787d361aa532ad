"""COCO's JSON: `images`, `annotations` and `categories` (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from train.annotations.region import BrokenRowError, Collector, Region, box_of, class_name, number, outline_of
from train.annotations.rle import bitmap_of, uncompressed


def is_coco(data: Any) -> bool:
    """Whether this is COCO's JSON."""
    return isinstance(data, dict) and all(isinstance(data.get(key), list) for key in ("images", "annotations"))


def read_coco(data: dict[str, Any], found: Collector, name: str) -> None:
    """Adds a document's regions to `found`; `name` is the file's, for messages."""
    categories = {item.get("id"): item.get("name") for item in data.get("categories") or [] if isinstance(item, dict)}
    images = {}
    for index, image in enumerate(data["images"], 1):
        where = f"{name}: image {index}"
        photo = image.get("file_name") if isinstance(image, dict) else None
        found.add(photo, where, lambda: None)
        if isinstance(image, dict):
            images[image.get("id")] = image
    for index, annotation in enumerate(data["annotations"], 1):
        where = f"{name}: annotation {index}"
        image = images.get(annotation.get("image_id")) if isinstance(annotation, dict) else None
        if image is None:
            found.refuse(where, "no image has its image_id")
            continue
        for part in _parts(annotation.get("segmentation")):
            make = partial(_region, annotation, image, part, categories, where)
            found.add(image.get("file_name"), where, make)


def _parts(segmentation: Any) -> list[Any]:
    """A region of several outlines is their union."""
    if isinstance(segmentation, list) and segmentation and isinstance(segmentation[0], list):
        return segmentation
    return [segmentation]


def _region(annotation: Any, image: Any, part: Any, categories: dict[Any, Any], where: str) -> Region:
    category = annotation.get("category_id")
    if category not in categories:
        raise BrokenRowError(f"no category has the id {category!r}")
    label = class_name(categories[category])
    frame_wh = _size_of(image)
    if isinstance(part, dict):
        return _from_runs(part, label, where, frame_wh)
    if not isinstance(part, list) or not part:
        raise BrokenRowError("it has a box but no segmentation; draw its outline")
    if len(part) % 2:
        raise BrokenRowError(f"an outline needs pairs of x and y, got {len(part)} numbers")
    return Region(label, outline_of(zip(part[0::2], part[1::2], strict=True)), where, frame_wh=frame_wh)


def _from_runs(part: dict[str, Any], label: str, where: str, frame_wh: tuple[int, int] | None) -> Region:
    counts, size = part.get("counts"), part.get("size")
    if not isinstance(size, list) or len(size) != 2:
        raise BrokenRowError("its run-length encoding has no size [height, width]")
    shape_hw = int(number(size[0], "height")), int(number(size[1], "width"))
    runs = uncompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) for run in runs):
        raise BrokenRowError("its counts aren't run lengths")
    bitmap_of(runs, shape_hw, by_column=True)  # raises errors now instead of when it is drawn
    corners = box_of(0, 0, shape_hw[1] - 1, shape_hw[0] - 1)
    lengths = np.asarray(runs)
    return Region(
        label,
        corners,
        where,
        frame_wh=frame_wh or (shape_hw[1], shape_hw[0]),
        bitmap=lambda: bitmap_of(lengths, shape_hw, by_column=True),
    )


def _size_of(image: Any) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) and width and height else None
