"""Where do a model and drawn masks disagree? `python benchmarks/studies/disagreements.py MODEL --data DIR --out SHEET`

A teacher's masks replace or join drawn ones, so one should know how often the two differ, and who is right. That is
what the sheet is for: a pair of pictures for each photo that differs most, the drawn mask first. The train part is
looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import train.quiet  # noqa: F401

# isort: split

import numpy as np
import typer

from benchmarks.studies.scorecard import open_segmenter
from seg_edge import Segmenter
from seg_edge.commands.console import exit_codes
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.photo.read import read_photo
from seg_edge.photo.write import write_picture
from train.contact_sheet import contact_sheet, sheet_cell
from train.dataset import open_dataset
from train.options import comma_separated, run_command
from train.split import compile_pattern

MANY = (0.05, 0.1)  # of a photo's pixels


@dataclass(frozen=True)
class Disagreement:
    """A photo, and the share of its pixels on which the two differ, 0..1, of those that count."""

    example: Example
    share: float


def disagreement(segmenter: Segmenter, example: Example) -> Disagreement:
    """Compares the model's labels with the drawn mask, at the photo's size."""
    mask = example.load_mask()
    counts = mask != IGNORE
    differ = (segmenter(read_photo(example.image)).labels != mask) & counts
    return Disagreement(example, float(differ.sum() / max(1, counts.sum())))


def main(
    model: Annotated[str, typer.Argument(help="A .tflite, a bundled model's name, or a .keras.")],
    data: Annotated[Path, typer.Option(help="Data folder with masks.")],
    out: Annotated[Path, typer.Option(help="The sheet to write, .png or .jpg.")],
    classes: Annotated[str, typer.Option(help="Class names, if there is no labels.txt.")] = "",
    names: Annotated[str, typer.Option(help="Only photos in whose name this regular expression is found.")] = "",
    holdout: Annotated[float, typer.Option(help="Share of the photos in val, as for train/fit.py.")] = 0.15,
    worst: Annotated[int, typer.Option(min=1, help="Photos on the sheet.")] = 30,
) -> None:
    """Says how often a model and drawn masks disagree, and shows the photos where they do most."""
    with exit_codes():
        wanted = compile_pattern(names, "--names")
        dataset = open_dataset(data, classes=comma_separated(classes) or None, holdout=holdout)
        segmenter = open_segmenter(model)
        examples = [one for one in dataset.parts["train"] if wanted.search(one.name)]
        with typer.progressbar(examples, label=f"Segmenting {len(examples)} photos") as shown:
            found = sorted((disagreement(segmenter, one) for one in shown), key=lambda one: -one.share)
        cells = []
        for one in found[:worst]:
            frame, name = read_photo(one.example.image), one.example.name
            mask = np.where(one.example.load_mask() == IGNORE, 0, one.example.load_mask()).astype(np.uint8)
            cells += [sheet_cell(f"{name} drawn", frame, mask)]
            cells += [sheet_cell(f"{one.share:.1%} differ", frame, segmenter(frame).labels)]
        write_picture(out, contact_sheet(cells, dataset.classes, f"{len(cells) // 2} of {len(found)} photos"))
    shares = np.array([one.share for one in found])
    more = ", ".join(f"more than {many:.0%} on {int((shares > many).sum())}" for many in MANY)
    typer.echo(f"{shares.mean():.1%} of the pixels differ on {len(found)} photos, {more}; the worst: {out}")


if __name__ == "__main__":
    run_command(main)
