"""Turns annotated photos into a data folder: photos, masks, class names, a sheet to check by eye.

python train/masks.py via_region_data.csv --photos photos/ --out data/
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

try:
    import train.options  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import cv2
import numpy as np
import typer

from seg_edge.commands.console import exit_codes
from seg_edge.errors import DataError, OutputError, PhotoError
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.photo.find import find_photos
from seg_edge.photo.read import read_photo
from train.annotation_check import (
    OTHER,
    check_photos,
    class_labels,
    has_meaning,
    on_disk,
    past_the_edge,
    same_but_for_case,
)
from train.annotations.find import Choices, read_annotations
from train.annotations.region import HOLE, Region, at_most
from train.annotations.text import HELP
from train.contact_sheet import contact_sheet, sheet_cell, shown_on_sheet
from train.options import comma_separated, run_command

FEW_PHOTOS = 3  # below this a class can't be in the training, the validation and the test part
_OURS = {"images", "masks", "labels.txt", "classes.csv", "contact_sheet.jpg", ".DS_Store", "Thumbs.db"}
_SHIFT = 4  # fillPoly takes coordinates in 1/16 pixel


@dataclass(frozen=True)
class ClassCount:
    """One line of classes.csv: `share` is of all pixels; `photos` have a pixel of the class."""

    name: str
    pixels: int
    share: float
    photos: int
    regions: int


@dataclass(frozen=True)
class MaskSummary:
    """What `make_masks` did.

    Attributes:
        out: The data folder.
        sheet: The contact sheet in it.
        classes: One entry a label, in the order of labels.txt, the background first.
        photos: How many photos have a mask.
        unused: How many photos of the folder are not in the annotation file.
        warnings: Sentences that a person should read.
    """

    out: Path
    sheet: Path
    classes: tuple[ClassCount, ...]
    photos: int
    unused: int
    warnings: tuple[str, ...]


def make_masks(
    annotations: Path,
    photos: Path,
    out: Path,
    attribute: str | None = None,
    classes: Sequence[str] | None = None,
    force: bool = False,
    *,
    label: str = "",
    colours: Path | None = None,
    other: Path | None = None,
) -> MaskSummary:
    """Makes the data folder that the rest of the project trains from.

    It holds images/ (copies of the photos), masks/ (8-bit PNG label maps of the upright photos),
    labels.txt (line i names label i), classes.csv and contact_sheet.jpg.

    Args:
        annotations: A file or folder that `train.annotations.find.read_annotations` reads.
        photos: The folder with the photos it names.
        out: The folder to make; it appears whole or not at all.
        attribute: The region attribute that holds the class, where there are several.
        classes: The class names in the order of their labels 1, 2, ...; sorted by name without it.
        force: Replace `out` if it is a data folder made by this function.
        label: The class of regions that name none, and of white in black and white masks.
        colours: A table of class names and colours, for masks of colours.
        other: A folder of photos with none of the classes, such as of strangers; all background, called `other_...`.

    Raises:
        DataError: The annotations can't be used, or don't fit the photos; all the photos are named.
        OutputError: `out` exists, or can't be written.
        UsageError: `classes` makes no sense.
    """
    _check_out(out, force, keep=(annotations, photos, *([other] if other else [])))
    choices = Choices(attribute, label, tuple(classes or ()), colours)
    found = {
        photo: of_photo
        for photo, of_photo in read_annotations(annotations, photos, choices).items()
        if not photo.startswith("._")  # macOS keeps a photo's attributes in a file of that name
    }
    regions = on_disk(found, photos)
    labels = class_labels(regions, classes)
    check_photos(regions, photos)
    warnings = same_but_for_case(labels[1:])
    if cut := past_the_edge(regions, photos):
        warnings.append(f"Regions that reach a little past their photo's edge, where they are cut off: {cut}.")
    sources = {photo: photos / photo for photo in regions}
    if other:
        strangers = find_photos([str(other)])
        for error in strangers.failures.values():
            raise error
        sources |= {f"{OTHER}{path.name}": path for path in strangers.paths}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            made = Path(scratch, "new")
            counts = _write(made, sources, regions, labels)
            _put(made, out, Path(scratch, "old"))
    except OSError as error:
        raise OutputError(f"Can't write {out}: {error}.") from error
    few = [f"{c.name} ({c.photos})" for c in counts[1:] if c.photos < FEW_PHOTOS]
    return MaskSummary(
        out=out,
        sheet=out / "contact_sheet.jpg",
        classes=counts,
        photos=len(sources),
        unused=len({photo.name for photo in find_photos([str(photos)]).paths} - set(regions)),
        warnings=(*warnings, *([f"Fewer than {FEW_PHOTOS} photos show: {', '.join(few)}."] if few else [])),
    )


def draw_mask(regions: Sequence[Region], shape_hw: tuple[int, int], labels: Sequence[str]) -> np.ndarray:
    """The label map of one photo; later regions lie over earlier ones.

    A point (x, y) is the middle of the pixel in column x and row y, and the outline belongs to the
    region, as with OpenCV's fillPoly and findContours: the square from (2, 2) to (6, 6) fills 5x5
    pixels. Coordinates count to 1/16 pixel; what lies outside the photo is cut off.

    Args:
        regions: In drawing order.
        shape_hw: Height and width of the upright photo, pixels.
        labels: Class names by label; labels[0] is the background.

    Returns:
        uint8 (height, width), each value an index into `labels`.
    """
    mask = np.zeros(shape_hw, np.uint8)
    for region in regions:
        value = _value(region.label, labels)
        if region.bitmap is not None:
            _paste(mask, region.bitmap(), region.points_xy.min(axis=0), value)
        else:
            points = np.rint(region.points_xy * 2**_SHIFT).astype(np.int32)
            cv2.fillPoly(mask, [points], value, shift=_SHIFT)
    return mask


def _value(label: str, labels: Sequence[str]) -> int:
    if has_meaning(label):
        return 0 if label.casefold() == HOLE else IGNORE
    return labels.index(label)


def _paste(mask: np.ndarray, bitmap: np.ndarray, left_top: np.ndarray, value: int) -> None:
    left, top = (round(float(at)) for at in left_top)
    height, width = bitmap.shape
    part = mask[max(0, top) : top + height, max(0, left) : left + width]
    part[bitmap[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]] > 0] = value


def _check_out(out: Path, force: bool, keep: Sequence[Path]) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise OutputError(f"{out} exists; give another folder, or --force to replace it.")
    if any(path.resolve().is_relative_to(out.resolve()) for path in keep):
        raise OutputError(f"{out} holds the photos or the annotations; give another folder.")
    if out.is_symlink() or not out.is_dir():
        raise OutputError(f"{out} is not a data folder of train/masks.py; give another folder.")
    names = {path.name for path in out.iterdir()}
    is_ours = (out / "masks").is_dir() and all((out / name).is_file() for name in ("labels.txt", "classes.csv"))
    if names and not is_ours:
        raise OutputError(f"{out} is not a data folder of train/masks.py; give another folder.")
    if foreign := sorted(names - _OURS):
        raise OutputError(f"{out} also holds {', '.join(foreign)}; move that away, or give another folder.")


def _put(made: Path, out: Path, old: Path) -> None:
    """Moves `made` to `out`, and what was there to `old`; on failure `out` is what it was."""
    if out.exists():
        out.rename(old)
    try:
        made.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise


def _write(
    out: Path, sources: Mapping[str, Path], regions: Mapping[str, Sequence[Region]], labels: Sequence[str]
) -> tuple[ClassCount, ...]:
    """Fills the data folder; gives the counts of classes.csv."""
    (out / "images").mkdir(parents=True)
    (out / "masks").mkdir()
    pixels, in_photos = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
    shown = shown_on_sheet(len(sources))
    cells, unreadable = [], []
    with typer.progressbar(sources.items(), label="Drawing masks", file=sys.stderr) as progress:
        for number, (photo, source) in enumerate(progress):
            try:
                image = read_photo(source)
            except PhotoError as error:
                unreadable.append(str(error))
                continue
            mask = draw_mask(regions.get(photo, ()), image.shape[:2], labels)
            shutil.copy2(source, out / "images" / photo)
            _write_image(out / "masks" / f"{Path(photo).stem}.png", mask)
            count = np.bincount(mask.ravel(), minlength=256)[: len(labels)]
            pixels += count
            in_photos += count > 0
            if number in shown:
                cells.append(sheet_cell(photo, image, mask))
    if unreadable:
        raise DataError(f"Photos can't be read:\n{at_most(unreadable)}")
    drawn = Counter(region.label for of_photo in regions.values() for region in of_photo)
    counts = tuple(
        ClassCount(name, int(p), float(p / pixels.sum()), int(n), drawn[name])
        for name, p, n in zip(labels, pixels, in_photos, strict=True)
    )
    (out / "labels.txt").write_text("".join(f"{name}\n" for name in labels), encoding="utf-8")
    with (out / "classes.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("class", "pixels", "share", "photos", "regions"))
        table.writerows((c.name, c.pixels, f"{c.share:.6f}", c.photos, c.regions) for c in counts)
    _write_image(out / "contact_sheet.jpg", contact_sheet(cells, labels, f"{len(cells)} of {len(sources)} photos"))
    return counts


def _write_image(path: Path, image: np.ndarray) -> None:
    # Not cv2.imwrite: it says False without a reason, and on Windows can't open every name.
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def main(
    annotations: Annotated[Path, typer.Argument(help=HELP)],
    photos: Annotated[Path, typer.Option(help="The folder with the annotated photos.")],
    out: Annotated[Path, typer.Option(help="The data folder to make.")],
    attribute: Annotated[str | None, typer.Option(help="Region attribute with the class.")] = None,
    classes: Annotated[str | None, typer.Option(help="Class names in order: a,b,c.")] = None,
    label: Annotated[str, typer.Option(help="Class of regions without a class, or of white in masks.")] = "",
    colours: Annotated[Path | None, typer.Option(help="Table 'name r g b', for masks of colours.")] = None,
    other: Annotated[
        Path | None, typer.Option(help="Folder of photos with none of the classes, such as of strangers.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier data folder.")] = False,
) -> None:
    """Turn annotated photos into a data folder to train from."""
    names = None if classes is None else comma_separated(classes)
    with exit_codes():
        made = make_masks(annotations, photos, out, attribute, names, force, label=label, colours=colours, other=other)
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)
    longest = max(len(c.name) for c in made.classes)
    typer.echo(f"{'class':{longest}}  {'pixels':>12}  {'share':>7}  {'photos':>6}  {'regions':>7}")
    for c in made.classes:
        typer.echo(f"{c.name:{longest}}  {c.pixels:12}  {c.share:7.2%}  {c.photos:6}  {c.regions:7}")
    typer.echo(f"Photos with masks in {made.out}: {made.photos}.")
    if made.unused:
        typer.echo(f"Photos in {photos} that the file does not mention, so not used: {made.unused}.")
    typer.echo(f"Look at {made.sheet} before training.")


if __name__ == "__main__":
    run_command(main)
