"""Corrects biases for the shift that rounding the kernels causes.

Over smooth areas all inputs of a kernel have nearly one value, so the rounding errors of its weights don't average out:
every output of a channel is shifted by about the same, the sum of these errors times the mean input. The bias can
compensate for it (Nagel et al., 2019, arXiv:1906.04721, section 4.2, with the means measured on photos).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from convert.quantisation.fake_quant import ROUNDED, kernel_names
from train.keras_model import compiled


def with_corrected_biases(folded: keras.Model, images: Sequence[np.ndarray]) -> keras.Model:
    """The network with the mean shift that rounding each kernel causes subtracted from its bias.

    Args:
        folded: The network without batch normalisation; it isn't changed.
        images: Photos of the train part, float32 (1, height, width, 3), RGB 0..1.

    Returns:
        A new model whose layers with a kernel all have a bias.

    Raises:
        ModelError: A layer with weights isn't supported.
    """
    shifts = _shifts(folded, images)

    def rebuild(layer: keras.Layer) -> keras.Layer:
        biased = {"use_bias": True} if layer.name in shifts else {}
        return type(layer).from_config({**layer.get_config(), **biased})

    corrected = keras.models.clone_model(folded, clone_function=rebuild)
    for layer in corrected.layers:
        if layer.name in shifts:
            kernel, *bias = folded.get_layer(layer.name).get_weights()
            layer.set_weights([kernel, (bias[0] if bias else 0) - shifts[layer.name]])
    return corrected


def _shifts(folded: keras.Model, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """How much higher each layer's output is on average with its rounded kernel, float32 (channels,)."""
    names = kernel_names(folded)
    made = []
    for layer in map(folded.get_layer, names):
        both = [_linear(kind, layer)(layer.input) for kind in (ROUNDED[type(layer)], type(layer))]
        made.append(keras.ops.mean(both[0] - both[1], axis=(0, 1, 2)))
    probe = keras.Model(folded.input, made)
    run = compiled(probe)
    means = zip(*([shift.numpy() for shift in keras.tree.flatten(run(image))] for image in images), strict=True)
    return {name: np.mean(shifts, axis=0) for name, shifts in zip(names, means, strict=True)}


def _linear(kind: Any, layer: keras.Layer) -> keras.Layer:
    """A layer of this kind with the layer's kernel, but without its bias and activation."""
    own = {"name": f"{layer.name}_{kind.__name__}", "activation": None, "use_bias": False}
    made = kind.from_config({**layer.get_config(), **own})
    made.build(layer.input.shape)
    made.set_weights(layer.get_weights()[:1])
    return made
