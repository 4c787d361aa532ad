"""Flicker on a still clip and on one at the model's threshold."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.flicker import measure_flicker
from seg_edge.apps.bench.candidates import candidate
from seg_edge.errors import SourceError
from tests.tiny import TWO_UINT8


def write(path: Path, levels: list[int]) -> Path:
    """A lossless clip of grey frames; the tiny model labels bright ones as foreground."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 30, (64, 64))
    for level in levels:
        writer.write(np.full((64, 64, 3), level, np.uint8))
    writer.release()
    return path


def test_a_still_clip_does_not_flicker_and_one_at_the_threshold_does(tmp_path: Path) -> None:
    model = candidate(TWO_UINT8, "m")
    still = measure_flicker("photos", write(tmp_path / "still.avi", [40] * 6), [model])
    assert still == {"data": "photos", "clip": "still", "frames": 6, "models": {"m": 0.0}}
    # The meter ignores a change of one level as noise, but across its threshold the model changes class.
    scores = [
        measure_flicker("photos", write(tmp_path / "clip.avi", [level, level + 1] * 3), [model])["models"]["m"]
        for level in range(120, 136)
    ]
    assert max(scores) == 1.0
    assert sorted(scores)[len(scores) // 2] == 0.0


def test_a_file_that_is_not_a_video_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"clip\.avi"):
        measure_flicker("photos", tmp_path / "clip.avi", [candidate(TWO_UINT8)])
