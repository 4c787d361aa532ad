"""The studies run and report what they promise. Figures aren't judged here."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies.live import growth_mb_per_hour, read_number, write_number
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.synthetic import SyntheticSource

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    source = SyntheticSource(SourceRequest("synthetic", (256, 256)))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
    for index in range(30):
        writer.write(source.frame(index))
    writer.release()
    return path


def run(*arguments: object) -> str:
    command = [sys.executable, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("via", ["http", "file"])
def test_a_clip_played_as_a_live_camera(clip: Path, via: str) -> None:
    document = json.loads(run("benchmarks/studies/live.py", clip, "--via", via, "--minutes", 0.05))
    assert document["stats"]["frames"]["published"] > 0
    assert document["watched_frames"] > 0
    assert document["memory_mb"]["start"] > 20
    if via == "http":
        assert 0 < document["end_to_end_ms"]["p50"] <= document["end_to_end_ms"]["p95"]
        assert document["misread"] <= 1, "the placeholder before the first frame has no number"


def test_steadiness_prints_one_line_per_setting(clip: Path) -> None:
    out = run("benchmarks/studies/steadiness.py", clip)
    assert "clip.avi" in out
    assert "Dice" in out
    assert "0.5" in out


@pytest.mark.parametrize("number", [0, 1, 2047, 4095])
def test_the_number_in_a_frame_survives_jpeg(number: int) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    write_number(frame, number)
    assert read_number(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()) == number
    frame[:30] = 128
    assert read_number(cv2.imencode(".jpg", frame)[1].tobytes()) is None
    assert read_number(b"no picture") is None


def test_memory_growth_is_the_slope_after_the_first_minute() -> None:
    samples = [(float(second), 50.0 if second < 60 else 80 + second / 360) for second in range(0, 600, 5)]
    assert growth_mb_per_hour(samples) == pytest.approx(10)
    assert growth_mb_per_hour(samples[:10]) is None
