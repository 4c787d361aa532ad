"""The promises of every kind of sink, checked for each of them."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import cv2
import pytest

from seg_edge.effects import EFFECTS
from seg_edge.sinks import mqtt
from seg_edge.sinks.collect import Collect
from seg_edge.sinks.http.view import HttpView
from seg_edge.sinks.json_lines import JsonLines
from seg_edge.sinks.record import Record
from seg_edge.sinks.sink import Controls, Sink
from seg_edge.sinks.snapshots import Snapshots
from seg_edge.sinks.virtual_camera import VirtualCamera
from seg_edge.sinks.window import Window
from tests.edge.sinks.output_frames import CLASSES, make_output_frame
from tests.edge.sinks.test_virtual_camera import install_camera
from tests.edge.sinks.test_window import install_gui

FRAMES = 3
# Opens a sink; returns it with a function that says, while it is open or afterwards, whether pictures came out.
Opened = tuple[Sink, Callable[[], bool]]
Open = Callable[[Path, Controls, pytest.MonkeyPatch], Opened]


def open_record(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    path = folder / "clip.mkv"
    return Record(path, fps=30), lambda: cv2.VideoCapture(str(path)).read()[0]


def open_virtual_camera(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    camera = install_camera(monkeypatch)
    return VirtualCamera("/dev/null", (64, 48), 30), lambda: len(camera.made[0].sent) >= FRAMES


def open_json_lines(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    stream = io.StringIO()
    return JsonLines(stream, controls), lambda: '"person"' in stream.getvalue()


def open_http(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    view = HttpView("127.0.0.1", 0, controls, list(EFFECTS))
    return view, lambda: urllib.request.urlopen(view.url + "snapshot.jpg", timeout=60).read(2) == b"\xff\xd8"


def open_window(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    gui = install_gui(monkeypatch)
    return Window(controls, CLASSES, list(EFFECTS)), lambda: len(gui.shown) >= FRAMES


def open_snapshots(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    controls.snapshot.set()
    return Snapshots(folder / "new", controls, lambda path: None), lambda: len(list(folder.rglob("*.jpg"))) == 1


def open_collect(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Collect(folder / "cat", lambda line: None), lambda: len(list(folder.glob("cat-*_001.jpg"))) == 1


class FakeBroker:
    """The part of paho's client that a sink uses; `test_mqtt.py` has a real broker."""

    def __init__(self, *_: object) -> None:
        self.topics: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        return lambda *args, **kwargs: Mock()

    def publish(self, topic: str, *_: object, **kwargs: object) -> Mock:
        self.topics.append(topic)
        return Mock()


def open_mqtt(folder: Path, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setattr(mqtt, "_import_paho", lambda: Mock(Client=FakeBroker))
    sink = mqtt.Mqtt("mqtt://broker", "door", CLASSES, print)
    return sink, lambda: "seg-edge/door/state" in sink._client.topics


KINDS: dict[str, Open] = {
    "--mqtt": open_mqtt,
    "--record": open_record,
    "--virtual-camera": open_virtual_camera,
    "--json": open_json_lines,
    "--view http": open_http,
    "--view window": open_window,
    "--snapshots": open_snapshots,
    "--collect": open_collect,
}
SHOWS_WHILE_OPEN = {"--view http", "--view window", "--virtual-camera"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sink_keeps_its_promises(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controls = Controls()
    sink, came_out = KINDS[kind](tmp_path, controls, monkeypatch)
    try:
        assert sink.name.startswith(kind), "it is called by its option"
        sink.idle("no camera yet")  # before the first frame
        for number in range(1, FRAMES + 1):
            # Its arrays are read-only: sinks share them, and none may write into them.
            sink.publish(make_output_frame(number))
            sink.idle("the camera is lost")  # and between two
        if kind in SHOWS_WHILE_OPEN:
            assert came_out()
    finally:
        sink.close()
        sink.close()
    if kind not in SHOWS_WHILE_OPEN:
        assert came_out()
    assert not controls.stopped.is_set(), "no sink stops the camera by itself"


@pytest.mark.parametrize("kind", KINDS)
def test_a_sink_closes_without_a_frame(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, _ = KINDS[kind](tmp_path, Controls(), monkeypatch)
    sink.close()
    sink.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_every_sink_is_in_kinds() -> None:
    """A new file in `sinks/` that defines a sink must be put into `KINDS`."""
    folder = Path(__file__).parents[3] / "edge" / "seg_edge" / "sinks"
    sinks = [path.stem for path in folder.rglob("*.py") if "def publish(self, item: OutputFrame)" in path.read_text()]
    assert len(set(sinks) - {"sink", "group", "feed"}) == len(KINDS)
