"""Reads the annotations that VGG Image Annotator (VIA) exports, of any of its three generations.

The layouts are those of VIA's own exporters: `pack_via_metadata` of via-1 and via-2 (CSV, JSON,
project), `export_to_csv` and `_metadata_pts_to_xy` of via-3. All give x and y in pixels of the
photo as the browser shows it, which is upright.
"""

import csv
import io
import json
import math
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from seg_edge.errors import DataError

_VIA2_COLUMNS = 7  # filename, size, file attributes, region count, region id, shape, attributes
_VIA3_SHAPES = ("", "point", "rect", "circle", "ellipse", "line", "polyline", "polygon")
_VIA3_EXTREME_RECTANGLE, _VIA3_EXTREME_CIRCLE = 8, 9
_VIA3_CHOICES = (2, 3, 4)  # attribute types whose values are option ids: checkbox, radio, select
_VIA3_KEYS = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}
_LARGEST_COORDINATE = 1e6  # pixels; no photo is larger, and it keeps NaN, inf and 10**400 out
_ARC_ERROR = 0.1  # pixels between a circle and the polygon that stands for it


@dataclass(frozen=True)
class Region:
    """One annotated area of one photo.

    Attributes:
        label: the class's name.
        points_xy: float64 (n, 2), n >= 3, closed implicitly, in pixels of the photo.
        where: 'via.csv:12' or "via.json: photo 'a.jpg', region 3"; for messages.
    """

    label: str
    points_xy: np.ndarray
    where: str


class _Row(NamedTuple):
    """What every format comes down to; no `shape` where a row only says that the photo exists."""

    photo: str
    size: str
    shape: dict[str, Any] | None
    attributes: dict[str, Any]


class _BrokenRowError(Exception):
    """A row that can't be used; its text is why."""


def read_via(path: Path, attribute: str | None = None) -> dict[str, tuple[Region, ...]]:
    """Reads a VIA 1 or 2 CSV or JSON, a VIA 2 project, or a VIA 3 CSV.

    Args:
        path: the exported file, UTF-8 with or without a byte order mark.
        attribute: the region attribute that holds the class; needed where there are several.

    Returns:
        Photo file name -> its regions in drawing order, photos in the file's order. A photo without
        regions is a background photo: (). (VIA 3's CSV leaves out photos without annotations.)

    Raises:
        DataError: not such a file; no attribute, or several; rows that can't be used, all named.
    """
    parse, records = _open(path)
    try:
        rows = [(where, _parsed(parse, record)) for where, record in records]
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply to come from VIA.") from error
    attribute = _class_attribute(path, [row for _, row in rows if isinstance(row, _Row)], attribute)
    regions: dict[str, list[Region]] = {}
    sizes: dict[str, str] = {}
    broken = []
    for where, row in rows:
        try:
            if isinstance(row, _BrokenRowError):
                raise row
            if sizes.setdefault(row.photo, row.size) != row.size:
                raise _BrokenRowError(
                    f"{row.photo!r} is two photos, of {sizes[row.photo]} and {row.size} bytes; "
                    "give one of them another name"
                )
            of_photo = regions.setdefault(row.photo, [])
            if row.shape is not None:
                of_photo.append(
                    Region(_label(row.attributes, attribute), _points(row.shape), where)
                )
        except _BrokenRowError as error:
            broken.append(f"{where}: {error}")
    if broken:
        raise DataError(
            f"{len(broken)} of {len(rows)} rows of {path} can't be used:\n{at_most(broken)}"
        )
    if not regions:
        raise DataError(f"{path} holds no photos; export it from VIA again.")
    return {photo: tuple(of_photo) for photo, of_photo in regions.items()}


def at_most(lines: Iterable[str], limit: int = 20) -> str:
    """The first `limit` lines, indented, one below the other, and how many more there are."""
    lines = list(lines)
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(f"  {line}" for line in lines[:limit] + more)


