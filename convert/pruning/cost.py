"""What a Keras model costs, layer by layer: parameters, and multiply-accumulates (MACs) of one image.

Batch normalisation multiplies nothing: it is folded into the convolution before it when the model is converted.
Activations, pooling, resizing and additions aren't counted, as usual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from seg_edge.errors import ModelError

# So many multiply-accumulates take as long as writing one value of a convolution's output: the least-squares fit to
# eight int8 networks of 95 to 214 MMAC on an x86 with AVX2 (0.0217 ms a MMAC, 0.70 ms a million values; within 4 %).
MACS_PER_VALUE = 32
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Attributes:
        name: Of the layer.
        kind: Its class, `Conv2D` and the like.
        channels: That leave it.
        macs: Multiply-accumulates for one image.
        parameters: Weights of any kind, the moving statistics of a batch normalisation too.
    """

    name: str
    kind: str
    channels: int
    macs: int
    parameters: int


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """Costs of the layers with weights, in the order they run.

    Raises:
        ModelError: Size of the input open, or a layer of another kind has weights.
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
    """How often each weight of a layer's kernels is multiplied in one image; 0 for a batch normalisation.

    Once for each pixel of the output; in a transposed convolution once for each pixel of the input, as each puts down
    a whole kernel.
    """
    if type(layer) is layers.BatchNormalization:
        return 0
    if type(layer) not in CONVOLUTIONS:
        known = ", ".join(kind.__name__ for kind in CONVOLUTIONS)
        raise ModelError(
            f"layer {layer.name!r} is a {type(layer).__name__}: what it costs isn't known, only that of {known}."
        )
    transposed = type(layer) is layers.Conv2DTranspose
    _, height, width, _ = (layer.input if transposed else layer.output).shape
    if height is None or width is None:
        raise ModelError(f"layer {layer.name!r} has no fixed size; build the model with one.")
    return int(height) * int(width)


def mmac(model: keras.Model) -> float:
    """Millions of multiply-accumulates for one image."""
    return sum(cost.macs for cost in layer_costs(model)) / 1e6


def parameters(model: keras.Model) -> int:
    """Weights of any kind."""
    return int(model.count_params())


def pixels(layer: keras.Layer) -> int:
    """Pixels of a convolution's output; 0 for a batch normalisation, which is folded into one."""
    return 0 if type(layer) is layers.BatchNormalization else math.prod(layer.output.shape[1:3])


def work(model: keras.Model) -> float:
    """Millions of multiply-accumulates, with `MACS_PER_VALUE` more for each value that a convolution writes.

    Milliseconds go with it far better than with multiply-accumulates alone: a wide layer at a high resolution costs
    more than it multiplies.
    """
    values = sum(pixels(layer) * int(layer.output.shape[-1]) for layer in model.layers if layer.weights)
    return mmac(model) + MACS_PER_VALUE * values / 1e6
