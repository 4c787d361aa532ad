"""A U-Net over EfficientNet-Lite0, a mobile network pretrained on ImageNet: `--encoder lite0`.

EfficientNet-Lite (Google, 2020, Apache-2.0) is EfficientNet (Tan and Le, 2019, arXiv:1905.11946) without what quantises
badly: ReLU6 instead of swish, no squeeze-and-excitation. Its rows of inverted residual blocks (Sandler et al., 2018,
arXiv:1801.04381) are the contracting path here; the expanding path is that of `train.unet` with `decoder="add"`.

The pretrained network expects `(x - 127) / 128` of 8-bit levels, this one 0..1 like the rest of the family: factor and
offset are folded into the first convolution, which saves an operator. That changes the output only at the image's
border, where the padding is black instead of grey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from seg_edge.errors import UsageError
from train.pretrained import lite0_weights

MEAN, SCALE = 127.0, 128.0  # of the pretrained network's input, in 8-bit levels
STEM = 32  # channels of the first convolution
EPSILON = 1e-3  # of its batch normalisations
MOMENTUM = 0.97  # of their moving statistics during training here


class Row(NamedTuple):
    """Blocks of one kind, as in table 1 of the EfficientNet paper."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


ROWS = (
    Row(1, 3, 1, 1, 16),
    Row(2, 3, 2, 6, 24),
    Row(2, 5, 2, 6, 40),
    Row(3, 3, 2, 6, 80),
    Row(3, 5, 1, 6, 112),
    Row(4, 5, 2, 6, 192),
    Row(1, 3, 1, 6, 320),
)


def lite0_unet(
    size_wh: tuple[int, int],
    classes: int,
    widths: Sequence[int] = (32, 48, 64, 128),
    *,
    rows: int = len(ROWS),
    dropout: float = 0.0,
    pretrained: bool = True,
) -> keras.Model:
    """A U-Net over EfficientNet-Lite0.

    Args:
        size_wh: Input width and height in pixels, multiples of the encoder's largest stride: 32, or 16 with 5 rows.
        classes: Number of classes with the background, at least 2.
        widths: Channels of each level of the decoder, finest first (half the input's resolution); one fewer than the
            encoder has levels.
        rows: How many of the encoder's rows to keep: 3, 5 or 7, ending at a stride of 8, 16 or 32.
        dropout: Share of the coarsest level's channels dropped while training.
        pretrained: Start from ImageNet weights instead of random ones.

    Returns:
        Input float32 (batch, height, width, 3), RGB 0..1; output float32 logits
        (batch, height / 2, width / 2, classes).

    Raises:
        UsageError: An argument is invalid; the message gives valid values.
        DataError: The pretrained weights aren't installed.
    """
    levels = {3: 2, 5: 3, 7: 4}.get(rows)
    if levels is None:
        raise UsageError(f"the encoder's rows must be 3, 5 or 7, got {rows}")
    if len(widths) != levels or min(widths) < 1:
        raise UsageError(f"an encoder of {rows} rows needs the widths of {levels} decoder levels, got {tuple(widths)}")
    factor = 2 ** (levels + 1)
    if any(side % factor or side <= 0 for side in size_wh):
        raise UsageError(f"input {size_wh[0]}x{size_wh[1]} does not fit: both sides must be multiples of {factor}")
    if classes < 2:
        raise UsageError(f"a U-Net needs the background and at least one class, got {classes} in all")

    inputs = keras.Input((size_wh[1], size_wh[0], 3), name="image")
    x = layers.Conv2D(STEM, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = _norm(x, "stem", relu=True)
    skips: list[keras.KerasTensor] = []
    number = 0
    for row in ROWS[:rows]:
        for repeat in range(row.repeats):
            stride = row.stride if repeat == 0 else 1
            if stride == 2:
                skips.append(x)
            x = _block(x, row, stride, f"block{number}")
            number += 1
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="dropout")(x)
    for level in reversed(range(levels)):
        width = widths[level]
        x = layers.Conv2D(width, 1, use_bias=False, name=f"up{level}_narrow")(x)
        x = layers.UpSampling2D(interpolation="bilinear", name=f"up{level}_upsample")(x)
        skip = layers.Conv2D(width, 1, use_bias=False, name=f"up{level}_skip")(skips[level])
        x = layers.Add(name=f"up{level}_add")([skip, x])
        x = layers.Conv2D(
            width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"up{level}_conv"
        )(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"up{level}_norm")(x)
        x = layers.ReLU(name=f"up{level}_relu")(x)
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    model = keras.Model(inputs, logits, name="lite0_unet")
    if pretrained:
        load_encoder(model, lite0_weights())
    return model


def load_encoder(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Loads the pretrained weights into the encoder; the decoder's are unchanged.

    Args:
        model: Built by `lite0_unet`.
        tensors: By PyTorch name: kernels (out, in, height, width), depthwise ones (channels, 1, height, width).
    """
    for layer in model.layers:
        name, _, kind = layer.name.rpartition("_")
        if name == "stem" or name.startswith("block"):
            part, _, of_block = name.partition("_")
            source = "" if part == "stem" else f"_blocks.{part.removeprefix('block')}."
            if kind == "conv":
                kernel = tensors[f"{source}{CONVOLUTIONS[of_block]}.weight"]
                axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
                layer.set_weights([kernel.transpose(axes)])
            elif kind == "norm":
                norm = f"{source}{NORMS[of_block]}."
                layer.set_weights(
                    [tensors[norm + value] for value in ("weight", "bias", "running_mean", "running_var")]
                )
    _fold_scaling(model.get_layer("stem_conv"), model.get_layer("stem_norm"))


def freeze_rows(model: keras.Model, rows: int) -> None:
    """Freezes the encoder's first rows and the convolution before them; 0 trains all."""
    blocks = sum(row.repeats for row in ROWS[:rows])
    frozen = ("stem_", *(f"block{number}_" for number in range(blocks)))
    for layer in model.layers:
        layer.trainable = not (rows and layer.name.startswith(frozen))


CONVOLUTIONS = {"": "_conv_stem", "expand": "_expand_conv", "depthwise": "_depthwise_conv", "project": "_project_conv"}
NORMS = {"": "_bn0", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}


def _fold_scaling(convolution: keras.Layer, norm: keras.Layer) -> None:
    """Adapts them to inputs of 0..1: folds `(255 x - MEAN) / SCALE` into the kernel and the moving mean."""
    kernel = convolution.get_weights()[0]
    gamma, beta, mean, variance = norm.get_weights()
    convolution.set_weights([kernel * (255 / SCALE)])
    norm.set_weights([gamma, beta, mean + kernel.sum(axis=(0, 1, 2)) * (MEAN / SCALE), variance])


def _block(x: keras.KerasTensor, row: Row, stride: int, name: str) -> keras.KerasTensor:
    """An inverted residual block: 1x1 to more channels, depthwise, 1x1 to fewer; added to its input if shapes match."""
    before = x
    if row.expansion > 1:
        x = layers.Conv2D(x.shape[-1] * row.expansion, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _norm(x, f"{name}_expand", relu=True)
    x = layers.DepthwiseConv2D(
        row.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _norm(x, f"{name}_depthwise", relu=True)
    x = layers.Conv2D(row.width, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _norm(x, f"{name}_project", relu=False)
    if stride == 1 and before.shape[-1] == row.width:
        x = layers.Add(name=f"{name}_add")([before, x])
    return x


def _norm(x: keras.KerasTensor, name: str, *, relu: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_norm")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x
