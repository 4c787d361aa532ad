"""Turns annotated photos into a data folder: photos, masks, class names, a sheet to check by eye.

python train/masks.py via_region_data.csv --photos photos/ --out data/
"""

import csv
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

import cv2
import numpy as np
import typer
from seg_edge.card import class_colour
from seg_edge.errors import DataError, OutputError, PhotoError, SegEdgeError, UsageError
from seg_edge.sources.photo import find_photos, read_header, read_photo

from train.via import Region, at_most, read_via

BACKGROUND = "background"
MAX_CLASSES = 255  # a label map is 8 bits, and 0 is the background
FEW_PHOTOS = 3  # below this a class can't be in the training, the validation and the test part
_BORDER_PX = 2  # how far past the photo's edge a hand-drawn point may land
_SHIFT = 4  # fillPoly takes coordinates in 1/16 pixel

_SHEET_PHOTOS, _SHEET_COLUMNS = 64, 8
_CELL_WH, _TEXT_PX, _LEGEND_PX = (216, 184), 18, 40
_FONT, _INK, _PAPER = cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40), 255

Annotations = Mapping[str, tuple[Region, ...]]


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
        out: the data folder.
        sheet: the contact sheet in it.
        classes: one entry a label, in the order of labels.txt, the background first.
        photos: how many photos have a mask.
        unused: how many photos of the folder are not in the annotation file.
        warnings: sentences that a person should read.
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
) -> MaskSummary:
    """Makes the data folder that the rest of the project trains from.

    It holds images/ (copies of the photos), masks/ (8-bit PNG label maps of the upright photos),
    labels.txt (line i names label i), classes.csv and contact_sheet.jpg.

    Args:
        annotations: a file that `read_via` reads.
        photos: the folder with the photos it names.
        out: the folder to make; it appears whole or not at all.
        attribute: the region attribute that holds the class, where there are several.
        classes: the class names in the order of their labels 1, 2, ...; sorted by name without it.
        force: replace `out` if it is a data folder made by this function.

    Raises:
        DataError: the annotations can't be used, or don't fit the photos; all the photos are named.
        OutputError: `out` exists, or can't be written.
        UsageError: `classes` makes no sense.
    """
    _check_out(out, force, keep=(annotations, photos))
    regions = {
        photo: found
        for photo, found in read_via(annotations, attribute).items()
        if not photo.startswith("._")  # macOS keeps a photo's attributes in a file of that name
    }
    labels = _labels(regions, classes)
    _check_photos(regions, photos)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            made = Path(scratch, "new")
            counts = _write(made, regions, photos, labels)
            _put(made, out, Path(scratch, "old"))
    except OSError as error:
        raise OutputError(f"Can't write {out}: {error}.") from error
    few = [f"{c.name} ({c.photos})" for c in counts[1:] if c.photos < FEW_PHOTOS]
    return MaskSummary(
        out=out,
        sheet=out / "contact_sheet.jpg",
        classes=counts,
        photos=len(regions),
        unused=len({photo.name for photo in find_photos([str(photos)])[0]} - set(regions)),
        warnings=(f"Fewer than {FEW_PHOTOS} photos show: {', '.join(few)}.",) if few else (),
    )


def draw_mask(
    regions: Sequence[Region], shape_hw: tuple[int, int], labels: Sequence[str]
) -> np.ndarray:
    """The label map of one photo; later regions lie over earlier ones.

    A point (x, y) is the middle of the pixel in column x and row y, and the outline belongs to the
    region, as with OpenCV's fillPoly and findContours: the square from (2, 2) to (6, 6) fills 5x5
    pixels. Coordinates count to 1/16 pixel; what lies outside the photo is cut off.

    Args:
        regions: in drawing order.
        shape_hw: height and width of the upright photo, pixels.
        labels: class names by label; labels[0] is the background.

    Returns:
        uint8 (height, width), each value an index into `labels`.
    """
    mask = np.zeros(shape_hw, np.uint8)
    for region in regions:
        points = np.rint(region.points_xy * 2**_SHIFT).astype(np.int32)
        cv2.fillPoly(mask, [points], labels.index(region.label), shift=_SHIFT)
    return mask


