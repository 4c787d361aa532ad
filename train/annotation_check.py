"""Checks annotations before any mask is drawn: are the classes such, do they fit the photos?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from seg_edge.errors import DataError, PhotoError, UsageError
from seg_edge.photo.read import read_header
from train.via.read import Region, at_most

BACKGROUND = "background"
MAX_CLASSES = 254  # a label map is 8 bits, 0 is the background and 255 marks what does not count
_BORDER_PX = 2  # how far past the photo's edge a hand-drawn point may land

Annotations = Mapping[str, Sequence[Region]]


def class_labels(regions: Annotations, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Class names by label, the background first.

    Args:
        regions: By photo.
        classes: The names without background in the order wanted; sorted by name without it.

    Raises:
        DataError: A class that can't be, or one too many, or none.
        UsageError: `classes` makes no sense.
    """
    found = sorted({region.label for of_photo in regions.values() for region in of_photo})
    if not found:
        raise DataError("No photo has a region, so there is no class to learn.")
    if classes is not None and (not classes or len(set(classes)) < len(classes) or "" in classes):
        raise UsageError(f"--classes names a class twice or not at all: {', '.join(classes)!r}; give each once.")
    if left_out := sorted(set(found) - set(classes or found)):
        raise DataError(f"Annotated, but not among --classes: {', '.join(left_out)}.")
    names = tuple(classes or found)
    if BACKGROUND in names:
        raise DataError(
            f"'{BACKGROUND}' can't be a class: it is what no region covers. Rename that class, or "
            "delete its regions in VIA."
        )
    if strange := [name for name in names if not name.isprintable()]:
        raise DataError(f"The class name {strange[0]!a} can't be printed; rename that class in VIA.")
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"There are {len(names)} classes; a mask holds {MAX_CLASSES}. Is the attribute a comment and not the class?"
        )
    return (BACKGROUND, *names)


def check_photos(regions: Annotations, folder: Path) -> None:
    """Checks that every annotated photo can be read and holds its polygons.

    Raises:
        DataError: One for all; it names every photo with which something is wrong.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of photos.")
    stems = Counter(Path(photo).stem.casefold() for photo in regions)
    problems: dict[str, list[str]] = {}
    for photo, of_photo in regions.items():
        if problem := _problem(photo, of_photo, folder, stems):
            problems.setdefault(problem[0], []).append(f"{photo}{problem[1]}")
    if problems:
        raise DataError("\n".join(f"{what}:\n{at_most(names)}" for what, names in problems.items()))


def _problem(photo: str, regions: Sequence[Region], folder: Path, stems: Counter[str]) -> tuple[str, str] | None:
    """(what is wrong and what to do, detail), if anything is."""
    if photo in ("..", ".") or {PurePosixPath(photo).name, PureWindowsPath(photo).name} != {photo}:
        return "A photo's name must be a plain file name, without folders; refused", ""
    if stems[Path(photo).stem.casefold()] > 1:
        return "Two photos would share one mask; rename one of each pair", ""
    if not (folder / photo).is_file():
        return f"Annotated, but not in {folder}; copy them there or remove them in VIA", ""
    try:
        header = read_header(folder / photo)
    except PhotoError as error:
        return "Can't be read", f": {error}"
    width, height = header.upright_size_wh
    outside = [region for region in regions if not _fits(region, (width, height))]
    if not outside:
        return None
    turned = header.upright_size_wh != header.size_wh
    if turned and all(_fits(region, header.size_wh) for region in regions):
        return (
            "The polygons fit only the un-rotated photo: its EXIF data says to show it turned, and "
            "it was annotated unturned. Annotate it again in a current browser, or remove its EXIF "
            "orientation; check other turned photos too, as not every mistake shows in the sizes"
        ), f" (upright {width}x{height}, EXIF orientation {header.orientation})"
    return (
        "Polygons lie outside the photo: it was resized or replaced after it was annotated, or "
        "another photo has its name. Use the photo that was annotated"
    ), f" ({width}x{height}; {outside[0].where} reaches {_reach(outside[0])})"


def _fits(region: Region, size_wh: tuple[int, int]) -> bool:
    points = region.points_xy
    if region.is_round:  # VIA lets it reach beyond the photo; `draw_mask` cuts it off
        points = points.mean(axis=0)
    return bool(np.all(points >= -_BORDER_PX) and np.all(points <= np.add(size_wh, _BORDER_PX)))


def _reach(region: Region) -> str:
    (left, top), (right, bottom) = region.points_xy.min(axis=0), region.points_xy.max(axis=0)
    return f"from {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"
