"""Photos from disk: found, checked, decoded, turned upright.

One rule for every format and every OpenCV: decode without orientation, then apply the one that the
header gives. OpenCV alone won't do: 4.10 doesn't turn WebP and 5.0 does, and both turn TIFF even
when told not to.
"""

import io
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from seg_edge.errors import PhotoError, PhotoTooLargeError
from seg_edge.photo.header import PhotoHeader, is_whole, parse_header
from seg_edge.system.opencv_log import quiet_opencv

FORMATS: frozenset[str] = frozenset({"JPEG", "PNG", "WebP", "BMP", "TIFF"})
# 120 megapixels hold the 12000x9000 of the largest phone sensors, and are 360 MB of BGR: `seg-edge image` needs several
# times that for a folder of them. OpenCV itself stops at 2^30 (OPENCV_IO_MAX_IMAGE_PIXELS).
MAX_PIXELS = 120_000_000
# Room for 120 megapixels with alpha, uncompressed: 480 MB. File and pixels are in memory together.
MAX_FILE_BYTES = 512 * 1024 * 1024

_AGAIN = "copy or download it again"
_UNDECODED = "is damaged, or a kind of {} that can't be decoded; save it anew as PNG"
_TO_JPEG = "export it as JPEG or PNG"
# What else people take for a photo: a pattern of the first bytes, what it is, what to do about it.
_STRANGERS: tuple[tuple[bytes, str, str], ...] = (
    (rb"....ftyp.{0,40}avi[fs]", "an AVIF picture", _TO_JPEG),
    (
        rb"....ftyp.{0,40}(hei[cxms]|hev[cx]|mif1|msf1)",
        "a HEIC photo",
        f"{_TO_JPEG} (phones take JPEG with Camera > Formats > 'Most Compatible')",
    ),
    (rb"....ftypcrx ", "a camera's raw file (CR3)", _TO_JPEG),
    (rb"....ftyp", "a video or sound", "a video is for 'seg-edge video'"),
    (rb"GIF8", "a GIF animation", "save one frame as PNG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture", _TO_JPEG),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture", _TO_JPEG),
    (rb"II\*\0....CR|IIU\0|IIRO", "a camera's raw file", _TO_JPEG),
    (rb"II\+\0|MM\0\+", "a BigTIFF picture", "save it as an ordinary TIFF or PNG"),
    (rb"8BPS", "a Photoshop document", _TO_JPEG),
    (rb"%PDF", "a PDF document", "export its page as PNG"),
    (rb"[^\0-\x08\x0e-\x1f]*\Z", "text", f"{_AGAIN} (a web page saved under a photo's name?)"),
)

# EXIF 2.3, tag 0x0112: what turns the stored picture upright.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def read_header(path: Path) -> PhotoHeader:
    """Format, size and orientation of a photo, from its header only.

    Raises:
        PhotoError: the file is missing, no photo, of an unsupported kind, or its header damaged.
    """
    with _opened(path) as file:
        return _header(path, file)


