"""Reads the annotations that VGG Image Annotator (VIA) exports, of any of its three generations.

In three steps: `train.via.formats` turns a file into rows, `train.via.shapes` a row's shape into an
outline, and here each row becomes a region of its photo. All give x and y in pixels of the photo as
the browser shows it, which is upright.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.errors import DataError
from train.via.formats import Row, is_name, read_rows
from train.via.shapes import BrokenRowError, outline


@dataclass(frozen=True)
class Region:
    """One annotated area of one photo.

    Attributes:
        label: The class's name.
        points_xy: float64 (n, 2), n >= 3, closed implicitly, in pixels of the photo.
        where: 'via.csv:12' or "via.json: photo 'a.jpg', region 3"; for messages.
        is_round: It was drawn as a circle or an ellipse, which VIA lets reach beyond the photo.
    """

    label: str
    points_xy: np.ndarray
    where: str
    is_round: bool = False


def read_via(path: Path, attribute: str | None = None) -> dict[str, tuple[Region, ...]]:
    """Reads a VIA 1 or 2 CSV or JSON, a VIA 2 project, or a VIA 3 CSV.

    Args:
        path: The exported file, UTF-8 with or without a byte order mark.
        attribute: The region attribute that holds the class; needed where there are several.

    Returns:
        Photo file name -> its regions in drawing order, photos in the file's order. A photo without
        regions is a background photo: (). (VIA 3's CSV leaves out photos without annotations.)

    Raises:
        DataError: Not such a file; no attribute, or several; rows that can't be used, all named.
    """
    rows = read_rows(path)
    attribute = _class_attribute(path, [row for _, row in rows if isinstance(row, Row)], attribute)
    regions: dict[str, list[Region]] = {}
    sizes: dict[str, str] = {}
    broken = []
    for where, row in rows:
        try:
            if isinstance(row, BrokenRowError):
                raise row
            if sizes.setdefault(row.photo, row.size) != row.size:
                raise BrokenRowError(
                    f"{row.photo!r} is two photos, of {sizes[row.photo]} and {row.size} bytes; "
                    "give one of them another name"
                )
            of_photo = regions.setdefault(row.photo, [])
            if row.shape is not None:
                label, points_xy = _label(row.attributes, attribute), outline(row.shape)
                of_photo.append(Region(label, points_xy, where, row.shape["name"] in ("circle", "ellipse")))
        except BrokenRowError as error:
            broken.append(f"{where}: {error}")
    if broken:
        raise DataError(f"{len(broken)} of {len(rows)} rows of {path} can't be used:\n{at_most(broken)}")
    if not regions:
        raise DataError(f"{path} holds no photos; export it from VIA again.")
    return {photo: tuple(of_photo) for photo, of_photo in regions.items()}


def at_most(lines: Iterable[str], limit: int = 20) -> str:
    """The first `limit` lines, indented, one below the other, and how many more there are."""
    lines = list(lines)
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(f"  {line}" for line in lines[:limit] + more)


def _class_attribute(path: Path, rows: list[Row], wanted: str | None) -> str:
    names = dict.fromkeys(name for row in rows if row.shape is not None for name in row.attributes)
    listed = ", ".join(map(repr, names))
    if all(row.shape is None for row in rows):
        return wanted or ""
    if not names:
        raise DataError(f"No region of {path} has an attribute; give each its class in VIA.")
    if wanted is None and len(names) > 1:
        raise DataError(f"{path} has several region attributes: {listed}. Name the class's with --attribute.")
    if wanted is not None and wanted not in names:
        raise DataError(f"{path} has no region attribute {wanted!r}; it has: {listed}.")
    return wanted or next(iter(names))


def _label(attributes: dict[str, Any], name: str) -> str:
    value = attributes.get(name)
    if isinstance(value, dict):  # a checkbox
        ticked = [option for option, is_ticked in value.items() if is_ticked is True]
        if len(ticked) > 1:
            raise BrokenRowError(f"{name!r} has {len(ticked)} boxes ticked; a region has one class")
        value = ticked[0] if ticked else ""
    if value is None or value == "":
        raise BrokenRowError(f"the region has no {name!r}, so no class")
    if not is_name(value):
        raise BrokenRowError(f"{name!r} is {reprlib.repr(value)}, which is not the name of a class")
    return value.strip()
