"""The connections between the layers of a Keras model, and the channels that pass along them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from seg_edge.errors import ModelError


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
    """

    producers: list[tuple[str, int]] = field(default_factory=list)
    _ties: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    _fixed: list[np.ndarray] = field(default_factory=list)

    def new(self, layer: str, count: int) -> np.ndarray:
        """Ids of a layer's own channels, int (count,)."""
        first = len(self.producers)
        self.producers += [(layer, index) for index in range(count)]
        return np.arange(first, first + count)

    def tie(self, left: np.ndarray, right: np.ndarray) -> None:
        """What is done to one of two channels has to be done to the other, element by element."""
        self._ties.append((left, right))

    def fix(self, ids: np.ndarray) -> None:
        """Nothing may be done to these."""
        self._fixed.append(ids)

    def roots(self) -> np.ndarray:
        """For each channel the first one it is tied to, int (channels,)."""
        root = np.arange(len(self.producers))
        for left, right in self._ties:
            for a, b in zip(left, right, strict=True):
                if root[a] != root[b]:
                    low, high = sorted((root[a], root[b]))
                    root[root == high] = low
        return root

    def fixed(self) -> np.ndarray:
        """Whether a channel, or one that it is tied to, is fixed, bool (channels,)."""
        root = self.roots()
        return np.isin(root, root[np.concatenate(self._fixed)]) if self._fixed else np.zeros(len(root), bool)
