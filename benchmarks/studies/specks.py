"""How large is a speck? `python benchmarks/studies/specks.py MODEL... --data DIR`

Scores a model with regions below several sizes, in pixels of its output, removed from the label map
(`seg_edge.specks`). The number for its card is the largest that costs nothing. Use photos that aren't for the final
score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import train.quiet  # noqa: F401

# isort: split

import typer

from benchmarks.reporting.tables import markdown_table
from seg_edge import Segmenter
from seg_edge.commands.console import exit_codes
from seg_edge.errors import UsageError
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.scores import Scores, score_photo
from seg_edge.photo.read import read_photo
from train.dataset import open_dataset
from train.keras_model import open_segmenter
from train.options import comma_separated

SIZES = "0,8,16,32,64,128"


def scores_by_size(segmenter: Segmenter, examples: Sequence[Example], sizes: Sequence[int]) -> Iterator[Scores]:
    """The scores with only regions of each minimum size; the model runs once per photo."""
    maps = [segmenter(read_photo(example.image)).score_map for example in examples]
    names = segmenter.card.class_names
    for size in sizes:
        photos = []
        for example, scores in zip(examples, maps, strict=True):
            truth = example.load_mask()
            labels = replace(scores, specks=size).labels(truth.shape)  # type: ignore[arg-type]
            photos.append(score_photo(example.name, truth, labels, len(names)))
        yield Scores(names, tuple(photos))


def main(
    models: Annotated[list[str], typer.Argument(help="A .tflite, a bundled model's name, or a .keras.")],
    data: Annotated[Path, typer.Option(help="Data folder with masks.")],
    part: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    classes: Annotated[str, typer.Option(help="Class names, if there is no labels.txt.")] = "",
    names: Annotated[str, typer.Option(help="As for train/fit.py.")] = "",
    holdout: Annotated[float, typer.Option(help="As for train/fit.py.")] = 0.15,
    sizes: Annotated[str, typer.Option(help="Minimum sizes in pixels of the output; 0 keeps all.")] = SIZES,
) -> None:
    """Prints mean Dice and boundary F over the photos by minimum size of regions."""
    with exit_codes():
        if not all(size.isdecimal() for size in comma_separated(sizes)):
            raise UsageError(f"--sizes must be whole numbers, as in {SIZES}, got {sizes!r}.")
        dataset = open_dataset(data, classes=comma_separated(classes) or None, holdout=holdout, names=names)
        examples, minimums = dataset.parts[part], [int(size) for size in comma_separated(sizes)]
        rows = []
        for model in models:
            found = scores_by_size(open_segmenter(Path(model), dataset.classes), examples, minimums)
            cells = [f"{scores.mean_photo_dice:.4f}, {scores.mean_boundary:.3f}" for scores in found]
            rows.append([Path(model).name, str(len(examples)), *cells])
        heads = ["Dice, boundary F", "photos", *(f"{size} pixels" if size else "all kept" for size in minimums)]
        typer.echo(markdown_table(heads, rows))


if __name__ == "__main__":
    typer.run(main)
