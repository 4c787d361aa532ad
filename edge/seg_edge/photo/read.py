"""Photos from disk or memory: opened, checked, decoded; every error is one sentence."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from seg_edge.errors import PhotoError, PhotoTooLargeError
from seg_edge.frame import over_white
from seg_edge.photo.decode import decode_upright
from seg_edge.photo.header import PhotoHeader, is_whole, parse_header
from seg_edge.photo.heif import heif_format, parse_heif

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "AVIF", "HEIC")
# Room for the 16320x12240 of the largest phone sensors. OpenCV itself stops at 2^30 (OPENCV_IO_MAX_IMAGE_PIXELS).
MAX_PIXELS = 220_000_000
# Room for MAX_PIXELS uncompressed. The file and the pixels are in memory together.
MAX_FILE_BYTES = 1 << 30

_AGAIN = "copy or download it again"
_TO_JPEG = "export it as JPEG or PNG"
# What else users may pass as a photo: a pattern of its first bytes, what it is, what to do about it.
_UNSUPPORTED: tuple[tuple[bytes, str, str], ...] = (
    (rb"....ftypcrx ", "a camera's raw file (CR3)", _TO_JPEG),
    (rb"....ftyp", "a video or sound", "use 'seg-edge video' for a video"),
    (rb"GIF8", "a GIF", "save it, or one of its frames, as PNG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture", _TO_JPEG),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture", _TO_JPEG),
    (rb"II\*\0....CR|IIU\0|IIRO", "a camera's raw file", _TO_JPEG),
    (rb"II\+\0|MM\0\+", "a BigTIFF picture", "save it as an ordinary TIFF or PNG"),
    (rb"8BPS", "a Photoshop document", _TO_JPEG),
    (rb"%PDF", "a PDF document", "export its page as PNG"),
    (rb"[^\0-\x08\x0e-\x1f]*\Z", "text", f"{_AGAIN} (a web page saved under a photo's name?)"),
)


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo, upright and in sRGB.

    Attributes:
        header: The file's header.
        frame: BGR uint8 (height, width, 3), composited over white: what a model sees.
        colour: The same before compositing; `frame` itself if nothing is transparent.
        alpha: uint8 (height, width), the photo's own transparency; None if it has none.
    """

    header: PhotoHeader
    frame: np.ndarray
    colour: np.ndarray
    alpha: np.ndarray | None


def read_header(path: str | Path) -> PhotoHeader:
    """Reads the format, size and orientation of a photo, from its header only.

    Raises:
        PhotoError: The file is missing, not a photo or of an unsupported kind, or its header is damaged.
    """
    with _opened(path) as file:
        return _header(path, file)


