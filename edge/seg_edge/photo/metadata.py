"""Which of a photo's EXIF data its result may keep: date, camera, exposure and authorship, never the location.

It lists what is kept, not what is dropped: no list could name every tag that holds a location, a serial number, a
maker's note or a thumbnail, which shows the photo before its effect. Tags are EXIF 2.3's.
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
MAX_BYTES = 60_000  # what a JPEG's segment can hold, with room for its header


def keep_metadata(exif: bytes) -> bytes:
    """An EXIF block with only the date, camera, exposure, description, author and copyright of another.

    Args:
        exif: A photo's EXIF block, from its byte order on.

    Returns:
        The new block, from its byte order on; empty if there is nothing to keep, or the block is damaged.
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
