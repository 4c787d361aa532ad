"""Quantisation-aware fine-tuning: some epochs of training with int8's rounding in the graph, ranges and all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from convert.quantisation.fake_quant import Range, strip_fake_quant, with_fake_quant
from train.dataset import Dataset
from train.recipes import Recipe, saved_recipe
from train.training import train_model

# Of the learning rate that the network was trained with: low, so that it settles near where it is.
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
    """Trains weights and ranges with the rounding in the graph; the validation part chooses the epoch.

    Args:
        folded: Without batch normalisation; stays as it is.
        ranges: To start from.
        data: The split photos.
        recipe: See `fine_tuning_recipe`.
        out: The run folder; `model.keras` in it holds the rounding layers.
        parent: Where the network comes from, see `TrainedModel.provenance`.
        resume: Continue the run that `out` holds.
        force: Replace it.

    Returns:
        The network without batch normalisation and its ranges, both as they were after the best epoch, and what
        `run.json` holds.
    """
    rounding = with_fake_quant(folded, ranges)
    tuned = train_model(rounding, data, recipe, out, parent=parent, resume=resume, force=force)
    return *strip_fake_quant(tuned.model, folded), tuned.run


def fine_tuning_recipe(run: Mapping[str, Any], epochs: int) -> Recipe:
    """The recipe the network was trained with, for a few epochs at `RATE` of its learning rate, without weight decay.

    Args:
        run: What its `run.json` says; empty for a network from elsewhere, which gets a recipe's usual values.
        epochs: At least 1.
    """
    trained = saved_recipe(run, Recipe())
    # Weight decay would pull the ranges towards 0 as if they were weights.
    return trained.replace(epochs=epochs, learning_rate=trained.learning_rate * RATE, weight_decay=0.0)
