"""What a photo's header says, without decoding: format, size, orientation, colours, where the file ends.

Only headers are read, by seeking: a picture of any size costs a few kilobytes. The facts are from

- JPEG: ITU-T T.81, B.1 and B.2 (markers, SOFn);
- PNG: W3C PNG specification, 5.3 (chunks), 11.2 (IHDR), 11.3 (eXIf, acTL, cICP, iCCP, sRGB, gAMA, cHRM, tEXt);
- WebP: RFC 9649 (container, VP8X, VP8L) and RFC 6386, 9.1 (VP8);
- BMP: Microsoft's BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER;
- TIFF: TIFF 6.0, sections 2 and 8;
- orientation: EXIF 2.3, tag 0x0112, which is TIFF's tag 274;
- colour profiles: ICC.1:2022, annex B (how each format holds one); without one, see `photo.named_colours`.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from seg_edge.photo.named_colours import adobe_rgb_profile, code_point_profile, exif_profile, png_profile
from seg_edge.photo.tiff_tags import MAX_BLOB, TiffTags, check_kind, exif_orientation, take, unpack

# A progressive photo has about ten scans; each is a pass over every pixel, however few bytes it has.
_MAX_SCANS = 100
# Of a JPEG or a WebP; a depth map of a hundred megabytes takes fewer.
_MAX_SEGMENTS = 2000
# Of a PNG, apart from those of its pixels; for many of them libpng writes a line to stderr.
_MAX_CHUNKS = 100
# A JPEG's APP1 segment holds no more than this, so no camera writes a longer EXIF block.
_MAX_EXIF = 1 << 16
# Marks a picture that this package wrote: `photo.mark` puts it into a comment, a text chunk or an XMP packet.
MADE_BY = b"seg-edge "
_PNG_COLOURS = frozenset((b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"))
# OpenCV 4.10 and 5.0 read different frames, or none.
_ANIMATION = "it is an animation; save one of its frames as PNG"


@dataclass(frozen=True)
class PhotoHeader:
    """Format, stored size and orientation of a photo, and the metadata of its pixels.

    Attributes:
        format: "JPEG", "PNG", "WebP", "BMP", "TIFF", "AVIF" or "HEIC", by content, whatever the file is called.
        size_wh: (width, height) as stored, before the orientation is applied.
        orientation: EXIF 1..8; 1 (upright) if it is missing or invalid.
        end: The file is complete only if it reaches this offset; for a JPEG, the offset of its first scan.
        orientation_byte: Offset of the byte that holds a TIFF's orientation; None for other formats.
        premultiplied: The colours of a file with alpha are already multiplied by it (TIFF and HEIC only).
        inverted: OpenCV decodes its white as 0 (TIFF only).
        icc_profile: The profile of its colours, embedded or made from its colour metadata; empty for sRGB.
        exif: Its EXIF block from the byte order on, empty if there is none; a TIFF is such a block itself.
        is_result: The file carries the mark of a picture that this package wrote.
        progressive: A JPEG whose pixels come in several passes, so that its decoder holds all of them twice.
    """

    format: str
    size_wh: tuple[int, int]
    orientation: int = 1
    end: int = field(default=0, repr=False)
    orientation_byte: int | None = field(default=None, repr=False)
    premultiplied: bool = field(default=False, repr=False)
    inverted: bool = field(default=False, repr=False)
    icc_profile: bytes = field(default=b"", repr=False)
    exif: bytes = field(default=b"", repr=False)
    is_result: bool = False
    progressive: bool = field(default=False, repr=False)

    @property
    def upright_size_wh(self) -> tuple[int, int]:
        """(width, height) once the orientation is applied: 5 to 8 swap the sides."""
        return self.size_wh if self.orientation < 5 else self.size_wh[::-1]


def parse_header(file: BinaryIO) -> PhotoHeader | None:
    """Reads the header of an open file; None if it has none of the five formats.

    Raises:
        EOFError: The file ends inside its header.
        ValueError: The header is invalid; the message says why.
    """
    file.seek(0)
    head = file.read(16)
    for magic, parse in _PARSERS.items():
        if re.match(magic, head, re.DOTALL):
            return parse(file)
    return None


def is_whole(header: PhotoHeader, data: np.ndarray) -> bool:
    """Whether a file's bytes, uint8 (n,), reach the end of its picture, whatever follows it.

    JPEG alone stores no length: its scans are walked to the end-of-image marker. Thumbnails, which have such a marker
    too, lie in segments and are skipped; a motion photo's video follows the marker.

    Raises:
        ValueError: A JPEG with so many scans that decoding would take minutes.
    """
    if data.size < header.end:
        return False
    if header.format != "JPEG":
        return True
    at, scans, view = header.end, 1, data.data
    for _ in range(_MAX_SEGMENTS):
        match = _SEGMENT.search(view, at)
        if match is None:
            return False
        code = match[1][0]
        if code == _EOI:
            return True
        scans += code == _SOS
        if scans > _MAX_SCANS:
            break
        at = match.end() + int.from_bytes(view[match.end() : match.end() + 2])
    raise ValueError("it has more scans than a camera writes")


# T.81 B.1.1: a marker is FF and a code; in a scan FF00 is data, FFD0..FFD7 restart it, FFFF fills. Those below FFC0
# have no length, and libjpeg skips these two bytes alone: it does read what looks like their segment.
_SEGMENT = re.compile(rb"\xff([^\x00-\xbf\xd0-\xd7\xff])", re.DOTALL)
_EOI, _SOS, _APP1, _APP2, _COM = 0xD9, 0xDA, 0xE1, 0xE2, 0xFE
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # those three are DHT, JPG and DAC


def _jpeg(file: BinaryIO) -> PhotoHeader:
    at, size_wh, exif, is_result, progressive = 2, None, b"", False, False
    profile: dict[int, bytes] = {}  # its parts by number
    for _ in range(_MAX_SEGMENTS):
        file.seek(at)
        # Decoders skip the stray bytes that some writers leave between segments.
        block = file.read(1024)
        match = _SEGMENT.search(block)
        if match is None:
            if len(block) < 1024:
                raise EOFError
            break
        marker, at = match[1][0], at + match.end()
        if marker == _SOS and size_wh is not None:
            icc_profile = b"".join(part for _, part in sorted(profile.items()))
            return PhotoHeader(
                "JPEG",
                size_wh,
                exif_orientation(exif),
                end=at,
                icc_profile=icc_profile or exif_profile(exif),
                exif=exif,
                is_result=is_result,
                progressive=progressive,
            )
        if marker in (_SOS, _EOI):
            break
        (length,) = unpack(file, at, ">H")
        if marker in _SOF:
            height, width = unpack(file, at + 3, ">HH")
            size_wh, progressive = (width, height), marker & 3 == 2  # T.81, table B.1
        elif marker == _APP1 and not exif and take(file, at + 2, 6) == b"Exif\0\0":
            exif = take(file, at + 8, max(length - 8, 0))
        elif marker == _APP2 and take(file, at + 2, min(length, 12)) == b"ICC_PROFILE\0":
            profile.setdefault(take(file, at + 14, 1)[0], take(file, at + 16, max(length - 16, 0)))
        elif marker == _COM:
            is_result |= take(file, at + 2, min(max(length - 2, 0), len(MADE_BY))) == MADE_BY
        at += length
    raise ValueError("it has no picture after its header")


def _png(file: BinaryIO) -> PhotoHeader:
    kind, width, height, _, colour_type = unpack(file, 12, ">4sIIBB")
    if kind != b"IHDR":
        raise ValueError("it doesn't begin with an IHDR chunk")
    at, pixels, others = 8, 0, 0
    exif, is_result = b"", False
    colours: dict[bytes, bytes] = {}

    def header(end: int) -> PhotoHeader:
        return PhotoHeader(
            "PNG",
            (width, height),
            exif_orientation(exif),
            end=end,
            icc_profile=_png_profile(colours, grey=colour_type in (0, 4)) or exif_profile(exif),
            exif=exif,
            is_result=is_result,
        )

    # Writers split the pixels into chunks of 4 KB or more; chunks of a few bytes would take seconds to walk through.
    while others <= _MAX_CHUNKS and pixels <= 1000 + at // 1024:
        try:
            length, kind = unpack(file, at, ">I4s")
            if kind == b"acTL":
                raise ValueError(_ANIMATION)
            if kind == b"eXIf":
                exif = take(file, at + 8, min(length, _MAX_EXIF)).removeprefix(b"Exif\0\0")
            elif kind in _PNG_COLOURS and kind not in colours:
                colours[kind] = take(file, at + 8, min(length, MAX_BLOB))
            elif kind == b"tEXt":
                is_result |= take(file, at + 8, min(length, 30)).startswith(b"Software\0" + MADE_BY)
            pixels += kind == b"IDAT"
            others += kind != b"IDAT"
        except EOFError:
            return header(end=at + 12)
        at += 12 + length
        if kind == b"IEND":
            return header(end=at)
    raise ValueError("it has too many chunks")


def _png_profile(chunks: dict[bytes, bytes], grey: bool) -> bytes:
    """The profile by a PNG's colour chunks, the first that is valid (PNG, 3rd edition, 4.3); empty for sRGB."""
    if len(points := chunks.get(b"cICP", b"")) == 4 and (profile := code_point_profile(points[0], points[1], grey)):
        return profile
    if b"iCCP" in chunks:  # its name, the method 0, and deflate
        _, _, compressed = chunks[b"iCCP"].partition(b"\0")
        try:
            return zlib.decompressobj().decompress(compressed[1:], MAX_BLOB)
        except zlib.error:
            return b""
    if b"sRGB" in chunks or len(gamma := chunks.get(b"gAMA", b"")) != 4:
        return b""
    points = chunks.get(b"cHRM", b"")
    chromaticities = [value / 1e5 for value in struct.unpack(">8I", points)] if len(points) == 32 else None
    return png_profile(int.from_bytes(gamma) / 1e5, chromaticities, grey)


