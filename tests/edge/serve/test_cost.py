"""No photo costs the server more than `N` times an honest one of its size, as docs/serve.md promises."""

import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np
import pytest

from seg_edge.segmenter import Segmenter
from seg_edge.serve.answer import Output, answer_photo
from seg_edge.serve.problem import Problem
from tests.tiny import GRACE_HOPPER

N = 8
WIDTH, HEIGHT = 1024, 768
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
FLAT = np.full_like(NOISE, 120)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def encode(suffix: str, frame: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, frame, options)[1].tobytes()


def photo() -> np.ndarray:
    portrait = cv2.resize(cv2.imread(str(GRACE_HOPPER)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return cv2.add(portrait, NOISE // 32)


def scans(frame: np.ndarray, count: int) -> bytes:
    """A progressive JPEG that refines its last coefficients over and over."""
    whole = encode(".jpg", frame, *PROGRESSIVE)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + whole[-2:]


def sized(content: bytes, size_wh: tuple[int, int]) -> bytes:
    """A JPEG whose header gives another size."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", *size_wh[::-1]) + content[at + 4 :]


def tables(content: bytes, count: int) -> bytes:
    """A JPEG with segments full of quantisation tables before the first of its own."""
    segment = b"\xff\xdb" + struct.pack(">H", 2 + 65 * 1000) + (b"\0" + bytes([1]) * 64) * 1000
    return content[:2] + segment * count + content[2:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    size_wh: tuple[int, int], depth: int, rows: bytes, interlaced: int = 0, text: int = 0, profile: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", *size_wh, depth, 6, 0, 0, interlaced)
    texts = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20), 9)) * text
    texts += chunk(b"iCCP", b"a\0\0" + zlib.compress(profile, 9)) if profile else b""
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + texts + body + chunk(b"IEND", b"")


def rows(depth: int, count: int = HEIGHT) -> bytes:
    return b"".join(b"\4" + NOISE[y % HEIGHT].tobytes()[: WIDTH * depth // 8] * 4 for y in range(count))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "PNG that inflates past its picture": lambda: png((10, 10), 8, bytes(200_000_000)),
    "interlaced PNG that inflates past its picture": lambda: png((10, 10), 8, bytes(200_000_000), 1),
    "PNG of inflating texts": lambda: png((64, 64), 8, bytes(64 * 257), text=90),
    "PNG of 16 bits with alpha": lambda: png((WIDTH, HEIGHT), 16, rows(16)),
    "interlaced PNG of 16 bits that inflates past its picture": lambda: png((10, 10), 16, bytes(200_000_000), 1),
    "PNG with a profile that inflates": lambda: png((10, 10), 8, bytes(410), profile=bytes(50_000_000)),
    "PNG of one colour": lambda: encode(".png", FLAT),
    "PNG of noise": lambda: encode(".png", NOISE),
    "JPEG of many scans": lambda: scans(photo(), 90),
    "JPEG of many empty scans": lambda: scans(FLAT, 90),
    "JPEG of more pixels than it has data": lambda: sized(encode(".jpg", FLAT[:64, :64]), (WIDTH, HEIGHT)),
    "JPEG of many tables": lambda: tables(encode(".jpg", FLAT), 200),
    "JPEG of noise": lambda: encode(".jpg", NOISE, cv2.IMWRITE_JPEG_QUALITY, 100, *PROGRESSIVE),
    "WebP of noise": lambda: encode(".webp", NOISE, cv2.IMWRITE_WEBP_QUALITY, 100),
    "lossless WebP of noise": lambda: encode(".webp", NOISE, cv2.IMWRITE_WEBP_QUALITY, 101),
    "lossless WebP of one colour": lambda: encode(".webp", FLAT, cv2.IMWRITE_WEBP_QUALITY, 101),
}


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter("person", 1)


def cost(segmenter: Segmenter, content: bytes) -> float:
    """Seconds of this thread's processor time for a photo, the least of three."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        with suppress(Problem):  # a refusal counts too
            answer_photo(segmenter, bytearray(content), Output.labels, 16_000_000)
        times.append(time.thread_time() - began)
    return min(times)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_photo_costs_much_more_than_an_honest_one_of_its_size(segmenter: Segmenter, name: str) -> None:
    content = HOSTILE[name]()
    assert len(content) < 16_000_000
    honest = encode(".jpg", photo())
    as_large = cost(segmenter, honest) * max(1, len(content) / len(honest))  # in pixels or in bytes
    assert cost(segmenter, content) < N * as_large


@pytest.mark.parametrize("size_wh", [(100, 1), (50, 800), (3072, 256)])
def test_a_long_photo_takes_few_inferences(
    segmenter: Segmenter, size_wh: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, run = [], segmenter.backend.run
    monkeypatch.setattr(segmenter.backend, "run", lambda tensor: calls.append(tensor) or run(tensor))
    answer_photo(segmenter, bytearray(encode(".jpg", cv2.resize(photo(), size_wh))), Output.labels, 16_000_000)
    assert 1 <= len(calls) < N
