"""Label Studio's JSON: tasks with `annotations` of `result`s (https://labelstud.io/guide/task_format)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
from train.annotations.rle import bitmap_of_rle_pack

_SHAPES = ("polygon", "rectangle", "brush", "ellipse", "keypoint", "vector", "bitmask")
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # Label Studio's prefix of an uploaded photo's name


def is_label_studio(data: Any) -> bool:
    """Whether this is Label Studio's JSON."""
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in data)
        and any("annotations" in task for task in data)
    )


def read_label_studio(tasks: list[Any], photos: Mapping[str, Path], found: Collector, name: str) -> None:
    """Adds a document's regions to `found`.

    Args:
        tasks: The document.
        photos: The photos by their stem in lower case.
        found: Receives the regions.
        name: The file's, for messages.
    """
    for index, task in enumerate(tasks, 1):
        where = f"{name}: task {task.get('id', index)}"
        annotations = [
            entry
            for entry in task.get("annotations") or []
            if isinstance(entry, dict) and not entry.get("was_cancelled")
        ]
        if not annotations:
            continue  # not annotated yet, or skipped
        photo = _photo(task["data"], photos)
        found.add(photo, where, lambda: None)
        results = max(annotations, key=lambda entry: str(entry.get("created_at"))).get("result") or []
        labelled = {
            item.get("id") for item in results if isinstance(item, dict) and str(item.get("type")).endswith("labels")
        }
        for region_number, result in enumerate(results, 1):
            region_at = f"{where}, region {region_number}"
            found.add(photo, region_at, partial(_region, result, region_at, labelled))


def _photo(data: dict[str, Any], photos: Mapping[str, Path]) -> Any:
    """The name of the task's photo, under a key that the user chose."""
    address = data.get("image") or next((value for value in data.values() if isinstance(value, str)), None)
    if not isinstance(address, str):
        return address
    parts = urlsplit(address)
    path = parse_qs(parts.query).get("d", [parts.path if parts.query else address])[0]  # ?d= of local files it serves
    plain = Path(path).name
    return _UPLOAD.sub("", plain) if Path(plain).stem.casefold() not in photos else plain


def _region(result: Any, where: str, labelled: set[Any]) -> Region | None:
    """The region; None if the result isn't a shape but, for example, a choice or a text."""
    value, kind = (result.get("value"), str(result.get("type"))) if isinstance(result, dict) else (None, "")
    shape = kind.removesuffix("labels")
    if not isinstance(value, dict) or shape not in (*_SHAPES, ""):
        return None
    if kind in _SHAPES and result.get("id") in labelled:
        return None  # with a separate <Labels> the shape occurs a second time, with its class
    label = class_name((value.get(kind) or [None])[0])
    width, height = (number(result.get(f"original_{side}"), f"original_{side}") for side in ("width", "height"))
    frame_wh = int(width), int(height)
    if result.get("image_rotation") or value.get("rotation"):
        raise BrokenRowError("it is rotated; draw the outline as a polygon, on the upright photo")
    to_pixels = np.array(frame_wh) / 100
    if "points" in value and shape in ("polygon", ""):
        return Region(label, outline_of(outline_of(value["points"]) * to_pixels), where, frame_wh=frame_wh)
    if "rle" in value:
        return bitmap_region(label, bitmap_of_rle_pack(value["rle"], frame_wh[::-1]), (0, 0), where, frame_wh)
    if "radiusX" not in value and "width" in value and "height" in value:
        left, top, *size = (number(value.get(key), key) for key in ("x", "y", "width", "height"))
        corners = np.array([left, top, left + size[0], top + size[1]]).reshape(2, 2) * to_pixels
        return Region(label, box_of(*corners.ravel()), where, frame_wh=frame_wh)
    raise BrokenRowError(f"a {shape or 'shape'} is not an area; draw the outline as a polygon")