def _webp(file: BinaryIO) -> PhotoHeader:
    (riff_size,) = unpack(file, 4, "<I")
    end, (kind,) = 8 + riff_size, unpack(file, 12, "4s")
    if kind == b"VP8 ":
        sync, width, height = unpack(file, 23, "<3sHH")
        if sync != b"\x9d\x01\x2a":
            raise ValueError("its VP8 frame has no start code")
        return PhotoHeader("WebP", (width & 0x3FFF, height & 0x3FFF), end=end)
    if kind == b"VP8L":
        signature, bits = unpack(file, 20, "<BI")
        if signature != 0x2F:
            raise ValueError("its VP8L frame has no signature")
        return PhotoHeader("WebP", ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), end=end)
    if kind != b"VP8X":
        raise ValueError("it begins with an unknown chunk")
    flags, *sides = unpack(file, 20, "<B3xHBHB")
    if flags & 0x02:
        raise ValueError(_ANIMATION)
    size_wh = ((sides[0] | sides[1] << 16) + 1, (sides[2] | sides[3] << 16) + 1)
    at, found = 12, {b"EXIF": b"", b"ICCP": b"", b"XMP ": b""}
    for _ in range(_MAX_SEGMENTS):
        if at >= end:
            break
        try:
            kind, length = unpack(file, at, "<4sI")
            if kind in found and not found[kind]:
                found[kind] = take(file, at + 8, min(length, MAX_BLOB))
        except EOFError:
            break
        at += 8 + length + length % 2
    exif = found[b"EXIF"].removeprefix(b"Exif\0\0")
    return PhotoHeader(
        "WebP",
        size_wh,
        exif_orientation(exif) if flags & 0x08 else 1,
        end=end,
        icc_profile=(found[b"ICCP"] if flags & 0x20 else b"") or exif_profile(exif),
        exif=exif,
        is_result=b"CreatorTool>" + MADE_BY in found[b"XMP "],
    )


