"""Adds photos whose masks a model predicted: `python train/pool.py DATA --split FILE --soft DIR --out OUT`.

Predicted masks are soft, 0..255. Where the prediction is sure it becomes a class number, between it doesn't count. They
only ever train: OUT's `index.csv` keeps the validation and test part of DATA as `--split` has them, so nothing is
chosen or scored by a predicted mask.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Annotated

import train.quiet  # noqa: F401

# isort: split

import cv2
import numpy as np
import typer

from seg_edge.errors import DataError, OutputError, SegEdgeError
from seg_edge.metrics import IGNORE
from seg_edge.photos import write_picture
from train.dataset import Dataset, open_split
from train.folder import PARTS, Example, find_examples

SURE_BACKGROUND, SURE_FOREGROUND = 64, 192  # of 255: a quarter and three quarters


def harden(soft: np.ndarray) -> np.ndarray:
    """Label map of a soft mask, both uint8 (h, w): 1 from 192, 0 up to 64, 255 (doesn't count) between."""
    labels = np.full(soft.shape, IGNORE, np.uint8)
    labels[soft >= SURE_FOREGROUND] = 1
    labels[soft <= SURE_BACKGROUND] = 0
    return labels


def pool(data: Dataset, soft: list[Example], out: Path) -> None:
    """Writes the pooled data folder beside `out`, then renames it.

    Raises:
        DataError: A photo of both has the same name, or there is more than one class to harden to.
    """
    if len(data.classes) != 2:
        raise DataError(f"predicted masks are of one class; the data has {', '.join(data.classes[1:])}.")
    rows = [(example, part) for part in PARTS for example in data.parts[part]]
    rows += [(example, "train") for example in soft]
    names = [example.name for example, _ in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two photos are called {twice!r}; rename one.")
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    for name in ("images", "masks"):
        (temporary / name).mkdir(parents=True)
    predicted = set(soft)
    with typer.progressbar(rows, label=f"Pooling {len(rows)} photos") as shown:
        for example, _ in shown:
            shutil.copy2(example.image, temporary / "images" / example.image.name)
            mask = example.load_mask()
            write_picture(temporary / "masks" / f"{example.name}.png", harden(mask) if example in predicted else mask)
    (temporary / "labels.txt").write_text("\n".join(data.classes) + "\n", encoding="utf-8")
    with (temporary / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("name", "split"), *((example.name, part) for example, part in rows)])
    temporary.replace(out)


def main(
    data: Annotated[Path, typer.Argument(help="Data folder with masks that people drew.")],
    split: Annotated[Path, typer.Option(help="split.json of a training on it.")],
    soft: Annotated[list[Path], typer.Option(help="Folder of images/ and soft masks/; may be given more than once.")],
    out: Annotated[Path, typer.Option(help="The data folder to write.")],
) -> None:
    """Pools photos with drawn and with predicted masks into one data folder."""
    try:
        if out.exists():
            raise OutputError(f"{out} is there already; remove it or give another --out.")
        pool(open_split(data, split), [example for folder in soft for example in find_examples(folder)], out)
    except (SegEdgeError, OSError, cv2.error) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
