"""Removes the finest level of a U-Net: its first convolution halves the resolution, and its output has half the size.

Most of a U-Net's time goes into the two levels at full resolution, however narrow they are: few channels don't fill a
processor's registers. The runtime upsamples the logits before the argmax, so little is lost. All other weights are
kept; the last convolution, whose input changes, gets new weights, so the model must be trained again.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from convert.keras_graph import connections
from seg_edge.errors import ModelError

# Layers of train/unet.py that only the finest level needs. Each is replaced by the last tensor that it reads.
FINEST = ("down0_b_", "down1_pool", "up0_")


def halve(model: keras.Model, seed: int = 0) -> keras.Model:
    """The U-Net without its finest level.

    Args:
        model: A U-Net of `train.unet`, pruned or not, at full resolution and with at least three levels.
        seed: Seed of the last convolution's weights.

    Returns:
        A functional model with the same input; logits (batch, height / 2, width / 2, classes). Layers keep their names.

    Raises:
        ModelError: It is another network.
    """
    names = {layer.name for layer in model.layers}
    if not {"down0_a_conv", "down0_b_conv", "down1_pool", "up1_b_relu", "logits"} <= names:
        raise ModelError(
            f"model {model.name!r} isn't a U-Net of train/fit.py with three or more levels, so its finest level "
            "is unknown; prune it without --halve (in convert/compress.py: with --no-halve)."
        )
    if model.get_layer("down0_a_conv").strides != (1, 1):
        raise ModelError(
            f"model {model.name!r} already starts at half resolution, so there is no finest level; "
            "prune it without --halve (in convert/compress.py: with --no-halve)."
        )
    tensors: dict[str, Any] = {}
    for layer, sources in connections(model):
        inputs = [tensors[source] for source in sources]
        if not inputs:
            tensors[layer.name] = keras.Input(layer.batch_shape[1:], name=layer.name)
        elif layer.name.startswith(FINEST):
            tensors[layer.name] = inputs[-1]
        else:
            config = layer.get_config()
            if layer.name == "down0_a_conv":
                config["strides"] = (2, 2)
            if layer.name == "logits":
                config["kernel_initializer"] = keras.initializers.GlorotUniform(seed)
            tensors[layer.name] = type(layer).from_config(config)(inputs[0] if len(inputs) == 1 else inputs)
    halved = keras.Model(tensors[model.operations[0].name], tensors["logits"], name=model.name)
    for layer in halved.layers:
        inherited = model.get_layer(layer.name).get_weights()
        if layer.name == "logits":
            layer.set_weights([layer.get_weights()[0], *inherited[1:]])
        else:
            layer.set_weights(inherited)
    return halved


def carry_scores(scores: np.ndarray, before: Any, after: Any) -> np.ndarray:
    """Scores of the halved model's channel groups from the whole model's.

    Args:
        scores: Scores of the groups in `before`, float (groups,).
        before: `find_channels` of the whole model, which was scored.
        after: `find_channels` of the halved model.
    """
    score_of = {
        channel: score for group, score in zip(before.groups, scores, strict=True) for channel in group.producers
    }
    return np.array([score_of[group.producers[0]] for group in after.groups])
