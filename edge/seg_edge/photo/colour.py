"""Colours to sRGB, by the ICC profile that a photo carries or that `named_colours` makes for it.

Phones photograph in Display P3 and some cameras in Adobe RGB; read as sRGB, such photos look dull, and models are
trained on sRGB. LittleCMS, which comes with Pillow, does the arithmetic; Pillow is loaded only for photos with
a profile.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any, BinaryIO

import cv2
import numpy as np

_BAND_PIXELS = 1 << 20  # Pillow holds four bytes a pixel, so a photo goes through it in bands
# What Pillow raises for a damaged file.
DAMAGED = (ValueError, SyntaxError, RuntimeError, OSError, EOFError, TypeError, LookupError)
_SAME = 1  # a profile that shifts every colour by at most this many levels counts as sRGB


def profile_space(profile: bytes) -> str:
    """The colour space that a profile is for: `RGB`, `GRAY`, `CMYK`, ... (ICC.1:2022, 7.2.8)."""
    return profile[16:20].decode("latin-1").strip()


def to_srgb(image: np.ndarray, profile: bytes) -> np.ndarray:
    """The same picture in sRGB, by relative colorimetry with black point compensation, as browsers show it.

    Args:
        image: uint8, grey (h, w), BGR (h, w, 3) or BGRA (h, w, 4); a colour picture is changed in place.
        profile: Its ICC profile. One that is damaged, or for another colour space, is ignored, as browsers do.

    Returns:
        BGR (h, w, 3) or BGRA (h, w, 4); grey stays grey where its profile changes nothing.
    """
    grey = image.ndim == 2
    space = profile_space(profile)
    if space == "GRAY" and not grey and _is_grey(image):  # as OpenCV reads grey with alpha
        colour = to_srgb(image[..., 0].copy(), profile)
        image[..., :3] = colour[..., np.newaxis] if colour.ndim == 2 else colour
        return image
    mode = {"RGB": "RGB", "GRAY": "L"}.get(space, "") if grey == (space == "GRAY") else ""
    transform = _transform(profile, mode) if mode else None
    if transform is None:
        return image
    from PIL import Image, ImageCms

    out = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if grey else image
    rows = max(1, _BAND_PIXELS // image.shape[1])
    for top in range(0, image.shape[0], rows):
        band = slice(top, top + rows)
        pixels = image[band] if mode == "L" else cv2.cvtColor(out[band, :, :3], cv2.COLOR_BGR2RGB)
        converted = np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))
        out[band, :, :3] = converted[..., ::-1]
    return out


def _is_grey(image: np.ndarray) -> bool:
    blue, green, red = (image[..., channel] for channel in range(3))
    return np.array_equal(blue, green) and np.array_equal(green, red)


def cmyk_to_srgb(file: BinaryIO, file_format: str, profile: bytes) -> np.ndarray | None:
    """A CMYK picture, decoded and converted to sRGB by its profile.

    Args:
        file: A complete JPEG or TIFF.
        file_format: `JPEG` or `TIFF`.
        profile: Its ICC profile.

    Returns:
        BGR uint8 (h, w, 3); None if it is not a CMYK picture, or the profile is damaged.
    """
    from PIL import ImageCms
    from PIL.JpegImagePlugin import JpegImageFile  # not Image.open, which has its own limit of pixels
    from PIL.TiffImagePlugin import TiffImageFile

    transform = _transform(profile, "CMYK")
    if transform is None or file_format not in ("JPEG", "TIFF"):
        return None
    try:
        picture = JpegImageFile(file) if file_format == "JPEG" else TiffImageFile(file)
        if picture.mode != "CMYK":
            return None
        return np.ascontiguousarray(np.asarray(ImageCms.applyTransform(picture, transform))[..., ::-1])
    except DAMAGED:
        return None


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> Any:
    """LittleCMS's transform from a profile to sRGB, None if there is nothing to do; cached for a folder's photos."""
    from PIL import Image, ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if mode == "CMYK":
        return transform
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if mode == "RGB":
        samples = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
        expected = samples
    else:
        samples = levels[None]
        expected = np.dstack([samples] * 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(samples), transform))
    return None if cv2.absdiff(moved, expected).max() <= _SAME else transform
