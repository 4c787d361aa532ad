"""A written video plays: complete, with its rate and size, after a kill, and as far as a full disk allowed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.video_file import VideoFile
from seg_edge.sinks.video_formats import FORMATS, MJPEG_QUANTISER
from tests.tiny import noise

CUT_SHORT = [".mp4", ".mov", ".mkv", ".ts", ".avi"]


def grey(value: int, size_wh: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


def play(path: Path) -> list[np.ndarray]:
    film = cv2.VideoCapture(str(path))
    frames = []
    while (read := film.read())[0]:
        frames.append(read[1])
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
    assert opened.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5, rel=0.02) or suffix == ".ts"  # it counts a TS's fields


@pytest.mark.parametrize("size_wh", [(64, 48), (1280, 720)], ids=["BT.601", "BT.709"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_colours_come_out_as_they_went_in(tmp_path: Path, suffix: str, size_wh: tuple[int, int]) -> None:
    colours = np.array([[(0, 0, 255), (0, 255, 0)], [(255, 0, 0), (255, 255, 255)], [(0, 0, 0), (60, 120, 200)]])
    frame = cv2.resize(colours.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST)
    path = tmp_path / f"colours{suffix}"
    with VideoFile(path, size_wh, 30) as film:
        film.write(frame)
    with av.open(str(path)) as container:
        played = next(container.decode(video=0)).to_ndarray(format="bgr24")
    middles = cv2.resize(played, (2, 3), interpolation=cv2.INTER_AREA)  # of each field
    np.testing.assert_allclose(middles, colours, atol=6)


def test_motion_jpeg_has_the_quality_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with VideoFile(path, (64, 48), 30) as film:
        for number in range(8):
            film.write(noise((48, 64), number))
    content = path.read_bytes()
    table = content[content.index(b"\xff\xdb") + 5 :]  # after a marker, a length and an id
    assert table[1] == 16 * int(MJPEG_QUANTISER) // 8


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_odd_side_loses_its_last_row_or_column(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"odd{suffix}"
    with VideoFile(path, (65, 49), 30) as film:
        film.write(grey(100, (65, 49)))
    assert play(path)[0].shape == ((49, 65, 3) if suffix == ".gif" else (48, 64, 3))


def test_views_and_read_only_frames_are_accepted(tmp_path: Path) -> None:
    frame = noise((96, 128))[::2, ::-2]
    frame.flags.writeable = False
    path = tmp_path / "a.avi"
    with VideoFile(path, (64, 48), 30) as film:
        film.write(frame)
    assert np.abs(play(path)[0].astype(int) - frame).mean() < 60  # noise compresses badly; a wrong layout would give 85


@pytest.mark.parametrize("frame", [grey(1, (48, 64)), grey(1)[..., 0], grey(1).astype(np.float32)])
def test_frames_that_do_not_fit_are_refused(tmp_path: Path, frame: np.ndarray) -> None:
    """OpenCV would leave them out silently."""
    with VideoFile(tmp_path / "a.mkv", (64, 48), 30) as film:
        film.write(grey(1))
        with pytest.raises(TypeError, match=r"frame"):
            film.write(frame)


@pytest.mark.parametrize("name", ["clip", "clip.txt", "clip.h264"])
def test_an_unknown_suffix_is_refused_with_a_list_of_the_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: .*\.mp4, \.m4v"):
        VideoFile(tmp_path / name, (64, 48), 30)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size_wh", "fps"), [((1, 48), 30), ((64, 48), 0), ((64, 48), float("nan"))])
def test_an_invalid_size_or_rate_is_refused(tmp_path: Path, size_wh: tuple[int, int], fps: float) -> None:
    with pytest.raises(UsageError, match="can't write a video of"):
        VideoFile(tmp_path / "a.mp4", size_wh, fps)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_missing_folder_is_one_sentence(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no" / f"a{suffix}"
    with pytest.raises(OutputError, match=r"no/a\.\w+: the video can't be written"):
        VideoFile(path, (64, 48), 30)
    assert capfd.readouterr().err == ""


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
film = VideoFile(Path(sys.argv[1]), (640, 480), 30, live=True)
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
    # Two seconds' worth at most; TS is written at once, and the codec itself holds nothing back.
    assert played >= (count if suffix == ".ts" else count - 60)


def write_noise(film: VideoFile) -> None:
    for number in range(40):
        film.write(noise((480, 640), number))


def write_to_the_end(film: VideoFile) -> None:
    write_noise(film)
    film.close()  # the encoder looks ahead, so the end may be the first to reach the disk


def fill_up(path: Path) -> str:
    path.symlink_to("/dev/full")
    film = VideoFile(path, (640, 480), 30)
    with pytest.raises(OutputError) as refusal:
        write_to_the_end(film)
    film.close()
    return str(refusal.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".avi"])
def test_a_full_disk_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert "No space left" in fill_up(path)


@pytest.mark.parametrize(("name", "frames"), [("a.mp4", 5), ("a.gif", 3)])
def test_times_that_do_not_rise_on_the_file_s_clock(tmp_path: Path, name: str, frames: int) -> None:
    with VideoFile(tmp_path / name, (64, 48), 30) as film:
        for at_s in (0, 0.1, 0.1, 0.104, 0.2):
            film.write(np.zeros((48, 64, 3), np.uint8), at_s)
    with av.open(str(film.path)) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    assert len(shown) == frames
    assert shown == sorted(set(shown))
