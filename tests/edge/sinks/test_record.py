"""Recording: in real time, whatever interrupts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.record import Record
from seg_edge.sinks.segments import RecordingSegments
from seg_edge.sinks.sink import OutputFrame, Sink
from seg_edge.sinks.video_file import VideoFile
from tests.edge.sinks.output_frames import make_output_frame


def item(at_s: float, value: int = 100, shape_hw: tuple[int, int] = (48, 64)) -> OutputFrame:
    return replace(make_output_frame(1, shape_hw, value=value), captured=5000 + at_s)


def record(sink: Record, *items: OutputFrame) -> None:
    for frame in items:
        sink.publish(frame)
        while not sink._queue.empty():
            threading.Event().wait(0.001)
    sink.close()


def test_an_old_pyav_is_refused_before_there_is_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", SimpleNamespace(__version__="10.0.0"))
    with pytest.raises(OutputError, match="need PyAV 14 or newer, this is 10.0.0"):
        Record(tmp_path / "film.mp4", 10)
    assert list(tmp_path.iterdir()) == []


def play(path: Path) -> list[np.ndarray]:
    film = cv2.VideoCapture(str(path))
    frames = []
    while (read := film.read())[0]:
        frames.append(read[1])
    return frames


def shades(path: Path) -> list[int]:
    """Each frame's grey, to the nearest ten."""
    return [round(frame.mean() / 10) * 10 for frame in play(path)]


def test_it_is_a_sink(tmp_path: Path) -> None:
    sink: Sink = Record(tmp_path / "clip.mkv", 10)
    assert sink.name == f"--record {tmp_path / 'clip.mkv'}"
    sink.idle("the camera is lost")
    sink.close()
    sink.close()
    assert not {"record", "video file"} & {thread.name for thread in threading.enumerate()}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".avi", ".gif"])
