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

import numpy as np
import typer

from seg_edge.commands.console import exit_codes
from seg_edge.errors import DataError, OutputError, PhotoError
from seg_edge.photo.find import find_photos
from seg_edge.photo.read import read_photo
from seg_edge.photo.write import write_picture
from train.annotation_check import (
    OTHER,
    check_photos,
    class_labels,
    on_disk,
    past_the_edge,
    same_but_for_case,
)
from train.annotations.draw import draw_mask
from train.annotations.find import Choices, read_annotations
from train.annotations.region import Region, at_most
from train.annotations.text import HELP
from train.contact_sheet import contact_sheet, sheet_cell, shown_on_sheet
from train.options import INPUT, OUTPUT, comma_separated, run_command
from train.photos import photos_in

FEW_PHOTOS = 3  # fewer can't put a class into each of train, val and test
_OURS = {"images", "masks", "labels.txt", "classes.csv", "contact_sheet.jpg", ".DS_Store", "Thumbs.db"}


@dataclass(frozen=True)
class ClassCount:
    """A line of classes.csv: `share` of all pixels; `photos` with at least one pixel of the class."""

    name: str
    pixels: int
    share: float
    photos: int
    regions: int


@dataclass(frozen=True)
class MaskSummary:
    """The result of `make_masks`.

    Attributes:
        out: The data folder.
        sheet: The contact sheet in it.
        classes: One per label, in the order of labels.txt, the background first.
        photos: How many photos have a mask.
        unused: How many photos of the folder have no annotations.
        warnings: Sentences for the user.
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
    """Makes the data folder that training starts from.

    It holds images/ (copies of the photos), masks/ (8-bit PNG label maps of the upright photos),
    labels.txt (line i names label i), classes.csv and contact_sheet.jpg.

    Args:
        annotations: A file or folder that `train.annotations.find.read_annotations` reads.
        photos: The folder with the photos it names.
        out: The folder to make; it appears whole or not at all.
        attribute: The region attribute that holds the class, if there are several.
        classes: The class names of labels 1, 2, ...; None sorts them by name.
        force: Replace `out` if it is a data folder made by this function.
        label: The class of regions that name none, and of white in black and white masks.
        colours: A table of class names and colours, for masks of colours.
        other: A folder of photos that show none of the classes; all background, renamed `other_...`.

    Raises:
        DataError: The annotations can't be used or don't fit the photos; the message lists the photos.
        OutputError: `out` exists, or can't be written.
        UsageError: `classes` has an empty or repeated name.
    """
    _check_out(out, force, keep=(annotations, photos, *([other] if other else [])))
    choices = Choices(attribute, label, tuple(classes or ()), colours)
    found = {
        photo: photo_regions
        for photo, photo_regions in read_annotations(annotations, photos, choices).items()
        if not photo.startswith("._")  # macOS keeps a photo's attributes in a file of that name
    }
    regions = on_disk(found, photos)
    labels = class_labels(regions, classes)
    check_photos(regions, photos)
    warnings = same_but_for_case(labels[1:])
    if clipped := past_the_edge(regions, photos):
        warnings.append(f"Regions that reach slightly past their photo's edge and were clipped: {clipped}.")
    sources = {photo: photos / photo for photo in regions}
    if other:
        sources |= {f"{OTHER}{path.name}": path for path in photos_in(other)}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            new = Path(scratch, "new")
            counts = _write(new, sources, regions, labels)
            _replace(new, out, Path(scratch, "old"))
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


def _replace(new: Path, out: Path, old: Path) -> None:
    """Moves `new` to `out`, and an existing folder to `old`; on failure `out` is unchanged."""
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise


def _write(
    out: Path, sources: Mapping[str, Path], regions: Mapping[str, Sequence[Region]], labels: Sequence[str]
) -> tuple[ClassCount, ...]:
    """Fills the data folder; returns the counts of classes.csv."""
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
            write_picture(out / "masks" / f"{Path(photo).stem}.png", mask)
            count = np.bincount(mask.ravel(), minlength=256)[: len(labels)]
            pixels += count
            in_photos += count > 0
            if number in shown:
                cells.append(sheet_cell(photo, image, mask))
    if unreadable:
        raise DataError(f"Photos can't be read:\n{at_most(unreadable)}")
    drawn = Counter(region.label for photo_regions in regions.values() for region in photo_regions)
    counts = tuple(
        ClassCount(name, int(p), float(p / pixels.sum()), int(n), drawn[name])
        for name, p, n in zip(labels, pixels, in_photos, strict=True)
    )
    (out / "labels.txt").write_text("".join(f"{name}\n" for name in labels), encoding="utf-8")
    with (out / "classes.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("class", "pixels", "share", "photos", "regions"))
        table.writerows((c.name, c.pixels, f"{c.share:.6f}", c.photos, c.regions) for c in counts)
    write_picture(out / "contact_sheet.jpg", contact_sheet(cells, labels, f"{len(cells)} of {len(sources)} photos"))
    return counts


def main(
    annotations: Annotated[Path, typer.Argument(help=HELP)],
    photos: Annotated[Path, typer.Option(help="The folder with the annotated photos.", rich_help_panel=INPUT)],
    out: Annotated[Path, typer.Option(help="The data folder to make.", rich_help_panel=OUTPUT)],
    attribute: Annotated[
        str | None, typer.Option(help="VIA's region attribute that holds the class.", rich_help_panel=INPUT)
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Class names in order: a,b,c.", rich_help_panel=INPUT)] = None,
    label: Annotated[
        str, typer.Option(help="Class of regions without a class, or of white in masks.", rich_help_panel=INPUT)
    ] = "",
    colours: Annotated[
        Path | None, typer.Option(help="Table 'name r g b', for masks of colours.", rich_help_panel=INPUT)
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(help="Folder of photos that show none of the classes, e.g. other people.", rich_help_panel=INPUT),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier data folder.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Turns annotated photos into a data folder for training."""
    names = None if classes is None else comma_separated(classes)
    with exit_codes():
        summary = make_masks(
            annotations, photos, out, attribute, names, force, label=label, colours=colours, other=other
        )
    for warning in summary.warnings:
        typer.echo(f"warning: {warning}", err=True)
    longest = max(len(c.name) for c in summary.classes)
    typer.echo(f"{'class':{longest}}  {'pixels':>12}  {'share':>7}  {'photos':>6}  {'regions':>7}")
    for c in summary.classes:
        typer.echo(f"{c.name:{longest}}  {c.pixels:12}  {c.share:7.2%}  {c.photos:6}  {c.regions:7}")
    typer.echo(f"Photos with masks in {summary.out}: {summary.photos}.")
    if summary.unused:
        typer.echo(f"Photos in {photos} without annotations, not used: {summary.unused}.")
    typer.echo(f"Look at {summary.sheet} before training.")


if __name__ == "__main__":
    run_command(main)
