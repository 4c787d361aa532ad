"""Photos read back from every format, depth and orientation; bad files refused in one sentence."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from seg_edge.errors import PhotoError
from seg_edge.photo import read as photo
from seg_edge.photo.find import PHOTO_SUFFIXES, find_photos, natural_order
from seg_edge.photo.read import load_photo, read_header, read_photo

GRACE_HOPPER = Path(__file__).parents[2] / "data" / "grace_hopper.jpg"

# Asymmetric in both directions, smooth enough for JPEG: (24, 40, 3).
Y, X = np.mgrid[0:24, 0:40]
PICTURE = np.dstack([X * 6, Y * 10, 255 - X * 3 - Y * 4]).astype(np.uint8)
GREY = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)
ALPHA = (255 - X * 6).astype(np.uint8)


def encode(suffix: str, image: np.ndarray, *parameters: int) -> bytes:
    done, data = cv2.imencode(suffix, image, parameters)
    assert done
    return data.tobytes()


def exif(orientation: int, order: str = ">") -> bytes:
    """An EXIF block of one tag, which is a TIFF file without pixels."""
    magic = b"MM\0*" if order == ">" else b"II*\0"
    return magic + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg_with(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_with(data: bytes, *chunks: bytes, at_end: bool = False) -> bytes:
    at = len(data) - 12 if at_end else 33
    return data[:at] + b"".join(chunks) + data[at:]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    idat = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(chunks) + idat + png_chunk(b"IEND", b"")


def riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def webp_with(data: bytes, size_wh: tuple[int, int], flags: int, *chunks: bytes) -> bytes:
    """A bare WebP (VP8 or VP8L) in the extended container."""
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in size_wh)
    vp8x = riff_chunk(b"VP8X", struct.pack("<I", flags) + sides)
    body = b"WEBP" + vp8x + data[12:] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(image: np.ndarray, order: str, orientation: int | None = None, extra: int | None = None) -> bytes:
    """An uncompressed TIFF of one strip; `image` is grey, grey with alpha, BGR or BGRA of any depth."""
    height, width = image.shape[:2]
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels > 1:
        image = image[..., [2, 1, 0, 3][:channels]] if channels > 2 else image
    pixels = image.astype(np.dtype(order + image.dtype.str[1:])).tobytes()
    bits = struct.pack(order + "4H", *[image.itemsize * 8] * 4)
    tags: list[tuple[int, int, int, bytes]] = [
        (256, 3, 1, struct.pack(order + "HH", width, 0)),
        (257, 3, 1, struct.pack(order + "HH", height, 0)),
        (258, 3, channels, b""),
        (259, 3, 1, struct.pack(order + "HH", 1, 0)),
        (262, 3, 1, struct.pack(order + "HH", 2 if channels > 2 else 1, 0)),
        (273, 4, 1, b""),
        (277, 3, 1, struct.pack(order + "HH", channels, 0)),
        (278, 3, 1, struct.pack(order + "HH", height, 0)),
        (279, 4, 1, struct.pack(order + "I", len(pixels))),
    ]
    if orientation is not None:
        tags.append((274, 3, 1, struct.pack(order + "HH", orientation, 0)))
    if extra is not None:
        tags.append((338, 3, 1, struct.pack(order + "HH", extra, 0)))
    if image.dtype.kind == "f":
        tags.append((339, 3, 1, struct.pack(order + "HH", 3, 0)))
    bits_at = 8 + 2 + 12 * len(tags) + 4
    values = {
        258: bits[:4] if channels < 3 else struct.pack(order + "I", bits_at),
        273: struct.pack(order + "I", bits_at + 8),
    }
    table = b"".join(
        struct.pack(order + "HHI", tag, kind, n) + values.get(tag, value) for tag, kind, n, value in sorted(tags)
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + table + bytes(4) + bits + pixels


def rle_bmp() -> bytes:
    """4x2 pixels of 8-bit run-length coding: red below, green above."""
    palette = bytes([0, 0, 255, 0, 0, 255, 0, 0]) + bytes(254 * 4)
    body = bytes([4, 0, 0, 0, 4, 1, 0, 0, 0, 1])
    info = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, len(body), 0, 0, 256, 0)
    at = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + info + palette + body


LOSSLESS: dict[str, bytes] = {
    "png": encode(".png", PICTURE),
    "webp": encode(".webp", PICTURE, cv2.IMWRITE_WEBP_QUALITY, 101),
    "bmp": encode(".bmp", PICTURE),
    "tif": encode(".tif", PICTURE),
    "tif II": tiff(PICTURE, "<"),
    "tif MM": tiff(PICTURE, ">"),
}
LOSSY: dict[str, bytes] = {
    "jpg": encode(".jpg", PICTURE, cv2.IMWRITE_JPEG_QUALITY, 95),
    "jpg progressive": encode(".jpg", PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "jpg restarts": encode(".jpg", PICTURE, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "webp": encode(".webp", PICTURE, cv2.IMWRITE_WEBP_QUALITY, 95),
}
GOOD: dict[str, bytes] = {**LOSSLESS, **{f"lossy {name}": data for name, data in LOSSY.items()}}


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def _save(data: bytes, name: str = "photo.jpg") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return _save


def assert_photo(image: np.ndarray, expected: np.ndarray, within: int = 0) -> None:
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == expected.shape
    assert int(cv2.absdiff(image, np.ascontiguousarray(expected)).max()) <= within


def refused(call: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(PhotoError) as caught:
        call(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert path.name in message
    assert message.endswith(".")
    return message


# --- formats, depths and channels ---


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_are_exact(name: str, save: Callable[..., Path]) -> None:
    path = save(LOSSLESS[name])
    assert_photo(read_photo(path), PICTURE)
    header = read_header(path)
    assert header.format.lower() == name[:4].strip().replace("tif", "tiff")
    assert header.size_wh == header.upright_size_wh == (40, 24)
    assert header.orientation == 1


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_are_close(name: str, save: Callable[..., Path]) -> None:
    path = save(LOSSY[name])
    assert_photo(read_photo(path), PICTURE, within=16)
    assert read_header(path).size_wh == (40, 24)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_greyscale_becomes_bgr(suffix: str, save: Callable[..., Path]) -> None:
    assert_photo(read_photo(save(encode(suffix, GREY))), cv2.merge([GREY] * 3))


def test_grey_jpeg_becomes_bgr(save: Callable[..., Path]) -> None:
    assert_photo(read_photo(save(encode(".jpg", GREY))), cv2.merge([GREY] * 3), within=8)


@pytest.mark.parametrize(
    "data",
    [
        encode(".png", PICTURE.astype(np.uint16) * 257),
        encode(".tif", PICTURE.astype(np.uint16) * 257),
        tiff(PICTURE.astype(np.uint16) * 257, ">"),
    ],
    ids=["png", "tif", "tif MM"],
)
def test_16_bits_are_scaled_not_clipped(data: bytes, save: Callable[..., Path]) -> None:
    assert_photo(read_photo(save(data)), PICTURE)


def test_1_bit_and_palette_png(save: Callable[..., Path]) -> None:
    black_white = png(8, 2, 1, 0, b"\0\xaa\0\x55")
    expected = np.zeros((2, 8, 3), np.uint8)
    expected[0, ::2] = expected[1, 1::2] = 255
    assert_photo(read_photo(save(black_white)), expected)

    palette = png_chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255]))
    expected = np.array([[[0, 0, 255], [255, 0, 0]]], np.uint8)
    assert_photo(read_photo(save(png(2, 1, 8, 3, b"\0\0\1", palette))), expected)
    # The second colour of the palette is transparent.
    transparent = png_chunk(b"tRNS", b"\xff\0")
    expected[0, 1] = 255
    assert_photo(read_photo(save(png(2, 1, 8, 3, b"\0\0\1", palette, transparent))), expected)


@pytest.mark.parametrize(("depth", "rows", "shade"), [(8, b"\0\xc8\x32", 200), (16, b"\0\xc8\xc8\x32\x32", 200 * 257)])
def test_a_grey_png_s_transparent_shade_is_white(
    depth: int, rows: bytes, shade: int, save: Callable[..., Path]
) -> None:
    path = save(png(2, 1, depth, 0, rows, png_chunk(b"tRNS", shade.to_bytes(2))))
    assert_photo(read_photo(path), np.array([[[255] * 3, [50] * 3]], np.uint8))
    assert load_photo(path).alpha.tolist() == [[0, 255]]  # type: ignore[union-attr]


def test_a_1_bit_png_s_transparent_shade_is_white(save: Callable[..., Path]) -> None:
    path = save(png(8, 1, 1, 0, b"\0\xaa", png_chunk(b"tRNS", b"\0\0")))
    assert load_photo(path).alpha.tolist() == [[255, 0] * 4]  # type: ignore[union-attr]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("extra", [1, 2], ids=["multiplied", "straight"])
def test_a_grey_tiff_s_transparency_is_kept(
    order: str, depth: type[np.generic], extra: int, save: Callable[..., Path]
) -> None:
    alpha = np.clip(np.arange(GREY.shape[1]) * 9, 0, 255).astype(np.uint8) * np.ones_like(GREY)
    levels = np.rint(GREY * (alpha / 255.0)) if extra == 1 else GREY
    stored = np.dstack([levels, alpha]).astype(depth) * (257 if depth is np.uint16 else 1)
    photo = load_photo(save(tiff(stored, order, orientation=6, extra=extra)))
    np.testing.assert_array_equal(photo.alpha, np.rot90(alpha, -1))
    visible = np.rot90(alpha > 60, -1)
    np.testing.assert_allclose(photo.colour[visible][:, 0], np.rot90(GREY, -1)[visible], atol=3 if extra == 1 else 0)
    assert_photo(photo.frame, over_white(photo.colour, np.rot90(alpha, -1)), within=1)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"])
def test_a_compressed_grey_tiff_s_transparency_is_kept(compression: str, tmp_path: Path) -> None:
    stored = np.dstack([GREY, 255 - GREY])
    Image.fromarray(stored, "LA").save(tmp_path / "la.tif", compression=compression, tiffinfo={317: 2})
    photo = load_photo(tmp_path / "la.tif")
    np.testing.assert_array_equal(photo.alpha, stored[..., 1])
    np.testing.assert_array_equal(photo.colour[..., 0], GREY)


def test_run_length_bmp(save: Callable[..., Path]) -> None:
    expected = np.zeros((2, 4, 3), np.uint8)
    expected[0, :, 1] = expected[1, :, 2] = 255
    assert_photo(read_photo(save(rle_bmp())), expected)


def over_white(bgr: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(bgr * share + 255 * (1 - share)).astype(np.uint8)


def test_alpha_is_composited_over_white(save: Callable[..., Path]) -> None:
    bgra = np.dstack([PICTURE, ALPHA])
    expected = over_white(PICTURE, ALPHA)
    premultiplied = np.rint(bgra * (ALPHA[..., None] / 255)).astype(np.uint8)
    premultiplied[..., 3] = ALPHA
    wide = bgra.astype(np.uint16) * 257
    for data in (
        encode(".png", bgra),
        encode(".png", wide),
        encode(".webp", bgra, cv2.IMWRITE_WEBP_QUALITY, 101),
        tiff(bgra, "<", extra=2),
        tiff(wide, ">", extra=2),
        tiff(premultiplied, ">", extra=1),
        tiff(premultiplied.astype(np.uint16) * 257, "<", extra=1),
    ):
        image = read_photo(save(data))
        visible = ALPHA > 0  # WebP drops the colour under full transparency; the next assertion covers it
        assert_photo(image[visible][None], expected[visible][None], within=2)
        assert (image[~visible] == 255).all()


def test_opaque_alpha_changes_nothing(save: Callable[..., Path]) -> None:
    bgra = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2BGRA)
    assert_photo(read_photo(save(encode(".png", bgra))), PICTURE)


def cmyk_jpeg(components: tuple[int, int, int, int], transform: int) -> bytes:
    """8x8 pixels of one colour, as Photoshop writes it: an Adobe marker and inverted inks.

    Quantised by 8, a DC coefficient is the level - 128: an 8x8 DCT's DC is 8 times the mean.
    """
    dqt = jpeg_segment(0xDB, b"\0" + b"\x08" * 64)
    sof = jpeg_segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 4) + b"".join(bytes([i, 0x11, 0]) for i in range(4)))
    # DC categories 0..8 and the end of a block have codes of 4 bits and 1 bit.
    dc = jpeg_segment(0xC4, b"\0" + bytes([0, 0, 0, 9] + [0] * 12) + bytes(range(9)))
    ac = jpeg_segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
    sos = jpeg_segment(0xDA, b"\4" + b"".join(bytes([i, 0]) for i in range(4)) + b"\0\x3f\0")
    adobe = jpeg_segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))
    bits = ""
    for component in components:
        level = component - 128
        size = abs(level).bit_length()
        bits += f"{size:04b}"
        if size:
            bits += f"{level if level > 0 else level + (1 << size) - 1:0{size}b}"
        bits += "0"
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + adobe + dqt + sof + dc + ac + sos + scan + b"\xff\xd9"


def test_cmyk_jpeg(save: Callable[..., Path]) -> None:
    # Stored inverted: 200 stands for 55 of cyan. A channel is (255 - ink) * (255 - black) / 255.
    red, green, blue = (round(v * 235 / 255) for v in (205, 155, 55))
    expected = np.full((8, 8, 3), (blue, green, red), np.uint8)
    assert_photo(read_photo(save(cmyk_jpeg((205, 155, 55, 235), 0))), expected, within=2)


def test_ycck_jpeg(save: Callable[..., Path]) -> None:
    # YCbCr as in T.871; the stored inks are the complement of its RGB.
    y, cb, cr, k = 150, 100, 170, 235
    rgb = (
        y + 1.402 * (cr - 128),
        y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
        y + 1.772 * (cb - 128),
    )
    inks = [255 - v for v in rgb]
    expected = np.full((8, 8, 3), [round(v * k / 255) for v in inks[::-1]], np.uint8)
    assert_photo(read_photo(save(cmyk_jpeg((y, cb, cr, k), 2))), expected, within=2)


def test_float_tiff_is_refused(save: Callable[..., Path]) -> None:
    message = refused(read_photo, save(tiff(PICTURE.astype(np.float32) / 255, "<")))
    assert "float32" in message
    assert "8 or 16 bits" in message


@pytest.mark.skipif(not GRACE_HOPPER.exists(), reason="the photo is not in this checkout")
def test_a_real_photo() -> None:
    image = read_photo(GRACE_HOPPER)
    assert image.shape == (600, 512, 3)
    assert read_header(GRACE_HOPPER).size_wh == (512, 600)
    expected = cv2.imread(str(GRACE_HOPPER))
    assert expected is not None
    assert_photo(image, expected)


# --- orientation ---

# EXIF 2.3, tag 0x0112: where in the upright picture the stored row 0 and column 0 lie.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
UPRIGHT = np.zeros((32, 48, 3), np.uint8)
UPRIGHT[:16, :24] = (0, 0, 255)
UPRIGHT[:16, 24:] = (0, 255, 0)
UPRIGHT[16:, :24] = (255, 0, 0)
UPRIGHT[16:, 24:] = (255, 255, 255)


def stored(orientation: int) -> np.ndarray:
    row_side, column_side = SIDES[orientation]
    image = UPRIGHT.swapaxes(0, 1) if row_side in ("left", "right") else UPRIGHT
    if row_side in ("bottom", "right"):
        image = image[::-1]
    if column_side in ("bottom", "right"):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def oriented(kind: str, orientation: int) -> bytes:
    image, block = stored(orientation), exif(orientation, "<" if orientation % 2 else ">")
    size_wh = image.shape[1::-1]
    match kind:
        case "jpg":
            return jpeg_with(encode(".jpg", image), jpeg_segment(0xE1, b"Exif\0\0" + block))
        case "png":
            return png_with(encode(".png", image), png_chunk(b"eXIf", block))
        case "png, eXIf after the pixels":
            return png_with(encode(".png", image), png_chunk(b"eXIf", block), at_end=True)
        case "webp":
            data = encode(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)
            return webp_with(data, size_wh, 0x08, riff_chunk(b"EXIF", block))
        case "webp, lossy, with prefix":
            data = encode(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 95)
            return webp_with(data, size_wh, 0x08, riff_chunk(b"EXIF", b"Exif\0\0" + block))
        case "tif II":
            return tiff(image, "<", orientation)
        case "tif MM":
            return tiff(image, ">", orientation)
        case "tif 16 bits":
            return tiff(image.astype(np.uint16) * 257, ">", orientation)
        case _:
            return tiff(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), "<", orientation)


KINDS = [
    *("jpg", "png", "png, eXIf after the pixels", "webp", "webp, lossy, with prefix"),
    *("tif II", "tif MM", "tif 16 bits", "tif grey"),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_orientation_is_turned_upright(kind: str, orientation: int, save: Callable[..., Path]) -> None:
    path = save(oriented(kind, orientation))
    header = read_header(path)
    assert header.orientation == orientation
    assert header.upright_size_wh == (48, 32)
    assert header.size_wh == ((48, 32) if orientation < 5 else (32, 48))
    expected = UPRIGHT if kind != "tif grey" else cv2.merge([cv2.cvtColor(UPRIGHT, cv2.COLOR_BGR2GRAY)] * 3)
    corners = np.ix_([2, 29], [2, 45])
    image = read_photo(path)
    assert image.flags.c_contiguous
    assert image.shape == UPRIGHT.shape
    assert_photo(image[corners], expected[corners], within=12)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_nonsense_orientation_is_upright(orientation: int, save: Callable[..., Path]) -> None:
    segment = jpeg_segment(0xE1, b"Exif\0\0" + exif(orientation))
    assert read_header(save(jpeg_with(LOSSY["jpg"], segment))).orientation == 1
    path = save(tiff(PICTURE, "<", orientation))
    assert read_header(path).orientation == 1
    assert_photo(read_photo(path), PICTURE)


def test_broken_exif_is_ignored(save: Callable[..., Path]) -> None:
    segment = jpeg_segment(0xE1, b"Exif\0\0" + exif(6)[:12])
    path = save(jpeg_with(LOSSY["jpg"], segment))
    assert read_header(path).orientation == 1
    assert_photo(read_photo(path), PICTURE, within=16)


def test_exif_after_xmp_and_a_large_profile(save: Callable[..., Path]) -> None:
    before = [jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")]
    before += [jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes(60000))] * 4
    path = save(jpeg_with(LOSSY["jpg"], *before, jpeg_segment(0xE1, b"Exif\0\0" + exif(6))))
    assert read_header(path).orientation == 6
    assert read_photo(path).shape == (40, 24, 3)


# --- whole and cut short ---


@pytest.mark.parametrize("name", GOOD)
def test_trailing_bytes_are_ignored(name: str, save: Callable[..., Path]) -> None:
    expected = read_photo(save(GOOD[name]))
    # A motion photo has a video after the picture; some programs pad with zeros.
    for trailer in (bytes(100), b"\0\0\0\x18ftypmp42" + bytes(range(256)), b"\xff"):
        assert_photo(read_photo(save(GOOD[name] + trailer)), expected)


@pytest.mark.parametrize("name", GOOD)
def test_every_cut_is_refused(name: str, save: Callable[..., Path]) -> None:
    data = GOOD[name]
    for length in {*range(1, len(data) * 9 // 10, 7), len(data) * 9 // 10}:
        refused(read_photo, save(data[:length]))


@pytest.mark.parametrize("name", [n for n in GOOD if "jpg" in n])
def test_a_jpeg_padded_with_zeros_is_refused(name: str, save: Callable[..., Path]) -> None:
    data = GOOD[name]
    message = refused(read_photo, save(data[: len(data) * 9 // 10] + bytes(1000)))
    assert "cut short" in message


def test_the_thumbnail_does_not_count_as_the_end(save: Callable[..., Path]) -> None:
    thumbnail = encode(".jpg", PICTURE[:8, :8])
    data = jpeg_with(LOSSY["jpg"], jpeg_segment(0xE1, b"Exif\0\0" + exif(1) + thumbnail))
    assert_photo(read_photo(save(data)), PICTURE, within=16)
    assert "cut short" in refused(read_photo, save(data[:-40]))


# A damaged file either is read or raises PhotoError, and no other error.
FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", GOOD)
@FUZZ
@given(st.data())
def test_damaged_files_raise_only_photo_errors(name: str, save: Callable[..., Path], data: st.DataObject) -> None:
    damaged = bytearray(GOOD[name])
    # Damage matters most in headers: half of the changes go there.
    position = st.integers(0, 63) | st.integers(0, len(damaged) - 1)
    for at, value in data.draw(st.dictionaries(position, st.integers(0, 255), max_size=4)).items():
        damaged[at % len(damaged)] = value
    keep = data.draw(st.just(len(damaged)) | st.integers(0, len(damaged)))
    path = save(bytes(damaged[:keep]))
    for read in (lambda p: read_photo(p, max_pixels=200_000), read_header):
        try:
            result = read(path)
        except PhotoError:
            refused(read, path)
        else:
            if isinstance(result, np.ndarray):
                assert (result.dtype, result.shape[2:]) == (np.uint8, (3,))


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([b"", *{data[:12] for data in GOOD.values()}]))
def test_random_bytes_raise_only_photo_errors(save: Callable[..., Path], data: bytes, magic: bytes) -> None:
    refused(read_photo, save(magic + data))


# --- what is not a photo ---


def test_missing_folder_empty(tmp_path: Path, save: Callable[..., Path]) -> None:
    for read in (read_header, read_photo):
        assert "doesn't exist" in refused(read, tmp_path / "nowhere.jpg")
        assert "is a folder" in refused(read, tmp_path)
        assert "empty" in refused(read, save(b""))


def test_names_that_no_system_accepts(tmp_path: Path) -> None:
    refused(read_photo, tmp_path / ("x" * 5000))
    with pytest.raises(PhotoError, match="name"):
        read_photo(tmp_path / "a\0b.jpg")


def test_a_line_feed_in_a_name_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(PhotoError) as caught:
        read_photo(tmp_path / "two\nlines\udcff.jpg")
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's file tree")
def test_a_pipe_or_a_device_does_not_block(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    assert "pipe" in refused(read_photo, pipe)
    assert "device" in refused(read_photo, Path("/dev/zero"))


def test_permission_denied(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(LOSSY["jpg"])

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    assert "permission" in refused(read_photo, path)


UNSUPPORTED = {
    "text.jpg": (b"shopping: eggs, flour\n", "text"),
    "page.png": ("<!DOCTYPE html>\n<title>Pälästina</title>".encode(), "text"),
    "IMG_1.HEIC": (b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHE" + bytes(20), "damaged"),
    "IMG_2.heic": (b"\0\0\0\x24ftypmif1\0\0\0\0mif1heic" + bytes(20), "damaged"),
    "a.avif": (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + bytes(20), "damaged"),
    "b.avif": (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf" + bytes(20), "damaged"),
    "clip.jpg": (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(20), "video"),
    "a.gif": (b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(20), "GIF"),
    "bare.jxl": (b"\xff\x0a\xfa\x1f" + bytes(20), "JPEG XL"),
    "boxed.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JPEG XL"),
    "a.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "JPEG 2000"),
    "scan.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
    "raw.cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(20), "raw"),
    "a.psd": (b"8BPS\0\x01" + bytes(20), "Photoshop"),
    "big.tif": (b"II+\0\x08\0\0\0" + bytes(20), "BigTIFF"),
    "noise.jpg": (bytes(range(256)), "not a photo"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_files_are_named(name: str, save: Callable[..., Path]) -> None:
    data, what = UNSUPPORTED[name]
    for read in (read_header, read_photo):
        assert what in refused(read, save(data, name))


def test_animations_are_refused(save: Callable[..., Path]) -> None:
    for data in (
        webp_with(LOSSLESS["webp"], (40, 24), 0x02),
        png_with(LOSSLESS["png"], png_chunk(b"acTL", struct.pack(">II", 2, 0))),
    ):
        assert "animation" in refused(read_photo, save(data))


def test_the_thumbnail_of_a_raw_file_is_refused(save: Callable[..., Path]) -> None:
    # The width's tag becomes NewSubfileType = 1, which marks a thumbnail.
    data = tiff(PICTURE, "<")
    data = data[:10] + struct.pack("<HHIHH", 254, 3, 1, 1, 0) + data[22:]
    assert "raw" in refused(read_photo, save(data))


# --- too much ---


def jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(LOSSY["jpg"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


BOMBS = {
    "png": png(60000, 60000, 8, 2, b""),
    "jpg": jpeg_of_size(60000, 60000),
    "webp": webp_with(LOSSLESS["webp"], (16384, 16384), 0),
    "bmp": LOSSLESS["bmp"][:18] + struct.pack("<ii", 60000, -60000) + LOSSLESS["bmp"][26:],
    "tif": tiff(np.broadcast_to(np.uint8(0), (1, 65535)).copy(), "<").replace(
        struct.pack("<HHIHH", 257, 3, 1, 1, 0), struct.pack("<HHIHH", 257, 3, 1, 65535, 0)
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_decoding(
    kind: str, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(BOMBS[kind])
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the bomb was decoded"))
    monkeypatch.setattr(photo.np, "fromfile", lambda *_: pytest.fail("the bomb was read"))
    width, height = read_header(path).size_wh
    assert width * height > photo.MAX_PIXELS
    message = refused(read_photo, path)
    assert f"{width}x{height}" in message
    assert "220 million" in message


def test_the_limit_itself_is_allowed(save: Callable[..., Path]) -> None:
    path = save(LOSSLESS["png"])
    assert read_photo(path, max_pixels=40 * 24).shape == PICTURE.shape
    assert "more than the limit" in refused(lambda p: read_photo(p, max_pixels=40 * 24 - 1), path)


def many_scans(count: int, before_each: bytes = b"") -> bytes:
    """A progressive JPEG that repeats its first scan, without data."""
    whole = encode(".jpg", PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    at = whole.index(b"\xff\xda")
    empty = whole[at : at + 2 + int.from_bytes(whole[at + 2 : at + 4])]
    return whole[:-2] + (before_each + empty) * count + b"\xff\xd9"


# FF01 and, where scans are restarted, FF02 have no length for libjpeg: what follows them is read.
@pytest.mark.parametrize("before_each", [b"", b"\xff\x01\x7f", b"\xff\x02\x7f"])
def test_a_jpeg_of_too_many_scans_is_refused(before_each: bytes, save: Callable[..., Path]) -> None:
    assert "more scans" in refused(read_photo, save(many_scans(200, before_each)))


def test_a_progressive_jpeg_is_read(save: Callable[..., Path]) -> None:
    assert read_photo(save(many_scans(0))).shape == PICTURE.shape


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg_with(encode(".jpg", PICTURE), *[jpeg_segment(0xFE, b"")] * 100_000), "no picture after its header"),
        (many_scans(0)[:-2] + jpeg_segment(0xFE, b"") * 100_000 + b"\xff\xd9", "more scans than a camera writes"),
        (png_with(encode(".png", PICTURE), *[png_chunk(b"tEXt", b"")] * 100_000), "too many chunks"),
        (png_with(encode(".png", PICTURE), *[png_chunk(b"IDAT", b"")] * 100_000), "too many chunks"),
    ],
    ids=["jpeg header", "jpeg scans", "png text", "png pixels"],
)
def test_a_photo_of_too_many_parts_is_refused(
    data: bytes, reason: str, save: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert reason in refused(read_photo, save(data))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size_wh", [(0, 24), (40, 0)])
def test_zero_sizes_are_refused(size_wh: tuple[int, int], save: Callable[..., Path]) -> None:
    for data in (
        png(*size_wh, 8, 2, b""),
        jpeg_of_size(*size_wh),
        LOSSLESS["bmp"][:18] + struct.pack("<ii", *size_wh) + LOSSLESS["bmp"][26:],
    ):
        assert "{}x{}".format(*size_wh) in refused(read_photo, save(data))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.write(LOSSY["jpg"])
        file.truncate(photo.MAX_FILE_BYTES + 1)
    assert "1024 MB" in refused(read_photo, path)


def test_a_count_that_asks_for_gigabytes_is_refused(save: Callable[..., Path]) -> None:
    data = tiff(PICTURE, "<").replace(struct.pack("<HHI", 279, 4, 1), struct.pack("<HHI", 279, 4, 2**32 - 1))
    refused(read_photo, save(data))


def test_opencv_prints_nothing_about_damage(save: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    # An unknown compression, about which libtiff warns on stderr.
    compression = struct.pack("<HHIHH", 259, 3, 1, 1, 0)
    data = tiff(PICTURE, "<").replace(compression, compression[:-4] + b"\x50\xc3\0\0")
    assert "damaged, or a kind of TIFF" in refused(read_photo, save(data))
    assert capfd.readouterr().err == ""


def test_libjpeg_prints_nothing_about_stray_bytes(save: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    data = LOSSY["jpg"]
    assert read_photo(save(data[:-2] + bytes(range(1, 200)) + data[-2:])).shape == PICTURE.shape
    assert capfd.readouterr().err == ""


def test_too_little_memory_is_reported(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(LOSSLESS["png"])
    no_memory = cv2.error("out of memory")
    no_memory.code = cv2.Error.StsNoMem
    for error in (no_memory, MemoryError()):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(cv2, "imdecode", fail)
        assert "memory" in refused(read_photo, path)
    monkeypatch.setattr(photo.np, "fromfile", fail)
    assert "memory" in refused(read_photo, path)


# --- finding them ---


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    (folder / "more").mkdir(parents=True)
    names = ["photo10.jpg", "photo2.JPG", "a.png", "b.tiff", "notes.txt", "._a.png", ".hidden.jpg"]
    for name in [*names, "more/c.webp", "IMG_1.heic"]:
        (folder / name).touch()
    (folder / "folder.jpg").mkdir()
    return folder


def found_in(arguments: list[str]) -> tuple[list[Path], dict[str, PhotoError]]:
    found = find_photos(arguments)
    return found.paths, found.failures


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_gives_its_photos_in_natural_order(album: Path) -> None:
    found, failures = found_in([str(album)])
    assert names(found, album) == ["a.png", "b.tiff", "IMG_1.heic", "photo2.JPG", "photo10.jpg"]
    assert failures == {}


def test_named_files_are_kept_whatever_their_name(album: Path) -> None:
    arguments = [str(album / name) for name in ("notes.txt", "missing.jpg", "._a.png")]
    found, failures = found_in(arguments)
    assert [str(path) for path in found] == arguments
    assert failures == {}


def test_what_a_folder_leaves_out_is_counted(album: Path) -> None:
    (album / "clip.MOV").touch()
    (album / "link").symlink_to(album / "more")
    left_out = {"folder": 2, "linked folder": 1, "hidden file": 2, ".txt": 1, ".mov": 1}
    assert find_photos([str(album)]).left_out == left_out


def test_recursive_finds_photos_in_subfolders_and_records_where(album: Path) -> None:
    found = find_photos([str(album)], recursive=True)
    assert "more/c.webp" in names(found.paths, album)
    assert found.below[album / "more" / "c.webp"] == Path("more")
    assert found.below[album / "a.png"] == Path()
    assert "folder" not in found.left_out


def test_a_circular_link_fails_only_its_own_photo(album: Path) -> None:
    (album / "loop.jpg").symlink_to("loop.jpg")
    found = find_photos([str(album)], recursive=True)
    assert (album / "loop.jpg") in found.paths
    assert len(found.paths) == 7
    assert found.failures == {}


def test_globs(album: Path) -> None:
    assert names(find_photos([f"{album}/*"]).paths, album) == [
        "a.png",
        "b.tiff",
        "IMG_1.heic",
        "photo2.JPG",
        "photo10.jpg",
    ]
    assert names(find_photos([f"{album}/photo?.*"]).paths, album) == ["photo2.JPG"]
    assert names(find_photos([f"{album}/**/*.[wp]*"]).paths, album) == ["a.png", "more/c.webp"]
    # A glob that names a suffix keeps its files, so that reading them reports why they can't be read.
    assert names(find_photos([f"{album}/*.txt"]).paths, album) == ["notes.txt"]


def test_a_file_whose_name_looks_like_a_glob(album: Path) -> None:
    (album / "x[1].jpg").touch()
    assert names(find_photos([str(album / "x[1].jpg")]).paths, album) == ["x[1].jpg"]


def test_duplicates_are_dropped_and_the_order_is_kept(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)
    found, _ = found_in(["photo2.JPG", "./photo2.JPG", str(album), "b*"])
    assert [path.name for path in found] == ["photo2.JPG", "a.png", "b.tiff", "IMG_1.heic", "photo10.jpg"]


def test_failures_do_not_stop_the_others(album: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = [str(empty), str(album / "a.png"), f"{album}/*.bmp", ""]
    found, failures = found_in(arguments)
    assert names(found, album) == ["a.png"]
    messages = [str(failure) for failure in failures.values()]
    assert all(isinstance(failure, PhotoError) for failure in failures.values())
    looked_for = " ".join(sorted(PHOTO_SUFFIXES))
    assert messages[0] == f"No photos in {empty}: looked for {looked_for}."
    assert messages[1].startswith(f"No photos match {album}/*.bmp")
    assert "empty name" in messages[2]


def test_a_broken_link_in_a_folder_is_found_and_then_refused(album: Path) -> None:
    link = album / "z.jpg"
    try:
        link.symlink_to(album / "gone.jpg")
    except OSError:
        pytest.skip("no links here")
    found, _ = found_in([str(album)])
    assert found[-1] == link
    assert "doesn't exist" in refused(read_photo, link)


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1)))
def test_any_names_can_be_sorted(texts: list[str]) -> None:
    paths = [Path(text) for text in texts]
    in_order = sorted(paths, key=natural_order)
    paths.reverse()
    assert sorted(paths, key=natural_order) == in_order
