"""Colour profiles are applied: sRGB's primaries, stored in Display P3 or Adobe RGB, come out as in sRGB."""

import io
import re
import struct
import zlib
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


def test_the_orientation_of_avif_and_webp_is_applied() -> None:
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
    """A linear grey profile (ICC.1:2022, 8.3.2): gamma 1."""
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
def test_a_grey_profile_applies_with_transparency_too(mode: str) -> None:
    """Half the light is 188 in sRGB (IEC 61966-2-1)."""
    buffer = io.BytesIO()
    grey = np.full((4, 4), 128, np.uint8)
    stored = grey if mode == "L" else np.dstack([grey, np.full_like(grey, 255)])
    stored[0, 0] = 254 if mode == "L" else (254, 200)
    image.fromarray(stored).save(buffer, "PNG", icc_profile=linear_grey())
    frame = decode_photo(np.frombuffer(buffer.getvalue(), np.uint8), "a.png")
    assert np.abs(frame[1:].astype(int) - 188).max() <= 1


# sRGB's red, green and blue in Adobe RGB (1998): linear 0.7152, (0.2848, 1, 0.0412) and 0.9588 to the power 256 / 563.
IN_ADOBE = np.array([[[219, 0, 0], [144, 255, 60], [0, 0, 250], [127, 127, 127]]], np.uint8).repeat(32, 0).repeat(32, 1)


def adobe_exif(byte_order: str) -> bytes:
    """The EXIF block of a camera set to Adobe RGB (DCF 2.0): ColorSpace 65535, interoperability index R03."""
    header = b"II*\0" if byte_order == "<" else b"MM\0*"

    def directory(*entries: bytes) -> bytes:
        return struct.pack(f"{byte_order}H", len(entries)) + b"".join(entries) + bytes(4)

    def number(tag: int, value: int) -> bytes:
        return struct.pack(f"{byte_order}HHII", tag, 4, 1, value)

    first = directory(number(0x8769, 26))  # at 8, 18 bytes
    colour_space = struct.pack(f"{byte_order}HHIHxx", 0xA001, 3, 1, 65535)
    inner = directory(colour_space, number(0xA005, 56))  # at 26, 30 bytes
    index = directory(struct.pack(f"{byte_order}HHI4s", 1, 2, 4, b"R03\0"))
    return header + struct.pack(f"{byte_order}I", 8) + first + inner + index


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 100, "subsampling": 0}), ("PNG", {}), ("WEBP", {"lossless": True})]
)
def test_adobe_rgb_that_only_exif_tells_becomes_srgb(kind: str, options: dict, byte_order: str) -> None:
    buffer = io.BytesIO()
    image.fromarray(IN_ADOBE).save(buffer, kind, exif=b"Exif\0\0" + adobe_exif(byte_order), **options)
    frame = decode_photo(np.frombuffer(bytearray(buffer.getvalue()), np.uint8), "photo")
    middles = np.s_[16, 16::32]
    assert np.abs(frame[middles][:, ::-1].astype(int) - IN_SRGB[middles]).max() <= 4


def test_a_profile_counts_more_than_exif() -> None:
    buffer = io.BytesIO()
    image.fromarray(IN_P3).save(buffer, "PNG", exif=b"Exif\0\0" + adobe_exif("<"), icc_profile=display_p3())
    frame = decode_photo(np.frombuffer(bytearray(buffer.getvalue()), np.uint8), "photo")
    assert np.abs(frame[16, 16::32, ::-1].astype(int) - IN_SRGB[16, 16::32]).max() <= 4


@pytest.mark.parametrize(("kind", "options"), [("AVIF", {"subsampling": "4:4:4"}), ("HEIF", {"chroma": 444})])
def test_a_heif_that_names_display_p3_becomes_srgb(kind: str, options: dict) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif isn't installed").register_heif_opener()
    buffer = io.BytesIO()
    image.fromarray(IN_P3).save(buffer, kind, quality=100, **options)
    named = re.sub(rb"colrnclx....", b"colrnclx\0\x0c\0\x0d", buffer.getvalue(), flags=re.DOTALL)  # H.273: 12, 13
    assert b"colrnclx\0\x0c\0\x0d" in named
    frame = decode_photo(np.frombuffer(bytearray(named), np.uint8), "photo")
    assert np.abs(frame[16, 16::32, ::-1].astype(int) - IN_SRGB[16, 16::32]).max() <= 6


def png_with(pixels: np.ndarray, *chunks: bytes) -> np.ndarray:
    """A PNG with more chunks after its first, each a name and its data."""
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    more = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )
    return np.frombuffer(bytearray(data[:33] + more + data[33:]), np.uint8)


GAMMA_1, GAMMA_SRGB = (b"gAMA" + struct.pack(">I", value) for value in (100000, 45455))
P3_POINTS = b"cHRM" + struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB_POINTS = b"cHRM" + struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@pytest.mark.parametrize("chunks", [(b"cICP\x0c\x0d\0\x01",), (GAMMA_SRGB, P3_POINTS)])
def test_a_png_that_names_display_p3_becomes_srgb(chunks: tuple[bytes, ...]) -> None:
    frame = decode_photo(png_with(IN_P3, *chunks), "photo")
    assert np.abs(frame[16, 16::32, ::-1].astype(int) - IN_SRGB[16, 16::32]).max() <= 4


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)])
def test_a_linear_png_becomes_srgb(shape: tuple[int, ...]) -> None:
    """Half the light is 188 in sRGB (IEC 61966-2-1)."""
    frame = decode_photo(png_with(np.full(shape, 128, np.uint8), GAMMA_1), "photo")
    assert np.abs(frame.astype(int) - 188).max() <= 1


@pytest.mark.parametrize(
    "chunks",
    [
        (GAMMA_SRGB,),
        (GAMMA_SRGB, SRGB_POINTS),
        (b"sRGB\0", GAMMA_1),
        (b"cICP\x01\x0d\0\x01", GAMMA_1),
        (b"gAMA" + bytes(4),),
        (GAMMA_SRGB, b"cHRM" + bytes(32)),
    ],
)
def test_a_png_in_srgb_by_its_chunks_keeps_its_colours(chunks: tuple[bytes, ...]) -> None:
    frame = decode_photo(png_with(IN_P3, *chunks), "photo")
    assert np.abs(frame[..., ::-1].astype(int) - IN_P3).max() <= 1
