"""TIFFs that OpenCV would silently misread: separate planes, white as 0, unsupported kinds."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from seg_edge.errors import PhotoError
from seg_edge.photo.read import load_photo

Y, X = np.mgrid[0:24, 0:40]
CHANNELS = np.dstack([255 - X * 3 - Y * 4, Y * 10, X * 6, 255 - X * 6]).astype(np.uint8)  # RGBA
BLACK_IS_0, RGB = 1, 2


def planar_tiff(image: np.ndarray, order: str, rows: int, predictor: int = 1, **tags: int) -> bytes:
    """A deflated TIFF of (height, width, channels) in separate planes, each in strips of `rows` rows."""
    height, width, channels = image.shape
    stored = image.astype(np.dtype(order + image.dtype.str[1:]))
    strips = []
    for plane in np.moveaxis(stored, 2, 0):
        for top in range(0, height, rows):
            strip = plane[top : top + rows]
            if predictor == 2:
                strip = np.diff(strip, axis=1, prepend=strip[:, :1] * 0).astype(strip.dtype)
            strips.append(zlib.compress(strip.tobytes()))
    starts = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    entries: list[tuple[int, int, list[int]]] = [
        (256, 3, [width]),
        (257, 3, [height]),
        (258, 3, [8 * image.itemsize] * channels),
        (259, 3, [8]),
        (262, 3, [tags.get("photometric", RGB if channels > 2 else BLACK_IS_0)]),
        (273, 4, starts),
        (274, 3, [tags.get("orientation", 1)]),
        (277, 3, [channels]),
        (278, 3, [rows]),
        (279, 3, [len(strip) for strip in strips]),
        (284, 3, [2]),
        (317, 3, [predictor]),
        *([(338, 3, [2])] if channels in (2, 4) else []),
    ]
    body = b"".join(strips)
    table_at = 8 + len(body) + len(body) % 2
    table, after = b"", b""
    for tag, kind, numbers in entries:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            at = table_at + 2 + 12 * len(entries) + 4 + len(after)
            packed, after = struct.pack(order + "I", at), after + packed + bytes(len(packed) % 4)
        table += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", table_at)
    return head + body.ljust(table_at - 8, b"\0") + struct.pack(order + "H", len(entries)) + table + bytes(4) + after


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("rows", [24, 7], ids=["one strip", "strips"])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize(("channels", "depth"), [(2, 8), (2, 16), (3, 8), (3, 16), (4, 8), (4, 16)])
def test_separate_planes_are_read_exactly(
    order: str, rows: int, predictor: int, channels: int, depth: int, tmp_path: Path
) -> None:
    image = CHANNELS[..., -channels:] if channels == 2 else CHANNELS[..., :channels]
    deep = image.astype(np.uint16) * 257 if depth == 16 else image
    path = tmp_path / "planes.tif"
    path.write_bytes(planar_tiff(deep, order, rows, predictor, orientation=6))
    photo = load_photo(path)
    colour = image[..., [0, 0, 0]] if channels == 2 else image[..., 2::-1]
    alpha = image[..., -1] if channels in (2, 4) else None
    # libtiff multiplies 8-bit colours by alpha; dividing restores them, except for rounding where alpha is small.
    visible = np.ones(image.shape[:2], bool) if alpha is None else alpha > 60
    within = 3 if (channels, depth) == (4, 8) else 0
    np.testing.assert_allclose(
        photo.colour[np.rot90(visible, -1)], np.rot90(colour, -1)[np.rot90(visible, -1)], atol=within
    )
    if alpha is None:
        assert photo.alpha is None
    else:
        np.testing.assert_array_equal(photo.alpha, np.rot90(alpha, -1))


def test_grey_planes_whose_white_is_0(tmp_path: Path) -> None:
    path = tmp_path / "planes.tif"
    path.write_bytes(planar_tiff(CHANNELS[..., [0, 3]], "<", 24, photometric=0))
    np.testing.assert_array_equal(load_photo(path).colour[..., 1], 255 - CHANNELS[..., 0])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("order", "<>")
def test_white_is_0(depth: int, order: str, tmp_path: Path) -> None:
    grey = CHANNELS[..., :1] if depth == 8 else CHANNELS[..., :1].astype(np.uint16) * 257
    path = tmp_path / "fax.tif"
    path.write_bytes(planar_tiff(grey, order, 24, photometric=0))
    np.testing.assert_array_equal(load_photo(path).frame[..., 1], 255 - CHANNELS[..., 0])


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [(259, 34933, "its compression isn't supported"), (262, 8, "its colours are neither RGB nor grey nor CMYK")],
    ids=["PNG inside", "Lab"],
)
def test_what_opencv_would_misread_is_refused(tag: int, value: int, message: str, tmp_path: Path) -> None:
    data = planar_tiff(CHANNELS[..., :3], "<", 24)
    entry = data.index(struct.pack("<HHI", tag, 3, 1))
    path = tmp_path / "odd.tif"
    path.write_bytes(data[: entry + 8] + struct.pack("<H", value) + data[entry + 10 :])
    with pytest.raises(PhotoError, match=message):
        load_photo(path)


def test_a_damaged_plane_is_refused(tmp_path: Path) -> None:
    data = bytearray(planar_tiff(CHANNELS[..., :3].astype(np.uint16) * 257, "<", 24))
    data[8:40] = bytes(32)
    path = tmp_path / "damaged.tif"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=r"damaged\.tif is damaged"):
        load_photo(path)
