"""The network that a training starts from: the recipe's, or a given one, with new or given weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from seg_edge.errors import DataError, UsageError
from train.dataset import Dataset
from train.keras_model import TrainedModel, at_size
from train.lite0 import freeze_rows, lite0_unet
from train.recipes import Recipe
from train.unet import unet


def start(
    recipe: Recipe,
    data: Dataset,
    network: Path | None,
    initial: Path | None,
    network_wh: tuple[int, int] | None = None,
) -> tuple[keras.Model, dict[str, Any]]:
    """The model as a training begins, and what `run.json` says of it.

    Args:
        recipe: Of the training.
        data: The split photos, whose classes the model must have.
        network: A `.keras` to train further; None builds the recipe's U-Net.
        initial: A `.keras` whose weights it starts with, see `train.training.fit`.
        network_wh: Width and height in pixels of `network`'s input; None for its own.

    Raises:
        ModelError: A file isn't there, isn't a model, has other classes, or doesn't work at that size.
        DataError: Too few weights of `initial` fit.
        UsageError: The recipe's architecture is impossible.
    """
    trained = TrainedModel.load(network) if network else None
    if trained:
        trained.require_classes(len(data.classes))
    model = trained.model if trained else build(recipe, len(data.classes))
    if trained and network_wh:
        model = at_size(model, network_wh)
    start = TrainedModel.load(initial) if initial else None
    if start:
        _copy_weights(start, model)
    freeze_rows(model, recipe.frozen_rows)
    return model, {
        "recipe": recipe.training_values() if trained else dataclasses.asdict(recipe),
        **({"parent": trained.provenance} if trained else {}),
        "initial": start.provenance if start else None,
    }


def build(recipe: Recipe, classes: int) -> keras.Model:
    """The recipe's U-Net, untrained but for a pretrained encoder."""
    if recipe.encoder == "lite0":
        return lite0_unet(recipe.size_wh, classes, recipe.widths, rows=recipe.encoder_rows, dropout=recipe.dropout)
    if recipe.encoder != "plain":
        raise UsageError(f"encoder is plain or lite0, got {recipe.encoder!r}")
    return unet(
        recipe.size_wh,
        classes,
        recipe.widths,
        stem_stride=recipe.stem_stride,
        decoder=recipe.decoder,
        dropout=recipe.dropout,
    )


def _copy_weights(start: TrainedModel, model: keras.Model) -> None:
    """Weights of the layers that `start` has by the same name and of the same shapes, at least half of them."""
    given = {layer.name: layer.get_weights() for layer in start.model.layers}
    fitting = [layer for layer in model.layers if _shapes(given.get(layer.name, [])) == _shapes(layer.get_weights())]
    copied, weights = sum(layer.count_params() for layer in fitting), model.count_params()
    if copied < weights / 2:
        raise DataError(
            f"{start.path}: can't start from it, only {copied:,} of the model's {weights:,} weights are in it."
        )
    for layer in fitting:
        layer.set_weights(given[layer.name])
    if copied < weights:
        new = ", ".join(layer.name for layer in model.layers if layer.weights and layer not in fitting)
        print(f"{start.path} has {copied:,} of the model's {weights:,} weights; these layers start anew: {new}")


def _shapes(weights: Sequence[Any]) -> list[tuple[int, ...]]:
    return [weight.shape for weight in weights]
