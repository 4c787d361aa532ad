"""Scores a model on photos it was not trained on: `python train/evaluate.py MODEL --data DIR`.

MODEL is a `.keras`, `.h5` or `.tflite`; each runs with the runtime's own pre- and postprocessing and is scored at the
photo's size. Prints Dice, IoU and boundary F of each class, and writes `scores.json` (with each photo's raw counts),
`confusion.png` and `worst.jpg`, the photos with the lowest scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import numpy as np
import typer

from seg_edge import Segmenter
from seg_edge.commands.console import exit_codes
from seg_edge.errors import ModelError
from seg_edge.evaluation.data_folder import PARTS, check_examples, class_names, find_examples
from seg_edge.evaluation.metrics import dice, iou
from seg_edge.evaluation.scores import FOREGROUND_SHARES, Scores, score
from seg_edge.system.files import atomic_write, write_file
from seg_edge.system.fonts import font_for, spelled
from train.foreign import options as foreign
from train.foreign.open import import_model, open_keras, split_of
from train.foreign.reading import SUFFIXES
from train.keras_model import keras_segmenter
from train.options import INPUT, OUTPUT, comma_separated, run_command
from train.worst_photos import draw_worst


def table(scores: Scores) -> str:
    """Dice, IoU and boundary F of each class, and of photos by the share that the foreground fills."""
    matrix = scores.matrix
    lines = [f"{'class':<16}{'Dice':>8}{'IoU':>8}{'boundary F':>12}{'pixels':>12}"]
    for index, name in enumerate(scores.classes[1:], 1):
        lines.append(
            f"{name:<16}{dice(matrix)[index]:8.4f}{iou(matrix)[index]:8.4f}{scores.boundary[index]:12.4f}"
            f"{matrix[index].sum():12,}"
        )
    lines.append(f"{'mean':<16}{scores.mean_dice:8.4f}{scores.mean_iou:8.4f}{scores.mean_boundary:12.4f}")
    lines += ["", f"{'foreground fills':<20}{'photos':>8}{'mean photo Dice':>18}{'boundary F':>12}"]
    for share in FOREGROUND_SHARES:
        part = scores.at_least(share)
        if part.photos:
            filled = f">= {share:.0%}" if share else "any share"
            lines.append(f"{filled:<20}{len(part.photos):8}{part.mean_photo_dice:18.4f}{part.mean_boundary:12.4f}")
    return "\n".join(lines)


def draw_confusion(scores: Scores, path: Path) -> None:
    """Draws the confusion matrix, each row in per cent of the true class's pixels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import font_manager

    matrix = scores.matrix
    found = {name: None if name.isascii() else font_for(name) for name in scores.classes}
    for font in filter(None, found.values()):
        font_manager.fontManager.addfont(font)
    families = [font_manager.get_font(font).family_name for font in found.values() if font]
    names = [name if name.isascii() or found[name] else spelled(name) for name in scores.classes]
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    side = 2.5 + 0.8 * len(scores.classes)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(scores.classes))
    axis.set_xticks(ticks, names, rotation=45, family=["DejaVu Sans", *families])
    axis.set_yticks(ticks, names, family=["DejaVu Sans", *families])
    axis.set(xlabel="predicted", ylabel="true", title="Share of the true class's pixels")
    for row in ticks:
        for column in ticks:
            shade = "white" if shares[row, column] > 0.6 else "black"
            axis.text(column, row, f"{shares[row, column]:.1%}", ha="center", va="center", color=shade)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


def write_scores(scores: Scores, about: Mapping[str, Any], path: Path) -> None:
    """All figures and each photo's raw counts as JSON."""
    photos = [photo.to_json() for photo in scores.photos]
    by_share = {
        str(share): scores.at_least(share).summary() for share in FOREGROUND_SHARES if scores.at_least(share).photos
    }
    document = {
        **about,
        "summary": scores.summary(),
        "by_foreground_share": by_share,
        "photos": photos,
    }
    write_file(path, json.dumps(document, indent=1).encode())


def main(
    model: Annotated[Path, typer.Argument(help="A .keras or .tflite file, or a bundled model's name.")],
    data: Annotated[Path, typer.Option(help="Data folder with images/ and masks/.", rich_help_panel=INPUT)],
    part: Annotated[
        str, typer.Option(help="train, val, test, or all photos of the folder.", rich_help_panel=INPUT)
    ] = "val",
    split: Annotated[
        Path | None, typer.Option(help="split.json; by default the one next to the model.", rich_help_panel=INPUT)
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Class names, if the data folder has no labels.txt: cat,dog.", rich_help_panel=INPUT)
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default next to the model.", rich_help_panel=OUTPUT)
    ] = None,
    input_scale: foreign.Scale = None,
    input_offset: foreign.Offset = None,
    input_size: foreign.Size = "",
) -> None:
    """Scores a model on one part of a data folder."""
    if part not in (*PARTS, "all"):
        raise typer.BadParameter(f"train, val, test or all, got {part!r}", param_hint="--part")
    is_keras = model.suffix in SUFFIXES or model.is_dir()
    with exit_codes():
        input_options = foreign.input_options(input_scale, input_offset, input_size)
        if part == "all":
            examples, names = find_examples(data), class_names(data, comma_separated(classes) or None)
            check_examples(examples, names)
            segmenter = (
                keras_segmenter(open_keras(model, names, examples, input_options), names)
                if is_keras
                else Segmenter(model)
            )
        elif is_keras:
            trained, dataset = import_model(model, data, split, input_options, typer.echo)
            examples, names = dataset.parts[part], dataset.classes
            segmenter = keras_segmenter(trained.model, names)
        else:
            dataset = split_of(model, data, split, typer.echo)
            examples, names = dataset.parts[part], dataset.classes
            segmenter = Segmenter(model)
        if len(segmenter.classes) != len(names):
            raise ModelError(f"{model} has {len(segmenter.classes)} classes, the data {len(names)}.")
        if segmenter.file.card and segmenter.card.class_names != names:
            actual, expected = ", ".join(segmenter.card.class_names), ", ".join(names)
            raise ModelError(f"{model} has the classes {actual}; the data has {expected}.")
        with typer.progressbar(examples, label=f"Scoring {len(examples)} photos") as shown:
            scores = score(segmenter, shown)
        folder = out or model.parent / f"scores_{part}"
        folder.mkdir(parents=True, exist_ok=True)
        about = {"model": str(model), "sha256": segmenter.file.sha256, "part": part}
        write_scores(scores, about, folder / "scores.json")
        draw_confusion(scores, folder / "confusion.png")
        draw_worst({"model": segmenter}, examples, scores, folder / "worst.jpg")
    typer.echo(table(scores))
    typer.echo(f"Written to {folder}: scores.json, confusion.png, worst.jpg")


if __name__ == "__main__":
    run_command(main)
