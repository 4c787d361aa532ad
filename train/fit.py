"""Trains a U-Net on a data folder: `python train/fit.py --data DIR --out RUN`.

RUN then holds `model.keras` (the best epoch by validation Dice, or the last with `--keep last`), `run.json` (recipe,
seed, split fingerprint, versions, scores), `split.json` (the photos of each part), `log.csv`, `curves.png`,
`tensorboard/`, and `last.weights.h5`, from which `--resume` continues an interrupted training to the same result.
"""

from __future__ import annotations

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

import typer

from seg_edge.commands.console import note
from seg_edge.errors import UsageError
from train.advice import learnt_nothing, more_epochs_would_help
from train.dataset import open_dataset
from train.options import (
    INPUT,
    OUTPUT,
    TRAINING,
    check_resume_or_force,
    comma_separated,
    resumable,
    run_command,
    use_threads,
)
from train.recipe_options import with_recipe_options
from train.recipes import ARCHITECTURE, RECIPES, Recipe, named_recipe
from train.scene_stream import PictureFolder
from train.strategy import in_words, is_chief, open_strategy
from train.training import fit


@with_recipe_options
def main(
    data: Annotated[Path, typer.Option(help="Data folder with images/ and masks/.", rich_help_panel=INPUT)],
    out: Annotated[Path, typer.Option(help="Run folder to write.", rich_help_panel=OUTPUT)],
    values: dict[str, Any],
    recipe: Annotated[str, typer.Option(help=f"One of {', '.join(RECIPES)}.", rich_help_panel=TRAINING)] = "default",
    classes: Annotated[
        str | None,
        typer.Option(help="Class names, if the data folder has no labels.txt: cat,dog.", rich_help_panel=INPUT),
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            help="Photos to keep in one part: similar, none, or a regular expression with one group.",
            rich_help_panel=INPUT,
        ),
    ] = "similar",
    names: Annotated[
        str, typer.Option(help="Use only photos whose name matches this regular expression.", rich_help_panel=INPUT)
    ] = "",
    split_seed: Annotated[int, typer.Option(help="Seed of the random split.", rich_help_panel=INPUT)] = 0,
    holdout: Annotated[
        float, typer.Option(help="Share of the photos in val, and again in test.", rich_help_panel=INPUT)
    ] = 0.15,
    network: Annotated[
        Path | None,
        typer.Option(
            help="A .keras to train further, e.g. a pruned one, at its own size or --size.", rich_help_panel=TRAINING
        ),
    ] = None,
    initial: Annotated[
        Path | None, typer.Option(help="A .keras whose weights a new U-Net starts from.", rich_help_panel=TRAINING)
    ] = None,
    scenes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER[:WEIGHT]",
            help="Train on scenes composed of these pictures with soft masks; repeatable.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    places: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER[:WEIGHT]",
            help="With --scenes: pictures without people (images/, no masks); repeatable.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for all cores.", rich_help_panel=TRAINING)] = 0,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="auto|mirrored|multiworker",
            help="Devices: all GPUs of this machine, or the machines of TF_CONFIG; auto uses those available.",
            rich_help_panel=TRAINING,
        ),
    ] = "auto",
    xla: Annotated[
        bool, typer.Option("--xla/--no-xla", help="On a GPU, compile the step with XLA.", rich_help_panel=TRAINING)
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run.", rich_help_panel=TRAINING)
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.", rich_help_panel=OUTPUT)] = False,
) -> None:
    """Trains a U-Net on a data folder."""
    check_resume_or_force(resume, force)
    use_threads(threads)
    with resumable("run the same command with --resume to continue"):
        chosen = named_recipe(recipe).replace(**values)
        devices = open_strategy(strategy)
        log = typer.echo if is_chief(devices) else _silent
        dataset = open_dataset(
            data,
            classes=None if classes is None else comma_separated(classes),
            seed=split_seed,
            holdout=holdout,
            group=group,
            names=names,
            log=log,
        )
        log(f"{', '.join(dataset.classes[1:])}: {dataset.in_words}; recipe {recipe}, {chosen.epochs} epochs")
        if devices.num_replicas_in_sync > 1:
            log(in_words(devices, chosen.batch, chosen.learning_rate))
        trained = fit(
            dataset,
            chosen,
            out,
            resume=resume,
            force=force,
            network=network,
            network_wh=_new_size(chosen, values) if network else None,
            initial=initial,
            scenes=[PictureFolder.parse(text) for text in scenes or ()],
            places=[PictureFolder.parse(text) for text in places or ()],
            xla=xla,
            strategy=devices,
        )
    if not is_chief(devices):
        typer.echo(f"done; the first worker has written {out}")
        return
    scores = trained.run["scores"]
    typer.echo(f"{chosen.keep} val dice {scores['val_dice']:.4f} in epoch {scores['epoch']}: {trained.path}")
    if failure := learnt_nothing(out):
        note(f"warning: {failure}")
    elif hint := more_epochs_would_help(out):
        typer.echo(hint)


def _new_size(recipe: Recipe, values: Mapping[str, Any]) -> tuple[int, int] | None:
    """The input size given for `--network`, which defines the rest of the architecture."""
    given = [name for name in ARCHITECTURE if name in values]
    if fixed := [f"--{name.replace('_', '-')}" for name in given if name not in ("size", "height")]:
        raise UsageError(f"--network has its own architecture; leave out {' and '.join(fixed)}.")
    return recipe.size_wh if given else None


def _silent(message: str) -> None:
    """Only the first worker prints."""


if __name__ == "__main__":
    run_command(main)
