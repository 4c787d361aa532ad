"""The U-Net family: an encoder-decoder with skip connections (Ronneberger et al., 2015, arXiv:1505.04597).

With widths 64, 128, 256, 512, 1024 it is the full model: 31.0 million parameters. Smaller members of the
family differ in three ways, each an argument: fewer channels, a first convolution with stride 2 (most of a U-Net's
multiplications are at full resolution), and a decoder that adds the skip instead of concatenating it.

The output is logits, one channel per class. Batch normalisation is folded into the convolutions on conversion.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from seg_edge.errors import UsageError

FULL_WIDTHS = (64, 128, 256, 512, 1024)


def unet(
    size_wh: tuple[int, int],
    classes: int,
    widths: Sequence[int] = FULL_WIDTHS,
    *,
    stem_stride: int = 1,
    decoder: str = "concatenate",
    dropout: float = 0.0,
) -> keras.Model:
    """A U-Net, untrained.

    Args:
        size_wh: Input width and height in pixels, multiples of `stem_stride * 2 ** (len(widths) - 1)`.
        classes: Number of classes with the background, at least 2.
        widths: Channels of each level, finest first; two 3x3 convolutions per level.
        stem_stride: 1, or 2 for a first convolution that halves the resolution; the logits then have half the size.
        decoder: `concatenate` is the original: 2x2 transposed convolution, concatenation, two convolutions. `add` is
            1x1 convolution, bilinear x2, addition of the skip, one convolution: a third of the operations.
        dropout: Share of the coarsest level's channels dropped while training.

    Returns:
        Input float32 (batch, height, width, 3), RGB 0..1; output float32 logits
        (batch, height / stem_stride, width / stem_stride, classes).

    Raises:
        UsageError: An argument is invalid; the message gives valid values.
    """
    if stem_stride not in (1, 2):
        raise UsageError(f"stem_stride must be 1 or 2, got {stem_stride}")
    if not widths or min(widths) < 1:
        raise UsageError(f"widths must give the channels of at least one level, got {tuple(widths)}")
    factor = stem_stride * 2 ** (len(widths) - 1)
    if any(side % factor or side <= 0 for side in size_wh):
        raise UsageError(
            f"input {size_wh[0]}x{size_wh[1]} does not fit {len(widths)} levels: "
            f"both sides must be multiples of {factor}"
        )
    if classes < 2:
        raise UsageError(f"a U-Net needs the background and at least one class, got {classes} in all")
    if decoder not in ("concatenate", "add"):
        raise UsageError(f"decoder must be 'concatenate' or 'add', got {decoder!r}")

    inputs = keras.Input((size_wh[1], size_wh[0], 3), name="image")
    x, skips = inputs, []
    for level, width in enumerate(widths):
        if level:
            skips.append(x)
            x = layers.MaxPooling2D(name=f"down{level}_pool")(x)
        x = _convolution(x, width, f"down{level}_a", stride=stem_stride if level == 0 else 1)
        x = _convolution(x, width, f"down{level}_b")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="dropout")(x)
    for level in reversed(range(len(skips))):
        width, skip = widths[level], skips[level]
        if decoder == "concatenate":
            x = layers.Conv2DTranspose(width, 2, strides=2, name=f"up{level}_transpose")(x)
            x = layers.Concatenate(name=f"up{level}_concatenate")([skip, x])
            x = _convolution(x, width, f"up{level}_a")
        else:
            x = layers.Conv2D(width, 1, use_bias=False, name=f"up{level}_narrow")(x)
            x = layers.UpSampling2D(interpolation="bilinear", name=f"up{level}_upsample")(x)
            x = layers.Add(name=f"up{level}_add")([skip, x])
        x = _convolution(x, width, f"up{level}_b")
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="unet")


def _convolution(x: keras.KerasTensor, width: int, name: str, stride: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(
        width,
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=0.97, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
