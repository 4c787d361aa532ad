"""Masks as images: class numbers, a palette (Pascal VOC), colours with a table, or black and white.

They are distinguished by content: a palette or one channel of small numbers holds class numbers; one channel of only 0
and 255 is one class; three channels hold colours, which need a table of names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from seg_edge.errors import DataError
from seg_edge.evaluation.metrics import IGNORE
from train.annotations.region import HOLE, BrokenRowError, Collector, Region, box_of

Colour = tuple[int, int, int]
_NUMBERED_HEADER = "Pixel Value, Class"
_NUMBERED_LINE = re.compile(r"^\s*\d+\s*,\s*([^,]+?)\s*$")  # Roboflow's _classes.csv
_TABLE_LINE = re.compile(
    r"^\s*(?:\d+\s*[,\t ])?\s*(.*?)\s*[:;,\t ]\s*(\d{1,3})\s*[,;\t ]\s*(\d{1,3})\s*[,;\t ]\s*(\d{1,3})\b"
)
_SUFFIXES = ("_mask", "-mask", "_masks", "_label", "_labels", "_labelids", "_seg", "_segmentation", "_gt", "_l")


@dataclass(frozen=True)
class Names:
    """What the values of a mask mean.

    Attributes:
        numbers: Class names by number, background first; empty if unknown.
        colours: Class names by RGB colour.
        only: The class of white in black and white masks; empty if unknown.
    """

    numbers: tuple[str, ...] = ()
    colours: Mapping[Colour, str] | None = None
    only: str = ""


def read_masks(files: Sequence[Path], photos: Mapping[str, Path], names: Names, found: Collector) -> None:
    """Adds the classes in all masks to `found`, each class of a mask as one region.

    Args:
        files: The masks.
        photos: The photos by their stem in lower case.
        names: What their values mean.
        found: Receives the regions.

    Raises:
        DataError: A mask belongs to no photo.
    """
    by_colour = bool(names.colours)
    is_binary = bool(files) and all(set(np.unique(_values(path, by_colour))) <= {0, 255} for path in files[:20])
    for path in files:
        photo = photo_of_mask(path, photos)
        if photo is None:
            raise DataError(f"{path}: no photo has this name; give the photos' folder with --photos.")
        try:
            values = _values(path, by_colour)
            labels = _labels(values, names, is_binary)
        except BrokenRowError as error:
            found.refuse(path.name, error)
            continue
        found.add(photo.name, path.name, lambda: None)
        height, width = values.shape[:2]
        corners = box_of(0, 0, max(1, width - 1), max(1, height - 1))
        for value, label in labels.items():
            make = partial(_region, path, label, value, corners, (width, height), by_colour)
            found.add(photo.name, path.name, make)


def _region(
    path: Path,
    label: str,
    value: int | tuple[int, int, int],
    corners: np.ndarray,
    frame_wh: tuple[int, int],
    by_colour: bool,
) -> Region:
    return Region(label, corners, path.name, frame_wh=frame_wh, bitmap=lambda: _plane(_values(path, by_colour), value))


def photo_of_mask(path: Path, photos: Mapping[str, Path]) -> Path | None:
    """The photo that a mask belongs to by its name; None if no photo matches."""
    stem = path.stem.casefold()
    for suffix in ("", *_SUFFIXES):
        plain = stem.removesuffix(suffix)
        for name in (plain, plain.rpartition(".")[0]):  # photo.jpg.png
            if name in photos and photos[name].resolve() != path.resolve():
                return photos[name]
    return None


def _values(path: Path, by_colour: bool) -> np.ndarray:
    """Class numbers uint8 (h, w), or colours uint8 (h, w, 3); a palette gives colours if there is a table."""
    try:
        with Image.open(path) as image:
            if image.mode == "P" and by_colour:
                return np.array(image.convert("RGB"))
            if image.mode in ("P", "L", "1"):
                return np.array(image.convert("L") if image.mode == "1" else image)
            if image.mode in ("I", "I;16"):
                wide = np.array(image)
                if wide.max() > 255:
                    raise BrokenRowError(f"it holds {wide.max()}; class numbers go to 255")
                return wide.astype(np.uint8)
            if image.mode in ("RGB", "RGBA", "LA"):
                rgb = np.array(image.convert("RGB"))
                grey = rgb[..., 0]
                return grey if (rgb == grey[..., np.newaxis]).all() else rgb
            raise BrokenRowError(f"an image of mode {image.mode} can't be a mask; save it as an 8-bit PNG")
    except (OSError, ValueError, SyntaxError) as error:
        raise BrokenRowError(f"it can't be read ({error})") from error


def _labels(values: np.ndarray, names: Names, is_binary: bool) -> dict[int | Colour, str]:
    """The class of each value present, without the background."""
    if values.ndim == 3 or (names.colours and is_binary and not names.only and not names.numbers):
        rgb = values if values.ndim == 3 else np.repeat(values[..., np.newaxis], 3, axis=2)
        return _by_colour(rgb, names)
    present = [int(value) for value in np.unique(values) if value]
    if is_binary:
        if present and not names.only and len(names.numbers) != 2:
            raise BrokenRowError("it is black and white, one class; name it with --label")
        return {IGNORE: names.only or names.numbers[1]} if present else {}
    found: dict[int | Colour, str] = {}
    for value in present:
        if value == IGNORE:
            found[value] = "void"
        elif value < len(names.numbers):
            found[value] = names.numbers[value]
        elif names.only and present in ([1], [1, IGNORE]):
            found[value] = names.only
        else:
            raise BrokenRowError(
                f"it holds class number {value}, which has no name; name all in order with --classes a,b,c"
            )
    return found


def voc_colour(number: int) -> Colour:
    """The colour of a class in Pascal VOC's palette (`VOClabelcolormap` of its development kit)."""
    red = green = blue = 0
    for bit in range(8):
        red |= (number >> 3 * bit & 1) << 7 - bit
        green |= (number >> 3 * bit + 1 & 1) << 7 - bit
        blue |= (number >> 3 * bit + 2 & 1) << 7 - bit
    return red, green, blue


