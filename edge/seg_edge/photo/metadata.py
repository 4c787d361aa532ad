"""What a result may keep of its photo's EXIF data: when, with what and what for it was taken, never where.

A list of what is kept, not of what is dropped: places, serial numbers, makers' notes and thumbnails, which show the
photo before its effect, are in tags that nobody can list. Tags are EXIF 2.3's.
"""

from __future__ import annotations

import struct

# ImageDescription, Make, Model, DateTime, Artist, Copyright
_KEPT = (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298)
_EXIF_IFD = 0x8769
# ExposureTime, FNumber, ISO, DateTimeOriginal, DateTimeDigitized, their offsets and fractions of a second, Flash,
# FocalLength, FocalLengthIn35mmFilm, LensMake, LensModel
_KEPT_INNER = (
    *(0x829A, 0x829D, 0x8827, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292),
    *(0x9209, 0x920A, 0xA405, 0xA433, 0xA434),
)
MAX_BYTES = 60_000  # what a JPEG's segment can hold, and room for its header


def keep_metadata(exif: bytes) -> bytes:
    """An EXIF block of the date, camera, exposure, description, author and copyright in another.

    Args:
        exif: A photo's EXIF block, from its byte order on.

    Returns:
        The new block, from its byte order on; empty when there is nothing to keep, or it is damaged.
    """
    from PIL import Image

    try:
        given, kept = Image.Exif(), Image.Exif()
        given.load(exif)
        kept.update({tag: given[tag] for tag in _KEPT if tag in given})
        inner = given.get_ifd(_EXIF_IFD)
        kept.get_ifd(_EXIF_IFD).update({tag: inner[tag] for tag in _KEPT_INNER if tag in inner})
        block = kept.tobytes().removeprefix(b"Exif\0\0")
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return b""
    return block if (len(kept) or inner) and len(block) <= MAX_BYTES else b""
