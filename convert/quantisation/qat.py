"""Quantisation-aware fine-tuning: a few epochs of training weights and ranges with int8's rounding in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from convert.quantisation.fake_quant import Range, strip_fake_quant, with_fake_quant
from train.dataset import Dataset
from train.recipes import Recipe, saved_recipe
from train.training import train_model

# Share of the network's original learning rate: low, so that it stays near its optimum.
RATE = 0.05


def fine_tune(
    folded: keras.Model,
    ranges: Mapping[str, Range],
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    parent: Mapping[str, Any],
    resume: bool = False,
    force: bool = False,
) -> tuple[keras.Model, dict[str, Range], Mapping[str, Any]]:
    """Trains weights and ranges with the rounding in the graph; the val part selects the epoch.

    Args:
        folded: The network without batch normalisation; it isn't changed.
        ranges: Initial ranges.
        data: The dataset.
        recipe: See `fine_tuning_recipe`.
        out: The run folder; its `model.keras` contains the rounding layers.
        parent: Where the network comes from, see `TrainedModel.provenance`.
        resume: Continue the run in `out`.
        force: Replace it.

    Returns:
        The network without batch normalisation and its ranges, both from the best epoch, and the `run.json`.
    """
    rounding = with_fake_quant(folded, ranges)
    tuned = train_model(rounding, data, recipe, out, parent=parent, resume=resume, force=force)
    return *strip_fake_quant(tuned.model, folded), tuned.run


def fine_tuning_recipe(run: Mapping[str, Any], epochs: int) -> Recipe:
    """The network's own recipe, for a few epochs at `RATE` of its learning rate and without weight decay.

    Args:
        run: Its `run.json`; empty for a network from elsewhere, which gets the default values of a recipe.
        epochs: At least 1.
    """
    trained = saved_recipe(run, Recipe())
    # Weight decay would pull the ranges towards 0 as if they were weights.
    return trained.replace(epochs=epochs, learning_rate=trained.learning_rate * RATE, weight_decay=0.0)