def _by_colour(values: np.ndarray, names: Names) -> dict[int | Colour, str]:
    table = names.colours or {voc_colour(number): name for number, name in enumerate(names.numbers)}
    if not table:
        raise BrokenRowError("it holds colours; name the class of each in a table 'name r g b' (--colours FILE)")
    colours = [tuple(int(part) for part in colour) for colour in np.unique(values.reshape(-1, 3), axis=0)]
    unknown = [colour for colour in colours if colour not in table and colour != (0, 0, 0)]
    if unknown:
        raise BrokenRowError(
            f"its colour {unknown[0]} is not in the table (unknown colours: {len(unknown)}); save masks as PNG, "
            "without smoothing"
        )
    named = {colour: table.get(colour, HOLE) for colour in colours}  # type: ignore[arg-type]
    return {colour: name for colour, name in named.items() if name != HOLE}  # type: ignore[misc]


def _plane(values: np.ndarray, value: int | Colour) -> np.ndarray:
    matches = values == value if isinstance(value, int) else (_in_colour(values) == np.array(value)).all(axis=2)
    return matches.astype(np.uint8)


def _in_colour(values: np.ndarray) -> np.ndarray:
    return values if values.ndim == 3 else np.repeat(values[..., np.newaxis], 3, axis=2)


def read_table(path: Path) -> tuple[tuple[str, ...], dict[Colour, str]]:
    """A table of class names, with or without colours: CVAT's and VOC's `labelmap.txt`, CamVid's `class_dict.csv`.

    Returns:
        The names in order, and by colour if the lines have one, as in `name r g b`.

    Raises:
        DataError: It names nothing.
    """
    names, colours = [], {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if line.lstrip().startswith("#"):
            continue
        match = _TABLE_LINE.match(line)
        if match and all(int(part) <= 255 for part in match.groups()[1:]):
            names.append(match[1])
            colours[(int(match[2]), int(match[3]), int(match[4]))] = match[1]
        elif match := _NUMBERED_LINE.match(line):
            names.append(match[1])
        elif (name := line.split(":")[0].strip()) and name != _NUMBERED_HEADER:
            names.append(name)
    if not names:
        raise DataError(f"{path}: no line holds a class name and its colour, as in 'name r g b' (0 to 255).")
    return tuple(names) if not colours else tuple(colours.values()), colours
