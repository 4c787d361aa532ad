"""The shapes that VGG Image Annotator (VIA) draws, converted to polygons.

VIA 1 and 2 write a shape as a JSON object with a name and numbers, VIA 3 as a list of a shape id and numbers
(`_metadata_pts_to_xy` of its source).
"""

from __future__ import annotations

import math
import reprlib
from typing import Any

import numpy as np

from train.annotations.region import BrokenRowError, box_of, number, outline_of

_VIA3_SHAPES = ("", "point", "rect", "circle", "ellipse", "line", "polyline", "polygon")
_VIA3_EXTREME_RECTANGLE, _VIA3_EXTREME_CIRCLE = 8, 9
_VIA3_KEYS = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}
_ARC_ERROR = 0.1  # pixels between a circle and its polygon


def outline(shape: dict[str, Any]) -> np.ndarray:
    """The outline of a VIA 1 or 2 shape, float64 (n, 2), n >= 3, closed implicitly.

    Raises:
        BrokenRowError: The shape is not an area, or its numbers are invalid.
    """
    name = shape.get("name")
    if name in ("polygon", "polyline"):
        return _polygon(shape)
    if name == "rect":
        x, y, width, height = _numbers(shape, "x", "y", "width", "height")
        return box_of(x, y, x + width, y + height)
    if name == "circle":
        cx, cy, r = _numbers(shape, "cx", "cy", "r")
        return ellipse_outline(cx, cy, r, r, theta=0.0)
    if name == "ellipse":
        return ellipse_outline(*_numbers({"theta": 0.0, **shape}, "cx", "cy", "rx", "ry", "theta"))
    if name in ("point", "line"):
        raise BrokenRowError(f"a {name} is not an area; draw the outline as a polygon")
    raise BrokenRowError(f"the shape {reprlib.repr(name)} is not one that VIA draws")


def shape_of_via3(xy: Any) -> dict[str, Any]:
    """VIA 3's [shape id, numbers...] in VIA 2's form.

    Raises:
        BrokenRowError: It has another form, or isn't one of VIA 3's shapes.
    """
    if not isinstance(xy, list) or not xy or type(xy[0]) is not int:
        raise BrokenRowError("spatial_coordinates is not a list of a shape's id and numbers")
    shape, numbers = xy[0], [number(value, "spatial_coordinates") for value in xy[1:]]
    x, y = numbers[0::2], numbers[1::2]
    if shape == _VIA3_EXTREME_RECTANGLE and len(x) == len(y) > 1:
        corner = {"x": min(x), "y": min(y)}
        return {"name": "rect", **corner, "width": max(x) - min(x), "height": max(y) - min(y)}
    if shape == _VIA3_EXTREME_CIRCLE and len(x) == len(y) == 3:
        return {"name": "circle", **_circle_through(x, y)}
    if not 0 < shape < len(_VIA3_SHAPES):
        raise BrokenRowError(f"shape {shape} of {len(numbers)} numbers is not one of VIA 3's")
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
        raise BrokenRowError("the three points of the circle lie on one line") from error
    radius = math.hypot(*(points[0] - centre))
    return {"cx": float(centre[0]), "cy": float(centre[1]), "r": radius}


def _polygon(shape: dict[str, Any]) -> np.ndarray:
    x, y = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(x, list) or not isinstance(y, list):
        raise BrokenRowError("all_points_x and all_points_y are not two lists of numbers")
    if len(x) != len(y):
        raise BrokenRowError(f"{len(x)} values in all_points_x, {len(y)} in all_points_y")
    return outline_of(zip(x, y, strict=True))


def ellipse_outline(cx: float, cy: float, rx: float, ry: float, theta: float) -> np.ndarray:
    """A polygon with the ellipse's area; `theta` in radians, clockwise because y points down."""
    if min(rx, ry) <= 0:
        raise BrokenRowError("a radius is not above 0")
    n = max(16, math.ceil(math.pi / math.acos(1 - min(1.0, _ARC_ERROR / max(rx, ry)))))
    angle = 2 * math.pi / n
    t = np.arange(n) * angle
    # The inscribed polygon's area is the ellipse's times sin(angle) / angle.
    grow = math.sqrt(angle / math.sin(angle))
    x, y = grow * rx * np.cos(t), grow * ry * np.sin(t)
    cos, sin = math.cos(theta), math.sin(theta)
    return outline_of(np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=1))


def _numbers(shape: dict[str, Any], *keys: str) -> list[float]:
    return [number(shape.get(key), key) for key in keys]
