"""Folds batch normalisation into the convolution before it, as the converter does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from convert.keras_graph import connections
from seg_edge.errors import ModelError

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose)


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """The same function with each batch normalisation folded into the convolution before it.

    Args:
        model: A functional model, each layer used once.

    Returns:
        A new model with the same layer names, without the batch normalisations. At inference its output equals the
        model's up to float rounding.

    Raises:
        ModelError: One doesn't follow a convolution that nothing else reads, or the graph isn't supported.
    """
    sources = {layer.name: names for layer, names in connections(model)}
    folded: dict[str, str] = {}
    for layer in model.layers:
        if type(layer) is layers.BatchNormalization:
            before = model.get_layer(sources[layer.name][0])
            is_only_reader = sum(before.name in names for names in sources.values()) == 1
            if type(before) not in CONVOLUTIONS or not is_only_reader or not is_linear(before):
                raise ModelError(
                    f"batch normalisation {layer.name!r} can't be folded: it follows {before.name!r}, which isn't a "
                    "convolution that it alone reads; convert without --ranges and --qat."
                )
            folded[layer.name] = before.name

    def rebuild(layer: keras.Layer) -> keras.Layer:
        biased = {"use_bias": True} if layer.name in folded.values() else {}
        return type(layer).from_config({**layer.get_config(), **biased})

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in folded else layer(*args, **kwargs)

    result = keras.models.clone_model(_uncompiled(model), clone_function=rebuild, call_function=call)
    norms = {convolution: norm for norm, convolution in folded.items()}
    for layer in result.layers:
        if layer.weights:
            original, norm = model.get_layer(layer.name), norms.get(layer.name)
            layer.set_weights(_folded(original, model.get_layer(norm)) if norm else original.get_weights())
    return result


def _folded(convolution: Any, norm: Any) -> list[np.ndarray]:
    """Kernel and bias of `norm(convolution(x))`."""
    kernel, bias = convolution.get_weights()[0], (convolution.get_weights()[1] if convolution.use_bias else 0.0)
    factor, shift = affine(norm)
    if type(convolution) is layers.DepthwiseConv2D:
        along = factor.reshape(kernel.shape[2:])
    else:
        along = factor[:, np.newaxis] if type(convolution) is layers.Conv2DTranspose else factor
    return [(kernel * along).astype(np.float32), (bias * factor + shift).astype(np.float32)]


def affine(norm: keras.Layer) -> tuple[np.ndarray, np.ndarray]:
    """A batch normalisation at inference: factor and shift of `factor * x + shift`, each float64 (channels,).

    It is `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, with the moving statistics.
    """
    mean, variance = norm.moving_mean.numpy().astype(np.float64), norm.moving_variance.numpy().astype(np.float64)
    scale = (norm.gamma.numpy() if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    return scale, (norm.beta.numpy() if norm.center else 0.0) - mean * scale


def is_linear(layer: Any) -> bool:
    """Whether the layer has no activation."""
    return getattr(layer, "activation", None) in (None, keras.activations.linear)


def _uncompiled(model: keras.Model) -> keras.Model:
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
