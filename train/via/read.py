"""Reads what VGG Image Annotator (VIA) exports, in any of its three generations.

`train.via.formats` turns a file into rows, `train.via.shapes` a row's shape into an outline; here each row becomes a
region of its photo. Coordinates are pixels of the photo as the browser shows it, which is upright.
"""

from __future__ import annotations

import reprlib
from functools import partial
from pathlib import Path
from typing import Any

from seg_edge.errors import DataError
from train.annotations.region import BrokenRowError, Collector, Region, is_name
from train.via.formats import Row, read_rows
from train.via.shapes import outline


def read_via(path: Path, attribute: str | None = None, label: str = "") -> dict[str, tuple[Region, ...]]:
    """Reads a VIA 1 or 2 CSV or JSON, a VIA 2 project, or a VIA 3 CSV.

    Args:
        path: The exported file, UTF-8 with or without a byte order mark.
        attribute: The region attribute that holds the class; required if there are several.
        label: The class of regions that name none.

    Returns:
        Photo file name -> its regions in drawing order, photos in the file's order. A photo without
        regions is a background photo: (). (VIA 3's CSV leaves out photos without annotations.)

    Raises:
        DataError: It is another kind of file, has no region attribute or several, or has broken rows, all listed.
    """
    rows = read_rows(path)
    attribute = _class_attribute(path, [row for _, row in rows if isinstance(row, Row)], attribute, label)
    found = Collector(path)
    sizes: dict[str, str] = {}

    def region_of(row: Row, where: str) -> Region | None:
        if sizes.setdefault(row.photo, row.size) != row.size:
            raise BrokenRowError(f"{row.photo!r} is two photos, of {sizes[row.photo]} and {row.size} bytes; rename one")
        if row.shape is None:
            return None
        name, points_xy = _label(row.attributes, attribute, label), outline(row.shape)
        return Region(name, points_xy, where, row.shape["name"] in ("circle", "ellipse"))

    for where, row in rows:
        if isinstance(row, BrokenRowError):
            found.refuse(where, row)
        else:
            found.add(row.photo, where, partial(region_of, row, where))
    return found.result()


def _class_attribute(path: Path, rows: list[Row], attribute: str | None, label: str) -> str:
    names = dict.fromkeys(name for row in rows if row.shape is not None for name in row.attributes)
    listed = ", ".join(map(repr, names))
    if all(row.shape is None for row in rows):
        return attribute or ""
    if not names and label:
        return ""
    if not names:
        raise DataError(
            f"No region of {path} has an attribute; give each its class in VIA, or one to all with --label NAME."
        )
    if attribute is None and len(names) > 1:
        raise DataError(f"{path} has several region attributes: {listed}. Choose the class's with --attribute.")
    if attribute is not None and attribute not in names:
        raise DataError(f"{path} has no region attribute {attribute!r}; it has: {listed}.")
    return attribute or next(iter(names))


def _label(attributes: dict[str, Any], name: str, default: str) -> str:
    value = attributes.get(name)
    if isinstance(value, dict):  # a checkbox
        ticked = [option for option, is_ticked in value.items() if is_ticked is True]
        if len(ticked) > 1:
            raise BrokenRowError(f"{name!r} has {len(ticked)} boxes ticked; a region has one class")
        value = ticked[0] if ticked else ""
    if value in (None, "") and default:
        return default
    if value is None or value == "":
        raise BrokenRowError(f"the region has no {name!r}, so no class")
    if not is_name(value):
        raise BrokenRowError(f"{name!r} is {reprlib.repr(value)}, which is not the name of a class")
    return value.strip()