# Formats: each gives (where, record) pairs, and a function that makes a _Row of a record.


def _open(path: Path) -> tuple[Callable[[Any], _Row], Iterator[tuple[str, Any]]]:
    """Tells the format from the content, never from the file's name."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; give VIA's CSV or JSON.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"Can't read {path}: {error}.") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.lstrip().startswith("{"):
        return _json_row, _json_records(path, text)
    if header := re.match(r"\s*#?filename,.*", text):
        return _csv_row, _csv_records(path, text, header.end())
    if header := re.search(r"^# CSV_HEADER = (.*)", text, re.MULTILINE):
        columns = [column.strip() for column in header[1].split(",")]
        if not {"file_list", "spatial_coordinates", "metadata"} <= set(columns):
            raise DataError(f"{path} holds no regions; in VIA 3 export the CSV of all annotations.")
        parse = partial(_via3_row, columns=columns, attributes=_via3_attributes(text))
        return parse, _csv_records(path, text, header.end())
    raise DataError(
        f"{path} is not an export of VGG Image Annotator; it begins with {text[:40]!r}. In VIA "
        "choose Annotation > Export as csv or json, and don't save that again from a spreadsheet."
    )


def _csv_records(path: Path, text: str, header_end: int) -> Iterator[tuple[str, list[str]]]:
    """The rows below the header; `where` is the line a row starts on, quoted line breaks or not."""
    csv.field_size_limit(2**31 - 1)  # the default of 128 KiB is less than a finely drawn polygon
    header_lines = text.count("\n", 0, header_end) + 1
    reader = csv.reader(io.StringIO(text[header_end + 1 :]))
    line = header_lines + 1
    for cells in reader:
        if any(cells):
            yield f"{path.name}:{line}", cells
        line = header_lines + reader.line_num + 1


def _csv_row(cells: list[str]) -> _Row:
    if len(cells) != _VIA2_COLUMNS:
        raise _BrokenRowError(
            f"{len(cells)} columns where VIA writes {_VIA2_COLUMNS} (a comma in the photo's name?)"
        )
    photo, size, _, count, _, shape, attributes = cells
    return _row(photo, size, None if count.strip() == "0" else shape, attributes)


def _json_records(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """(photo's entry, region) pairs; the region is None for a photo that has none."""
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
        raise DataError(f"{path} is JSON, but not an export of VGG Image Annotator.")
    for entry in photos.values():
        photo = f"{path.name}: photo {entry['filename']!r}"
        regions = entry.get("regions") or []
        if isinstance(regions, dict):  # VIA 1: {"0": region, "1": region}; VIA 2: a list
            regions = list(regions.values())
        if not regions:
            yield photo, (entry, None)
        for number, region in enumerate(regions if isinstance(regions, list) else [regions], 1):
            yield f"{photo}, region {number}", (entry, region)


def _json_row(record: tuple[dict[str, Any], Any]) -> _Row:
    entry, region = record
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
    except _BrokenRowError:
        return {}


def _via3_row(cells: list[str], columns: list[str], attributes: dict[str, Any]) -> _Row:
    if len(cells) < len(columns):
        raise _BrokenRowError(f"{len(cells)} columns where the header has {len(columns)}")
    row = dict(zip(columns, cells, strict=False))
    files, xy = _from_json(row["file_list"]), _from_json(row["spatial_coordinates"])
    if not isinstance(files, list) or len(files) != 1:
        raise _BrokenRowError("file_list is not a list of one photo")
    if xy == []:  # the row describes the photo, not an area in it
        return _row(files[0], "", None, {})
    values = _object(row["metadata"], "metadata")
    named = [_via3_value(attributes.get(key, key), value) for key, value in values.items()]
    return _row(files[0], "", _via3_shape(xy), dict(pair for pair in named if pair))


def _via3_value(attribute: Any, value: Any) -> tuple[str, Any] | None:
    """(name, value) in the words of VIA 2; None for an attribute that isn't one of regions."""
    if not isinstance(attribute, dict):
        return str(attribute), value
    if not str(attribute.get("anchor_id", "XY1")).endswith("XY1"):
        return None
    options = attribute.get("options")
    if attribute.get("type") in _VIA3_CHOICES and isinstance(options, dict) and options:
        chosen = [option for option in str(value).split(",") if option]
        value = {str(options.get(option, option)): True for option in chosen}
    return str(attribute.get("aname")), value


def _via3_shape(xy: Any) -> dict[str, Any]:
    """VIA 3's [shape id, numbers...] in the words of VIA 2."""
    if not isinstance(xy, list) or not xy or type(xy[0]) is not int:
        raise _BrokenRowError("spatial_coordinates is not a list of a shape id and numbers")
    shape, numbers = xy[0], [_number(value, "spatial_coordinates") for value in xy[1:]]
    x, y = numbers[0::2], numbers[1::2]
    if shape == _VIA3_EXTREME_RECTANGLE and len(x) == len(y) > 1:
        corner = {"x": min(x), "y": min(y)}
        return {"name": "rect", **corner, "width": max(x) - min(x), "height": max(y) - min(y)}
    if shape == _VIA3_EXTREME_CIRCLE and len(x) == len(y) == 3:
        return {"name": "circle", **_circle_through(x, y)}
    if not 0 < shape < len(_VIA3_SHAPES):
        raise _BrokenRowError(f"shape {shape} of {len(numbers)} numbers is not one of VIA 3's")
    name = _VIA3_SHAPES[shape]
    if name in _VIA3_KEYS:
        return {"name": name, **dict(zip(_VIA3_KEYS[name], numbers, strict=False))}
    return {"name": name, "all_points_x": x, "all_points_y": y}


def _circle_through(x: list[float], y: list[float]) -> dict[str, float]:
    """Centre and radius of the circle through three points: |p - c|^2 is the same for all three."""
    points = np.stack([x, y], axis=1)
    sides = 2 * (points[1:] - points[0])
    squares = np.sum(points**2, axis=1)
    try:
        centre = np.linalg.solve(sides, squares[1:] - squares[0])
    except np.linalg.LinAlgError as error:
        raise _BrokenRowError("the three points of the circle lie on one line") from error
    radius = math.hypot(*(points[0] - centre))
    return {"cx": float(centre[0]), "cy": float(centre[1]), "r": radius}


# Parts of a row, the same for every format.


def _parsed(parse: Callable[[Any], _Row], record: Any) -> _Row | _BrokenRowError:
    try:
        return parse(record)
    except _BrokenRowError as error:
        return error


def _row(photo: Any, size: str, shape: Any, attributes: Any) -> _Row:
    if not _is_name(photo):
        raise _BrokenRowError(f"{photo!r} is not the name of a photo")
    shape = None if shape is None else _object(shape, "the region's shape")
    return _Row(photo, size, shape, _object(attributes, "the region's attributes"))


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _BrokenRowError(f"{text[:40]!r} is not valid JSON") from error


def _object(value: Any, what: str) -> dict[str, Any]:
    """A JSON object, or the text of one, which is what a CSV holds."""
    value = _from_json(value) if isinstance(value, str) else value
    if not isinstance(value, dict):
        raise _BrokenRowError(f"{what}: a JSON object is needed, not {reprlib.repr(value)}")
    return value


def _is_name(value: Any) -> bool:
    """Text fit for a line of a file and for a message: no control characters or lone surrogates."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)
    )


def _class_attribute(path: Path, rows: list[_Row], wanted: str | None) -> str:
    names = dict.fromkeys(name for row in rows if row.shape is not None for name in row.attributes)
    listed = ", ".join(map(repr, names))
    if all(row.shape is None for row in rows):
        return wanted or ""
    if not names:
        raise DataError(f"No region of {path} has an attribute; give each its class in VIA.")
    if wanted is None and len(names) > 1:
        raise DataError(f"{path} has several region attributes: {listed}. Name the class's.")
    if wanted is not None and wanted not in names:
        raise DataError(f"{path} has no region attribute {wanted!r}; it has: {listed}.")
    return wanted or next(iter(names))


def _label(attributes: dict[str, Any], name: str) -> str:
    value = attributes.get(name)
    if isinstance(value, dict):  # a checkbox
        ticked = [option for option, is_ticked in value.items() if is_ticked is True]
        if len(ticked) > 1:
            raise _BrokenRowError(
                f"{name!r} has {len(ticked)} boxes ticked; a region has one class"
            )
        value = ticked[0] if ticked else ""
    if value is None or value == "":
        raise _BrokenRowError(f"the region has no {name!r}, so no class")
    if not _is_name(value):
        raise _BrokenRowError(
            f"{name!r} is {reprlib.repr(value)}, which is not the name of a class"
        )
    return value.strip()


def _points(shape: dict[str, Any]) -> np.ndarray:
    """The outline of a VIA 2 shape, float64 (n, 2), n >= 3."""
    name = shape.get("name")
    if name in ("polygon", "polyline"):
        points = _vertices(shape)
    elif name == "rect":
        x, y, width, height = _numbers(shape, "x", "y", "width", "height")
        points = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
    elif name == "circle":
        cx, cy, r = _numbers(shape, "cx", "cy", "r")
        points = _ellipse(cx, cy, r, r, theta=0.0)
    elif name == "ellipse":
        points = _ellipse(*_numbers({"theta": 0.0, **shape}, "cx", "cy", "rx", "ry", "theta"))
    elif name in ("point", "line"):
        raise _BrokenRowError(f"a {name} is not an area; draw the outline as a polygon")
    else:
        raise _BrokenRowError(f"the shape {reprlib.repr(name)} is not one that VIA draws")
    if np.ptp(points, axis=0).min() == 0:
        raise _BrokenRowError(f"the {name} has no area")
    return points


def _vertices(shape: dict[str, Any]) -> np.ndarray:
    x, y = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(x, list) or not isinstance(y, list):
        raise _BrokenRowError("all_points_x and all_points_y are not two lists of numbers")
    if len(x) != len(y):
        raise _BrokenRowError(f"{len(x)} values in all_points_x, {len(y)} in all_points_y")
    points = [(_number(a, "x"), _number(b, "y")) for a, b in zip(x, y, strict=True)]
    if len(points) > 1 and points[0] == points[-1]:  # VIA 1 repeats the first point
        points.pop()
    if len(points) < 3:
        raise _BrokenRowError(f"{len(points)} points do not enclose an area; 3 are needed")
    return np.array(points, dtype=np.float64)


def _ellipse(cx: float, cy: float, rx: float, ry: float, theta: float) -> np.ndarray:
    """A polygon of the ellipse's area; `theta` in radians, clockwise because y points down."""
    if min(rx, ry) <= 0:
        raise _BrokenRowError("a radius is not above 0")
    n = max(16, math.ceil(math.pi / math.acos(1 - min(1.0, _ARC_ERROR / max(rx, ry)))))
    angle = 2 * math.pi / n
    t = np.arange(n) * angle
    # The inscribed polygon's area is the ellipse's times sin(angle) / angle.
    grow = math.sqrt(angle / math.sin(angle))
    x, y = grow * rx * np.cos(t), grow * ry * np.sin(t)
    cos, sin = math.cos(theta), math.sin(theta)
    return np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=1)


def _numbers(shape: dict[str, Any], *keys: str) -> list[float]:
    return [_number(shape.get(key), key) for key in keys]


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BrokenRowError(f"{what}: a number is needed, not {reprlib.repr(value)}")
    if not abs(value) <= _LARGEST_COORDINATE:
        raise _BrokenRowError(f"{what}: {reprlib.repr(value)} is not a position in a photo")
    return float(value)
