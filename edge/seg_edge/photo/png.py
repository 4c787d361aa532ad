"""The part of a PNG that the decoder gets: the chunks of its picture, and no more data than the picture holds.

The header of a PNG gives its size, but nothing bounds what its data inflate to: 16 MB can hold 16 GB, and libpng
inflates all of it after the last row. Compressed texts and profiles have the same problem, and libpng reports their
errors on stderr, so the decoder never sees them. Facts are from the W3C's PNG specification: 5.3 (chunks), 7.2 (rows),
8.2 (Adam7), 10 (deflate), 11.2 (IHDR).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: first column, first row, and steps between columns and rows of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_SLACK = 1 << 16  # some writers leave a few bytes after the last row
_STEP = 1 << 18  # bytes inflated at a time
_FED = 1 << 14  # bytes fed at a time: zlib copies what it has not used yet


def essential_png(data: np.ndarray) -> np.ndarray:
    """The file's bytes without the chunks that the picture does not need.

    Args:
        data: A complete PNG file, uint8 (n,).

    Raises:
        ValueError: Its data inflate to more than its picture; the message says so.
    """
    view = data.data
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", view, 16)
    if colour not in _CHANNELS:
        raise ValueError("its colour type is unknown")
    limit = _raw_bytes(width, height, depth * _CHANNELS[colour], bool(interlaced)) + _SLACK
    # A critical chunk has a capital first letter; of the others tRNS alone changes the picture.
    chunks = [(kind, chunk) for kind, chunk in _chunks(view) if kind[:1].isupper() or kind == b"tRNS"]
    if _inflated_bytes((chunk[8:-4] for kind, chunk in chunks if kind == b"IDAT"), limit) > limit:
        raise ValueError("its data inflate to more than its picture")
    kept = 8 + sum(len(chunk) for _, chunk in chunks)
    return data if kept == data.size else np.frombuffer(b"".join([view[:8], *(chunk for _, chunk in chunks)]), np.uint8)


def transparent_shade(data: np.ndarray) -> int | None:
    """The grey level that a grey PNG declares transparent, at the bit depth that OpenCV decodes to, 8 or 16; or None.

    Args:
        data: A complete PNG file, uint8 (n,).
    """
    depth, colour = data[24:26].tolist()
    shade = next((int.from_bytes(chunk[8:10]) for kind, chunk in _chunks(data.data) if kind == b"tRNS"), None)
    return None if colour or shade is None else shade * 255 // (2**depth - 1) if depth < 8 else shade


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, complete chunk) up to IEND."""
    at, kind = 8, b""
    while kind != b"IEND" and at + 12 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, at)
        yield kind, view[at : at + 12 + length]
        at += 12 + length


def _raw_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """The size of a picture's inflated data: a filter byte and the packed pixels of each row, pass by pass."""
    total = 0
    for left, top, step_x, step_y in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _inflated_bytes(parts: Iterable[memoryview], limit: int) -> int:
    """The inflated size of a zlib stream given in parts, counted until it exceeds `limit`; nothing is kept."""
    inflater, total = zlib.decompressobj(), 0
    try:
        for part in parts:
            for start in range(0, len(part), _FED):
                rest: bytes | memoryview = part[start : start + _FED]
                while len(rest) and not inflater.eof:
                    total += len(inflater.decompress(rest, _STEP))
                    if total > limit:
                        return total
                    rest = inflater.unconsumed_tail
    except zlib.error:
        pass  # damaged from here on; the decoder stops here as well
    return total
