"""What a frame is, and how pictures of other kinds become one.

A frame is BGR uint8 (height, width, 3), as OpenCV and picamera2 deliver it. An array doesn't say in which order its
colours are, so arrays are always read as BGR; a PIL image states its mode.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np

from seg_edge.errors import UsageError
from seg_edge.strips import strips


def as_frame(picture: Any) -> np.ndarray:
    """A picture as a frame.

    Args:
        picture: uint8 array, BGR (height, width, 3), BGRA (height, width, 4) or grey (height, width) or
            (height, width, 1); or a PIL image of any mode. Transparent parts are laid over white, as when a photo
            is read. For an array in RGB order give `picture[..., ::-1]`.

    Returns:
        BGR uint8 (height, width, 3); `picture` itself if it is that.

    Raises:
        TypeError: It is something else.
        UsageError: A PIL image whose EXIF orientation was not applied: a mask would not fit what a viewer shows.
    """
    # Without PIL loaded, it isn't a PIL image.
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(picture, pil.Image):
        return _of_pil(picture)
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"a frame must be a NumPy array or a PIL image, got {type(picture).__name__}")
    channels = 1 if picture.ndim == 2 else picture.shape[2] if picture.ndim == 3 else 0
    if picture.dtype != np.uint8 or channels not in (1, 3, 4) or 0 in picture.shape:
        raise TypeError(
            "a frame must be BGR uint8 (height, width, 3), or grey or BGRA; "
            f"got {picture.dtype} of shape {picture.shape}"
        )
    if channels == 3:
        return picture
    if channels == 1:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    return over_white(cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR), cv2.extractChannel(picture, 3))


def over_white(colour: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Lays transparent parts over white.

    Args:
        colour: BGR uint8 (height, width, 3), not multiplied by alpha.
        alpha: uint8 (height, width); None where everything is opaque.

    Returns:
        BGR uint8 (height, width, 3); `colour` itself where alpha is None.
    """
    if alpha is None:
        return colour
    white = np.empty_like(colour)
    for rows in strips(alpha.shape):
        # 255 - (255 - colour) * alpha / 255
        shown = cv2.multiply(cv2.bitwise_not(colour[rows]), cv2.merge([alpha[rows]] * 3), scale=1 / 255)
        white[rows] = cv2.bitwise_not(shown)
    return white


def _of_pil(picture: Any) -> np.ndarray:
    orientation = picture.getexif().get(0x0112, 1)
    if orientation not in (0, 1):
        raise UsageError(
            f"the PIL image is not upright (EXIF orientation {orientation}); "
            "give PIL.ImageOps.exif_transpose(image), or read the file with seg_edge.read_photo."
        )
    if picture.mode.startswith("I;16"):
        return cv2.cvtColor(cv2.convertScaleAbs(np.asarray(picture), alpha=1 / 257), cv2.COLOR_GRAY2BGR)
    if picture.mode in ("I", "F"):
        raise TypeError(f"a PIL image of mode {picture.mode} has no range; convert it to L or RGB")
    if not picture.has_transparency_data:
        return cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR)
    return as_frame(cv2.cvtColor(np.asarray(picture.convert("RGBA")), cv2.COLOR_RGBA2BGRA))