def load_photo(path: Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decodes a photo, with its header and transparency.

    Raises:
        PhotoError: As for `read_header`, or the photo has more than `max_pixels`, is cut short or damaged.
    """
    with _opened(path) as file:
        header = _header(path, file)
        _check_pixels(path, header, max_pixels)
        file.seek(0)
        try:
            data = np.fromfile(file, np.uint8)
        except MemoryError:
            raise _no_memory(path) from None
    return _decode(path, header, data)


def load_photo_bytes(
    data: np.ndarray, name: str, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = FORMATS
) -> Photo:
    """Decodes a photo that is in memory already, as `load_photo` does.

    Args:
        data: The file's bytes, uint8 (n,). One byte of a TIFF may be changed.
        name: The photo's name in messages.
        max_pixels: See `load_photo`.
        formats: The formats to accept, out of `FORMATS`.

    Raises:
        PhotoError: As for `load_photo`, or the format is not accepted.
    """
    if not data.size:
        raise photo_error(name, "is empty (0 bytes)")
    header = _header(name, io.BytesIO(data.data), formats)
    _check_pixels(name, header, max_pixels)
    return _decode(name, header, data)


def read_photo(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a photo, upright and in sRGB.

    Greyscale, palette and CMYK become BGR, 16 bits become 8 (divided by 257). Transparent pixels become white, as in
    most viewers: the colour stored under them is arbitrary. Colours are converted to sRGB by the photo's profile, or by
    its other colour metadata (`photo.named_colours`). Of the pages of a TIFF, or the burst in a HEIC, the first is
    read.

    Returns:
        BGR uint8 (height, width, 3), C-contiguous.

    Raises:
        PhotoError: As for `load_photo`.
    """
    return load_photo(Path(path), max_pixels).frame


def decode_photo(
    data: np.ndarray, name: str, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = FORMATS
) -> np.ndarray:
    """Decodes a photo that is in memory already, as `read_photo` does; see `load_photo_bytes`."""
    return load_photo_bytes(data, name, max_pixels, formats).frame


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    """Opens the photo's file; any error of the system becomes a PhotoError."""
    if "\0" in str(path):
        raise photo_error(path, "is not a valid file name; check it")
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise photo_error(path, "is a folder; name a photo inside it")
        # Opening a pipe would wait for its writer forever.
        if not stat.S_ISREG(status.st_mode):
            raise photo_error(path, "is a pipe or a device; save the photo to a file first")
        if status.st_size == 0:
            raise photo_error(path, f"is empty (0 bytes); {_AGAIN}")
        if status.st_size > MAX_FILE_BYTES:
            limit = f"the limit of {MAX_FILE_BYTES >> 20} MB"
            size = f"{status.st_size / 2**20:.1f} MB"
            raise photo_error(path, f"has {size}, more than {limit}; scale it down")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise photo_error(path, "doesn't exist; check its name and folder") from None
    except PermissionError:
        raise photo_error(path, "can't be opened (permission denied); check its permissions") from None
    except OSError as error:
        reason = error.strerror or error
        raise photo_error(path, f"can't be read ({reason}); check its name and disk") from None


def _header(path: str | Path, file: BinaryIO, formats: Sequence[str] = FORMATS) -> PhotoHeader:
    file.seek(0)
    start = file.read(4096)
    heif = heif_format(start)
    if heif and heif not in formats:
        raise _not_supported(path, heif)
    for magic, what, advice in () if heif else _UNSUPPORTED:
        if re.match(magic, start, re.DOTALL):
            raise photo_error(path, f"is {what}, not a photo that can be read; {advice}")
    try:
        header = parse_heif(file, heif) if heif else parse_header(file)
    except EOFError:
        raise photo_error(path, f"is cut short inside its header; {_AGAIN}") from None
    except ValueError as error:
        raise photo_error(path, f"can't be read: {error}") from None
    if header is None:
        *others, last = formats
        raise photo_error(path, f"is not a photo ({', '.join(others)} or {last}); {_TO_JPEG}")
    if header.format not in formats:
        raise _not_supported(path, header.format)
    if min(header.size_wh) < 1:
        size = "x".join(map(str, header.size_wh))
        raise photo_error(path, f"is damaged: its header says {size} pixels; {_AGAIN}")
    return header


def _check_pixels(path: str | Path, header: PhotoHeader, max_pixels: int) -> None:
    width, height = header.size_wh
    if width * height > max_pixels:
        limit = f"the limit of {max_pixels / 1e6:g} million pixels"
        raise PhotoTooLargeError(f"{one_line_name(path)} is {width}x{height}, more than {limit}; scale it down.")


def _no_memory(path: str | Path) -> PhotoTooLargeError:
    return PhotoTooLargeError(f"{one_line_name(path)} doesn't fit into the memory left; scale it down.")


def _not_supported(path: str | Path, kind: str) -> PhotoError:
    return photo_error(path, f"is a picture in {kind} format, which isn't supported here; {_TO_JPEG}")


def _decode(path: str | Path, header: PhotoHeader, data: np.ndarray) -> Photo:
    try:
        whole = is_whole(header, data)
    except ValueError as error:
        raise photo_error(path, f"can't be used: {error}; {_TO_JPEG}") from None
    if not whole:
        raise photo_error(path, f"is cut short after {data.size} bytes; {_AGAIN}")
    try:
        colour, alpha = decode_upright(header, data)
        return Photo(header, over_white(colour, alpha), colour, alpha)
    except ValueError as error:
        raise photo_error(path, str(error)) from None
    except EOFError:
        raise photo_error(path, f"is damaged; {_AGAIN}") from None
    except MemoryError:
        raise _no_memory(path) from None


def photo_error(path: str | Path, what: str) -> PhotoError:
    """The error that says what is wrong with a photo."""
    return PhotoError(f"{one_line_name(path)} {' '.join(what.split())}.")  # messages of libraries may have line feeds


def one_line_name(path: str | Path) -> str:
    """The path on one line for any terminal: a name may hold line feeds or invalid characters."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