def _bmp(file: BinaryIO) -> PhotoHeader:
    pixels_at, info_size = unpack(file, 10, "<II")
    if info_size == 12:  # OS/2 1.x
        width, height, _, depth = unpack(file, 18, "<HHHH")
        compression, image_size = 0, 0
    elif info_size >= 40:
        width, height, _, depth, compression, image_size = unpack(file, 18, "<iiHHII")
        height = abs(height)  # negative: the rows run from the top
    else:
        raise ValueError("its information header has an unknown size")
    if compression in (0, 3, 6):  # uncompressed, with or without bit masks; rows are padded to 4 bytes
        image_size = (max(width, 0) * depth + 31) // 32 * 4 * height
    return PhotoHeader("BMP", (width, height), end=pixels_at + image_size)


def _tiff(file: BinaryIO) -> PhotoHeader:
    tags = TiffTags(file)
    check_kind(tags)
    size_wh = (tags.first(256), tags.first(257))
    parts = (324, 325) if 324 in tags.entries else (273, 279)  # tiles, else strips: offsets and byte counts
    starts, sizes = (tags.numbers(tag) for tag in parts)
    if not starts.size or starts.size != sizes.size:
        raise ValueError("it doesn't say where its pixels are")
    # ExtraSamples 2 is straight alpha; libtiff premultiplies colours by it at 8 bits, and treats 0 as premultiplied.
    straight = tags.first(338) == 2 and (tags.first(258, 1) > 8 or tags.first(277, 1) == 2)
    return PhotoHeader(
        "TIFF",
        size_wh,
        tags.orientation(),
        end=int((starts + sizes).max()),
        orientation_byte=tags.last_byte(274),
        premultiplied=not straight,
        inverted=tags.first(262, 1) == 0 and tags.first(258, 1) == 16,
        icc_profile=tags.blob(34675) or adobe_rgb_profile(tags),
    )


_PARSERS: dict[bytes, Callable[[BinaryIO], PhotoHeader]] = {
    rb"\xff\xd8\xff": _jpeg,
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"RIFF....WEBP": _webp,
    rb"BM": _bmp,
    rb"II\*\0|MM\0\*": _tiff,
}
