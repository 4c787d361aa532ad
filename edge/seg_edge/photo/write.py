"""Writes pictures to files: encoded by their suffix, and written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import OutputError
from seg_edge.photo.png_encode import encode_png
from seg_edge.strips import Drawing, strips
from seg_edge.system.files import write_file
from seg_edge.system.native_log import without_native_log

JPEG_QUALITY = 92
WEBP_QUALITY = 90
LOSSLESS = 101  # OpenCV's quality for lossless WebP
# libjpeg's JPEG_MAX_DIMENSION, RFC 9649's 14 bits, libpng's PNG_USER_WIDTH_MAX.
_MAX_SIDE = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".png": 1_000_000}


def encode_picture(
    picture: np.ndarray | Drawing, suffix: str, jpeg_quality: int = JPEG_QUALITY, webp_quality: int = WEBP_QUALITY
) -> bytes:
    """Encodes a picture.

    Args:
        picture: BGR uint8 (height, width, 3), BGRA (height, width, 4) or grey (height, width). A drawing is
            encoded as PNG strip by strip.
        suffix: The format: `.jpg`, `.png` or `.webp`.
        jpeg_quality: 0 to 100.
        webp_quality: 0 to 100, or `LOSSLESS`.

    Raises:
        OutputError: The format can't hold it, such as a JPEG with a side of more than 65,500 pixels.
        MemoryError: There is not enough memory.
    """
    height, width = picture.shape[:2]
    if max(height, width) > _MAX_SIDE[suffix]:
        kind = suffix[1:].upper().replace("JPG", "JPEG")
        raise OutputError(
            f"a {kind} holds at most {_MAX_SIDE[suffix]} pixels a side, and this picture has {width}x{height}; "
            "use PNG or scale it down."
        )
    if suffix == ".png":
        rows = picture.strips() if isinstance(picture, Drawing) else (picture[rows] for rows in strips(picture.shape))
        return encode_png(picture.shape, rows)
    parameters = (
        [cv2.IMWRITE_WEBP_QUALITY, webp_quality] if suffix == ".webp" else [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    )
    try:
        with without_native_log():
            whole = picture.whole() if isinstance(picture, Drawing) else picture
            done, content = cv2.imencode(suffix, whole, parameters)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise OutputError(f"a {suffix} can't hold this picture ({error.err}); use PNG.") from error
    if not done:
        raise MemoryError
    return content.tobytes()


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Encodes a picture by its suffix and writes it completely or not at all.

    Raises:
        OutputError: It can't be encoded or written.
    """
    try:
        content = encode_picture(picture, path.suffix)
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error
    write_file(path, content)
