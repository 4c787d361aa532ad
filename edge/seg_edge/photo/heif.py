"""HEIC and AVIF, which OpenCV reads only in some builds: by Pillow, and for HEIC by its plugin pillow-heif.

Both are pictures in ISO's HEIF container (ISO/IEC 23008-12), coded as HEVC or AV1. Pillow is loaded only for them.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np

from seg_edge.photo.colour import DAMAGED
from seg_edge.photo.header import PhotoHeader
from seg_edge.photo.named_colours import exif_profile, heif_profile

_BRANDS = (
    ("AVIF", re.compile(rb"....ftyp.{0,40}avi[fs]", re.DOTALL)),
    ("HEIC", re.compile(rb"....ftyp.{0,40}(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)),
)
_MAX_BOXES = 1 << 16  # bytes; a file's metadata comes before its pictures, and takes less
_MISSING = {
    "AVIF": "reading AVIF needs Pillow 11.3 or newer (pip install -U pillow), or export it as JPEG",
    "HEIC": "reading HEIC needs pillow-heif (pip install pillow-heif), or export it as JPEG, which phones record with "
    "Camera > Formats > 'Most Compatible'",
}


def heif_format(start: bytes) -> str | None:
    """`AVIF` or `HEIC` by a file's first bytes, None for anything else."""
    return next((name for name, pattern in _BRANDS if pattern.match(start)), None)


def parse_heif(file: BinaryIO, name: str) -> PhotoHeader:
    """The header of an AVIF or HEIC photo; `name` is what `heif_format` returned.

    Raises:
        ValueError: It is damaged, an animation, or its decoder isn't installed; the message says which.
    """
    picture = _open(file, name)
    frames = picture.n_frames if name == "AVIF" else 1  # a HEIC's other pictures are a burst's or thumbnails
    if frames > 1:
        raise ValueError("it is an animation; save one of its frames as PNG")
    orientation = picture.getexif().get(0x0112, 1) if name == "AVIF" else 1  # libheif turns the picture itself
    exif = (picture.info.get("exif") or b"").removeprefix(b"Exif\0\0")
    return PhotoHeader(
        name,
        picture.size,
        orientation if orientation in range(1, 9) else 1,
        premultiplied=name == "HEIC" and bool(picture.premultiplied_alpha),
        icc_profile=picture.info.get("icc_profile") or heif_profile(_start(file)) or exif_profile(exif),
        exif=exif,
    )


def decode_heif(file: BinaryIO, name: str) -> np.ndarray:
    """The picture as it is stored: uint8, grey (h, w), BGR (h, w, 3) or BGRA (h, w, 4).

    Raises:
        ValueError: It is damaged.
    """
    picture = _open(file, name)
    try:
        if name == "HEIC":
            return np.array(picture)  # a copy, as libheif's own is read-only
        pixels = np.asarray(picture if picture.mode in ("L", "RGB", "RGBA") else picture.convert("RGBA"))
    except DAMAGED as error:
        raise ValueError(f"it is damaged ({error})") from None
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _start(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(_MAX_BOXES)


def _open(file: BinaryIO, name: str) -> Any:
    file.seek(0)
    try:
        if name == "HEIC":
            from pillow_heif import open_heif

            return open_heif(file, bgr_mode=True)
        from PIL.AvifImagePlugin import SUPPORTED, AvifImageFile  # not Image.open, which has its own limit of pixels

        if not SUPPORTED:
            raise ImportError
        return AvifImageFile(file)
    except ImportError:
        raise ValueError(_MISSING[name]) from None
    except DAMAGED as error:
        raise ValueError(f"it is damaged ({error})") from None
