"""Augmentation: how each photo is varied in each epoch.

The five transformations of the original course project (resize, horizontal and vertical translation, mirror and hue),
then brightness, contrast, small rotation and a few typical of webcams. Geometry is one projective transform, applied
with the same matrix to photo (bilinear) and mask (nearest neighbour, never interpolated), so a photo is resampled once.
Keras' preprocessing layers resample for each transformation and draw from a hidden state; here every draw is a
pure function of `seed`, so an interrupted training continues to the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """How far each transformation may go; 0 switches it off.

    Attributes:
        zoom_in: Largest magnification minus one: 0.25 shows at least 1 / 1.25 of each side. Log-uniform.
        zoom_out: The same for shrinking; the photo is mirrored at its edges to fill the frame.
        stretch: Largest change of the aspect ratio.
        shift_x: Largest horizontal translation, as a share of the width.
        shift_y: Largest vertical translation, as a share of the height.
        mirror: Probability of swapping left and right.
        rotate_degrees: Largest rotation either way.
        hue: Largest shift of the hue, as a share of the colour circle.
        saturation: Largest change of the saturation, as a share.
        brightness: Largest change of the brightness, as a share of full white.
        contrast: Largest change of the contrast, as a share.
        grey: Probability of a greyscale photo.
        noise: Largest standard deviation of the sensor noise added to half of the photos, as a share of full white.
    """

    zoom_in: float = 0.25
    zoom_out: float = 0.15
    stretch: float = 0.1
    shift_x: float = 0.15
    shift_y: float = 0.15
    mirror: float = 0.5
    rotate_degrees: float = 8.0
    hue: float = 0.04
    saturation: float = 0.3
    brightness: float = 0.15
    contrast: float = 0.25
    grey: float = 0.0
    noise: float = 0.02


def augment(image: Any, mask: Any, seed: Any, settings: Augmentation, size_wh: tuple[int, int]) -> tuple[Any, Any]:
    """An augmented example.

    Args:
        image: RGB uint8 (height, width, 3), at the output's size or larger.
        mask: uint8 (height, width), any label values.
        seed: int64 (2,); the same seed gives the same example.
        settings: How much to vary.
        size_wh: Size of the result.

    Returns:
        Image float32 (size_h, size_w, 3) in 0..1 and mask uint8 (size_h, size_w).
    """
    geometry_seed, colour_seed = tf.unstack(_split(seed))
    matrix = draw_transform(geometry_seed, settings, tf.shape(image)[:2], size_wh)
    # As float: in uint8, interpolated values would be truncated, half a level of 255 too dark on average.
    image = warp(tf.cast(image, tf.float32), matrix, size_wh, "BILINEAR")
    mask = warp(mask[..., tf.newaxis], matrix, size_wh, "NEAREST")[..., 0]
    return vary_colours(image / 255.0, colour_seed, settings), mask


def draw_transform(seed: Any, settings: Augmentation, shape_hw: Any, size_wh: tuple[int, int]) -> Any:
    """Draws the geometry: float32 (8,), the projective transform from output to input pixels.

    The order and meaning of the eight numbers are those of `tf.raw_ops.ImageProjectiveTransformV3`.
    """
    draw = tf.random.stateless_uniform([7], seed, -1.0, 1.0)
    zoom = tf.exp(tf.where(draw[0] > 0, draw[0] * _log1p(settings.zoom_in), draw[0] * _log1p(settings.zoom_out)))
    stretch = tf.exp(draw[1] * _log1p(settings.stretch) / 2)
    angle = draw[4] * settings.rotate_degrees * (3.141592653589793 / 180)
    flip = tf.where((draw[5] + 1) / 2 < settings.mirror, -1.0, 1.0)

    height, width = tf.cast(shape_hw[0], tf.float32), tf.cast(shape_hw[1], tf.float32)
    out_width, out_height = float(size_wh[0]), float(size_wh[1])
    # From the output pixel, centred, in units of the output's height (so that a rotation does not shear), to the
    # input pixel: x_in = c_x + width * (a x + b y) and so on.
    aspect = out_width / out_height
    cos, sin = tf.cos(angle), tf.sin(angle)
    scale_x, scale_y = flip / (zoom * stretch), stretch / zoom
    a, b = scale_x * cos / out_width, -scale_x * sin * (1 / aspect) / out_height
    c, d = scale_y * sin * aspect / out_width, scale_y * cos / out_height
    centre_x, centre_y = (out_width - 1) / 2, (out_height - 1) / 2
    # A magnified photo may be shifted further, up to the edge of its hidden part.
    reach_x = settings.shift_x + tf.maximum(0.0, (1 - 1 / zoom) / 2)
    reach_y = settings.shift_y + tf.maximum(0.0, (1 - 1 / zoom) / 2)
    x0 = (width - 1) / 2 - width * (a * centre_x + b * centre_y) + width * draw[2] * _on(settings.shift_x, reach_x)
    y0 = (height - 1) / 2 - height * (c * centre_x + d * centre_y) + height * draw[3] * _on(settings.shift_y, reach_y)
    return tf.stack([a * width, b * width, x0, c * height, d * height, y0, 0.0, 0.0])


def warp(pixels: Any, matrix: Any, size_wh: tuple[int, int], interpolation: str) -> Any:
    """Applies `draw_transform`'s matrix to (height, width, channels); beyond the edge the picture is mirrored."""
    return tf.ensure_shape(
        tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels[tf.newaxis],
            transforms=matrix[tf.newaxis],
            output_shape=[size_wh[1], size_wh[0]],
            fill_value=0.0,
            interpolation=interpolation,
            fill_mode="REFLECT",
        )[0],
        (size_wh[1], size_wh[0], pixels.shape[-1]),
    )


def vary_colours(image: Any, seed: Any, settings: Augmentation) -> Any:
    """Hue, saturation, brightness, contrast, greyscale and noise on float32 (height, width, 3) in 0..1."""
    seeds = _split(seed)
    draw = tf.random.stateless_uniform([6], seeds[0], -1.0, 1.0)
    if settings.hue:
        image = tf.image.adjust_hue(image, draw[0] * settings.hue)
    if settings.saturation:
        image = tf.image.adjust_saturation(image, 1 + draw[1] * settings.saturation)
    if settings.grey:
        grey = tf.broadcast_to(tf.image.rgb_to_grayscale(image), tf.shape(image))
        image = tf.where((draw[2] + 1) / 2 < settings.grey, grey, image)
    if settings.contrast:
        image = tf.image.adjust_contrast(image, 1 + draw[3] * settings.contrast)
    if settings.brightness:
        image = tf.image.adjust_brightness(image, draw[4] * settings.brightness)
    if settings.noise:
        image = tf.cond(
            draw[5] > 0,  # half of the photos
            lambda: image + settings.noise * draw[5] * tf.random.stateless_normal(image.shape, seeds[1]),
            lambda: image,
        )
    return tf.clip_by_value(image, 0.0, 1.0)


def _split(seed: Any) -> Any:
    """Two independent seeds from one, int64 (2, 2)."""
    return tf.random.experimental.stateless_split(seed, 2)


def _log1p(value: float) -> Any:
    return tf.math.log1p(tf.constant(value, tf.float32))


def _on(setting: float, value: Any) -> Any:
    return value if setting else 0.0
