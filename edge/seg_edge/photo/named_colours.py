"""ICC profiles for photos that only name their colour space, so that `photo.colour` converts all of them to sRGB.

Cameras set to Adobe RGB say so in EXIF (DCF 2.0: interoperability index `R03`); phones' HEIC and AVIF give code points
(ITU-T H.273); PNG has code points too (chunk cICP) and, older, a gamma and primaries (gAMA, cHRM).
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from seg_edge.photo.tiff_tags import TiffTags

_D65 = (0.3127, 0.3290)
_D50 = (0.9642, 1.0, 0.8249)  # XYZ of the white of every ICC profile (ICC.1:2022, 7.2.16)
# (x, y) of red, green, blue and white.
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
_ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65)  # Adobe RGB (1998) Color Image Encoding, 4.3.1
_ADOBE_GAMMA = 563 / 256
# H.273, table 2: BT.709 and sRGB; BT.2020; Display P3.
_PRIMARIES = {1: _SRGB, 9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65)}
_PRIMARIES |= {12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65)}
# H.273, table 3, as a gamma; None is sRGB's curve, with which stills in BT.709, 601 and 2020 are shown. HDR isn't here.
_TRANSFERS = {1: None, 6: None, 13: None, 14: None, 15: None, 4: 2.2, 5: 2.8, 8: 1.0}
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1
# PNG writers' gamma of sRGB, 1/2.2, is meant for its curve (PNG, 3rd edition, 11.3.2.2 and 11.3.2.5).
_PNG_SRGB_GAMMA = 0.45455
_NCLX = re.compile(rb"colrnclx(.{4})", re.DOTALL)


def exif_profile(exif: bytes) -> bytes:
    """A profile of Adobe RGB where an EXIF block, from its byte order on, says so; empty otherwise."""
    try:
        return adobe_rgb_profile(TiffTags(io.BytesIO(exif)))
    except (EOFError, ValueError):
        return b""


def adobe_rgb_profile(first: TiffTags) -> bytes:
    """The same from the first directory of an EXIF block, or of a TIFF."""
    try:
        tags = first.directory(0x8769)
        is_adobe = tags.first(0xA001) == 2 or tags.directory(0xA005).blob(1)[:3] == b"R03"
    except (EOFError, ValueError):
        return b""
    return _profile(_ADOBE_RGB, _ADOBE_GAMMA) if is_adobe else b""


def heif_profile(start: bytes) -> bytes:
    """A profile from the colour box `nclx` (ISO/IEC 23008-12) in the first bytes of a HEIC or AVIF; empty without."""
    box = _NCLX.search(start)
    return code_point_profile(*struct.unpack(">HH", box[1])) if box else b""


def code_point_profile(primaries: int, transfer: int, grey: bool = False) -> bytes:
    """A profile from ITU-T H.273's code points; empty for those of HDR and others that no SDR photo has."""
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return b""
    return _profile(_PRIMARIES[primaries], _TRANSFERS[transfer], grey)


def png_profile(gamma: float, chromaticities: Sequence[float] | None, grey: bool) -> bytes:
    """A profile from PNG's chunks.

    Args:
        gamma: gAMA, 1 / 2.2 for sRGB.
        chromaticities: cHRM's eight values: x and y of white, red, green and blue; None for sRGB's.
        grey: Whether the pixels are grey.

    Returns:
        The profile; empty if the numbers are invalid.
    """
    if not 0.1 <= gamma <= 10:
        return b""
    curve = None if abs(gamma / _PNG_SRGB_GAMMA - 1) < 0.02 else 1 / gamma
    return _profile((*chromaticities[2:], *chromaticities[:2]) if chromaticities else _SRGB, curve, grey)


@lru_cache(maxsize=16)
def _profile(primaries: tuple[float, ...], gamma: float | None, grey: bool = False) -> bytes:
    """A profile of three primaries and a white point, or of grey, with a curve (ICC.1:2022, 8.3.3 and 8.4.2)."""
    tags = {b"desc": _text("named colours"), b"cprt": _text("none"), b"wtpt": _xyz(_D50)}
    if grey:
        tags |= {b"kTRC": _curve(gamma)}
    else:
        columns = _to_d50(primaries)
        if columns is None:
            return b""
        for letter, column in zip("rgb", columns.T, strict=True):
            tags |= {f"{letter}XYZ".encode(): _xyz(column), f"{letter}TRC".encode(): _curve(gamma)}
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    space = b"GRAY" if grey else b"RGB "
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x04000000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    return (head.ljust(68, b"\0") + _fixed(*_D50)).ljust(128, b"\0") + table + body


def _to_d50(primaries: tuple[float, ...]) -> np.ndarray | None:
    """XYZ of each primary at full intensity (three columns), adapted to D50 by Bradford (ICC.1:2022, annex E)."""
    points = np.array(primaries, float).reshape(4, 2)
    if points[:, 1].min() <= 0:
        return None
    xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    try:
        columns = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    except np.linalg.LinAlgError:
        return None
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = np.diag((bradford @ _D50) / (bradford @ xyz[:, 3]))
    adapted = np.linalg.inv(bradford) @ scale @ bradford @ columns
    return adapted if np.isfinite(adapted).all() and np.abs(adapted).max() < 4 else None


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _curve(gamma: float | None) -> bytes:
    kind, values = (3, _SRGB_CURVE) if gamma is None else (0, (gamma,))
    return b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(*values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III", 0, 1, 12) + b"enUS" + struct.pack(">II", len(encoded), 28) + encoded