def read_photo(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a photo, upright.

    Greyscale, palette and CMYK become BGR, 16 bits become 8 (divided by 257). What is transparent
    becomes white, as in most viewers: the colour stored under it is arbitrary. Only of a grey TIFF
    or a grey PNG with one transparent shade does OpenCV drop the transparency. Colour profiles are
    not applied. Of a TIFF with several pages the first is read.

    Returns:
        BGR uint8 (height, width, 3), C-contiguous.

    Raises:
        PhotoError: as `read_header`, and when the photo has more than `max_pixels`, is cut short
            or damaged.
    """
    with _opened(path) as file:
        header = _header(path, file)
        _check_pixels(path, header, max_pixels)
        file.seek(0)
        try:
            data = np.fromfile(file, np.uint8)
        except MemoryError:
            raise _no_memory(path) from None
    return _upright(path, header, data)


def decode_photo(
    data: np.ndarray, name: str, max_pixels: int = MAX_PIXELS, formats: Collection[str] = FORMATS
) -> np.ndarray:
    """The same of a photo that is in memory already.

    Args:
        data: The file's bytes, uint8 (n,). Of a TIFF one may be changed.
        name: What messages call it.
        max_pixels: See `read_photo`.
        formats: Those that are decoded, of `FORMATS`.

    Raises:
        PhotoError: as `read_photo`.
    """
    if not data.size:
        raise photo_error(name, "is empty (0 bytes)")
    header = _header(name, io.BytesIO(data.data))
    if header.format not in formats:
        raise photo_error(name, f"is a {header.format}, of which none are taken here; {_TO_JPEG}")
    _check_pixels(name, header, max_pixels)
    return _upright(name, header, data)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The photo's file, open; whatever the system has against it is a PhotoError."""
    if "\0" in str(path):
        raise photo_error(path, "is no file name; check it")
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise photo_error(path, "is a folder; name a photo inside it")
        # Opening a pipe would wait for its writer for ever.
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


def _header(path: str | Path, file: BinaryIO) -> PhotoHeader:
    file.seek(0)
    start = file.read(4096)
    for magic, what, advice in _STRANGERS:
        if re.match(magic, start, re.DOTALL):
            raise photo_error(path, f"is {what}, not a photo that can be read; {advice}")
    try:
        header = parse_header(file)
    except EOFError:
        raise photo_error(path, f"is cut short inside its header; {_AGAIN}") from None
    except ValueError as error:
        raise photo_error(path, f"can't be read: {error}") from None
    if header is None:
        raise photo_error(path, f"is not a photo (JPEG, PNG, WebP, BMP or TIFF); {_TO_JPEG}")
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


def _upright(path: str | Path, header: PhotoHeader, data: np.ndarray) -> np.ndarray:
    """The picture in a file's bytes, BGR and turned."""
    try:
        try:
            whole = is_whole(header, data)
        except ValueError as error:
            raise photo_error(path, f"can't be used: {error}; {_TO_JPEG}") from None
        if not whole:
            raise photo_error(path, f"is cut short after {data.size} bytes; {_AGAIN}")
        image = _as_bgr(_decode(path, header, data), header.premultiplied)
        turn = _TURNS.get(header.orientation)
        return np.ascontiguousarray(turn(image) if turn else image)
    except MemoryError:
        raise _no_memory(path) from None
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise _no_memory(path) from None
        raise photo_error(path, _UNDECODED.format(header.format)) from None


def _decode(path: str | Path, header: PhotoHeader, data: np.ndarray) -> np.ndarray:
    """The stored picture, not turned: uint8 or uint16, (h, w), (h, w, 3) or (h, w, 4)."""
    if header.orientation_byte is not None:
        # OpenCV's TIFF reader turns the picture whatever the flags.
        data[header.orientation_byte] = 1
    with quiet_opencv():
        # UNCHANGED is never turned, and the only flag that keeps alpha.
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise photo_error(path, _UNDECODED.format(header.format))
    if image.dtype not in (np.uint8, np.uint16):
        raise photo_error(path, f"has samples of {image.dtype}; save it with 8 or 16 bits a channel")
    if image.shape[1::-1] != header.size_wh:
        raise photo_error(path, f"is damaged: its pixels don't fit its header; {_AGAIN}")
    return image


def _as_bgr(image: np.ndarray, premultiplied: bool) -> np.ndarray:
    """BGR uint8 (h, w, 3) of what OpenCV decoded, alpha composited over white."""
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)  # 65535 / 257 is 255
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 3:
        return image
    bgr, alpha = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), image[..., 3]
    if alpha.min() == 255:
        return bgr
    alpha = cv2.merge([alpha] * 3)
    if premultiplied:
        return cv2.add(bgr, cv2.bitwise_not(alpha))
    # 255 - (255 - colour) * alpha / 255
    return cv2.bitwise_not(cv2.multiply(cv2.bitwise_not(bgr), alpha, scale=1 / 255))


def photo_error(path: str | Path, what: str) -> PhotoError:
    """The error that says what is wrong with a photo."""
    return PhotoError(f"{one_line_name(path)} {what}.")


def one_line_name(path: str | Path) -> str:
    """The path on one line for any terminal: a name may hold line feeds or half a character."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