def _check_out(out: Path, force: bool, keep: Sequence[Path]) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise OutputError(f"{out} exists; give another folder, or --force to replace it.")
    if any(path.resolve().is_relative_to(out.resolve()) for path in keep):
        raise OutputError(f"{out} holds the photos or the annotations; give another folder.")
    is_ours = (out / "labels.txt").is_file() and (out / "masks").is_dir()
    if out.is_symlink() or not out.is_dir() or not (is_ours or not any(out.iterdir())):
        raise OutputError(f"{out} is not a data folder of train/masks.py; give another folder.")


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


def _labels(regions: Annotations, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Class names by label, the background first."""
    found = sorted({region.label for of_photo in regions.values() for region in of_photo})
    if not found:
        raise DataError("No photo has a region, so there is no class to learn.")
    if classes is not None and (len(set(classes)) < len(classes) or "" in classes):
        raise UsageError(f"--classes names a class twice or not at all: {', '.join(classes)}.")
    if left_out := sorted(set(found) - set(classes or found)):
        raise DataError(f"Annotated, but not among --classes: {', '.join(left_out)}.")
    names = tuple(classes or found)
    if BACKGROUND in names:
        raise DataError(
            f"'{BACKGROUND}' can't be a class: it is what no region covers. Rename that class, or "
            "delete its regions in VIA."
        )
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"There are {len(names)} classes; a mask holds {MAX_CLASSES}. Is the attribute a "
            "comment and not the class?"
        )
    return (BACKGROUND, *names)


def _check_photos(regions: Annotations, folder: Path) -> None:
    """Raises one DataError that names every photo with which something is wrong."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of photos.")
    stems = Counter(Path(photo).stem.casefold() for photo in regions)
    problems: dict[str, list[str]] = {}
    for photo, of_photo in regions.items():
        if problem := _problem(photo, of_photo, folder, stems):
            problems.setdefault(problem[0], []).append(f"{photo}{problem[1]}")
    if problems:
        raise DataError("\n".join(f"{what}:\n{at_most(names)}" for what, names in problems.items()))


def _problem(
    photo: str, regions: Sequence[Region], folder: Path, stems: Counter[str]
) -> tuple[str, str] | None:
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
    return bool(np.all(points >= -_BORDER_PX) and np.all(points <= np.add(size_wh, _BORDER_PX)))


def _reach(region: Region) -> str:
    (left, top), (right, bottom) = region.points_xy.min(axis=0), region.points_xy.max(axis=0)
    return f"from {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"


def _write(
    out: Path, regions: Annotations, folder: Path, labels: Sequence[str]
) -> tuple[ClassCount, ...]:
    """Fills the data folder; gives the counts of classes.csv."""
    (out / "images").mkdir(parents=True)
    (out / "masks").mkdir()
    pixels, in_photos = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
    shown = np.linspace(0, len(regions) - 1, min(len(regions), _SHEET_PHOTOS)).round().astype(int)
    cells, unreadable = [], []
    with typer.progressbar(regions.items(), label="Drawing masks", file=sys.stderr) as progress:
        for number, (photo, of_photo) in enumerate(progress):
            try:
                image = read_photo(folder / photo)
            except PhotoError as error:
                unreadable.append(str(error))
                continue
            mask = draw_mask(of_photo, image.shape[:2], labels)
            shutil.copy2(folder / photo, out / "images" / photo)
            _write_image(out / "masks" / f"{Path(photo).stem}.png", mask)
            count = np.bincount(mask.ravel(), minlength=len(labels))
            pixels += count
            in_photos += count > 0
            if number in shown:
                cells.append(_cell(photo, image, mask))
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
    _write_image(out / "contact_sheet.jpg", _sheet(cells, labels, len(regions)))
    return counts


def _write_image(path: Path, image: np.ndarray) -> None:
    # Not cv2.imwrite: it says False without a reason, and on Windows can't open every name.
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def _colour(label: int) -> tuple[int, int, int]:
    """BGR, the same colours that the model will draw its classes in."""
    red, green, blue = class_colour(label)
    return blue, green, red


