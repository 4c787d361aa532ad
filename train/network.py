"""The network a training starts from: the recipe's or a given one, with new or given weights."""

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
    """The model to train, and its record for `run.json`.

    Args:
        recipe: The training's recipe.
        data: The dataset, whose classes the model must have.
        network: A `.keras` to train further; None builds the recipe's U-Net.
        initial: A `.keras` to take initial weights from, see `train.training.fit`.
        network_wh: New input width and height of `network` in pixels; None keeps its own.

    Raises:
        ModelError: A file is missing, isn't a model, has other classes, or doesn't work at that size.
        DataError: Too few weights of `initial` fit.
        UsageError: The recipe's architecture is impossible.
    """
    trained = TrainedModel.load(network) if network else None
    if trained:
        trained.require_classes(len(data.classes))
    model = trained.model if trained else build(recipe, len(data.classes))
    if trained and network_wh:
        model = at_size(model, network_wh)
    source = TrainedModel.load(initial) if initial else None
    if source:
        _copy_weights(source, model)
    freeze_rows(model, recipe.frozen_rows)
    return model, {
        "recipe": recipe.training_values() if trained else dataclasses.asdict(recipe),
        **({"parent": trained.provenance} if trained else {}),
        "initial": source.provenance if source else None,
    }


def build(recipe: Recipe, classes: int) -> keras.Model:
    """The recipe's U-Net, untrained but for a pretrained encoder."""
    if recipe.encoder == "lite0":
        return lite0_unet(recipe.size_wh, classes, recipe.widths, rows=recipe.encoder_rows, dropout=recipe.dropout)
    if recipe.encoder != "plain":
        raise UsageError(f"encoder must be plain or lite0, got {recipe.encoder!r}")
    return unet(
        recipe.size_wh,
        classes,
        recipe.widths,
        stem_stride=recipe.stem_stride,
        decoder=recipe.decoder,
        dropout=recipe.dropout,
    )


def _copy_weights(source: TrainedModel, model: keras.Model) -> None:
    """Copies the weights of layers with the same name and shapes; at least half of the weights must match."""
    weights_of = {layer.name: layer.get_weights() for layer in source.model.layers}
    matching = [
        layer for layer in model.layers if _shapes(weights_of.get(layer.name, [])) == _shapes(layer.get_weights())
    ]
    copied, total = sum(layer.count_params() for layer in matching), model.count_params()
    if copied < total / 2:
        raise DataError(f"{source.path}: can't start from it, it has only {copied:,} of the model's {total:,} weights.")
    for layer in matching:
        layer.set_weights(weights_of[layer.name])
    if copied < total:
        new = ", ".join(layer.name for layer in model.layers if layer.weights and layer not in matching)
        print(f"{source.path} has {copied:,} of the model's {total:,} weights; these layers start from scratch: {new}")


def _shapes(weights: Sequence[Any]) -> list[tuple[int, ...]]:
    return [weight.shape for weight in weights]
