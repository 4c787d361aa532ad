"""Pictures kept on request: the right one, once, never overwriting another."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from seg_edge.errors import OutputError
from seg_edge.sinks import background_writer, snapshots
from seg_edge.sinks.sink import Controls
from seg_edge.sinks.snapshots import Snapshots
from tests.edge.sinks.output_frames import make_output_frame


@pytest.fixture
def controls() -> Controls:
    return Controls()


def keep(sink: Snapshots, controls: Controls, number: int, value: int = 100) -> None:
    controls.snapshot.set()
    sink.publish(make_output_frame(number, value=value))


def test_the_next_picture_is_kept_once(tmp_path: Path, controls: Controls) -> None:
    folder = tmp_path / "new" / "folder"
    saved: list[Path] = []
    sink = Snapshots(folder, controls, saved.append)
    sink.publish(make_output_frame(1, value=10))
    sink.idle("")
    assert not folder.exists()
    keep(sink, controls, 2, value=90)
    assert not controls.snapshot.is_set()
    sink.publish(make_output_frame(3, value=200))
    sink.close()
    (path,) = saved
    assert list(folder.iterdir()) == [path]
    assert abs(float(cv2.imread(str(path)).mean()) - 90) < 2


def test_its_name_is_the_local_time_of_the_picture(tmp_path: Path, controls: Controls) -> None:
    saved: list[Path] = []
    sink = Snapshots(tmp_path, controls, saved.append)
    item = make_output_frame(1)
    hour_ago = time.time() - 3600
    controls.snapshot.set()
    sink.publish(replace(item, captured=time.monotonic() - 3600))
    sink.close()
    name = saved[0].name
    assert re.fullmatch(r"seg-edge-\d{8}-\d{6}\.jpg", name)
    stamp = time.mktime(time.strptime(name, "seg-edge-%Y%m%d-%H%M%S.jpg"))
    assert abs(stamp - hour_ago) < 60


def test_nothing_is_overwritten(tmp_path: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots.time, "strftime", lambda *_: "seg-edge-20260102-030405")
    (tmp_path / "seg-edge-20260102-030405-2.jpg").write_bytes(b"precious")
    for value in (50, 150):
        saved: list[Path] = []
        sink = Snapshots(tmp_path, controls, saved.append)
        keep(sink, controls, 1, value)
        sink.close()
    assert {path.name for path in tmp_path.iterdir()} == {
        "seg-edge-20260102-030405.jpg",
        "seg-edge-20260102-030405-2.jpg",
        "seg-edge-20260102-030405-3.jpg",
    }
    assert (tmp_path / "seg-edge-20260102-030405-2.jpg").read_bytes() == b"precious"
    assert abs(float(cv2.imread(str(tmp_path / "seg-edge-20260102-030405.jpg")).mean()) - 50) < 2


def test_a_slow_card_does_not_stop_the_camera(
    tmp_path: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, write = threading.Event(), background_writer.write_picture
    monkeypatch.setattr(background_writer, "write_picture", lambda *args: (go.wait(60), write(*args)))
    saved: list[Path] = []
    sink = Snapshots(tmp_path, controls, saved.append)
    keep(sink, controls, 1)
    keep(sink, controls, 2)
    assert not go.is_set()
    assert not saved, "the first picture is still being written"
    assert controls.snapshot.is_set()  # not forgotten, only later
    go.set()
    until = time.monotonic() + 60
    while controls.snapshot.is_set():
        assert time.monotonic() < until
        sink.publish(make_output_frame(3))
    sink.close()
    assert len(saved) == 2


def test_a_failed_write_is_reported_and_leaves_nothing(tmp_path: Path, controls: Controls) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    saved: list[Path] = []
    sink = Snapshots(file / "below", controls, saved.append)
    keep(sink, controls, 1)
    with pytest.raises(OutputError, match=r"below: can't be written"):
        sink.close()
    sink.close()
    assert not saved


def test_a_full_disk_is_reported_and_leaves_nothing(
    tmp_path: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    saved: list[Path] = []
    sink = Snapshots(tmp_path, controls, saved.append)
    keep(sink, controls, 1)
    until = time.monotonic() + 60
    with pytest.raises(OutputError, match="No space left"):  # noqa: PT012
        while time.monotonic() < until:
            sink.publish(make_output_frame(2))
            time.sleep(0.01)
    sink.close()
    assert list(tmp_path.iterdir()) == []
