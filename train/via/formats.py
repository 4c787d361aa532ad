"""The files that VGG Image Annotator (VIA) exports, as uniform rows.

The layouts of its three generations follow VIA's own exporters: `pack_via_metadata` of via-1 and via-2 (CSV, JSON,
project) and `export_to_csv` of via-3.
"""

from __future__ import annotations

import csv
import io
import json
import re
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seg_edge.errors import DataError
from train.annotations.region import BrokenRowError
from train.annotations.text import ACCEPTED, read_text
from train.via.shapes import shape_of_via3

_VIA2_COLUMNS = 7  # filename, size, file attributes, region count, region id, shape, attributes
# A spreadsheet may have saved it with semicolons or tabs.
_HEADER = re.compile(r'\s*#?"?filename"?([,;\t]).*')
_VIA3_CHOICES = (2, 3, 4)  # attribute types whose values are option ids: checkbox, radio, select


class Row(NamedTuple):
    """A row of any format; `shape` is None where it only lists a photo."""

    photo: str
    size: str
    shape: dict[str, Any] | None
    attributes: dict[str, Any]


def read_rows(path: Path) -> list[tuple[str, Row | BrokenRowError]]:
    """Reads the file; returns where each row is, and the row or why it can't be used.

    Raises:
        DataError: It is not an export of VIA, or not one with regions.
    """
    try:
        return list(_rows(path, read_text(path)))
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply to come from VIA.") from error


def is_via(text: str) -> bool:
    """Whether a file's text is an export of VIA."""
    if text.lstrip().startswith("{"):
        return '"regions"' in text or "_via_" in text or '"shape_attributes"' in text
    return bool(_HEADER.match(text) or re.search(r"^# CSV_HEADER = ", text, re.MULTILINE))


def _rows(path: Path, text: str) -> Iterator[tuple[str, Row | BrokenRowError]]:
    """Detects the format by content, never by the file's name."""
    if text.lstrip().startswith("{"):
        for where, entry, region in _json_records(path, text):
            yield where, _parsed(_json_row, entry, region)
    elif header := _HEADER.match(text):
        for where, cells in _csv_records(path, text, header.end(), header[1]):
            yield where, _parsed(_csv_row, cells)
    elif header := re.search(r"^# CSV_HEADER = (.*)", text, re.MULTILINE):
        columns = [column.strip() for column in header[1].split(",")]
        if not {"file_list", "spatial_coordinates", "metadata"} <= set(columns):
            raise DataError(f"{path} holds no regions; in VIA 3 export the CSV of all annotations.")
        attributes = _via3_attributes(text)
        for where, cells in _csv_records(path, text, header.end()):
            yield where, _parsed(_via3_row, cells, columns, attributes)
    else:
        raise DataError(f"{path} is not in a known annotation format; it begins with {text[:40]!r}. Give {ACCEPTED}.")


def _parsed(parse: Callable[..., Row], *record: Any) -> Row | BrokenRowError:
    try:
        return parse(*record)
    except BrokenRowError as error:
        return error


def _csv_records(path: Path, text: str, header_end: int, separator: str = ",") -> Iterator[tuple[str, list[str]]]:
    """The rows below the header; `where` is the line a row starts on, quoted line breaks or not."""
    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB is too small for a finely drawn polygon
    header_lines = text.count("\n", 0, header_end) + 1
    reader = csv.reader(io.StringIO(text[header_end + 1 :]), delimiter=separator)
    line = header_lines + 1
    for cells in reader:
        if any(cells):
            yield f"{path.name}:{line}", cells
        line = header_lines + reader.line_num + 1


def _csv_row(cells: list[str]) -> Row:
    if len(cells) != _VIA2_COLUMNS:
        raise BrokenRowError(f"{len(cells)} columns where VIA writes {_VIA2_COLUMNS} (a comma in the photo's name?)")
    photo, size, _, count, _, shape, attributes = cells
    return _row(photo, size, None if count.strip() == "0" else shape, attributes)


def _json_records(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(where, photo's entry, region); the region is None for a photo without any."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    if "metadata" in data and "view" in data:
        raise DataError(f"{path} is a VIA 3 project; export it from VIA 3 as CSV.")
    photos = data.get("_via_img_metadata", data)
    if not isinstance(photos, dict) or any(
        not isinstance(entry, dict) or "filename" not in entry for entry in photos.values()
    ):
        raise DataError(f"{path} is JSON, but not in a known annotation format; give {ACCEPTED}.")
    for entry in photos.values():
        photo = f"{path.name}: photo {entry['filename']!r}"
        regions = entry.get("regions") or []
        if isinstance(regions, dict):  # VIA 1: {"0": region, "1": region}; VIA 2: a list
            regions = list(regions.values())
        if not regions:
            yield photo, entry, None
        for number, region in enumerate(regions if isinstance(regions, list) else [regions], 1):
            yield f"{photo}, region {number}", entry, region


def _json_row(entry: dict[str, Any], region: Any) -> Row:
    size = str(entry.get("size", ""))
    if region is None:
        return _row(entry["filename"], size, None, {})
    region = _object(region, "the region")
    shape, attributes = region.get("shape_attributes", ""), region.get("region_attributes", {})
    return _row(entry["filename"], size, shape, attributes)


def _via3_attributes(text: str) -> dict[str, Any]:
    """Attribute id -> its name (first versions) or {aname, anchor_id, type, options}."""
    line = re.search(r"^# ATTRIBUTES? = (.*)", text, re.MULTILINE)
    try:
        return _object(line[1], "attributes") if line else {}
    except BrokenRowError:
        return {}


def _via3_row(cells: list[str], columns: list[str], attributes: dict[str, Any]) -> Row:
    if len(cells) < len(columns):
        raise BrokenRowError(f"{len(cells)} columns where the header has {len(columns)}")
    row = dict(zip(columns, cells, strict=False))
    files, xy = _from_json(row["file_list"]), _from_json(row["spatial_coordinates"])
    if not isinstance(files, list) or len(files) != 1:
        raise BrokenRowError("file_list is not a list of one photo")
    if xy == []:  # the row describes the photo, not an area in it
        return _row(files[0], "", None, {})
    values = _object(row["metadata"], "metadata")
    named = [_via3_value(attributes.get(key, key), value) for key, value in values.items()]
    return _row(files[0], "", shape_of_via3(xy), dict(pair for pair in named if pair))


def _via3_value(attribute: Any, value: Any) -> tuple[str, Any] | None:
    """(name, value) in VIA 2's form; None for an attribute that isn't a region's."""
    if not isinstance(attribute, dict):
        return str(attribute), value
    if not str(attribute.get("anchor_id", "XY1")).endswith("XY1"):
        return None
    options = attribute.get("options")
    if attribute.get("type") in _VIA3_CHOICES and isinstance(options, dict) and options:
        chosen = [option for option in str(value).split(",") if option]
        value = {str(options.get(option, option)): True for option in chosen}
    return str(attribute.get("aname")), value


def _row(photo: Any, size: str, shape: Any, attributes: Any) -> Row:
    shape = None if shape is None else _object(shape, "the region's shape")
    return Row(photo, size, shape, _object(attributes, "the region's attributes"))


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BrokenRowError(f"{text[:40]!r} is not valid JSON") from error


def _object(value: Any, what: str) -> dict[str, Any]:
    """A JSON object, or the text of one as in a CSV."""
    value = _from_json(value) if isinstance(value, str) else value
    if not isinstance(value, dict):
        raise BrokenRowError(f"{what}: a JSON object was expected, got {reprlib.repr(value)}")
    return value
