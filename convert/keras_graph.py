"""The connections between the layers of a Keras model, and the channels that pass along them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from seg_edge.errors import ModelError

# Layers that treat all channels alike and separately, and keep the scale of their values.
SIZE_KEEPING = (
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    layers.UpSampling2D,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.Dropout,
    layers.SpatialDropout2D,
)


def connections(model: keras.Model) -> Iterator[tuple[keras.Layer, list[str]]]:
    """The layers in topological order, each with the names of the layers it reads."""
    config = model.get_config() if isinstance(model, keras.Model) else {}
    if "input_layers" not in config or not hasattr(model, "operations"):
        raise ModelError(f"model {model.name!r} isn't a functional model, so its graph can't be read; build it as one.")
    for config_of_layer, layer in zip(config["layers"], model.operations, strict=True):
        nodes, name = config_of_layer["inbound_nodes"], layer.name
        if len(nodes) > 1:
            raise ModelError(f"layer {name!r} is used {len(nodes)} times; each layer must be used once.")
        sources = [s for node in nodes for s in _sources(node["args"])]
        if any(True for node in nodes for _ in _sources(list(node["kwargs"].values()))):
            raise ModelError(f"layer {name!r} is called with a tensor by keyword; give it as the first argument.")
        if not sources and type(layer) is not layers.InputLayer:
            raise ModelError(f"layer {name!r} has no input layer; the graph must start from one image.")
        yield layer, sources


def _sources(value: Any) -> Iterator[str]:
    """Names of the layers whose tensors occur in a serialised call."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            yield from _sources(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _sources(item)


def only_output(model: keras.Model) -> str:
    """The name of the layer that gives the output.

    Raises:
        ModelError: The model has several inputs or outputs.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"model {model.name!r} has {len(model.inputs)} inputs and {len(model.outputs)} outputs "
            f"({', '.join(model.output_names)}); one of each is expected."
        )
    first = model.get_config()["output_layers"]
    while not isinstance(first[0], str):
        first = first[0]
    return str(first[0])


@dataclass
class ChannelIds:
    """Numbers for the channels of a model's tensors, given out on a walk along its connections.

    Attributes:
        producers: For each channel, the layer that produces it and its index there.
        roots: For each channel the first one it is tied to, int (channels,).
    """

    producers: list[tuple[str, int]] = field(default_factory=list)
    roots: np.ndarray = field(default_factory=lambda: np.arange(0))
    _fixed: list[np.ndarray] = field(default_factory=list)

    def new(self, layer: str, count: int) -> np.ndarray:
        """Ids of a layer's own channels, int (count,)."""
        first = len(self.producers)
        self.producers += [(layer, index) for index in range(count)]
        ids = np.arange(first, first + count)
        self.roots = np.concatenate([self.roots, ids])
        return ids

    def tie(self, left: np.ndarray, right: np.ndarray) -> None:
        """Ties channels, element by element: whatever changes one must change the other."""
        for a, b in zip(left, right, strict=True):
            low, high = sorted((self.roots[a], self.roots[b]))
            if low != high:
                self.roots[self.roots == high] = low

    def fix(self, ids: np.ndarray) -> None:
        """Marks channels that nothing may change."""
        self._fixed.append(ids)

    def fixed(self) -> np.ndarray:
        """Whether each channel, or one that it is tied to, is fixed, bool (channels,)."""
        roots = self.roots
        return np.isin(roots, roots[np.concatenate(self._fixed)]) if self._fixed else np.zeros(len(roots), bool)
