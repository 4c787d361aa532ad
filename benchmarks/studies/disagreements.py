"""Where do a model and drawn masks disagree? `python benchmarks/studies/disagreements.py MODEL --data DIR --out SHEET`

A teacher's masks replace or complement drawn ones, so it matters how often the two differ and which is right. For the
photos of the train part that differ most, the sheet shows the drawn mask next to the model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import train.quiet  # noqa: F401

# isort: split

import numpy as np
import typer

from seg_edge import Segmenter
from seg_edge.commands.console import exit_codes
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.photo.write import write_picture
from train.contact_sheet import contact_sheet, sheet_cell
from train.dataset import open_dataset
from train.keras_model import open_segmenter
from train.options import comma_separated
from train.split import compile_pattern

LARGE = (0.05, 0.1)  # shares of a photo's pixels


@dataclass(frozen=True)
class Disagreement:
    """A photo, and the share of its pixels on which model and mask differ, 0..1, without ignored ones."""

    example: Example
    share: float


def disagreement(segmenter: Segmenter, example: Example) -> Disagreement:
    """Compares the model's labels with the drawn mask, at the photo's size."""
    frame, mask = example.load_pair()
    counts = mask != IGNORE
    differ = (segmenter(frame).labels != mask) & counts
    return Disagreement(example, float(differ.sum() / max(1, counts.sum())))


def main(
    model: Annotated[str, typer.Argument(help="A .tflite, a bundled model's name, or a .keras.")],
    data: Annotated[Path, typer.Option(help="Data folder with masks.")],
    out: Annotated[Path, typer.Option(help="The sheet to write, .png or .jpg.")],
    classes: Annotated[str, typer.Option(help="Class names, if there is no labels.txt.")] = "",
    names: Annotated[str, typer.Option(help="Use only photos whose name matches this regular expression.")] = "",
    holdout: Annotated[float, typer.Option(help="Share of the photos in val, as for train/fit.py.")] = 0.15,
    worst: Annotated[int, typer.Option(min=1, help="Photos on the sheet.")] = 30,
) -> None:
    """Reports how often a model and drawn masks disagree, and shows the worst photos."""
    with exit_codes():
        pattern = compile_pattern(names, "--names")
        dataset = open_dataset(data, classes=comma_separated(classes) or None, holdout=holdout)
        segmenter = open_segmenter(Path(model), dataset.classes)
        examples = [example for example in dataset.parts["train"] if pattern.search(example.name)]
        with typer.progressbar(examples, label=f"Segmenting {len(examples)} photos") as shown:
            found = sorted((disagreement(segmenter, example) for example in shown), key=lambda photo: -photo.share)
        cells = []
        for photo in found[:worst]:
            frame, mask = photo.example.load_pair()
            mask = np.where(mask == IGNORE, 0, mask).astype(np.uint8)
            cells += [sheet_cell(f"{photo.example.name} drawn", frame, mask)]
            cells += [sheet_cell(f"{photo.share:.1%} differ", frame, segmenter(frame).labels)]
        write_picture(out, contact_sheet(cells, dataset.classes, f"{len(cells) // 2} of {len(found)} photos"))
    shares = np.array([photo.share for photo in found])
    large = ", ".join(f"more than {limit:.0%} on {int((shares > limit).sum())}" for limit in LARGE)
    typer.echo(f"{shares.mean():.1%} of the pixels differ on {len(found)} photos, {large}; the worst: {out}")


if __name__ == "__main__":
    typer.run(main)