def test_pictures_at_the_files_rate_are_all_recorded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"clip{suffix}"
    sink = Record(path, 10)
    values = [20, 60, 100, 140, 180, 220, 30, 90, 150, 200]
    record(sink, *(item(number / 10, value) for number, value in enumerate(values)))
    assert shades(path) == values
    assert (sink.frames, sink.dropped) == (10, 0)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_slow_machine_repeats_pictures_and_keeps_the_time(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    record(Record(path, 10), item(0, 20), item(0.3, 100), item(0.5, 200), item(0.6, 50))
    assert shades(path) == [20, 20, 20, 100, 100, 200, 50]


def test_a_fast_camera_leaves_pictures_out(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    sink = Record(path, 10)
    record(sink, *(item(number / 40) for number in range(80)))
    assert len(play(path)) == pytest.approx(20, abs=2)
    assert sink.dropped == 0


def test_a_gap_of_a_lost_camera_is_shortened_to_ten_seconds(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    record(Record(path, 5), item(0, 20), item(3600, 200), item(3600.2, 100), item(3600.4, 50))
    assert shades(path) == [20] * 50 + [200, 100, 50]


def test_pictures_of_another_size_are_resized(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    record(Record(path, 10), item(0, 20), item(0.1, 100, (96, 100)), item(0.3, 200, (20, 30)))
    assert shades(path) == [20, 100, 100, 200]
    assert {frame.shape for frame in play(path)} == {(48, 64, 3)}


class Stuck(VideoFile):
    """A disk that writes nothing until its gate opens."""

    gate = threading.Event()

    def write(self, frame: np.ndarray, at_s: float | None = None) -> None:
        assert self.gate.wait(60)
        super().write(frame, at_s)


def test_a_slow_disk_costs_pictures_but_neither_the_camera_nor_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seg_edge.sinks.record.VideoFile", Stuck)
    path = tmp_path / "clip.avi"
    sink = Record(path, 10)
    for number in range(50):
        sink.publish(item(number / 10, 50))
    assert sink.dropped >= 40
    Stuck.gate.set()
    while not sink._queue.empty():
        threading.Event().wait(0.001)
    sink.publish(item(5, 200))
    sink.close()
    assert shades(path) == [50] * 50 + [200]


def publish_slowly(sink: Record) -> None:
    for number in range(1000):
        sink.publish(item(number / 10))
        threading.Event().wait(0.01)


def test_a_failure_on_the_thread_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(film: VideoFile, frame: np.ndarray, at_s: float) -> None:
        raise OutputError(f"{film.path}: the disk is full.")

    monkeypatch.setattr(VideoFile, "write", full)
    sink = Record(tmp_path / "clip.avi", 10)
    with pytest.raises(OutputError, match="clip.avi: the disk is full"):
        publish_slowly(sink)
    for number in range(30):
        sink.publish(item(number))
    sink.close()
    assert not {"record", "video file"} & {thread.name for thread in threading.enumerate()}


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(b"before")
    with pytest.raises(OutputError, match=r"clip\.avi: exists; .* --force"):
        Record(path, 10)
    assert path.read_bytes() == b"before"
    record(Record(path, 10, force=True), item(0))
    assert len(play(path)) == 1


def test_a_path_that_can_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "clip.avi", Path("/proc/none/clip.avi")):
        with pytest.raises(OutputError, match=r"clip\.avi: can't be written \("):
            Record(path, 10)
    (tmp_path / "clip.avi").mkdir()
    with pytest.raises(OutputError, match=r"exists"):
        Record(tmp_path / "clip.avi", 10, force=True)


@pytest.mark.parametrize(
    ("name", "fps", "reason"),
    [("clip.txt", 30, "ends with one of"), ("clip.mkv", 0, "--fps"), ("clip.mkv", float("nan"), "--fps")],
)
def test_an_invalid_suffix_or_rate_is_refused_at_once(tmp_path: Path, name: str, fps: float, reason: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: .*{reason}"):
        Record(tmp_path / name, fps)
    assert not {"record", "video file"} & {thread.name for thread in threading.enumerate()}


CAMERA = """
import sys, time
from dataclasses import replace
from pathlib import Path
from seg_edge.sinks.record import Record
from tests.edge.sinks.output_frames import make_output_frame
sink = Record(Path(sys.argv[1]), 30)
for number in range(90):
    sink.publish(replace(make_output_frame(number, (240, 320)), captured=number / 30))
    time.sleep(0.02)
print(sink.dropped, flush=True)
time.sleep(600)
"""


def test_an_mp4_of_a_killed_program_plays(tmp_path: Path) -> None:
    camera = subprocess.Popen(
        [sys.executable, "-c", CAMERA, str(tmp_path / "clip.mp4")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert camera.stdout is not None
    dropped = int(camera.stdout.readline())
    camera.send_signal(signal.SIGKILL)
    camera.communicate()
    assert dropped < 60
    assert len(play(tmp_path / "clip.mp4")) >= 90 - dropped - 35


def test_segments_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    names = iter(["b.mp4", "c.mp4", "d.mp4"])
    finished: list[Path] = []
    sink = Record(
        tmp_path / "a.mp4", 10, segment_s=1.0, next_path=lambda: tmp_path / next(names), finished=finished.append
    )
    record(sink, *(item(number / 10, 5 * number) for number in range(35)))
    assert [path.name for path in finished] == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert [len(play(path)) for path in finished] == [10, 10, 10, 5]
    assert [shade for path in finished for shade in shades(path)] == pytest.approx([5 * n for n in range(35)], abs=10)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"moof" not in content


def test_segments_are_named_by_time_and_the_oldest_deleted(tmp_path: Path) -> None:
    segments = RecordingSegments(tmp_path / "cam.mp4", keep_bytes=250)
    assert re.fullmatch(r"cam-\d{8}-\d{6}\.mp4", segments.next_path().name)
    others = [tmp_path / name for name in ("cam.mp4", "cam-holiday plan.mp4", "cam-20260101-000000.txt")]
    written = [tmp_path / f"cam-2026010{day}-000000.mp4" for day in range(1, 5)]
    for age, path in enumerate([*others, *written]):
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + age, 1000 + age))
    segments.delete_oldest(written[-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in [*others, *written[2:]])


@pytest.mark.parametrize(("most_bytes", "kept"), [(400, False), (200_000, True)])
def test_what_is_left_on_a_full_disk_plays_or_is_deleted(tmp_path: Path, most_bytes: int, kept: bool) -> None:
    code = """
import resource, sys
from pathlib import Path
from tests.edge.sinks.test_record import item, record
from tests.tiny import noise
from dataclasses import replace
from seg_edge.sinks.record import Record
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
record(Record(Path(sys.argv[1]), 10), *(replace(item(n / 10), picture=noise((240, 320), n)) for n in range(40)))
"""
    path = tmp_path / "clip.mkv"
    command = [sys.executable, "-c", code, str(path), str(most_bytes)]
    stderr = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=False).stderr
    assert "File too large" in stderr
    assert ("What was recorded until then is kept." in stderr) == kept
    assert ("Nothing of it plays, so it was deleted." in stderr) != kept
    assert path.exists() == kept
    assert len(play(path)) > 0 or not kept
