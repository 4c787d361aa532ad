"""The importance of channels: one score per channel group, higher for more important ones.

Each criterion scores the output channels of every producing layer; a group's score is the sum over its layers.
`CRITERIA` holds them by name. To add one, write a function that matches `Criterion`, and add it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from convert.pruning.channels import OUTPUT_AXIS, Channels
from seg_edge.errors import DataError, ModelError
from train.losses import cross_entropy_dice

# (images float32 (b, h, w, 3) in 0..1, masks uint8 (b, h, w))
Batches = Iterable[tuple[Any, Any]]


class Criterion(Protocol):
    """Scores the groups of `channels`, float64 (groups,), comparable between layers."""

    def __call__(self, model: keras.Model, channels: Channels, *, batches: Batches = (), seed: int = 0) -> np.ndarray:
        """Scores.

        Args:
            model: The trained model.
            channels: Its `find_channels`.
            batches: Training photos and masks at the model's input size.
            seed: Seed of random draws.
        """
        ...


def taylor(
    model: keras.Model,
    channels: Channels,
    *,
    batches: Batches = (),
    seed: int = 0,
    loss: Callable[[Any, Any], Any] | None = None,
) -> np.ndarray:
    """Squared first-order change of the loss if the channel were removed (Molchanov et al., 2019, arXiv:1906.10771).

    Their gate on the batch normalisation's output: (gamma dL/dgamma + beta dL/dbeta)^2 per batch, averaged over the
    batches, with the moving statistics as at inference. A filter without batch normalisation uses its own weights:
    (sum of W dL/dW + b dL/db)^2. Only one batch's activations are in memory at a time.

    Args:
        model: The trained model.
        channels: Its `find_channels`.
        batches: Training photos and masks at the model's input size; at least one batch.
        seed: Unused.
        loss: Takes masks and logits; by default cross-entropy + Dice.
    """
    loss = loss or cross_entropy_dice(int(model.output_shape[-1]))
    gates = {
        layer.name: _gate(layer, _following_norm(model, channels, layer.name)) for layer in _producers(model, channels)
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
        raise DataError("the criterion taylor needs photos to compute the loss; the train part is empty.")
    return _by_group(channels, {name: total / count for name, total in sums.items()})


def random(model: keras.Model, channels: Channels, *, batches: Batches = (), seed: int = 0) -> np.ndarray:
    """Random scores: the baseline that every other criterion must beat."""
    return np.random.default_rng(seed).random(len(channels.groups))


CRITERIA: dict[str, Criterion] = {f.__name__: f for f in (taylor, random)}  # type: ignore[attr-defined]


def _by_group(channels: Channels, layer_scores: dict[str, np.ndarray]) -> np.ndarray:
    """Sums the scores of each layer's output channels, float (channels,), over the groups."""
    scores = np.zeros(len(channels.groups) + 1)  # the last collects channels that stay
    for name, values in layer_scores.items():
        np.add.at(scores, channels.outputs[name], values)
    return scores[:-1]


def _producers(model: keras.Model, channels: Channels) -> list[keras.Layer]:
    return [model.get_layer(name) for name in channels.outputs if type(model.get_layer(name)) in OUTPUT_AXIS]


def _following_norm(model: keras.Model, channels: Channels, name: str) -> keras.Layer | None:
    """The batch normalisation directly after a layer, if it is the only reader of its output."""
    readers = [model.get_layer(reader) for reader in channels.readers[name]]
    linear = keras.activations.serialize(model.get_layer(name).activation) == "linear"
    return readers[0] if linear and [type(r) for r in readers] == [layers.BatchNormalization] else None


def _gate(layer: keras.Layer, norm: keras.Layer | None) -> list[tuple[Any, int]]:
    """The variables that a gate on a layer's output multiplies, each with its channel axis."""
    if norm is not None:
        return [(variable, 0) for variable in _scale_and_centre(norm)]
    return [(_last_kernel(layer), OUTPUT_AXIS[type(layer)]), *([(layer.bias, 0)] if layer.use_bias else [])]


def _scale_and_centre(norm: keras.Layer) -> tuple[Any, Any]:
    if not norm.scale or not norm.center:
        raise ModelError(f"layer {norm.name!r} has no gamma or no beta to score channels by; train it with both.")
    return norm.gamma, norm.beta


def _last_kernel(layer: keras.Layer) -> Any:
    return layer.pointwise_kernel if type(layer) is layers.SeparableConv2D else layer.kernel


def _by_filter(values: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)
