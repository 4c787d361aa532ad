"""The cost of a Keras model, layer by layer: parameters, and multiply-accumulates (MACs) per image.

Batch normalisation costs nothing: conversion folds it into the convolution before it. Activations, pooling, resizing
and additions aren't counted, as usual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from seg_edge.errors import ModelError

# This many multiply-accumulates take as long as writing one value of a convolution's output: a least-squares fit to
# eight int8 networks of 95 to 214 MMAC on an x86 with AVX2 (0.0217 ms/MMAC, 0.70 ms per million values; within 4 %).
MACS_PER_VALUE = 32
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)


@dataclass(frozen=True)
class LayerCost:
    """The cost of a layer.

    Attributes:
        name: The layer's name.
        kind: Its class, e.g. `Conv2D`.
        channels: Its output channels.
        macs: Multiply-accumulates per image.
        parameters: All weights, including the moving statistics of a batch normalisation.
    """

    name: str
    kind: str
    channels: int
    macs: int
    parameters: int


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """Costs of the layers with weights, in execution order.

    Raises:
        ModelError: The input size is dynamic, or a layer with weights isn't supported.
    """
    return [
        LayerCost(
            layer.name,
            type(layer).__name__,
            int(layer.output.shape[-1]),
            positions(layer) * sum(math.prod(w.shape) for w in layer.weights if len(w.shape) == 4),
            layer.count_params(),
        )
        for layer in model.layers
        if layer.weights
    ]


def positions(layer: keras.Layer) -> int:
    """How often each weight of a layer's kernels is used per image; 0 for a batch normalisation.

    Once per output pixel; in a transposed convolution once per input pixel, as each writes a whole kernel.
    """
    if type(layer) is layers.BatchNormalization:
        return 0
    if type(layer) not in CONVOLUTIONS:
        known = ", ".join(kind.__name__ for kind in CONVOLUTIONS)
        raise ModelError(f"layer {layer.name!r} is a {type(layer).__name__}; only the costs of {known} are known.")
    transposed = type(layer) is layers.Conv2DTranspose
    _, height, width, _ = (layer.input if transposed else layer.output).shape
    if height is None or width is None:
        raise ModelError(f"layer {layer.name!r} has no fixed size; build the model with one.")
    return int(height) * int(width)


def mmac(model: keras.Model) -> float:
    """Millions of multiply-accumulates per image."""
    return sum(cost.macs for cost in layer_costs(model)) / 1e6


def parameters(model: keras.Model) -> int:
    """Number of all weights."""
    return int(model.count_params())


def pixels(layer: keras.Layer) -> int:
    """Pixels of a convolution's output; 0 for a batch normalisation, which is folded into a convolution."""
    return 0 if type(layer) is layers.BatchNormalization else math.prod(layer.output.shape[1:3])


def work(model: keras.Model) -> float:
    """Millions of multiply-accumulates, plus `MACS_PER_VALUE` for each value that a convolution writes.

    It predicts time far better than multiply-accumulates alone: a wide layer at a high resolution takes longer than its
    multiplications.
    """
    values = sum(pixels(layer) * int(layer.output.shape[-1]) for layer in model.layers if layer.weights)
    return mmac(model) + MACS_PER_VALUE * values / 1e6
