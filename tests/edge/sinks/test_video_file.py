"""What is written plays: whole, with its rate and size, after a kill, and as far as a full disk let it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.video_file import FORMATS, VideoFile
from tests.tiny import noise

# Without .webm: its encoder would take the test's time.
CUT_SHORT = [suffix for suffix, form in FORMATS.items() if form.cut_short and suffix != ".webm"]


def grey(value: int, size_wh: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


def play(path: Path) -> list[np.ndarray]:
    film = cv2.VideoCapture(str(path))
    frames = []
    while (taken := film.read())[0]:
        frames.append(taken[1])
    film.release()
    return frames


@pytest.mark.parametrize("suffix", [*FORMATS, ".MKV"])
def test_every_format_plays_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a: 100 %d, -x{suffix}"
    values = [20, 60, 100, 140, 180, 220, 30, 90]
    with VideoFile(path, (64, 48), 12.5) as film:
        for value in values:
            film.write(grey(value))
        assert film.frames == len(values)
    film.close()
    assert [path.name] == [file.name for file in tmp_path.iterdir()]
    frames = play(path)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * len(values)
    assert [frame.mean() for frame in frames] == pytest.approx(values, abs=6)
    opened = cv2.VideoCapture(str(path))
    assert opened.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5) or suffix == ".ts"  # OpenCV takes a TS's rate for fields


@pytest.mark.parametrize("suffix", FORMATS)
def test_colours_stay_in_order(tmp_path: Path, suffix: str) -> None:
    frame = noise((48, 64)) // 16
    frame[..., 2] += 200
    path = tmp_path / f"red{suffix}"
    with VideoFile(path, (64, 48), 30) as film:
        for _ in range(8):
            film.write(frame)
    blue, green, red = play(path)[0].reshape(-1, 3).mean(axis=0)
    assert red > 170
    assert max(blue, green) < 40


@pytest.mark.parametrize("suffix", FORMATS)
def test_of_an_odd_side_the_last_row_or_column_is_left_out(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"odd{suffix}"
    with VideoFile(path, (65, 49), 30) as film:
        film.write(grey(100, (65, 49)))
    assert play(path)[0].shape == (48, 64, 3)


def test_views_and_read_only_frames_are_taken(tmp_path: Path) -> None:
    frame = noise((96, 128))[::2, ::-2]
    frame.flags.writeable = False
    path = tmp_path / "a.avi"
    with VideoFile(path, (64, 48), 30) as film:
        film.write(frame)
    assert np.abs(play(path)[0].astype(int) - frame).mean() < 60  # noise compresses badly; another layout is at 85


@pytest.mark.parametrize("frame", [grey(1, (48, 64)), grey(1)[..., 0], grey(1).astype(np.float32)])
def test_frames_that_do_not_fit_are_refused(tmp_path: Path, frame: np.ndarray) -> None:
    """OpenCV would leave them out without a word."""
    with VideoFile(tmp_path / "a.mkv", (64, 48), 30) as film:
        film.write(grey(1))
        with pytest.raises(TypeError, match=r"frame"):
            film.write(frame)


@pytest.mark.parametrize("name", ["clip", "clip.txt", "clip.h264"])
def test_another_suffix_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: .*\.mp4, \.mkv"):
        VideoFile(tmp_path / name, (64, 48), 30)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size_wh", "fps"), [((1, 48), 30), ((64, 48), 0), ((64, 48), float("nan"))])
def test_what_is_no_video_is_refused(tmp_path: Path, size_wh: tuple[int, int], fps: float) -> None:
    with pytest.raises(UsageError, match="is no video"):
        VideoFile(tmp_path / "a.mp4", size_wh, fps)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_place_that_is_not_there_is_one_sentence(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "no" / f"a{suffix}"
    with pytest.raises(OutputError, match=r"no/a\.\w+: the video can't be written"):
        VideoFile(path, (64, 48), 30)
    assert capfd.readouterr().err == ""
    assert not {"record", "video file"} & {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_is_printed(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    with VideoFile(tmp_path / f"a{suffix}", (64, 48), 30) as film:
        film.write(grey(1))
    assert capfd.readouterr().err == ""


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from seg_edge.sinks.video_file import VideoFile
film = VideoFile(Path(sys.argv[1]), (640, 480), 30)
rng = np.random.default_rng(0)
scene = rng.integers(60, 200, (60, 80, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
for number in range(int(sys.argv[2])):
    film.write(np.roll(scene, 3 * number, axis=1) + rng.integers(0, 12, scene.shape, np.uint8))
time.sleep(0.5)
print("written", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("suffix", CUT_SHORT)
def test_a_file_plays_nearly_to_the_end_after_a_kill(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"killed{suffix}"
    count = 150
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    played = len(play(path))
    # Two seconds' worth at most; TS is carried to the disk at once, the codec itself keeps none back.
    assert played >= (count if suffix == ".ts" else count - 60)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_disk_that_fills_up_is_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    usage = namedtuple("usage", "total used free")
    free = [1 << 40]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 41, 0, free[0]))
    monkeypatch.setattr("seg_edge.sinks.video_file.CHECK_EVERY_S", 0)
    film = VideoFile(path, (64, 48), 30)
    for _ in range(20):
        film.write(grey(50))
    free[0] = 1 << 20
    with pytest.raises(OutputError, match=rf"a\{suffix}: the video stops after 21 frames .* free"):
        film.write(grey(50))
    film.close()
    assert len(play(path)) == 21


def write_noise(film: VideoFile) -> None:
    for number in range(200):
        film.write(noise((480, 640), number))


def fill_up(path: Path) -> str:
    path.symlink_to("/dev/full")
    film = VideoFile(path, (640, 480), 30)
    with pytest.raises(OutputError) as refusal:
        write_noise(film)
    film.close()
    return str(refusal.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    assert "No space left" in fill_up(path)
    assert not {"record", "video file"} & {thread.name for thread in threading.enumerate()}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="OpenCV before 5 doesn't tell that a write failed")
def test_a_full_disk_is_noticed_where_opencv_tells(tmp_path: Path) -> None:
    assert "refused it or is full" in fill_up(tmp_path / "a.mkv")


def test_an_index_that_could_not_be_written_is_told_at_the_end(tmp_path: Path) -> None:
    film = VideoFile(tmp_path / "a.mp4", (64, 48), 30)
    film.write(grey(1))
    film.path.unlink()
    film.path.write_bytes(b"half")
    with pytest.raises(OutputError, match="doesn't play"):
        film.close()
    film.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
def test_a_child_that_was_forked_meanwhile_does_not_hold_it_up(tmp_path: Path) -> None:
    film = VideoFile(tmp_path / "a.ts", (64, 48), 30)
    # As a fork leaves it: both ends of the pipe are open in the child.
    ends = [int(link.name) for link in Path("/proc/self/fd").iterdir() if "pipe.ts" in os.path.realpath(link)]
    assert len(ends) == 2
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=ends)
    try:
        film.write(noise((48, 64)))
        closing = threading.Thread(target=film.close, daemon=True)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()
    finally:
        child.kill()
        child.wait()
    assert len(play(tmp_path / "a.ts")) == 1
