"""The graph of a Keras model: which layer reads which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from seg_edge.errors import ModelError


def connections(model: keras.Model) -> Iterator[tuple[keras.Layer, list[str]]]:
    """Each layer in an order in which it can be computed, with the names of the layers it reads."""
    config = model.get_config() if isinstance(model, keras.Model) else {}
    if "input_layers" not in config or not hasattr(model, "operations"):
        raise ModelError(f"model {model.name!r} is not a functional one, so its graph can't be read; build it as one.")
    for described, layer in zip(config["layers"], model.operations, strict=True):
        nodes, name = described["inbound_nodes"], layer.name
        if len(nodes) > 1:
            raise ModelError(
                f"layer {name!r} is used {len(nodes)} times; only a graph in which each is used once can be read."
            )
        sources = [s for node in nodes for s in _sources(node["args"])]
        if any(True for node in nodes for _ in _sources(list(node["kwargs"].values()))):
            raise ModelError(f"layer {name!r} is called with a tensor by keyword; give it as the first argument.")
        if not sources and type(layer) is not layers.InputLayer:
            raise ModelError(f"layer {name!r} reads no other layer; only a graph from one image can be read.")
        yield layer, sources


def _sources(value: Any) -> Iterator[str]:
    """Names of the layers whose tensors are somewhere in a serialised call."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            yield from _sources(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _sources(item)
