"""Removes channels from a Keras model."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from convert.pruning.channels import OUTPUT_AXIS, Channels, find_channels
from seg_edge.errors import ModelError


def narrow(model: keras.Model, keep: np.ndarray, channels: Channels | None = None) -> keras.Model:
    """The model without the channel groups that aren't kept, with the other weights copied.

    Args:
        model: A model that `find_channels` supports.
        keep: bool (groups,): which of `find_channels(model).groups` to keep.
        channels: The result of `find_channels(model)`, if already computed.

    Returns:
        A new functional model with the same layer names. Its output is the model's with the removed channels set to
        zero; bit for bit the model's if nothing is removed.

    Raises:
        ModelError: A layer would be left without any channel, or `find_channels` can't read the model.
    """
    channels = channels or find_channels(model)
    keep = np.asarray(keep)
    if keep.dtype != bool or keep.shape != (len(channels.groups),):
        raise ValueError(f"keep must be bool ({len(channels.groups)},), got {keep.dtype} {keep.shape}")
    staying = np.append(keep, True)  # STAYS (-1) indexes the last
    kept_in = {name: np.flatnonzero(staying[ids]) for name, ids in channels.inputs.items()}
    kept_out = {name: np.flatnonzero(staying[ids]) for name, ids in channels.outputs.items()}
    for name, indices in kept_out.items():
        if not len(indices):
            raise ModelError(f"layer {name!r} would be left without any channel; keep at least one.")

    def rebuild(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if type(layer) in OUTPUT_AXIS:
            config["filters"] = len(kept_out[layer.name])
        return type(layer).from_config(config)

    narrowed = keras.models.clone_model(model, clone_function=rebuild)
    for name in channels.inputs:
        layer = model.get_layer(name)
        narrowed.get_layer(name).set_weights(_cut(layer, kept_in[name], kept_out[name]))
    return narrowed


def _cut(layer: keras.Layer, kept_in: np.ndarray, kept_out: np.ndarray) -> list[np.ndarray]:
    """A layer's weights for the kept input and output channels, in the order of `get_weights`."""
    weights, kind = layer.get_weights(), type(layer)
    kernels = [w for w in weights if w.ndim == 4]
    vectors = [w[kept_out] for w in weights if w.ndim == 1]  # biases, and the four vectors of a batch normalisation
    if kind is layers.Conv2D:
        kernels = [kernels[0][:, :, kept_in][..., kept_out]]
    elif kind is layers.Conv2DTranspose:
        kernels = [kernels[0][:, :, kept_out][..., kept_in]]
    elif kind is layers.DepthwiseConv2D:
        kernels = [kernels[0][:, :, kept_in]]
    elif kind is layers.SeparableConv2D:
        # The pointwise kernel reads `depth_multiplier` channels for each input channel, side by side.
        multiplier = layer.depth_multiplier
        spread = (kept_in[:, np.newaxis] * multiplier + np.arange(multiplier)).ravel()
        kernels = [kernels[0][:, :, kept_in], kernels[1][:, :, spread][..., kept_out]]
    return kernels + vectors
