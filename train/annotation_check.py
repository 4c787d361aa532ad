"""Checks annotations before any mask is drawn: are the class names valid, do the regions fit the photos?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seg_edge.errors import DataError, PhotoError, UsageError
from seg_edge.photo.read import read_header
from train.annotations.region import HOLE, Annotations, Region, at_most, is_reserved

BACKGROUND = HOLE
OTHER = "other_"  # prefix of the names of photos that show none of the classes
MAX_CLASSES = 254  # a label map is 8 bits: 0 is the background, 255 is ignored
_BORDER, _BORDER_PX = 0.05, 2  # share of a side, and minimum: how far past the photo's edge a hand-drawn point may land


def class_labels(regions: Annotations, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Class names by label, the background first.

    Args:
        regions: By photo.
        classes: The names in label order, without background; None sorts them by name.

    Raises:
        DataError: A class name isn't allowed, or there are too many classes, or none.
        UsageError: `classes` has an empty or repeated name.
    """
    labels = {region.label for photo_regions in regions.values() for region in photo_regions}
    found = sorted(label for label in labels if not is_reserved(label))
    if not found:
        raise DataError("No photo has a region, so there is no class to learn.")
    if classes is not None and (not classes or len(set(classes)) < len(classes) or "" in classes):
        raise UsageError(f"--classes has an empty or repeated name: {', '.join(classes)!r}; give each once.")
    if left_out := sorted(set(found) - set(classes or found)):
        raise DataError(f"Annotated, but not among --classes: {', '.join(left_out)}.")
    names = tuple(classes or found)
    if reserved := [name for name in names if is_reserved(name)]:
        raise DataError(f"{reserved[0]!r} can't be in --classes: it is a reserved name, see docs/formats.md.")
    if unprintable := [name for name in names if not name.isprintable()]:
        raise DataError(f"The class name {unprintable[0]!a} can't be printed; rename that class.")
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"There are {len(names)} classes; a mask holds {MAX_CLASSES}. Is the attribute a comment, not the class?"
        )
    return (BACKGROUND, *names)


def same_but_for_case(labels: Sequence[str]) -> list[str]:
    """Warnings about classes whose names differ only in case or spaces, and so may be the same."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault("".join(label.casefold().split()), []).append(label)
    return [
        f"{', '.join(map(repr, names))} are learnt as {len(names)} classes; give them one name if they are the same."
        for names in alike.values()
        if len(names) > 1
    ]


def on_disk(regions: Annotations, folder: Path) -> dict[str, tuple[Region, ...]]:
    """The annotations under the photos' names as spelled in the folder, if they differ only in case."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of photos.")
    names = {path.name for path in folder.iterdir()}
    by_case: dict[str, list[str]] = {}
    for name in sorted(names):
        by_case.setdefault(name.casefold(), []).append(name)
    found: dict[str, tuple[Region, ...]] = {}
    for photo, photo_regions in regions.items():
        candidates = by_case.get(photo.casefold(), [])
        name = candidates[0] if photo not in names and len(candidates) == 1 else photo
        found[name] = (*found.get(name, ()), *photo_regions)
    return found


def past_the_edge(regions: Annotations, folder: Path) -> int:
    """How many regions reach a little past their photo's edge, where they are clipped."""
    count = 0
    for photo, photo_regions in regions.items():
        size_wh = read_header(folder / photo).upright_size_wh
        count += sum(not region.is_round and not _fits(region, size_wh, 0.0) for region in photo_regions)
    return count


def check_photos(regions: Annotations, folder: Path) -> None:
    """Checks that every annotated photo can be read and holds its polygons.

    Raises:
        DataError: Some can't or don't; the message lists all of them.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of photos.")
    stems = Counter(Path(photo).stem.casefold() for photo in regions)
    problems: dict[str, list[str]] = {}
    for photo, photo_regions in regions.items():
        if problem := _problem(photo, photo_regions, folder, stems):
            problems.setdefault(problem[0], []).append(f"{photo}{problem[1]}")
    if problems:
        raise DataError("\n".join(f"{problem}:\n{at_most(photos)}" for problem, photos in problems.items()))


def _problem(photo: str, regions: Sequence[Region], folder: Path, stems: Counter[str]) -> tuple[str, str] | None:
    """(what is wrong and what to do, detail); None if the photo is fine."""
    if stems[Path(photo).stem.casefold()] > 1:
        return "Two photos would share one mask; rename one of each pair", ""
    if not (folder / photo).is_file():
        return f"Annotated, but not in {folder}; copy them there, or remove them from the annotations", ""
    try:
        header = read_header(folder / photo)
    except PhotoError as error:
        return "Can't be read", f": {error}"
    width, height = header.upright_size_wh
    outside = [region for region in regions if not _fits(region, (width, height))]
    of_other_size = [region for region in regions if region.frame_wh not in (None, (width, height))]
    if not outside and not of_other_size:
        return None
    is_rotated = header.upright_size_wh != header.size_wh
    if is_rotated and all(r.frame_wh in (None, header.size_wh) and _fits(r, header.size_wh) for r in regions):
        return (
            "The polygons fit only the unrotated photo: it has an EXIF orientation that was ignored when it was "
            "annotated. Annotate it again in a current browser, or remove its EXIF orientation; check other rotated "
            "photos too, as not every mistake shows in the sizes"
        ), f" (upright {width}x{height}, EXIF orientation {header.orientation})"
    if of_other_size:
        frame_wh = of_other_size[0].frame_wh or (0, 0)
        return (
            "The annotations are of a picture of another size; use the photo that was annotated"
        ), f" ({width}x{height}; {of_other_size[0].where} is of {frame_wh[0]}x{frame_wh[1]})"
    return (
        "Polygons lie outside the photo: it was resized or replaced after it was annotated, or "
        "another photo has its name. Use the photo that was annotated"
    ), f" ({width}x{height}; {outside[0].where} reaches {_reach(outside[0])})"


def _fits(region: Region, size_wh: tuple[int, int], border: float = _BORDER) -> bool:
    points = region.points_xy
    if region.is_round:  # tools let it reach beyond the photo; `draw_mask` clips it
        points = points.mean(axis=0)
    margin = np.maximum(_BORDER_PX, border * np.array(size_wh)) if border else 0.0
    return bool(np.all(points >= -margin) and np.all(points <= np.add(size_wh, margin)))


def _reach(region: Region) -> str:
    (left, top), (right, bottom) = region.points_xy.min(axis=0), region.points_xy.max(axis=0)
    return f"from {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"
