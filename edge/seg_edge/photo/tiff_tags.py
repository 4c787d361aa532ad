"""The directories of a TIFF file; an EXIF block is one too (TIFF 6.0, section 2; EXIF 2.3)."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np

MAX_BLOB = 1 << 22  # bytes; colour profiles of printing presses take up to a few megabytes

# Uncompressed, CCITT, LZW, JPEG, deflate, PackBits; if libtiff was built with them, LERC, LZMA, Zstandard and WebP.
_COMPRESSIONS = {*range(1, 9), 32773, 32946, 34887, 34925, 50000, 50001}
_COLOURS = {0, 1, 2, 3, 5, 6}  # white is 0, black is 0, RGB, palette, CMYK, YCbCr

# TIFF's types BYTE, SHORT and LONG: those that sizes, offsets and the orientation may have.
_INTEGERS = {1: "u1", 3: "u2", 4: "u4"}


class TiffTags:
    """A directory of a TIFF file (TIFF 6.0, section 2), in either byte order.

    Args:
        file: The complete file.
        start: The directory's offset; by default that of the first one.
    """

    def __init__(self, file: BinaryIO, start: int | None = None) -> None:
        self._file = file
        orders = {b"II*\0": "<", b"MM\0*": ">"}
        magic = take(file, 0, 4)
        if magic not in orders:
            raise ValueError("its TIFF header is invalid")
        self._order = orders[magic]
        if start is None:
            (start,) = unpack(file, 4, self._order + "I")
        (count,) = unpack(file, start, self._order + "H")
        table = take(file, start + 2, 12 * count)
        # tag -> (type, number of values, offset of the values)
        self.entries: dict[int, tuple[int, int, int]] = {}
        self._table_at = {}  # tag -> offset of its entry
        for i, (tag, kind, n, value) in enumerate(struct.iter_unpack(self._order + "HHII", table)):
            inline = n * np.dtype(_INTEGERS.get(kind, "u1")).itemsize <= 4
            self._table_at[tag] = start + 2 + 12 * i
            self.entries[tag] = (kind, n, start + 2 + 12 * i + 8 if inline else value)

    def numbers(self, tag: int, at_most: int = 1 << 32) -> np.ndarray:
        """The values of a tag as int64 (n,), empty if it is missing."""
        kind, n, at = self.entries.get(tag, (3, 0, 0))
        n = min(n, at_most)
        if kind not in _INTEGERS:
            raise ValueError(f"its tag {tag} has type {kind}")
        dtype = np.dtype(self._order + _INTEGERS[kind])
        return np.frombuffer(take(self._file, at, n * dtype.itemsize), dtype).astype(np.int64)

    def first(self, tag: int, default: int = 0) -> int:
        """The first value of a tag, `default` if it is missing."""
        values = self.numbers(tag, at_most=1)
        return int(values[0]) if values.size else default

    def rewrite(self, data: np.ndarray, tag: int, value: int, kind: int = 4, count: int = 1) -> None:
        """Sets an entry in the file's bytes, uint8 (n,), to one number, or to `count` values of a type at an offset."""
        if tag in self._table_at:
            at = self._table_at[tag] + 2
            data[at : at + 10] = np.frombuffer(struct.pack(self._order + "HII", kind, count, value), np.uint8)

    def blob(self, tag: int) -> bytes:
        """The bytes of a tag of type UNDEFINED or BYTE, empty if it is missing."""
        _, n, at = self.entries.get(tag, (7, 0, 0))
        return take(self._file, at, min(n, MAX_BLOB))

    def directory(self, tag: int) -> TiffTags:
        """The directory that a tag points to; ValueError if the tag is missing."""
        if tag not in self.entries:
            raise ValueError(f"it has no tag {tag}")
        return TiffTags(self._file, self.first(tag))

    def orientation(self) -> int:
        """EXIF orientation, 1 if it is missing or out of range."""
        value = self.first(274)
        return value if 1 <= value <= 8 else 1

    def last_byte(self, tag: int) -> int | None:
        """Offset of the least significant byte of a tag's first value; None if the tag is missing."""
        if tag not in self.entries:
            return None
        kind, _, at = self.entries[tag]
        return at + (np.dtype(_INTEGERS[kind]).itemsize - 1 if self._order == ">" else 0)


def check_kind(tags: TiffTags) -> None:
    """Refuses TIFFs that OpenCV silently misreads, for example as a black picture.

    Raises:
        ValueError: It is such a TIFF; the message says of which kind.
    """
    if tags.first(254) & 1 or 50706 in tags.entries:
        raise ValueError("it is a camera's raw file (DNG, NEF, ARW); export it as JPEG")
    if tags.first(259, 1) not in _COMPRESSIONS:
        raise ValueError("its compression isn't supported; save it with LZW or as PNG")
    if tags.first(262, 1) not in _COLOURS:
        raise ValueError("its colours are neither RGB nor grey nor CMYK; save it as RGB")


def exif_orientation(block: bytes) -> int:
    """Orientation in an EXIF block, a small TIFF file; 1 if the block is damaged, as the photo is still readable."""
    try:
        return TiffTags(io.BytesIO(block)).orientation()
    except (EOFError, ValueError):
        return 1


def take(file: BinaryIO, at: int, count: int) -> bytes:
    """Exactly `count` bytes from offset `at`."""
    # Checked first: read() allocates all that it is asked for, and a damaged count may ask for gigabytes.
    if at + count > file.seek(0, io.SEEK_END):
        raise EOFError
    file.seek(at)
    return file.read(count)


def unpack(file: BinaryIO, at: int, layout: str) -> tuple:
    """Numbers at offset `at`, laid out as `struct` describes."""
    return struct.unpack(layout, take(file, at, struct.calcsize(layout)))
