"""Pruning from a `.keras` to a run folder: score, choose, narrow, and train again where that is asked for."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from convert.pruning.budget import Budget, inference_ms, within_ms
from convert.pruning.channels import find_channels
from convert.pruning.cost import mmac, parameters
from convert.pruning.halve import carry_scores, halve
from convert.pruning.importance import CRITERIA, Batches
from convert.pruning.narrow import at_size, narrow
from convert.pruning.plan import Limits, choose, least_cost, require_possible
from convert.pruning.table import channels_of
from seg_edge.errors import DataError, ModelError, OutputError
from seg_edge.system.files import atomic_write, write_file
from train.dataset import Dataset, fixed_stream
from train.keras_model import load_keras
from train.recipes import Recipe, default, saved_values
from train.runs import RUN_NAME, provenance, sha256_of, versions
from train.training import train_model

SCORED_PHOTOS = 200


@dataclass(frozen=True)
class PruneConfig:
    """How a model is pruned.

    Attributes:
        budget: What it may cost.
        criterion: A name in `convert.pruning.importance.CRITERIA`.
        spread: A name in `convert.pruning.plan.SPREADS`.
        limits: What every layer keeps.
        size_wh: Input size of the result; None for the model's own, at which its channels are scored in any case.
        halve: Drop the finest level first, see `convert.pruning.halve`.
        steps: In how many steps the budget is reached, each the same ratio.
        epochs: Of training after each step; 0 for none.
        learning_rate: Of that training; None for that of the model's recipe, as is the rest of it.
        batch: Photos at a time, in scoring and in training.
        photos: Of the train part that channels are scored on, drawn by `seed`.
        seed: Of everything random.
    """

    budget: Budget
    criterion: str = "taylor"
    spread: str = "even"
    limits: Limits = field(default_factory=Limits)
    size_wh: tuple[int, int] | None = None
    halve: bool = False
    steps: int = 1
    epochs: int = 0
    learning_rate: float | None = None
    batch: int = 4
    photos: int = SCORED_PHOTOS
    seed: int = 0


def prune(
    source: Path,
    data: Dataset,
    out: Path,
    how: PruneConfig,
    *,
    resume: bool = False,
    force: bool = False,
    log: Callable[[str], Any] = print,
) -> tuple[keras.Model, keras.Model]:
    """Prunes the model and writes the run folder.

    Args:
        source: The `.keras` to prune.
        data: The split photos.
        out: The run folder; made when it isn't there.
        how: All choices.
        resume: Continue at the training that was interrupted.
        force: Replace what is in `out`.
        log: Is given a line now and then.

    Returns:
        The model before, at the size of the result, and after.

    Raises:
        ModelError: The model can't be pruned, or not within the budget.
        OutputError: There is a result in `out` already.
    """
    _check_room(source, out, resume=resume, force=force)
    whole, parent = load_keras(source), provenance(source)
    if whole.output_shape[-1] != len(data.classes):
        raise ModelError(f"{source} has {whole.output_shape[-1]} classes, the data {len(data.classes)}.")
    before = at_size(whole, how.size_wh) if how.size_wh else whole
    model, ms = halve(before, how.seed) if how.halve else before, None
    if how.budget.unit != "ms":
        require_possible(model, find_channels(model), how.budget.value, how.budget.unit, how.limits)
    recipe = _recipe(parent.get("recipe", {}), how, source)
    lineage = {"parent": parent, "pruning": dataclasses.asdict(how)}
    scores: dict[str, Any] = {}
    for step in range(1, how.steps + 1):
        folder = out / f"step_{step}"
        start = folder / "pruned.keras"
        if resume and start.is_file():
            model = load_keras(start)
        else:
            model, ms = _step(model, whole if step == 1 else model, before, data, how, step, log)
            if step == 1 and not resume:
                _clear(out)
            if how.epochs:
                _save(model, start)
        log(f"step {step} of {how.steps}: {parameters(model):,} parameters, {mmac(model):,.1f} MMAC")
        if how.epochs:
            own = {"sha256": sha256_of(start), **lineage, "step": step}
            scores = train_model(model, data, recipe, folder, parent=own, resume=resume, force=force)["scores"]
            model = load_keras(folder / "model.keras")

    _save(model, out / "model.keras")
    data.save_split(out / "split.json")
    run = {
        **{key: parent[key] for key in ("recipe", "seed", "classes", "split") if key in parent},
        "parent": parent,
        "pruning": {
            **dataclasses.asdict(how),
            "training": recipe.training_values() if how.epochs else None,
            "parameters": {"before": parameters(before), "after": parameters(model)},
            "mmac": {"before": mmac(before), "after": mmac(model)},
            "ms": _cost(model, data, how.budget) if how.budget.unit == "ms" and ms is None else ms,
            "channels": channels_of(before, model),
        },
        "versions": versions(),
        **({"scores": scores} if scores else {}),
    }
    write_file(out / RUN_NAME, json.dumps(run, indent=2).encode())
    return before, model


def _step(
    model: keras.Model,
    scored: keras.Model,
    before: keras.Model,
    data: Dataset,
    how: PruneConfig,
    step: int,
    log: Callable[[str], Any],
) -> tuple[keras.Model, float | None]:
    """The model, pruned as far as this step goes, and its milliseconds where these are the budget.

    Its channels are scored on `scored`, which is as it was trained: whole, and at that input size.
    """
    channels, of_scored = find_channels(model), find_channels(scored)
    scores = CRITERIA[how.criterion](scored, of_scored, batches=_batches(scored, data, how, log), seed=how.seed)
    scores = carry_scores(scores, of_scored, channels)

    def within(budget: float, unit: str) -> keras.Model:
        keep = choose(
            model,
            channels,
            scores,
            how.criterion,
            budget=budget,
            unit=unit,
            spread=how.spread,
            limits=how.limits,
        )
        return narrow(model, keep, channels)

    goal = how.budget.value
    if step < how.steps:  # steps of the same ratio: a hundredth in two steps is a tenth, then a tenth of that
        full = _cost(before, data, how.budget)
        goal = max(goal, full * (goal / full) ** (step / how.steps))
    if how.budget.unit != "ms":
        return within(goal, how.budget.unit), None
    return within_ms(
        goal,
        (least_cost(model, channels, "mmac", how.limits), mmac(model)),
        lambda most: within(most, "mmac"),
        lambda some: _cost(some, data, how.budget),
        log,
    )


def _cost(model: keras.Model, data: Dataset, budget: Budget) -> float:
    if budget.unit == "ms":
        return inference_ms(model, data, budget.threads)
    return float(parameters(model)) if budget.unit == "params" else mmac(model)


def _batches(model: keras.Model, data: Dataset, how: PruneConfig, log: Callable[[str], Any]) -> Batches:
    """Batches of some photos of the train part, unvaried; a line after each tenth of them. Read only when needed."""
    examples = data.parts["train"]
    some = random.Random(how.seed).sample(examples, min(how.photos, len(examples)))
    height, width = model.input_shape[1:3]

    def read() -> Iterator[tuple[Any, Any]]:
        done = 0
        for images, masks in fixed_stream(some, (width, height), how.batch):
            yield images, masks
            before, done = done, done + len(images)
            if done * 10 // len(some) > before * 10 // len(some):
                log(f"{how.criterion}: {done} of {len(some)} photos")

    return read()


def _recipe(values: dict[str, Any], how: PruneConfig, source: Path) -> Recipe:
    """How the model is trained again: by its own recipe where there is one, and what is asked for."""
    try:
        recipe = default().replace(**saved_values(values))
    except TypeError as error:
        raise DataError(f"{source.parent / RUN_NAME}: its recipe isn't one of this version ({error}).") from error
    asked = {"epochs": max(1, how.epochs), "batch": how.batch, "seed": how.seed}
    return recipe.replace(**asked, **({"learning_rate": how.learning_rate} if how.learning_rate else {}))


def _check_room(source: Path, out: Path, *, resume: bool, force: bool) -> None:
    """Says so before any work when there is a result already that mayn't be replaced."""
    if source.resolve().parent == out.resolve():
        raise OutputError(f"{out} is the folder of the model itself; give another --out.")
    done, begun = (out / RUN_NAME).exists(), bool(_results(out))
    if done and not force:
        raise OutputError(f"{out} holds a model already; --force replaces it.")
    if begun and not force and not resume:
        raise OutputError(f"{out} holds the beginning of a run; --resume continues it, --force replaces it.")


def _results(out: Path) -> list[Path]:
    places = (out / "model.keras", out / "split.json", out / RUN_NAME, *out.glob("step_*"))
    return [path for path in places if path.exists()]


def _clear(out: Path) -> None:
    for path in _results(out):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _save(model: keras.Model, path: Path) -> None:
    with atomic_write(path) as place:
        model.save(place)
