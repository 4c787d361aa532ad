"""What the decoder gets of a PNG: the chunks that make its picture, and no more data than the picture holds.

The header of a PNG gives its size, yet nothing bounds what its data inflate to: 16 MB of them can hold 16 GB, and
libpng inflates all of it after the last row. Compressed text and profiles are of the same kind, and what is wrong with
them libpng says on stderr: the decoder never sees them. Facts are from the W3C's PNG specification: 5.3 (chunks), 7.2
(rows), 8.2 (Adam7), 10 (deflate), 11.2 (IHDR).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: first column, first row, and steps between columns and rows of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_SLACK = 1 << 16  # some writers leave a little behind the last row
_STEP = 1 << 18  # bytes inflated at a time
_FED = 1 << 14  # bytes fed at a time: zlib copies what it has not used yet


def essential_png(data: np.ndarray) -> np.ndarray:
    """The file's bytes without the chunks that the picture does not need.

    Args:
        data: A whole PNG file, uint8 (n,).

    Raises:
        ValueError: its data inflate to more than its picture; the text says so.
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
    """The grey that a grey PNG calls transparent, at the bit depth of what OpenCV decodes: 8 or 16; None without one.

    Args:
        data: A whole PNG file, uint8 (n,).
    """
    depth, colour = data[24:26].tolist()
    shade = next((int.from_bytes(chunk[8:10]) for kind, chunk in _chunks(data.data) if kind == b"tRNS"), None)
    return None if colour or shade is None else shade * 255 // (2**depth - 1) if depth < 8 else shade


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, whole chunk) up to IEND."""
    at, kind = 8, b""
    while kind != b"IEND" and at + 12 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, at)
        yield kind, view[at : at + 12 + length]
        at += 12 + length


def _raw_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """What the data of a picture inflate to: a filter byte and the packed pixels of each row, pass by pass."""
    total = 0
    for left, top, step_x, step_y in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _inflated_bytes(parts: Iterable[memoryview], limit: int) -> int:
    """What the parts of a zlib stream inflate to, counted until it is more than `limit`; nothing is kept."""
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
        pass  # damaged from here on, where the decoder stops as well
    return total
