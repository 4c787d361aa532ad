"""Finds which channels of a Keras model must be removed together.

Every tensor of the functional graph carries an array of ids, one per channel. A convolution makes new ids; layers that
treat channels separately (batch normalisation, activation, pooling, depthwise convolution) pass them on; concatenation
joins them; addition ties them, element by element. Tied channels form a group: they are removed together or not at
all. See `docs/decisions/channel-groups.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from convert.keras_graph import SIZE_KEEPING, ChannelIds, connections, only_output
from seg_edge.errors import ModelError

# The layers that produce channels, where these can be removed, with the channel axis of their last kernel.
OUTPUT_AXIS = {layers.Conv2D: 3, layers.Conv2DTranspose: 2, layers.SeparableConv2D: 3}
JOINING = (layers.Add, layers.Average, layers.Maximum, layers.Multiply, layers.Subtract)
PASSING = (
    layers.BatchNormalization,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Activation,
    layers.Softmax,
    *SIZE_KEEPING,
)
STAYS = -1


@dataclass(frozen=True)
class Group:
    """Channels that are removed together.

    Attributes:
        producers: The layers that produce them, with the channel's index there.
        consumers: The layers whose kernels lose one or more input channels.
    """

    producers: tuple[tuple[str, int], ...]
    consumers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Channels:
    """The channel groups of a model.

    Attributes:
        groups: The removable ones. Channels of the model's input and output are in none.
        inputs: For each layer with weights, the group number of each input channel, int (channels,); `STAYS` if it
            can't be removed.
        outputs: The same for its output channels.
        readers: For each layer, the names of the layers that read its output.
    """

    groups: tuple[Group, ...]
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    readers: Mapping[str, tuple[str, ...]]

    def by_layers(self) -> dict[tuple[str, ...], np.ndarray]:
        """Group numbers, int (n,), by producers: one entry per layer or set of tied layers."""
        found: dict[tuple[str, ...], list[int]] = {}
        for number, group in enumerate(self.groups):
            found.setdefault(tuple(name for name, _ in group.producers), []).append(number)
        return {names: np.array(numbers) for names, numbers in found.items()}


def find_channels(model: keras.Model) -> Channels:
    """The channel groups of a functional model of convolutions.

    Args:
        model: One image in, one score map out, channels last, each layer used once.

    Raises:
        ModelError: A layer isn't supported, or the graph has another structure; the message names the layer.
    """
    channels = ChannelIds()
    tensors: dict[str, np.ndarray] = {}
    inputs: dict[str, np.ndarray] = {}
    readers: dict[str, list[str]] = {}
    for layer, sources in connections(model):
        readers[layer.name] = []
        for source in sources:
            readers[source].append(layer.name)
        input_ids = [tensors[source] for source in sources]
        tensors[layer.name] = _output_ids(layer, input_ids, channels)
        if layer.weights:
            inputs[layer.name] = input_ids[0]
    channels.fix(tensors[only_output(model)])

    root, stays = channels.roots, channels.fixed()
    numbers = {int(r): number for number, r in enumerate(dict.fromkeys(root[~stays].tolist()))}
    group_of = np.array([STAYS if stay else numbers[int(r)] for r, stay in zip(root, stays, strict=True)])
    return Channels(
        _groups(len(numbers), channels.producers, group_of, inputs, model),
        {name: group_of[ids] for name, ids in inputs.items()},
        {name: group_of[tensors[name]] for name in inputs},
        {name: tuple(names) for name, names in readers.items()},
    )


def _groups(
    count: int,
    channels: list[tuple[str, int]],
    group_of: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    model: keras.Model,
) -> tuple[Group, ...]:
    producers: list[list[tuple[str, int]]] = [[] for _ in range(count)]
    consumers: list[list[str]] = [[] for _ in range(count)]
    for channel, number in zip(channels, group_of, strict=True):
        if number != STAYS:
            producers[number].append(channel)
    for name, ids in inputs.items():
        if type(model.get_layer(name)) in OUTPUT_AXIS:
            for number in set(group_of[ids].tolist()) - {STAYS}:
                consumers[number].append(name)
    return tuple(Group(tuple(p), tuple(c)) for p, c in zip(producers, consumers, strict=True))


def _output_ids(layer: keras.Layer, inputs: list[np.ndarray], channels: ChannelIds) -> np.ndarray:
    """The channel ids of a layer's output, from those of its inputs."""
    kind = type(layer)
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ModelError(f"layer {layer.name!r} has its channels first; channels must be last.")
    if kind is layers.InputLayer:
        ids = channels.new(layer.name, _image_channels(layer))
        channels.fix(ids)
        return ids
    if kind in OUTPUT_AXIS:
        if getattr(layer, "groups", 1) != 1:
            raise ModelError(f"layer {layer.name!r} convolves in {layer.groups} groups; only 1 group can be pruned.")
        return _unless_softmax(layer, channels.new(layer.name, layer.filters), channels)
    if kind is layers.DepthwiseConv2D:
        return _unless_softmax(layer, np.repeat(inputs[0], layer.depth_multiplier), channels)
    if kind is layers.Concatenate and layer.axis in (-1, 3):
        return np.concatenate(inputs)
    if kind in JOINING:
        if len({len(ids) for ids in inputs}) != 1:
            counts = ", ".join(str(len(ids)) for ids in inputs)
            raise ModelError(f"layer {layer.name!r} joins tensors of {counts} channels; the same number was expected.")
        for ids in inputs[1:]:
            channels.tie(inputs[0], ids)
        return inputs[0]
    if kind in PASSING and getattr(layer, "axis", -1) in (-1, 3):
        return _unless_softmax(layer, inputs[0], channels)
    known = ", ".join(sorted(k.__name__ for k in (*OUTPUT_AXIS, *JOINING, *PASSING)))
    raise ModelError(
        f"layer {layer.name!r} is a {kind.__name__}, whose channels can't be followed; "
        f"build the model from {known}, DepthwiseConv2D and Concatenate over channels."
    )


def _image_channels(layer: keras.Layer) -> int:
    shape = layer.batch_shape
    if len(shape) != 4 or None in shape[1:]:
        raise ModelError(
            f"layer {layer.name!r} has the shape {shape}; an image of a fixed size (height, width, 3) is expected."
        )
    return int(shape[3])


def _unless_softmax(layer: keras.Layer, ids: np.ndarray, channels: ChannelIds) -> np.ndarray:
    """Keeps all channels of a softmax: they sum to 1, so removing one would change the others."""
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if type(layer) is layers.Softmax or activation in ("softmax", "log_softmax"):
        channels.fix(ids)
    return ids
