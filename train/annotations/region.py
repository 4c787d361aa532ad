"""Regions of photos, which every annotation format is read into."""

from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from seg_edge.errors import DataError

HOLE = "background"  # a region of this name cuts a hole into those below it
IGNORED = ("ignore", "void")  # regions of these names count neither in training nor in scores
_LARGEST_COORDINATE = 1e6  # pixels; no photo is larger, and NaN and infinity are refused too


class BrokenRowError(Exception):
    """A row of an annotation file that can't be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Region:
    """One annotated area of one photo.

    Attributes:
        label: The class's name; `HOLE` and `IGNORED` are special.
        points_xy: The outline, float64 (n, 2), n >= 3, closed implicitly, in pixels of the upright photo. The corners
            of `bitmap` if there is one.
        where: 'via.csv:12' or "via.json: photo 'a.jpg', region 3"; for messages.
        is_round: Whether it was drawn as a circle or an ellipse, which tools let reach beyond the photo.
        frame_wh: Width and height of the annotated picture, if the file gives them.
        bitmap: Returns the area as uint8 (h, w) of 0 and 1, its upper left pixel at the minimum of `points_xy`; None
            if the outline is the area.
    """

    label: str
    points_xy: np.ndarray
    where: str
    is_round: bool = False
    frame_wh: tuple[int, int] | None = None
    bitmap: Callable[[], np.ndarray] | None = None


Annotations = Mapping[str, tuple[Region, ...]]


def bitmap_region(
    label: str, bitmap: np.ndarray, left_top: tuple[int, int], where: str, frame_wh: tuple[int, int] | None
) -> Region:
    """The region that a bitmap, uint8 (h, w) of 0 and 1, covers with its upper left pixel at `left_top`."""
    (left, top), (height, width) = left_top, bitmap.shape
    corners = box_of(left, top, left + width - 1, top + height - 1)
    return Region(label, corners, where, frame_wh=frame_wh, bitmap=lambda: bitmap)


class Collector:
    """Collects the regions of each photo, and the entries that can't be used.

    Args:
        source: The annotation file or folder, for messages.
    """

    def __init__(self, source: object):
        self.source = source
        self.regions: dict[str, list[Region]] = {}
        self.full_names: dict[str, str] = {}
        self.broken: list[str] = []
        self.entries = 0

    def photo(self, name: Any) -> list[Region]:
        """The list of a photo's regions, looked up by file name, path or URL.

        Raises:
            BrokenRowError: It isn't a photo's name, or two photos share it.
        """
        plain = photo_name(name)
        if self.full_names.setdefault(plain, name) != name:
            raise BrokenRowError(f"{name!r} and {self.full_names[plain]!r} have the same file name; rename one")
        return self.regions.setdefault(plain, [])

    def add(self, photo: Any, where: str, make: Callable[[], Region | None]) -> None:
        """Adds the region that `make` returns to a photo; its `BrokenRowError` is kept for the final message."""
        self.entries += 1
        try:
            photo_regions = self.photo(photo)
            region = make()
            if region is not None:
                photo_regions.append(region)
        except BrokenRowError as error:
            self.broken.append(f"{where}: {error}")

    def refuse(self, where: str, reason: object) -> None:
        """Keeps the reason why an entry can't be used for the final message."""
        self.entries += 1
        self.broken.append(f"{where}: {reason}")

    def result(self) -> dict[str, tuple[Region, ...]]:
        """Photo file name -> its regions in drawing order.

        Raises:
            DataError: An entry can't be used, or there is no photo.
        """
        if self.broken:
            raise DataError(
                f"{len(self.broken)} of {self.entries} entries of {self.source} can't be used:\n{at_most(self.broken)}"
            )
        if not self.regions:
            raise DataError(f"{self.source} holds no photos; export it again.")
        return {photo: tuple(regions) for photo, regions in self.regions.items()}


def photo_name(text: Any) -> str:
    """The file name of a photo given by name, path or URL.

    Raises:
        BrokenRowError: It has none.
    """
    if not is_name(text):
        raise BrokenRowError(f"{text!r} is not the name of a photo")
    path = unquote(urlsplit(text).path) if "://" in text else text
    name = PureWindowsPath(PurePosixPath(path).name).name.strip()
    if name in ("", ".", ".."):
        raise BrokenRowError(f"{text!r} is not the name of a photo")
    return name


def is_name(value: Any) -> bool:
    """Whether this is text without control characters and lone surrogates, fit for a file name and a message."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)
    )


def class_name(value: Any) -> str:
    """The class that a region names.

    Raises:
        BrokenRowError: It has none.
    """
    if not is_name(value):
        raise BrokenRowError(f"{value!r} is not the name of a class")
    return str(value).strip()


def is_reserved(label: str) -> bool:
    """Whether the name stands for a hole or an ignored area instead of a class."""
    return label.casefold() in (HOLE, *IGNORED)


def number(value: Any, what: str) -> float:
    """A position in a photo.

    Raises:
        BrokenRowError: It isn't one.
    """
    try:
        found = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not abs(found) <= _LARGEST_COORDINATE:
        raise BrokenRowError(f"{what}: {reprlib.repr(value)} is not a position in a photo")
    return found


def outline_of(pairs: Iterable[Any]) -> np.ndarray:
    """A region's outline from points (x, y).

    Raises:
        BrokenRowError: They enclose no area.
    """
    try:
        points = np.array([(number(x, "x"), number(y, "y")) for x, y in pairs], np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise BrokenRowError("the outline isn't a list of points") from error
    if len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    if len(points) < 3 or np.ptp(points, axis=0).min() == 0:
        raise BrokenRowError(f"{len(points)} points do not enclose an area; 3 are needed, not all on one line")
    return points


def box_of(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The corners of a rectangle as an outline."""
    return outline_of([(left, top), (right, top), (right, bottom), (left, bottom)])


def at_most(lines: Iterable[str], limit: int = 20) -> str:
    """The first `limit` lines, indented, and how many more there are."""
    lines = list(lines)
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(f"  {line}" for line in lines[:limit] + more)
