"""The connections between the layers of a Keras model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
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
