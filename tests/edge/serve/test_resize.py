"""The browser's resizing is OpenCV's, byte for byte: `edge/web/src`, run by Node, against `seg_edge.preprocess`."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seg_edge.preprocess import resize_to_input
from tests.tiny import noise

WEB = Path(__file__).resolve().parents[3] / "edge" / "web"
# Each message on standard input: the operation, width, height, wanted width and height, and the numbers.
PROGRAM = """
import { resizeToInput } from "./src/preprocess.ts";
import { bilinear } from "./src/resize.ts";
let waiting = Buffer.alloc(0);
process.stdin.on("data", (chunk) => {
  waiting = Buffer.concat([waiting, chunk]);
  while (waiting.length >= 20) {
    const [channels, width, height, toWidth, toHeight] = [0, 4, 8, 12, 16].map((at) => waiting.readUInt32LE(at));
    const end = 20 + width * height * channels;
    if (waiting.length < end) return;
    const picture = { data: new Uint8Array(waiting.subarray(20, end)), width, height, channels };
    waiting = waiting.subarray(end);
    const { data } = (channels === 1 ? bilinear : resizeToInput)(picture, toWidth, toHeight);
    process.stdout.write(data);
  }
});
"""
Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


@pytest.fixture(scope="module")
def in_javascript(tmp_path_factory: pytest.TempPathFactory):
    """Resizes as the page does: RGBA to a model's input, one channel bilinearly."""
    esbuild = WEB / "node_modules" / ".bin" / "esbuild"
    if not (esbuild.exists() and (WEB / "kernels" / "kernels.wasm").exists() and shutil.which("node")):
        pytest.skip("the page's tools aren't installed (make web)")
    program = tmp_path_factory.mktemp("resize") / "resize.cjs"
    command = [esbuild, "--bundle", "--platform=node", "--target=node20", "--format=cjs", "--loader:.wasm=binary"]
    command += [f"--outfile={program}", "--log-level=error"]
    subprocess.run([*command, f"--sourcefile={WEB}/resize.ts"], input=PROGRAM.encode(), check=True, cwd=WEB)
    process = subprocess.Popen(["node", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout

    def resize(picture: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
        height, width = picture.shape[:2]
        channels = 1 if picture.ndim == 2 else 4
        process.stdin.write(struct.pack("<5I", channels, width, height, *size_wh) + picture.tobytes())
        process.stdin.flush()
        shape = (size_wh[1], size_wh[0], *picture.shape[2:])
        return np.frombuffer(process.stdout.read(int(np.prod(shape))), np.uint8).reshape(shape)

    yield resize
    process.stdin.close()
    process.wait(10)


def opaque(frame: np.ndarray) -> np.ndarray:
    """As browsers deliver pictures: with a fourth channel."""
    return np.dstack([frame, np.full_like(frame[..., :1], 255)])


def to_input(frame: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Python's result for the same RGB."""
    return resize_to_input(np.ascontiguousarray(frame[..., ::-1]), size_wh)


PHOTOS = [(640, 480), (1280, 720), (1600, 1200), (512, 600), (500, 333), (1537, 1025), (512, 512), (768, 768)]
ODD = [(256, 256), (255, 256), (100, 1000), (2000, 100), (1, 1), (3, 2), (1023, 1)]


@pytest.mark.parametrize("size_wh", PHOTOS + ODD)
def test_page_and_python_resize_photos_equally(in_javascript: Resize, size_wh: tuple[int, int]) -> None:
    frame = noise(size_wh[::-1])
    assert np.array_equal(in_javascript(opaque(frame), (256, 256))[..., :3], to_input(frame, (256, 256)))


sides = st.integers(1, 400)


@given(width=sides, height=sides, target=st.tuples(st.integers(1, 96), st.integers(1, 96)), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_page_and_python_resize_every_size_equally(
    in_javascript: Resize, width: int, height: int, target: tuple[int, int], seed: int
) -> None:
    frame = noise((height, width), seed)
    assert np.array_equal(in_javascript(opaque(frame), target)[..., :3], to_input(frame, target))


@given(width=st.integers(1, 140), height=st.integers(1, 140), target=st.tuples(sides, sides), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_page_and_python_upsample_scores_equally(
    in_javascript: Resize, width: int, height: int, target: tuple[int, int], seed: int
) -> None:
    scores = noise((height, width), seed)[..., 0].copy()
    assert np.array_equal(in_javascript(scores, target), cv2.resize(scores, target, interpolation=cv2.INTER_LINEAR))
