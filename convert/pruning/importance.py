"""How much a channel matters: one score for each channel group, the higher the more.

Each criterion scores the channels of every layer that makes some; a group's score is the sum over its layers.
`CRITERIA` holds them by name. Scores of `l1` and `bn_scale` are on a scale of each layer's own and can be ranked within
a layer only; those of `taylor` (all in the loss's unit, squared) and `random` across layers too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from convert.pruning.channels import OUTPUT_AXIS, Channels
from convert.quantisation.fold import affine
from seg_edge.errors import DataError, ModelError
from train.losses import cross_entropy_dice

# (images float32 (b, h, w, 3) in 0..1, masks uint8 (b, h, w))
Batches = Iterable[tuple[Any, Any]]


class Criterion(Protocol):
    """Scores the groups of `channels`, float64 (groups,); what it has no use for it leaves alone."""

    def __call__(self, model: keras.Model, channels: Channels, *, batches: Batches = (), seed: int = 0) -> np.ndarray:
        """Scores.

        Args:
            model: The trained model.
            channels: What `find_channels` says of it.
            batches: Training photos and masks at the model's input size.
            seed: Of what is drawn.
        """
        ...


def l1(model: keras.Model, channels: Channels, *, batches: Batches = (), seed: int = 0) -> np.ndarray:
    """Sum of a filter's absolute weights (Li et al., 2017, arXiv:1608.08710), batch normalisation folded in.

    |bias| is added, and what a later depthwise convolution or batch normalisation adds to the channel. So 0 means that
    nothing arrives where it is read, and removing it changes nothing.
    """
    of_layer = {}
    for layer in _producers(model, channels):
        scale, shift = _folded(layer, _norm_behind(model, channels, layer.name))
        weights = np.abs(_kernel_by_filter(layer)).sum(axis=1)
        of_layer[layer.name] = weights * np.abs(scale) + np.abs(shift)
    return _by_group(channels, {**of_layer, **_later_constants(model, channels)})


def bn_scale(model: keras.Model, channels: Channels, *, batches: Batches = (), seed: int = 0) -> np.ndarray:
    """|gamma| of the batch normalisation behind a filter (Liu et al., 2017, arXiv:1708.06519), plus max(beta, 0).

    By gamma alone a channel that is constant doesn't matter. But what reads it has come to count on the constant, and
    removing it shifts everything after it; so the constant counts, as far as the ReLU lets it through. Without a ReLU
    |beta| counts. A filter without batch normalisation has its weights' L2 norm instead, which is what gamma is, the
    output's standard deviation, for inputs that are independent and of variance 1; and its |bias|.
    """
    of_layer = {}
    for layer in _producers(model, channels):
        norm = _norm_behind(model, channels, layer.name)
        if norm is None:
            _, bias = _folded(layer, None)
            of_layer[layer.name] = np.linalg.norm(_kernel_by_filter(layer), axis=1) + np.abs(bias)
            continue
        gamma, beta = (value.numpy().astype(np.float64) for value in _scale_and_centre(norm))
        readers = [model.get_layer(name) for name in channels.readers[norm.name]]
        rectified = readers and all(type(reader) is layers.ReLU for reader in readers)
        of_layer[layer.name] = np.abs(gamma) + (np.maximum(beta, 0) if rectified else np.abs(beta))
    return _by_group(channels, of_layer)


def taylor(
    model: keras.Model,
    channels: Channels,
    *,
    batches: Batches = (),
    seed: int = 0,
    loss: Callable[[Any, Any], Any] | None = None,
) -> np.ndarray:
    """Squared first-order change of the loss were the channel gone (Molchanov et al., 2019, arXiv:1906.10771).

    Their gate on the batch normalisation's output: (gamma dL/dgamma + beta dL/dbeta)^2 for each batch, the mean over
    the batches, with the moving statistics, as the model is used. A filter without batch normalisation has its own
    weights: (sum of W dL/dW + b dL/db)^2. One batch's activations are held at a time.

    Args:
        model: The trained model.
        channels: What `find_channels` says of it.
        batches: Training photos and masks at the model's input size; at least one batch.
        seed: Unused, nothing is drawn.
        loss: Of masks and logits; by default cross-entropy + Dice.
    """
    loss = loss or cross_entropy_dice(int(model.output_shape[-1]))
    gates = {
        layer.name: _gate(layer, _norm_behind(model, channels, layer.name)) for layer in _producers(model, channels)
    }
    variables = [variable.value for gate in gates.values() for variable, _ in gate]

    @tf.function(reduce_retracing=True)
    def gradients(images: tf.Tensor, masks: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            value = loss(masks, model(images, training=False))
        found: list[tf.Tensor] = tape.gradient(value, variables, unconnected_gradients="zero")
        return found

    sums = {name: np.zeros(len(channels.outputs[name])) for name in gates}
    count = 0
    for images, masks in batches:
        count += 1
        found = iter(gradients(tf.convert_to_tensor(images), tf.convert_to_tensor(masks)))
        for name, gate in gates.items():
            change = sum(_by_filter(v.numpy() * next(found).numpy(), axis).sum(axis=1) for v, axis in gate)
            sums[name] += np.square(change)
    if not count:
        raise DataError("the criterion taylor needs photos to look at the loss on; the train part gave none.")
    return _by_group(channels, {name: total / count for name, total in sums.items()})


def random(model: keras.Model, channels: Channels, *, batches: Batches = (), seed: int = 0) -> np.ndarray:
    """A number drawn for each group: the control that every other criterion has to beat."""
    return np.random.default_rng(seed).random(len(channels.groups))


CRITERIA: dict[str, Criterion] = {f.__name__: f for f in (l1, bn_scale, taylor, random)}  # type: ignore[attr-defined]
ACROSS_LAYERS = {"taylor", "random"}


def comparable(criterion: str, scores: np.ndarray, channels: Channels) -> np.ndarray:
    """Scores that can be ranked across layers: those of `l1` and `bn_scale` divided by the mean of their layer."""
    if criterion in ACROSS_LAYERS:
        return scores
    scaled = scores.astype(np.float64)
    for numbers in channels.by_layers().values():
        scaled[numbers] /= max(float(scores[numbers].mean()), np.finfo(np.float64).tiny)
    return scaled


def _by_group(channels: Channels, of_layer: dict[str, np.ndarray]) -> np.ndarray:
    """Sum over a group's channels of their layers' scores, each float (channels of the layer's output,)."""
    scores = np.zeros(len(channels.groups) + 1)  # the last takes those that stay
    for name, values in of_layer.items():
        np.add.at(scores, channels.outputs[name], values)
    return scores[:-1]


def _producers(model: keras.Model, channels: Channels) -> list[keras.Layer]:
    return [model.get_layer(name) for name in channels.outputs if type(model.get_layer(name)) in OUTPUT_AXIS]


def _norm_behind(model: keras.Model, channels: Channels, name: str) -> keras.Layer | None:
    """The batch normalisation that alone reads a layer's output, if there is one, and nothing lies between."""
    readers = [model.get_layer(reader) for reader in channels.readers[name]]
    linear = keras.activations.serialize(model.get_layer(name).activation) == "linear"
    return readers[0] if linear and [type(r) for r in readers] == [layers.BatchNormalization] else None


def _folded(layer: keras.Layer, norm: keras.Layer | None) -> tuple[np.ndarray, np.ndarray]:
    """What multiplies each filter of a layer, and what is added, with the batch normalisation behind it folded in."""
    bias = layer.bias.numpy().astype(np.float64) if layer.use_bias else 0.0
    if norm is None:
        count = layer.output.shape[-1]
        return np.ones(count), np.broadcast_to(bias, count)
    scale, shift = affine(norm)
    return scale, shift + bias * scale


def _later_constants(model: keras.Model, channels: Channels) -> dict[str, np.ndarray]:
    """What a depthwise convolution, or a batch normalisation behind no convolution, puts into a channel of zeros."""
    constants, folded = {}, set()
    for name in channels.outputs:
        layer = model.get_layer(name)
        if type(layer) is layers.BatchNormalization:
            continue
        norm = _norm_behind(model, channels, name)
        folded |= {norm.name} if norm is not None else set()
        if type(layer) is layers.DepthwiseConv2D:
            constants[name] = np.abs(_folded(layer, norm)[1])
    for name in channels.outputs:
        layer = model.get_layer(name)
        if type(layer) is layers.BatchNormalization and name not in folded:
            constants[name] = np.abs(affine(layer)[1])
    return constants


def _gate(layer: keras.Layer, norm: keras.Layer | None) -> list[tuple[Any, int]]:
    """The variables that a gate on a layer's output multiplies, each with the axis of its channels."""
    if norm is not None:
        return [(variable, 0) for variable in _scale_and_centre(norm)]
    return [(_last_kernel(layer), OUTPUT_AXIS[type(layer)]), *([(layer.bias, 0)] if layer.use_bias else [])]


def _scale_and_centre(norm: keras.Layer) -> tuple[Any, Any]:
    if not norm.scale or not norm.center:
        raise ModelError(
            f"layer {norm.name!r} has no gamma or no beta to judge a channel by; train it with both, or prune by l1."
        )
    return norm.gamma, norm.beta


def _last_kernel(layer: keras.Layer) -> Any:
    return layer.pointwise_kernel if type(layer) is layers.SeparableConv2D else layer.kernel


def _kernel_by_filter(layer: keras.Layer) -> np.ndarray:
    """The weights of each output channel, float64 (channels, weights)."""
    return _by_filter(_last_kernel(layer).numpy().astype(np.float64), OUTPUT_AXIS[type(layer)])


def _by_filter(values: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)
