"""The decoder gets no more of a PNG than its picture, plain or interlaced; an ordinary PNG is read unchanged."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from seg_edge.errors import PhotoError
from seg_edge.photo.png import essential_png
from seg_edge.photo.read import decode_photo

# W3C PNG, 8.2: which pass holds each pixel of an 8x8 block.
ADAM7 = np.array(
    [
        [1, 6, 4, 6, 2, 6, 4, 6],
        [7] * 8,
        [5, 6] * 4,
        [7] * 8,
        [3, 6, 4, 6, 3, 6, 4, 6],
        [7] * 8,
        [5, 6] * 4,
        [7] * 8,
    ]
)


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(size_wh: tuple[int, int], depth: int, colour: int, interlaced: int, data: bytes, *chunks: bytes) -> np.ndarray:
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *size_wh, depth, colour, 0, 0, interlaced))
    end = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return np.frombuffer(b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(chunks) + end, np.uint8)


def raw_bytes(size_wh: tuple[int, int], bits: int, interlaced: int) -> int:
    width, height = size_wh
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    passes = np.tile(ADAM7, (height // 8 + 1, width // 8 + 1))[:height, :width]
    rows = [(row == number).sum() for number in range(1, 8) for row in passes]
    return sum(1 + (int(columns) * bits + 7) // 8 for columns in rows if columns)


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("size_wh", [(1, 1), (10, 10), (3, 17), (40, 5), (301, 200)])
@pytest.mark.parametrize(("depth", "colour", "bits"), [(1, 0, 1), (8, 0, 8), (8, 2, 24), (16, 6, 64)])
def test_a_picture_s_own_data_are_accepted_and_more_are_refused(
    size_wh: tuple[int, int], depth: int, colour: int, bits: int, interlaced: int
) -> None:
    needed = raw_bytes(size_wh, bits, interlaced)
    black = decode_photo(png(size_wh, depth, colour, interlaced, zlib.compress(bytes(needed))), "a.png")
    assert black.shape == (size_wh[1], size_wh[0], 3)
    with pytest.raises(PhotoError, match="inflate to more"):
        decode_photo(png(size_wh, depth, colour, interlaced, zlib.compress(bytes(needed + 100_000))), "a.png")


def test_a_bomb_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the bomb was decoded"))
    deflate = zlib.compressobj(9)
    data = b"".join(deflate.compress(bytes(1 << 24)) for _ in range(16)) + deflate.flush()
    inflated = 0

    class Counting:
        """zlib's decompressor, counting the bytes it inflates."""

        def __init__(self) -> None:
            self._real = real()

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def decompress(self, given: bytes, most: int) -> bytes:
            nonlocal inflated
            out = self._real.decompress(given, most)
            inflated += len(out)
            return out

    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    for interlaced in (0, 1):
        inflated = 0
        with pytest.raises(PhotoError, match="inflate to more"):
            decode_photo(png((10, 10), 8, 0, interlaced, data), "bomb.png")
        assert inflated < 1_000_000


def test_texts_and_profiles_never_reach_the_decoder(capfd: pytest.CaptureFixture[str]) -> None:
    # 60 texts that inflate to 8 MB each, libpng's limit for one, and a profile that it warns about.
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8_000_000)))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))
    data = png((1, 1), 8, 0, 0, zlib.compress(b"\0\x80"), profile, *[text] * 60)
    assert essential_png(data).size < 100
    assert decode_photo(data, "a.png").tolist() == [[[128, 128, 128]]]
    assert capfd.readouterr().err == ""


def test_transparency_is_kept() -> None:
    palette, transparent = chunk(b"PLTE", bytes([9, 9, 9, 0, 0, 255])), chunk(b"tRNS", b"\0\xff")
    data = png((2, 1), 8, 3, 0, zlib.compress(b"\0\0\1"), palette, transparent)
    assert decode_photo(data, "a.png").tolist() == [[[255, 255, 255], [255, 0, 0]]]