def _cell(photo: str, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A thumbnail with the mask over it, half transparent and outlined, and the name below."""
    width, height = _CELL_WH[0] - 8, _CELL_WH[1] - _TEXT_PX - 8
    scale = min(width / image.shape[1], height / image.shape[0])
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    thumb = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    small = cv2.resize(mask, size_wh, interpolation=cv2.INTER_NEAREST)
    for label in np.unique(small[small > 0]):
        inside = small == label
        thumb[inside] = (0.6 * thumb[inside] + 0.4 * np.array(_colour(label))).astype(np.uint8)
        outlines, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
        )
        cv2.drawContours(thumb, outlines, -1, _colour(label), 2, cv2.LINE_AA)
    cell = np.full((_CELL_WH[1], _CELL_WH[0], 3), _PAPER, np.uint8)
    top, left = (height - size_wh[1]) // 2 + 4, (width - size_wh[0]) // 2 + 4
    cell[top : top + size_wh[1], left : left + size_wh[0]] = thumb
    _text(cell, photo, (4, _CELL_WH[1] - 8), width)
    return cell


def _sheet(cells: Sequence[np.ndarray], labels: Sequence[str], photos: int) -> np.ndarray:
    """The legend, and below it the thumbnails in rows."""
    columns = min(_SHEET_COLUMNS, len(cells))
    blank = np.full_like(cells[0], _PAPER)
    cells = [*cells, *[blank] * (-len(cells) % columns)]
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return np.vstack([_legend(labels, min(photos, _SHEET_PHOTOS), photos, rows[0].shape[1]), *rows])


def _legend(labels: Sequence[str], shown: int, photos: int, width: int) -> np.ndarray:
    """A title, then a coloured square and a name for each class, in as many lines as they need."""
    title = f"{shown} of {photos} photos"
    places, x, line = [], 12 + _text_width(title, 0.6) + 24, 0
    for name in labels[1:]:
        needed = 26 + min(_text_width(name, 0.6), width - 50) + 22
        if x + needed > width and x > 12:
            x, line = 12, line + 1
        places.append((x, line))
        x += needed
    legend = np.full(((line + 1) * _LEGEND_PX, width, 3), _PAPER, np.uint8)
    _text(legend, title, (12, 26), width - 12, 0.6)
    for label, (name, (x, line)) in enumerate(zip(labels[1:], places, strict=True), start=1):
        y = line * _LEGEND_PX
        cv2.rectangle(legend, (x, y + 11), (x + 18, y + 29), _colour(label), cv2.FILLED)
        _text(legend, name, (x + 26, y + 26), width - x - 26, 0.6)
    return legend


def _text_width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, _FONT, scale, 1)[0][0]


def _text(
    image: np.ndarray, text: str, at_xy: tuple[int, int], width: int, scale: float = 0.42
) -> None:
    """Writes one line, shortened in the middle to `width` pixels; the font has ASCII only."""
    text = text.encode("ascii", "replace").decode()
    keep = len(text)
    while _text_width(text, scale) > width and keep > 4:
        keep -= 1
        text = f"{text[: keep // 2]}..{text[-(keep // 2) :]}"
    cv2.putText(image, text, at_xy, _FONT, scale, _INK, 1, cv2.LINE_AA)


def main(
    annotations: Annotated[Path, typer.Argument(help="VIA's CSV, JSON or project file.")],
    photos: Annotated[Path, typer.Option(help="The folder with the annotated photos.")],
    out: Annotated[Path, typer.Option(help="The data folder to make.")],
    attribute: Annotated[str | None, typer.Option(help="Region attribute with the class.")] = None,
    classes: Annotated[str | None, typer.Option(help="Class names in order: a,b,c.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier data folder.")] = False,
) -> None:
    """Turn annotated photos into a data folder to train from."""
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    try:
        made = make_masks(annotations, photos, out, attribute, names, force)
    except SegEdgeError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
    for warning in made.warnings:
        typer.echo(f"warning: {warning}", err=True)
    longest = max(len(c.name) for c in made.classes)
    typer.echo(f"{'class':{longest}}  {'pixels':>12}  {'share':>7}  {'photos':>6}  {'regions':>7}")
    for c in made.classes:
        typer.echo(
            f"{c.name:{longest}}  {c.pixels:12}  {c.share:7.2%}  {c.photos:6}  {c.regions:7}"
        )
    typer.echo(f"Photos with masks in {made.out}: {made.photos}.")
    if made.unused:
        typer.echo(
            f"Photos in {photos} that the file does not mention, so not used: {made.unused}."
        )
    typer.echo(f"Look at {made.sheet} before training.")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
