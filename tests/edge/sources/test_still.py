"""Photos as a source: once or forever, in order, at their pace."""

import itertools
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.errors import SourceError
from seg_edge.sources import still
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.still import Pace, StillSource, fit_inside
from tests.stand_in_cameras import numbered, read_number

INPUT_WH = (32, 24)


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir()
    for number, name in enumerate(names):
        cv2.imwrite(str(path / name), numbered(number))
    return path


def opened(
    name: object, size_wh: tuple[int, int] | None = None, fps: float | None = None, live: bool = True
) -> StillSource:
    return StillSource(SourceRequest(str(name), INPUT_WH, size_wh, fps, live))


class Clock:
    """Time that passes only during sleeps, which always last slightly too long."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds + 0.0007


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(still, "time", clock)
    return clock


def test_a_photo_is_repeated_forever(tmp_path: Path) -> None:
    photo = folder_of(tmp_path / "photos", "one.png") / "one.png"
    source = opened(photo, fps=200)
    assert source.info.description == f"{photo}, 64x48 at 200 a second"
    source_frames = list(itertools.islice(source, 10))
    assert all(np.array_equal(source_frame.frame, numbered(0)) for source_frame in source_frames)
    assert source_frames[-1].captured - source_frames[0].captured >= 9 / 200 - 1e-6


def test_the_default_rates(tmp_path: Path, clock: Clock) -> None:
    folder = folder_of(tmp_path / "photos", "one.png", "two.png", "three.png")
    assert (opened(folder / "one.png").info.fps, opened(folder).info.fps) == (10, 1)
    captured = [source_frame.captured for source_frame in opened(folder)]
    np.testing.assert_allclose(np.diff(captured), 1)


def test_a_folders_photos_come_once_in_natural_order(tmp_path: Path) -> None:
    source = opened(folder_of(tmp_path / "photos", "photo1.png", "photo10.png", "photo2.png"), live=False)
    assert source.info.description == f"{tmp_path}/photos, 3 photos"
    assert [read_number(source_frame.frame) for source_frame in source] == [0, 2, 1]


def test_damaged_photos_are_skipped_and_reported_at_the_end(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", "a.png", "b.png", "c.png", "d.png")
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(b"\x89PNG not really")
    shown = []
    with pytest.raises(SourceError, match=r"a\.png .*1 more"):
        shown.extend(read_number(source_frame.frame) for source_frame in opened(folder, live=False))
    # The frames read before the error, one by one.
    frames = iter(opened(folder, live=False))
    assert [read_number(next(frames).frame) for _ in range(2)] == [1, 3]


def test_a_folder_or_file_without_a_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="No photos in"):
        opened(tmp_path / "empty")
    with pytest.raises(SourceError, match="doesn't exist"):
        opened(tmp_path / "gone.jpg")


def test_a_photo_is_scaled_down_to_fit(tmp_path: Path) -> None:
    photo = folder_of(tmp_path / "photos", "one.png") / "one.png"
    source = opened(photo, size_wh=(32, 32))
    assert source.info.size_wh == (32, 24)
    assert next(iter(source)).frame.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("size_wh", "shape_hw"), [(None, (100, 400)), ((400, 100), (100, 400)), ((200, 200), (50, 200)), ((1, 1), (1, 1))]
)
def test_fitting_keeps_the_proportions(size_wh: tuple[int, int] | None, shape_hw: tuple[int, int]) -> None:
    assert fit_inside(np.zeros((100, 400, 3), np.uint8), size_wh).shape[:2] == shape_hw


def test_ten_minutes_do_not_drift(clock: Clock) -> None:
    pace = Pace(30)
    began = pace.wait()
    for _ in range(30 * 600):
        clock.now += 0.012  # the time that the reader spends on a frame
        due = pace.wait()
        assert due <= clock.now
    assert due - began == pytest.approx(600, abs=1e-6)
    assert clock.now - due < 0.01


def test_a_delay_is_not_made_up_for_in_a_burst(clock: Clock) -> None:
    pace = Pace(10)
    pace.wait()
    clock.now += 3
    late = pace.wait()
    assert late == pytest.approx(clock.now)
    times = [late, *(pace.wait() for _ in range(5))]
    np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-6)


def test_the_pace_is_kept_on_a_real_clock() -> None:
    pace, began = Pace(100), time.monotonic()
    for _ in range(11):
        due = pace.wait()
    assert time.monotonic() >= due >= began + 0.1
