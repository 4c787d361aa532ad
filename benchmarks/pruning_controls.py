"""Does pruning help? `python benchmarks/pruning_controls.py FULL.keras --data DIR --budget-mmac 8 --out OUT`.

The honest controls. For each seed, at the same number of multiply-accumulates, trained for as many epochs in all:

- `pruned`: the channels that matter most (`--criterion`), with the weights they had; in `--steps`, with half of the
  epochs between them;
- `random`: the same with channels drawn by lot;
- `at once`: as `pruned`, in one step with all epochs after it;
- `scratch`: the architecture of `at once` with new weights;

and each of them with the masks alone and taught by FULL as well (`+ teacher`). Test Dice, one line a training; what is
in OUT isn't trained again.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
from pathlib import Path
from typing import Annotated, Any

import train.quiet  # noqa: F401

# isort: split

import keras
import typer

from convert.distillation.distill import distill
from convert.distillation.task import DistillConfig
from convert.pruning.budget import Budget
from convert.pruning.cost import mmac
from convert.pruning.prune import PruneConfig, prune
from seg_edge.errors import OutputError, SegEdgeError
from seg_edge.evaluation.scores import score
from seg_edge.system.files import atomic_write, write_file
from train.dataset import Dataset, open_split
from train.keras_model import keras_segmenter, load_keras
from train.options import use_threads
from train.recipes import Recipe, default
from train.runs import read_run

ARMS = ("pruned", "random", "at once", "scratch")


def start(arm: str, full: Path, data: Dataset, out: Path, how: PruneConfig) -> Path:
    """The student of an arm before its last training, as a `.keras`."""
    model = out / "model.keras"
    if model.is_file() if arm == "scratch" else read_run(model):
        return model
    if arm == "random":
        how = dataclasses.replace(how, criterion="random")
    if arm in ("at once", "scratch"):
        how = dataclasses.replace(how, steps=1, epochs=0)
    # Elsewhere for `scratch`: interrupted here, the inherited weights would be taken for new ones.
    place = out / "shape" if arm == "scratch" else out
    _, pruned = prune(full, data, place, how, force=True, log=lambda _: None)
    if arm == "scratch":
        keras.utils.set_random_seed(how.seed)
        fresh = keras.models.clone_model(pruned)  # the same layers with weights drawn anew
        with atomic_write(model) as place:
            fresh.save(place)
    return model


def train_one(
    arm: str, taught: bool, full: Path, data: Dataset, out: Path, how: PruneConfig, recipe: Recipe
) -> dict[str, Any]:
    """Trains one arm with one seed, unless it is done; its row of the table."""
    name = arm.replace(" ", "_")
    folder = out / f"{name}{'_taught' if taught else ''}_{how.seed}"
    row = folder / "row.json"
    trained = {key: getattr(recipe, key) for key in ("epochs", "batch", "learning_rate")} | {"steps": how.steps}
    if row.is_file():
        done: dict[str, Any] = json.loads(row.read_text())
        if done.get("trained", trained) != trained:
            raise OutputError(f"{row} was trained with {done['trained']}, not {trained}; give another --out.")
        return done
    student = start(arm, full, data, out / f"{name}_start_{how.seed}", how)
    if arm in ("pruned", "random"):
        recipe = recipe.replace(epochs=recipe.epochs - how.steps * how.epochs)
    distill(
        full,
        data,
        recipe,
        folder,
        student=student,
        teaching=DistillConfig(weight=0.5 if taught else 0.0),
        answers=out / f"teacher_{how.seed}.npz",
        resume=(folder / "last.weights.h5").is_file(),
    )
    model = load_keras(folder / "model.keras")
    scores = score(keras_segmenter(model, data.classes), data.parts["test"])
    result = {
        "arm": arm + (" + teacher" if taught else ""),
        "seed": how.seed,
        "trained": trained,
        "mmac": round(mmac(model), 3),
        "val_dice": read_run(folder / "model.keras")["scores"]["val_dice"],
        **scores.summary(),
    }
    write_file(row, json.dumps(result, indent=2).encode())
    return result


def main(
    full: Annotated[Path, typer.Argument(help="A trained .keras.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder for the trainings.")],
    budget_mmac: Annotated[float, typer.Option(min=0, help="Of every arm.")],
    epochs: Annotated[int, typer.Option(min=1, help="Of every training.")] = 30,
    steps: Annotated[int, typer.Option(min=1, help="In which channels leave, of the arms 'pruned' and 'random'.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Photos a step.")] = 2,
    learning_rate: Annotated[float, typer.Option(min=0, help="Of every training.")] = 0.003,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each arm.")] = 3,
    criterion: Annotated[
        str, typer.Option(help="Of the arm 'pruned' and of the architecture of 'scratch'.")
    ] = "taylor",
    halve: Annotated[bool, typer.Option(help="Drop the finest level.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for all cores.")] = 0,
) -> None:
    """Trains every arm with several seeds and compares them."""
    use_threads(threads)
    rows = []
    try:
        dataset = open_split(data, full.parent / "split.json")
        for seed, arm, taught in itertools.product(range(seeds), ARMS, (False, True)):
            how = PruneConfig(
                Budget("mmac", budget_mmac),
                criterion,
                halve=halve,
                steps=steps,
                epochs=epochs // (2 * steps),
                learning_rate=learning_rate,
                batch=batch,
                seed=seed,
            )
            recipe = default().replace(epochs=epochs, batch=batch, learning_rate=learning_rate, seed=seed)
            rows.append(train_one(arm, taught, full, dataset, out, how, recipe))
    except (SegEdgeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(
        f"{epochs} epochs, batch {batch}, {budget_mmac:g} MMAC, {seeds} seeds, {len(dataset.parts['test'])} test photos"
    )
    typer.echo("| arm | Dice, mean | each seed | boundary F, mean |\n|---|---|---|---|")
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm]
        each = ", ".join(f"{row['mean_dice']:.4f}" for row in mine)
        means = [statistics.mean(row[figure] for row in mine) for figure in ("mean_dice", "boundary_f")]
        typer.echo(f"| {arm} | {means[0]:.4f} | {each} | {means[1]:.4f} |")


if __name__ == "__main__":
    typer.run(main)
