"""Annotated photos to a model for the device, in one command: `python convert/learn.py PHOTOS ANNOTATIONS`.

Makes the masks, trains, scores on photos that were held out, converts to int8 and writes a report, each step as in
train/masks.py, train/fit.py, train/evaluate.py and convert/quantize.py. The output folder holds `model.tflite`,
`report.html`, and the intermediate results in `data/` and `run/`. After an interruption, the same command continues.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import typer

from convert.family import fitting
from convert.learn_report import write_report
from convert.quantisation.quantize import quantize
from seg_edge import Segmenter
from seg_edge.card import read_card
from seg_edge.errors import OutputError
from seg_edge.evaluation.latency import measure
from seg_edge.evaluation.metrics import dice
from seg_edge.evaluation.scores import score
from seg_edge.system.files import write_file
from train.advice import learnt_nothing, more_epochs_would_help
from train.annotations.text import HELP
from train.dataset import Dataset, open_dataset, open_split
from train.keras_model import TrainedModel
from train.masks import make_masks
from train.options import BUDGET, INPUT, OUTPUT, TRAINING, comma_separated, resumable, run_command, use_threads
from train.recipe_options import with_recipe_options
from train.recipes import RECIPES, Recipe, named_recipe, saved_recipe
from train.runs import SPLIT_NAME, sha256_of
from train.training import fit
from train.worst_photos import draw_worst

SETTINGS, DATA, BEGUN = "asked.json", "data", "run/recipe.json"  # the last exists once training has begun


@with_recipe_options
def main(
    photos: Annotated[Path, typer.Argument(help="The folder of the annotated photos.")],
    annotations: Annotated[Path, typer.Argument(help=HELP)],
    values: dict[str, Any],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; by default PHOTOS_model next to the photos.", rich_help_panel=OUTPUT),
    ] = None,
    name: Annotated[
        str, typer.Option(help="The model's name; by default that of the photos' folder.", rich_help_panel=OUTPUT)
    ] = "",
    budget_ms: Annotated[
        float | None,
        typer.Option(
            min=0, help="Choose the widest network within this time here, int8, one thread.", rich_help_panel=BUDGET
        ),
    ] = None,
    budget_kb: Annotated[
        float | None,
        typer.Option(min=0, help="Choose the widest network whose file is no larger.", rich_help_panel=BUDGET),
    ] = None,
    recipe: Annotated[str, typer.Option(help=f"One of {', '.join(RECIPES)}.", rich_help_panel=TRAINING)] = "default",
    attribute: Annotated[
        str | None, typer.Option(help="VIA's region attribute that holds the class.", rich_help_panel=INPUT)
    ] = None,
    label: Annotated[
        str, typer.Option(help="Class of regions without a class, or of white in masks.", rich_help_panel=INPUT)
    ] = "",
    classes: Annotated[str | None, typer.Option(help="Class names in order: a,b,c.", rich_help_panel=INPUT)] = None,
    other: Annotated[
        Path | None,
        typer.Option(help="Folder of photos that show none of the classes, e.g. other people.", rich_help_panel=INPUT),
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            help="Photos to keep in one part: similar, none, or a regular expression with one group.",
            rich_help_panel=INPUT,
        ),
    ] = "similar",
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads of training; 0 for all cores.", rich_help_panel=TRAINING)
    ] = 0,
) -> None:
    """Makes a model for the device from annotated photos."""
    use_threads(threads)
    with resumable("run the same command to continue"):
        chosen = named_recipe(recipe).replace(**values)
        folder = out or photos.with_name(f"{photos.resolve().name}_model")
        others = sorted(path.name for path in other.iterdir()) if other and other.is_dir() else []
        settings = {name: value for name, value in values.items() if name != "epochs"}  # a run may continue for more
        of_data = [hashlib.sha256(_content(annotations)).hexdigest(), attribute, label, classes, others]
        _require_same(folder, {DATA: of_data, BEGUN: [group, recipe, budget_ms, budget_kb, settings]})
        data = folder / DATA
        if not data.is_dir():
            names = None if classes is None else comma_separated(classes)
            for warning in make_masks(annotations, photos, data, attribute, names, label=label, other=other).warnings:
                typer.echo(f"warning: {warning}", err=True)
            typer.echo(f"{data / 'contact_sheet.jpg'}: check that the masks fit")
        trained, dataset = _trained(folder, data, group, chosen, budget_ms, budget_kb)
        _converted(trained, dataset, folder, name or photos.resolve().name)
    typer.echo(f"{folder / 'model.tflite'}: seg-edge camera --model {folder / 'model.tflite'}")
    typer.echo(f"{folder / 'report.html'}: how good it is, and where it fails")


def _content(annotations: Path) -> bytes:
    files = sorted(annotations.rglob("*")) if annotations.is_dir() else [annotations]
    return b"".join(path.name.encode() + path.read_bytes() for path in files if path.is_file())


def _require_same(folder: Path, settings: dict[str, Any]) -> None:
    """Records the settings of each result, or refuses to continue with an existing one that had others."""
    path, settings = folder / SETTINGS, json.loads(json.dumps(settings))  # with lists for tuples, as in the file
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else settings
    for result, made_with in settings.items():
        if (folder / result).exists() and (not isinstance(before, dict) or before[result] != made_with):
            raise OutputError(f"{folder} was made from other annotations or with other options; give another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(settings).encode())


def _trained(
    folder: Path, data: Path, group: str, recipe: Recipe, budget_ms: float | None, budget_kb: float | None
) -> tuple[TrainedModel, Dataset]:
    begun = folder / BEGUN
    run = begun.parent
    if begun.is_file():
        dataset = open_split(data, run / SPLIT_NAME)
        saved = saved_recipe(json.loads(begun.read_text(encoding="utf-8")), recipe)
        recipe = saved.replace(epochs=recipe.epochs)
    else:
        dataset = open_dataset(data, group=group, log=typer.echo)
        if budget_ms or budget_kb:
            recipe = fitting(dataset, recipe, budget_ms, budget_kb, typer.echo)
    typer.echo(f"{', '.join(dataset.classes[1:])}: {dataset.in_words}; {recipe.epochs} epochs")
    trained = fit(dataset, recipe, run, resume=True)
    if failure := learnt_nothing(run):
        raise OutputError(failure)
    if hint := more_epochs_would_help(run, "the same command with"):
        typer.echo(hint)
    return trained, dataset


def _converted(trained: TrainedModel, dataset: Dataset, folder: Path, name: str) -> None:
    target = folder / "model.tflite"
    card = read_card(target.read_bytes(), target) if target.is_file() else None
    if card is None or card.parent_sha256 != sha256_of(trained.path):
        quantize(trained, dataset, target, name=name, log=typer.echo)
    segmenter, test = Segmenter(target), dataset.parts["test"]
    scores = score(segmenter, test)
    draw_worst({"model": segmenter}, test, scores, folder / "worst.jpg")
    timing = {threads: measure({"model": target}, threads)["model"] for threads in (1, 2)}
    write_report(folder, segmenter.card, scores, timing)
    each = ", ".join(
        f"{name} {value:.3f}" for name, value in zip(dataset.classes[1:], dice(scores.matrix)[1:], strict=True)
    )
    typer.echo(f"Dice on {len(test)} photos the training never saw: {scores.mean_dice:.3f} ({each})")


if __name__ == "__main__":
    run_command(main)
