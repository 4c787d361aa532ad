"""The mark in a result's file, by which a later run recognises it, and the EXIF data that may be added.

It is a comment in a JPEG, a text chunk in a PNG, an XMP packet in a WebP; `photo.header` finds it. Nothing is decoded.
"""

from __future__ import annotations

import io
import struct

from seg_edge import __version__
from seg_edge.photo.header import MADE_BY, parse_header
from seg_edge.photo.png_encode import png_chunk

_MARK = MADE_BY + __version__.encode()
_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:CreatorTool>' + _MARK + b"</xmp:CreatorTool>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def mark_result(content: bytes, exif: bytes = b"") -> bytes:
    """Adds the mark to a picture file.

    Args:
        content: A JPEG, PNG or WebP as OpenCV encodes it.
        exif: An EXIF block, from its byte order on, of at most 60,000 bytes; empty adds none.
    """
    if content.startswith(b"\xff\xd8"):
        at = 4 + int.from_bytes(content[4:6]) if content[2:4] == b"\xff\xe0" else 2  # JFIF's segment comes first
        segments = _segment(0xE1, b"Exif\0\0" + exif) if exif else b""
        return _inserted(content, at, segments + _segment(0xFE, _MARK))
    if content.startswith(b"\x89PNG"):
        chunks = png_chunk(b"tEXt", b"Software\0" + _MARK) + (png_chunk(b"eXIf", exif) if exif else b"")
        return _inserted(content, 33, chunks)  # after IHDR
    return _marked_webp(content, exif)


def _inserted(content: bytes, at: int, part: bytes) -> bytes:
    view = memoryview(content)  # saves two copies of a large file
    return b"".join([view[:at], part, view[at:]])


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _marked_webp(content: bytes, exif: bytes) -> bytes:
    """RFC 9649, 2.7: metadata needs the extended container, whose flags say what follows."""
    header = parse_header(io.BytesIO(content))
    assert header is not None
    flags, chunks = 0x04 | (0x08 if exif else 0), content[12:]
    if content[12:16] == b"VP8X":
        flags, chunks = flags | content[20], content[30:]
    elif content[12:16] == b"VP8L":
        flags |= 0x10 if content[24] & 0x10 else 0  # its alpha bit, RFC 9649, 3.4
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in header.size_wh)
    body = b"WEBP" + _riff_chunk(b"VP8X", struct.pack("<I", flags) + sides) + chunks
    body += (_riff_chunk(b"EXIF", exif) if exif else b"") + _riff_chunk(b"XMP ", _XMP)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
