"""A photo's bytes to its pixels: decoded, converted to sRGB, turned upright.

One rule for every format and every version of OpenCV: decode without orientation, then apply the one that the header
gives. OpenCV alone won't do: 4.10 doesn't turn WebP and 5.0 does, and both turn TIFF even when asked not to.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np

from seg_edge.photo.colour import cmyk_to_srgb, profile_space, to_srgb
from seg_edge.photo.header import PhotoHeader
from seg_edge.photo.heif import decode_heif
from seg_edge.photo.png import essential_png, transparent_shade
from seg_edge.photo.tiff_alpha import decode_grey_alpha
from seg_edge.photo.tiff_planes import decode_planes
from seg_edge.system.native_log import without_native_log

# By EXIF orientation (EXIF 2.3, tag 0x0112): turns the stored picture upright.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def decode_upright(header: PhotoHeader, data: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Decodes the picture in a complete file.

    Args:
        header: The file's header.
        data: The file's bytes, uint8 (n,). One byte of a TIFF may be changed.

    Returns:
        (colour, alpha): BGR uint8 (height, width, 3), not multiplied by alpha, and uint8 (height, width), None if
        everything is opaque. Both are upright and C-contiguous.

    Raises:
        ValueError: It is damaged, or of a kind that can't be decoded; the message continues after the file's name.
        MemoryError: There is not enough memory.
    """
    try:
        image = _decode(header, data)
        if image.shape[1::-1] != header.size_wh:
            raise ValueError("is damaged: its pixels don't fit its header; copy or download it again")
        if image.dtype == np.uint16:
            image = cv2.convertScaleAbs(image, alpha=1 / 257)  # 65535 / 257 is 255
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[..., 0]
        if header.icc_profile:
            image = to_srgb(image, header.icc_profile)
        turn = _TURNS.get(header.orientation)
        return _split(np.ascontiguousarray(turn(image) if turn else image), header.premultiplied)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        raise ValueError(_undecoded(header)) from None


def _decode(header: PhotoHeader, data: np.ndarray) -> np.ndarray:
    """The stored picture, not turned: uint8 or uint16, (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)."""
    if header.orientation_byte is not None:
        # OpenCV's TIFF reader turns the picture whatever flags it is given.
        data[header.orientation_byte] = 1
    if header.format in ("AVIF", "HEIC"):
        try:
            return decode_heif(io.BytesIO(data.data), header.format)
        except ValueError as error:
            raise ValueError(f"can't be read: {error}") from None
    if header.format == "PNG":
        try:
            data = essential_png(data)
        except ValueError as error:
            raise ValueError(f"is damaged: {error}; save it again") from None
    if profile_space(header.icc_profile) == "CMYK":
        image = cmyk_to_srgb(io.BytesIO(data.data), header.format, header.icc_profile)
        if image is not None:
            return image
    if header.format == "TIFF":
        image = decode_planes(data)
        image = decode_grey_alpha(data) if image is None else image
        if image is not None:
            return image
    with without_native_log():
        # UNCHANGED never turns the picture, and is the only flag that keeps alpha.
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(_undecoded(header))
    if image.shape[2:] in ((), (1,)) and header.format == "PNG" and (shade := transparent_shade(data)) is not None:
        grey = image.reshape(image.shape[:2])
        opaque = 255 if grey.dtype == np.uint8 else 65535
        alpha = np.where(grey == shade, 0, opaque).astype(grey.dtype)  # OpenCV drops it
        image = cv2.merge([grey, grey, grey, alpha])
    if header.inverted:
        cv2.bitwise_not(image, image)
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"has samples of {image.dtype}; save it with 8 or 16 bits a channel")
    return image


def _undecoded(header: PhotoHeader) -> str:
    return f"is damaged, or a kind of {header.format} that can't be decoded; save it again as PNG"


def _split(image: np.ndarray, premultiplied: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """(colour, alpha) of grey (h, w), BGR (h, w, 3) or BGRA (h, w, 4), all uint8."""
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), None
    if image.shape[2] == 3:
        return image, None
    colour, alpha = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), cv2.extractChannel(image, 3)
    if alpha.min() == 255:
        return colour, None
    if premultiplied:
        colour = cv2.divide(colour, cv2.merge([alpha] * 3), scale=255)
    return colour, alpha
