"""Colour profiles are applied: Display P3's numbers for sRGB's own primaries become these."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from seg_edge.photo.read import decode_photo, read_header

image = pytest.importorskip("PIL.Image")

# CSS Color 4, conversion of sRGB's red, green, blue and a grey to display-p3, in RGB.
IN_P3 = np.array([[[234, 51, 35], [117, 251, 76], [0, 0, 245], [128, 128, 128]]], np.uint8).repeat(32, 0).repeat(32, 1)
IN_SRGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]]).repeat(32, 0).repeat(32, 1)


def display_p3() -> bytes:
    """A matrix profile (ICC.1:2022, 8.3.3) of P3's primaries, adapted to D50, and sRGB's curve."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"para" + struct.pack(">IHH", 0, 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    columns = {b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189)}
    columns |= {b"bXYZ": (0.1571, 0.06657, 0.78407), b"wtpt": (0.9642, 1, 0.8249)}
    text = "P3".encode("utf-16-be")
    texts = b"mluc" + struct.pack(">III", 0, 1, 12) + b"enUS" + struct.pack(">II", len(text), 28) + text
    tags = {name: b"XYZ \0\0\0\0" + fixed(*values) for name, values in columns.items()}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, b"desc": texts, b"cprt": texts}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += padded
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"none", 0x04000000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + body


def encoded(kind: str, **options: object) -> np.ndarray:
    buffer = io.BytesIO()
    image.fromarray(IN_P3).save(buffer, kind, icc_profile=display_p3(), **options)
    return np.frombuffer(bytearray(buffer.getvalue()), np.uint8)


@pytest.mark.parametrize(
    ("kind", "options", "within"),
    [
        ("PNG", {}, 4),
        ("TIFF", {}, 4),
        ("WEBP", {"lossless": True}, 4),
        ("JPEG", {"quality": 100, "subsampling": 0}, 4),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 6),
        ("HEIF", {"quality": -1, "chroma": 444}, 6),
    ],
)
def test_display_p3_becomes_srgb(kind: str, options: dict, within: int) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif isn't installed").register_heif_opener()
    frame = decode_photo(encoded(kind, **options), "photo")
    middles = np.s_[16, 16::32]
    assert np.abs(frame[middles][:, ::-1].astype(int) - IN_SRGB[middles]).max() <= within


def test_a_damaged_profile_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image.fromarray(IN_P3).save(path, icc_profile=display_p3()[:200])
    assert read_header(path).icc_profile
    assert (decode_photo(np.fromfile(path, np.uint8), "photo")[..., ::-1] == IN_P3).all()


def test_a_photo_turned_in_its_container_is_upright() -> None:
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32] = 255  # the left half, which is the top half of the upright photo
    for kind in ("AVIF", "WEBP"):
        exif = image.Exif()
        exif[0x0112] = 6
        buffer = io.BytesIO()
        image.fromarray(stored).save(buffer, kind, exif=exif)
        frame = decode_photo(np.frombuffer(buffer.getvalue(), np.uint8), "photo")
        assert frame.shape == (64, 32, 3)
        assert frame[:24].min() > 200
        assert frame[40:].max() < 60


def linear_grey() -> bytes:
    """A grey profile (ICC.1:2022, 8.3.2) whose numbers are light itself: gamma 1."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061), b"kTRC": b"curv" + bytes(8)}
    tags |= {
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey" + bytes(79),
    }
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_holds_with_transparency_too(mode: str) -> None:
    """Half the light is 188 in sRGB (IEC 61966-2-1)."""
    buffer = io.BytesIO()
    grey = np.full((4, 4), 128, np.uint8)
    stored = grey if mode == "L" else np.dstack([grey, np.full_like(grey, 255)])
    stored[0, 0] = 254 if mode == "L" else (254, 200)
    image.fromarray(stored).save(buffer, "PNG", icc_profile=linear_grey())
    frame = decode_photo(np.frombuffer(buffer.getvalue(), np.uint8), "a.png")
    assert np.abs(frame[1:].astype(int) - 188).max() <= 1
