"""A U-Net without its finest level: its first convolution halves the resolution, and its output has half the size.

Most of a U-Net's time goes into the two levels at full resolution, however narrow they become: few channels don't fill
a processor's registers. The runtime enlarges the logits before it decides, so little is lost. All other weights stay;
the last convolution, whose input is another one, gets new weights, and training has to follow.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from convert.keras_graph import connections
from seg_edge.errors import ModelError

# Of train/unet.py: what the finest level alone needs. Each passes on the last tensor that it reads.
FINEST = ("down0_b_", "down1_pool", "up0_")


def halve(model: keras.Model, seed: int = 0) -> keras.Model:
    """The U-Net without its finest level.

    Args:
        model: Of `train.unet`, pruned or not, at full resolution and with two levels at least.
        seed: Of the last convolution's weights.

    Returns:
        A functional model; input as before, logits (batch, height / 2, width / 2, classes). Layers keep their names.

    Raises:
        ModelError: It isn't such a U-Net.
    """
    names = {layer.name for layer in model.layers}
    if not {"down0_a_conv", "down0_b_conv", "down1_pool", "up1_b_relu", "logits"} <= names:
        raise ModelError(
            f"model {model.name!r} is no U-Net of train/fit.py with three levels or more, so its finest level "
            "is unknown; prune it without --halve (of convert/compress.py: with --no-halve)."
        )
    if model.get_layer("down0_a_conv").strides != (1, 1):
        raise ModelError(
            f"model {model.name!r} begins at half resolution already, so there is no finest level; "
            "prune it without --halve (of convert/compress.py: with --no-halve)."
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
    """Scores of the halved model's channel groups from those of the whole one's.

    Args:
        scores: Float (groups,) of `before`.
        before: `find_channels` of the whole model, on which it was scored.
        after: `find_channels` of the halved one.
    """
    of_maker = {maker: score for group, score in zip(before.groups, scores, strict=True) for maker in group.producers}
    return np.array([of_maker[group.producers[0]] for group in after.groups])
