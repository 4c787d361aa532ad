"""Encodes pictures as PNG a few rows at a time; OpenCV's encoder needs the whole picture in memory.

Each row is stored as its difference from the row above (filter 2, "Up") and deflated at zlib's first level. On a
cut-out that takes less time than OpenCV's defaults do, for three fifths of the bytes. Facts are from the W3C's PNG
specification: 5 (file layout), 9 (filters), 10 (deflate), 11.2 (IHDR, IDAT, IEND).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import cv2
import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # by channels
_UP = 2
_LEVEL, _WINDOW_BITS, _MEMORY = 1, 15, 8


def encode_png(shape: tuple[int, ...], strips: Iterable[np.ndarray]) -> bytes:
    """Encodes a picture.

    Args:
        shape: (height, width), grey, or (height, width, channels): 3 are BGR, 4 BGRA.
        strips: Its rows from top to bottom, uint8, any number at a time.
    """
    height, width, channels = (*shape, 1)[:3]
    strategy = zlib.Z_RLE if channels == 1 else zlib.Z_FILTERED  # label maps have long runs of one value
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, strategy)
    parts = [SIGNATURE, png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0))]
    above = np.zeros(width * channels, np.uint8)
    for strip in strips:
        if channels > 1:
            strip = cv2.cvtColor(strip, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGRA2RGBA)
        rows = strip.reshape(-1, width * channels)
        filtered = np.empty((len(rows), 1 + width * channels), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(rows[0], above, out=filtered[0, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        above = rows[-1]
        if data := deflate.compress(filtered.data):
            parts.append(png_chunk(b"IDAT", data))
    parts += [png_chunk(b"IDAT", deflate.flush()), png_chunk(b"IEND", b"")]
    return b"".join(parts)


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of four letters: its length, name, payload and checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
