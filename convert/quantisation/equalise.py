"""Scales the channels of a network's tensors so that all of them can use int8's steps.

A tensor has one scale for all its channels: one whose values are a twentieth of the largest channel's gets a twentieth
of the steps. As ReLU(x / s) = ReLU(x) / s, a channel may be divided by `s` where it is written and multiplied by `s`
where it is read, and the network's output stays the same (cross-layer equalisation, Nagel et al., 2019,
arXiv:1906.04721, section 4.1). Here the values' ranges are measured on photos, as the writing kernels have a scale for
each channel anyway, and channels are followed through additions, concatenations, pooling and gates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from convert.keras_graph import SIZE_KEEPING, ChannelIds, connections, only_output
from convert.quantisation.fake_quant import is_relu, range_points
from convert.quantisation.fold import CONVOLUTIONS, is_linear
from train.keras_model import compiled

ADDING = (layers.Add, layers.Average, layers.Maximum, layers.Minimum, layers.Subtract)
# Over the tensor's largest channel; without equalising, a smaller channel than that has no step at all.
MAX_GAIN = 256.0


def equalised(folded: keras.Model, images: Sequence[np.ndarray]) -> keras.Model:
    """The same function with the channels' ranges equalised.

    Args:
        folded: The network without batch normalisation; it isn't changed.
        images: Photos of the train part, float32 (1, height, width, 3), RGB 0..1.

    Returns:
        A new model with the same layers; its output differs by no more than float rounding.
    """
    result = keras.models.clone_model(folded)
    result.set_weights(folded.get_weights())
    walk = _follow(result)
    scale = _scales(result, walk, _largest_values(result, images))
    for name, ids in walk.read.items():
        layer, own = result.get_layer(name), scale[walk.tensors[name]]
        kernel, *bias = layer.get_weights()
        kernel = kernel * _along(layer, scale[ids], inputs=True) / _along(layer, own, inputs=False)
        layer.set_weights([kernel, *(b / own for b in bias)])
    return result


@dataclass
class _Walk:
    """The result of a walk over the graph.

    Attributes:
        ids: The channels; those that must keep their scale are fixed, those that share one are tied.
        tensors: The ids of each layer's output, int (channels,).
        read: For each convolution the ids of the channels that it reads.
    """

    ids: ChannelIds = field(default_factory=ChannelIds)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    read: dict[str, np.ndarray] = field(default_factory=dict)


def _follow(model: keras.Model) -> _Walk:
    walk = _Walk()
    for layer, sources in connections(model):
        walk.tensors[layer.name] = _output_ids(walk, layer, [walk.tensors[source] for source in sources])
    walk.ids.fix(walk.tensors[only_output(model)])
    return walk


def _output_ids(walk: _Walk, layer: Any, inputs: list[np.ndarray]) -> np.ndarray:
    kind = type(layer)
    if kind in SIZE_KEEPING or is_relu(layer):
        return inputs[0]
    if kind is layers.Concatenate and layer.axis in (-1, 3):
        return np.concatenate(inputs)
    if kind in ADDING and len({len(ids) for ids in inputs}) == 1:
        for ids in inputs[1:]:
            walk.ids.tie(inputs[0], ids)
        return inputs[0]
    channels = layer.output.shape[-1]
    if kind is layers.Multiply:
        fixed = walk.ids.fixed()
        gated = [ids for ids in inputs if not fixed[ids].all()]  # the others are gates
        if len(gated) == 1 and len(gated[0]) == channels:
            return gated[0]
    own = walk.ids.new(layer.name, channels)
    is_scalable = kind in CONVOLUTIONS and getattr(layer, "depth_multiplier", 1) == getattr(layer, "groups", 1) == 1
    if is_scalable:
        walk.read[layer.name] = inputs[0]
    if not is_scalable or not (is_linear(layer) or layer.activation is keras.activations.relu):
        walk.ids.fix(own)
    if not is_scalable:
        for ids in inputs:
            walk.ids.fix(ids)
    return own


def _largest_values(model: keras.Model, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The largest absolute value of each channel of the tensors that int8 rounds, float32 (channels,)."""
    names = range_points(model)
    outputs = [keras.ops.abs(model.get_layer(name).output) for name in names]
    probe = keras.Model(model.input, [keras.ops.max(x, axis=tuple(range(len(x.shape) - 1))) for x in outputs])
    run = compiled(probe)
    largest = zip(*([value.numpy() for value in keras.tree.flatten(run(image))] for image in images), strict=True)
    return {name: np.max(values, axis=0) for name, values in zip(names, largest, strict=True)}


def _scales(model: keras.Model, walk: _Walk, largest: Mapping[str, np.ndarray]) -> np.ndarray:
    """The divisor of each channel, float32 (channels of all tensors,).

    A depthwise convolution has a scale for each channel's weights, so a channel that no other reads may get any range.
    Elsewhere the weights of an output share a scale, and a range is divided evenly between a channel and its weights.
    A channel that is 0 on all photos is scaled like the largest of its tensor.
    """
    roots = walk.ids.roots
    values, weights = np.zeros(len(roots), np.float32), np.zeros(len(roots), np.float32)
    for name, found in largest.items():
        # A channel that is nearly 0 on these photos may be larger on others: it keeps room for that.
        found = np.where(found > 0, np.maximum(found, found.max() / MAX_GAIN), found.max())
        np.maximum.at(values, roots[walk.tensors[name]], found)
    for name, ids in walk.read.items():
        layer = model.get_layer(name)
        if type(layer) is not layers.DepthwiseConv2D:
            kernel = np.abs(layer.get_weights()[0])
            kernel = np.swapaxes(kernel, 2, 3) if type(layer) is layers.Conv2DTranspose else kernel
            share = kernel / np.maximum(kernel.max(axis=(0, 1, 2)), 1e-12)
            np.maximum.at(weights, roots[ids], share.max(axis=(0, 1, 3)))
    scale = np.where(weights > 0, np.sqrt(values / np.where(weights > 0, weights, 1)), values)
    scale[(values == 0) | walk.ids.fixed()] = 1
    return scale[roots].astype(np.float32)


def _along(layer: Any, scale: np.ndarray, *, inputs: bool) -> np.ndarray:
    """A scale of each input or output channel, to be broadcast along the layer's kernel."""
    last = {layers.Conv2D: not inputs, layers.Conv2DTranspose: inputs, layers.DepthwiseConv2D: False}[type(layer)]
    return scale if last else scale[:, np.newaxis]
