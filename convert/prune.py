"""Removes whole filters from a trained `.keras`.

    python convert/prune.py MODEL.keras --data DIR --out RUN --budget-mmac 200

The result is a narrower, ordinary `.keras`. RUN then holds `model.keras`, `split.json` and `run.json` (how it was
pruned, the channels of each layer before and after, the parent's SHA-256). With `--epochs` the model is trained after
each of `--steps` steps, each in its own folder in RUN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import keras
import typer

from convert.operator_times import operator_times
from convert.pruning.budget import Budget, int8_of
from convert.pruning.importance import CRITERIA
from convert.pruning.plan import Limits
from convert.pruning.prune import SCORED_PHOTOS, PruneConfig, prune
from convert.pruning.table import ms_by_layer, table
from seg_edge.commands.console import exit_codes
from train.dataset import Dataset
from train.foreign import options as foreign
from train.foreign.open import import_model
from train.keras_model import at_size
from train.options import BUDGET, INPUT, OUTPUT, PRUNING, TRAINING, run_command


def _layer_ms(model: keras.Model, data: Dataset, threads: int) -> dict[str, float]:
    """Milliseconds of each layer of the int8 model."""
    times = operator_times(int8_of(model, data), threads)
    return ms_by_layer(((time.kind, time.name, time.ms) for time in times), model)


def _single_budget(values: Iterable[tuple[str, float | None]]) -> Budget:
    given = [(unit, value) for unit, value in values if value is not None]
    if len(given) != 1:
        raise typer.BadParameter("give exactly one of --budget-params, --budget-mmac, --budget-work and --budget-ms")
    return Budget(*given[0])


def main(
    model: Annotated[Path, typer.Argument(help="The .keras or .h5 to prune.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained on.", rich_help_panel=INPUT)],
    out: Annotated[Path, typer.Option(help="Run folder to write.", rich_help_panel=OUTPUT)],
    budget_params: Annotated[
        float | None, typer.Option(min=1, help="Budget in parameters.", rich_help_panel=BUDGET)
    ] = None,
    budget_mmac: Annotated[
        float | None, typer.Option(min=0, help="Budget in million multiply-accumulates.", rich_help_panel=BUDGET)
    ] = None,
    budget_work: Annotated[
        float | None,
        typer.Option(
            min=0, help="Budget in million MACs plus 32 per value written, which predicts time.", rich_help_panel=BUDGET
        ),
    ] = None,
    budget_ms: Annotated[
        float | None, typer.Option(min=0, help="Budget in milliseconds, int8, on this machine.", rich_help_panel=BUDGET)
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads, for --budget-ms and the table.", rich_help_panel=BUDGET)
    ] = 1,
    criterion: Annotated[
        str, typer.Option(help=f"How channels are scored: {', '.join(CRITERIA)}.", rich_help_panel=PRUNING)
    ] = "taylor",
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Input size of the result; by default the model's.", rich_help_panel=OUTPUT),
    ] = None,
    halved: Annotated[
        bool,
        typer.Option(
            "--halve", help="Remove a U-Net's finest level, which takes most of the time.", rich_help_panel=PRUNING
        ),
    ] = False,
    multiple: Annotated[
        int, typer.Option(min=1, help="Keep a multiple of this many channels per layer.", rich_help_panel=PRUNING)
    ] = 1,
    minimum: Annotated[
        int, typer.Option(min=1, help="Minimum number of channels per layer.", rich_help_panel=PRUNING)
    ] = 4,
    only: Annotated[
        str, typer.Option(help="Prune only layers whose name matches this regular expression.", rich_help_panel=PRUNING)
    ] = "",
    steps: Annotated[
        int, typer.Option(min=1, help="Number of pruning steps to reach the budget.", rich_help_panel=PRUNING)
    ] = 1,
    epochs: Annotated[int, typer.Option(min=0, help="Training epochs after each step.", rich_help_panel=TRAINING)] = 0,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0, help="Learning rate of that training; by default the recipe's.", rich_help_panel=TRAINING),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Batch size for scoring and training.", rich_help_panel=TRAINING)
    ] = 4,
    photos: Annotated[
        int, typer.Option(min=1, help="Photos of the train part to score channels on.", rich_help_panel=PRUNING)
    ] = SCORED_PHOTOS,
    split: Annotated[
        Path | None, typer.Option(help="split.json; by default the one next to the model.", rich_help_panel=INPUT)
    ] = None,
    input_scale: foreign.Scale = None,
    input_offset: foreign.Offset = None,
    input_size: foreign.Size = "",
    seed: Annotated[int, typer.Option(help="Seed of all randomness.", rich_help_panel=TRAINING)] = 0,
    times: Annotated[
        bool, typer.Option(help="Time the result's layers, for the table.", rich_help_panel=OUTPUT)
    ] = True,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted training.", rich_help_panel=TRAINING)] = False,
    force: Annotated[bool, typer.Option(help="Replace an existing run.", rich_help_panel=OUTPUT)] = False,
) -> None:
    """Removes the least important channels until the model fits a budget."""
    budget = _single_budget(
        (("params", budget_params), ("mmac", budget_mmac), ("work", budget_work), ("ms", budget_ms))
    )
    if criterion not in CRITERIA:
        raise typer.BadParameter(f"{', '.join(CRITERIA)}, got {criterion!r}", param_hint="--criterion")
    config = PruneConfig(
        dataclasses.replace(budget, threads=threads),
        criterion,
        Limits(minimum, multiple, only),
        (size, size) if size else None,
        halved,
        steps,
        epochs,
        learning_rate,
        batch,
        photos,
        seed,
    )
    with exit_codes():
        input_options = foreign.input_options(input_scale, input_offset, input_size)
        source, dataset = import_model(model, data, split, input_options, typer.echo)
        pruned = prune(source, dataset, out, config, resume=resume, force=force, log=typer.echo).model
        before = at_size(source.model, pruned.input_shape[2:0:-1])
        typer.echo(table(before, pruned, _layer_ms(pruned, dataset, threads) if times else None))
    typer.echo(f"Written to {out}: model.keras, split.json, run.json")


if __name__ == "__main__":
    run_command(main)
