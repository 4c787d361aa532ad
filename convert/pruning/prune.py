"""Pruning: a trained model in, a run folder out. Scores, chooses and removes channels, and optionally trains again."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from convert.pruning.budget import Budget, inference_ms, within_ms
from convert.pruning.channels import find_channels
from convert.pruning.cost import mmac, parameters, work
from convert.pruning.halve import carry_scores, halve
from convert.pruning.importance import CRITERIA, Batches
from convert.pruning.narrow import narrow
from convert.pruning.plan import Limits, choose, least_cost, require_possible
from convert.pruning.table import channels_of
from seg_edge.callbacks import Log
from seg_edge.errors import OutputError
from seg_edge.system.files import atomic_write, write_file
from train.dataset import Dataset, fixed_stream
from train.keras_model import TrainedModel, at_size
from train.recipes import Recipe, default, saved_recipe
from train.runs import MODEL_NAME, RUN_NAME, SPLIT_NAME, sha256_of, versions
from train.training import train_model

SCORED_PHOTOS = 200


@dataclass(frozen=True)
class PruneConfig:
    """How a model is pruned.

    Attributes:
        budget: Its maximum cost.
        criterion: A name in `convert.pruning.importance.CRITERIA`.
        limits: Constraints on each layer.
        size_wh: Input size of the result; None for the model's own. Channels are always scored at the model's own.
        halve: Remove the finest level first, see `convert.pruning.halve`.
        steps: Number of steps to reach the budget, each by the same ratio.
        epochs: Training epochs after each step; 0 for none.
        learning_rate: Learning rate of that training; None for the model's recipe, which also sets the rest.
        batch: Batch size for scoring and training.
        photos: Number of training photos to score channels on, drawn by `seed`.
        seed: Seed of all randomness.
    """

    budget: Budget
    criterion: str = "taylor"
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
    source: TrainedModel,
    data: Dataset,
    out: Path,
    config: PruneConfig,
    *,
    resume: bool = False,
    force: bool = False,
    log: Log = print,
) -> TrainedModel:
    """Prunes the model and writes the run folder.

    Args:
        source: The model to prune; it isn't changed.
        data: The dataset.
        out: The run folder; made if missing.
        config: The options.
        resume: Continue an interrupted training.
        force: Replace the existing results in `out`.
        log: Receives lines for the user.

    Returns:
        The pruned model.

    Raises:
        ModelError: The model can't be pruned, or not within the budget.
        OutputError: `out` already holds a result.
    """
    _check_out(source.path, out, resume=resume, force=force)
    source.require_classes(len(data.classes))
    whole, parent = source.model, source.provenance
    before = at_size(whole, config.size_wh) if config.size_wh else whole
    model, ms = halve(before, config.seed) if config.halve else before, None
    if config.budget.unit != "ms":
        require_possible(model, find_channels(model), config.budget.value, config.budget.unit, config.limits)
    recipe = _recipe(source, config)
    lineage = {"parent": parent, "pruning": dataclasses.asdict(config)}
    scores: dict[str, Any] = {}
    for step in range(1, config.steps + 1):
        folder = out / f"step_{step}"
        start = folder / "pruned.keras"
        if resume and start.is_file():
            model = TrainedModel.load(start).model
        else:
            model, ms = _step(model, whole if step == 1 else model, before, data, config, step, log)
            if step == 1 and not resume:
                _clear(out)
            if config.epochs:
                _save(model, start)
        cost = f"{parameters(model):,} parameters, {mmac(model):,.1f} MMAC, {work(model):,.0f} work"
        log(f"step {step} of {config.steps}: {cost}")
        if config.epochs:
            step_parent = {"sha256": sha256_of(start), **lineage, "step": step}
            trained = train_model(model, data, recipe, folder, parent=step_parent, resume=resume, force=force)
            model, scores = trained.model, trained.run["scores"]

    _save(model, out / MODEL_NAME)
    data.save_split(out / SPLIT_NAME)
    run = {
        **{key: parent[key] for key in ("recipe", "seed", "classes", "split") if key in parent},
        "parent": parent,
        "pruning": {
            **dataclasses.asdict(config),
            "training": recipe.training_values() if config.epochs else None,
            "parameters": {"before": parameters(before), "after": parameters(model)},
            "mmac": {"before": mmac(before), "after": mmac(model)},
            "ms": _cost(model, data, config.budget) if config.budget.unit == "ms" and ms is None else ms,
            "channels": channels_of(before, model),
        },
        "versions": versions(),
        **({"scores": scores} if scores else {}),
    }
    write_file(out / RUN_NAME, json.dumps(run, indent=2).encode())
    return TrainedModel(out / MODEL_NAME, model, sha256_of(out / MODEL_NAME), run)


def _step(
    model: keras.Model,
    scored: keras.Model,
    before: keras.Model,
    data: Dataset,
    config: PruneConfig,
    step: int,
    log: Log,
) -> tuple[keras.Model, float | None]:
    """The model pruned by this step, and its milliseconds if these are the budget.

    Channels are scored on `scored`, the model as trained: whole, and at its input size.
    """
    channels, scored_channels = find_channels(model), find_channels(scored)
    scores = CRITERIA[config.criterion](
        scored, scored_channels, batches=_batches(scored, data, config, log), seed=config.seed
    )
    scores = carry_scores(scores, scored_channels, channels)

    def within(budget: float, unit: str) -> keras.Model:
        keep = choose(
            model,
            channels,
            scores,
            config.criterion,
            budget=budget,
            unit=unit,
            limits=config.limits,
        )
        return narrow(model, keep, channels)

    goal = config.budget.value
    if step < config.steps:  # the same ratio per step: a hundredth in two steps is a tenth, then a tenth of that
        full = _cost(before, data, config.budget)
        goal = max(goal, full * (goal / full) ** (step / config.steps))
    if config.budget.unit != "ms":
        return within(goal, config.budget.unit), None
    return within_ms(
        goal,
        (least_cost(model, channels, "mmac", config.limits), mmac(model)),
        lambda most: within(most, "mmac"),
        lambda pruned: _cost(pruned, data, config.budget),
        log,
    )


def _cost(model: keras.Model, data: Dataset, budget: Budget) -> float:
    if budget.unit == "ms":
        return inference_ms(model, data, budget.threads)
    return float({"params": parameters, "mmac": mmac, "work": work}[budget.unit](model))


def _batches(model: keras.Model, data: Dataset, config: PruneConfig, log: Log) -> Batches:
    """Batches of training photos, not augmented, read on demand; logs a line after each tenth."""
    examples = data.parts["train"]
    sample = random.Random(config.seed).sample(examples, min(config.photos, len(examples)))
    height, width = model.input_shape[1:3]

    def read() -> Iterator[tuple[Any, Any]]:
        done = 0
        for images, masks in fixed_stream(sample, (width, height), config.batch):
            yield images, masks
            before, done = done, done + len(images)
            if done * 10 // len(sample) > before * 10 // len(sample):
                log(f"{config.criterion}: {done} of {len(sample)} photos")

    return read()


def _recipe(source: TrainedModel, config: PruneConfig) -> Recipe:
    """The recipe for training again: the model's own if it has one, with the values in `config`."""
    recipe = saved_recipe(source.run, default())
    values = {"epochs": max(1, config.epochs), "batch": config.batch, "seed": config.seed}
    return recipe.replace(**values, **({"learning_rate": config.learning_rate} if config.learning_rate else {}))


def _check_out(source: Path, out: Path, *, resume: bool, force: bool) -> None:
    """Refuses to replace an existing result, before any work."""
    if source.resolve().parent == out.resolve():
        raise OutputError(f"{out} is the model's own folder; give another --out.")
    done, begun = (out / RUN_NAME).exists(), bool(_results(out))
    if done and not force:
        raise OutputError(f"{out} already holds a model; --force replaces it.")
    if begun and not force and not resume:
        raise OutputError(f"{out} holds an unfinished run; --resume continues it, --force replaces it.")


def _results(out: Path) -> list[Path]:
    paths = (out / MODEL_NAME, out / SPLIT_NAME, out / RUN_NAME, *out.glob("step_*"))
    return [path for path in paths if path.exists()]


def _clear(out: Path) -> None:
    for path in _results(out):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _save(model: keras.Model, path: Path) -> None:
    with atomic_write(path) as temporary:
        model.save(temporary)
