"""Soft masks from a teacher and hand-drawn masks: `python convert/soft_labels.py TEACHER --data DIR --out FOLDER`.

FOLDER then holds `images/`, copies of the photos, and `masks/`, 8-bit PNGs of their size in which 0 to 255 is the
share of foreground in a pixel: the input of `train/fit.py --scenes`. The teacher sees each photo and its mirror image;
the drawn mask has the rest of the weight. An ignored line (255) along an outline, as in PASCAL VOC, is split down the
middle; for other ignored pixels, and for photos without masks (`--photos DIR`), the teacher alone decides. Only the
train part is used, never val or test.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import cv2
import numpy as np
import typer

from convert.distillation.teacher import Teacher
from seg_edge.commands.console import exit_codes
from seg_edge.errors import DataError
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.photo.read import read_photo
from seg_edge.photo.write import write_picture
from seg_edge.postprocess import upsample
from train.dataset import held_out_photos, open_dataset, open_split
from train.options import (
    DISTILLATION,
    INPUT,
    OUTPUT,
    ClassName,
    DrawnSplit,
    Holdout,
    PhotoNames,
    comma_separated,
    run_command,
)
from train.photos import photos_in
from train.runs import require_empty, sha256_of
from train.split import compile_pattern

OUTLINE = 8.0  # pixels: the widest ignored line along an outline; PASCAL VOC's is 5, in photos of 500


def without_outlines(mask: np.ndarray) -> np.ndarray:
    """The mask, uint8 (height, width), with ignored lines between foreground and background split down the middle."""
    to_foreground, to_background = (
        cv2.distanceTransform((mask != label).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for label in (1, 0)
    )
    line = (mask == IGNORE) & (to_foreground + to_background <= OUTLINE)
    return np.where(line, to_foreground < to_background, mask).astype(np.uint8)


def soft_mask(teacher: Teacher, photo: Path, mask: np.ndarray | None, weight: float) -> np.ndarray:
    """How much of each pixel is foreground, uint8 (height, width).

    Args:
        teacher: A teacher with one class and the background.
        photo: The photo.
        mask: The hand-drawn mask, uint8 (height, width); None if there is none.
        weight: Weight of the teacher if there is a mask.
    """
    frame = read_photo(photo)
    shape_hw = (frame.shape[0], frame.shape[1])
    plain, mirrored = (teacher(view)[0][..., 1].astype(np.float32) for view in (frame, cv2.flip(frame, 1)))
    soft = upsample((plain + mirrored[:, ::-1]) / 2, shape_hw)
    if mask is not None:
        mask = without_outlines(mask)
        mixed = (1 - weight) * (mask == 1) + weight * soft
        soft = np.where(mask == IGNORE, soft, mixed)
    return np.round(255 * np.clip(soft, 0, 1)).astype(np.uint8)


def write_soft_masks(
    teacher: Teacher, photos: Sequence[Path], masks: Sequence[Example | None], weight: float, out: Path
) -> None:
    """Writes the folder; `masks` belong to the photos, None for a photo without."""
    require_empty(out)
    for name in ("images", "masks"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with typer.progressbar(list(zip(photos, masks, strict=True)), label=f"Segmenting {len(photos)} photos") as shown:
        for photo, example in shown:
            soft = soft_mask(teacher, photo, example.load_mask() if example else None, weight)
            write_picture(out / "masks" / f"{photo.stem}.png", soft)
            shutil.copyfile(photo, out / "images" / photo.name)


def main(
    teacher: Annotated[Path, typer.Argument(help="A .keras or any .tflite of one class.")],
    out: Annotated[Path, typer.Option(help="Folder to write.", rich_help_panel=OUTPUT)],
    data: Annotated[
        Path | None, typer.Option(help="Data folder with masks; its train part is used.", rich_help_panel=INPUT)
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Photos without masks, instead of --data.", rich_help_panel=INPUT)
    ] = None,
    split: DrawnSplit = None,
    classes: ClassName = "",
    names: PhotoNames = "",
    holdout: Holdout = 0.15,
    teacher_weight: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Weight of the teacher, 0..1; the masks get the rest.", rich_help_panel=DISTILLATION
        ),
    ] = 0.3,
) -> None:
    """Mixes a teacher's soft masks with hand-drawn ones."""
    if (data is None) == (photos is None):
        raise typer.BadParameter("give either --data or --photos")
    with exit_codes():
        examples: list[Example] = []
        if data:
            if split:
                dataset = open_split(data, split)
            else:
                dataset = open_dataset(data, classes=comma_separated(classes) or None, holdout=holdout)
            pattern = compile_pattern(names, "--names")
            held_out = held_out_photos(dataset)
            examples = [e for e in dataset.parts["train"] if pattern.search(e.name)]
            for example in [e for e in examples if sha256_of(e.image) in held_out]:
                typer.echo(f"{example.name} is skipped: the same photo as {held_out[sha256_of(example.image)]}")
                examples.remove(example)
            class_list = dataset.classes
            paths = [example.image for example in examples]
        else:
            assert photos is not None
            paths = photos_in(photos)
            class_list = ("background", *(comma_separated(classes) or ("foreground",)))
        if len(class_list) != 2:
            raise DataError(f"soft masks hold one class, the data has {', '.join(class_list[1:])}.")
        write_soft_masks(Teacher.load(teacher, class_list), paths, examples or [None] * len(paths), teacher_weight, out)
    typer.echo(f"Written to {out}: {len(paths)} photos and soft masks")


if __name__ == "__main__":
    run_command(main)
