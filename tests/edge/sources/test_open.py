"""Which source a name means, and what `auto` chooses."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge.errors import SourceError
from seg_edge.sources import numbered, opencv, still, video_file
from seg_edge.sources import open as opening
from seg_edge.sources.names import camera_device, is_url, shown_name
from seg_edge.sources.open import choose_source, open_source
from seg_edge.sources.source import SourceInfo, SourceRequest
from seg_edge.system.board import Machine

Make = Callable[..., Machine]


class Opened(tuple[str, ...]):
    """What a backend's class was asked for, with the attributes of a source that are read."""

    info = SourceInfo("", (0, 0), 0.0)
    stale = False


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each backend's class replaced by a function that says its name."""
    named = {opencv: "OpenCVSource", still: "StillSource", video_file: "VideoFileSource", numbered: "NumberedSource"}
    for module, name in named.items():
        monkeypatch.setattr(module, name, lambda request, name=name: Opened((name, request.name)))
    for module_name, name in (("picamera", "Picamera2Source"), ("synthetic", "SyntheticSource")):
        module = ModuleType(f"seg_edge.sources.{module_name}")
        setattr(module, name, lambda request, controls=None, name=name: (name, request.name, *(controls or ())))
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("0", "OpenCVSource"),
        ("12", "OpenCVSource"),
        ("/dev/video0", "OpenCVSource"),
        ("http://127.0.0.1:8080/cam.mjpg", "OpenCVSource"),
        ("https://host/photo.jpg", "OpenCVSource"),
        ("rtsp://me:secret@host/stream", "OpenCVSource"),
        ("udp://@:1234", "OpenCVSource"),
        ("clip.mp4", "VideoFileSource"),
        ("f%04d.png", "NumberedSource"),
        ("extensionless", "VideoFileSource"),
        ("picamera2", "Picamera2Source"),
        ("picamera2:1", "Picamera2Source"),
        ("synthetic", "SyntheticSource"),
        ("photo.JPG", "StillSource"),
        ("missing.png", "StillSource"),
        ("folder", "StillSource"),
        (".", "StillSource"),
    ],
)
def test_what_a_name_means(name: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("clip.mp4", "extensionless", "photo.JPG"):
        (tmp_path / file).touch()
    (tmp_path / "folder").mkdir()
    assert open_source(SourceRequest(name, (32, 24))) == (backend, name)


@pytest.mark.usefixtures("backends")
def test_only_a_camera_module_takes_controls() -> None:
    controls = {"ExposureTime": 8000}
    request = SourceRequest("picamera2", (32, 24), controls=controls)
    assert open_source(request) == ("Picamera2Source", "picamera2", "ExposureTime")
    with pytest.raises(SourceError, match="--control"):
        open_source(SourceRequest("/dev/video0", (32, 24), controls=controls))


@pytest.mark.parametrize("name", ["", "nonsense", "missing.mp4", "-1", "picamera", "picamera2:x", "a\nb"])
def test_an_unknown_name_is_refused_with_what_is_possible(name: str) -> None:
    with pytest.raises(SourceError, match="picamera2, a camera's number, /dev/videoN, a video") as raised:
        open_source(SourceRequest(name, (32, 24)))
    assert "\n" not in str(raised.value)


def test_a_camera_that_is_not_there_is_not_replaced() -> None:
    with pytest.raises(SourceError, match="/dev/video98: there is no such camera"):
        open_source(SourceRequest("98", (32, 24)))


def test_devices() -> None:
    assert [camera_device(name) for name in ("0", "007", "/dev/video3")] == [
        "/dev/video0",
        "/dev/video7",
        "/dev/video3",
    ]
    assert [camera_device(name) for name in ("x", "/dev/null", "video0", "", "/dev/video", "0x1")] == [None] * 6


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("clip@home.mp4", "clip@home.mp4"),
        ("rtsp://host:554/a@b", "rtsp://host:554/a@b"),
        ("rtsp://me:secret@host/s", "rtsp://***@host/s"),
        ("rtsp://me:sec@ret@host/s", "rtsp://***@host/s"),
        ("rtsp://me:se/cr@et@host/s", "rtsp://***@host/s"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("http://host/v?user=me&password=secret&n=1", "http://host/v?user=me&password=***&n=1"),
        ("http://host/v?Token=secret#x", "http://host/v?Token=***#x"),
        ("udp://@:1234", "udp://***@:1234"),
    ],
)
def test_no_secret_is_shown(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_urls() -> None:
    assert all(map(is_url, ("http://x", "rtsp://x", "HTTPS://x", "srt+x://y")))
    assert not any(map(is_url, ("clip.mp4", "/a://b", "c:/video", "")))


# auto


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a machine with these USB cameras and this output of picamera2; None if it isn't installed."""

    def make(cameras: list[str], output: str | Exception | None = None, code: int = 0) -> Machine:
        for number, name in enumerate(cameras):
            for file, text in ((f"dev/video{number}", ""), (f"sys/class/video4linux/video{number}/name", name)):
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file).write_text(text)

        def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
            assert set(options) == {"capture_output", "text", "timeout"}
            if isinstance(output, Exception):
                raise output
            return subprocess.CompletedProcess(command, code, output if code == 0 else "", output if code else "")

        monkeypatch.setattr(opening, "find_spec", lambda name: None if output is None else object())
        return Machine(root=tmp_path, run=run)

    return make


def test_a_camera_module_comes_first(make: Make) -> None:
    assert choose_source(make(["Webcam"], "INFO libcamera\ncameras: 2\n")) == "picamera2"


@pytest.mark.parametrize("output", [None, "cameras: 0", OSError(2, "gone"), subprocess.TimeoutExpired("python", 20)])
def test_else_the_first_usb_camera(output: str | Exception | None, make: Make) -> None:
    assert choose_source(make(["bcm2835-isp-output0", "Webcam", "Other"], output)) == "/dev/video1"


def test_the_first_camera_that_may_be_opened(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name == "video2")
    assert choose_source(make(["A", "B", "C"])) == "/dev/video2"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(SourceError, match=r"/dev/video0 \(A\).*usermod -aG video"):
        choose_source(make(["A"]))


@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        (None, 0, "picamera2 is not installed"),
        ("cameras: 0", 0, "ribbon cable"),
        ("Traceback\nModuleNotFoundError: No module named 'libcamera'", 1, "No module named 'libcamera'"),
        (subprocess.TimeoutExpired("python", 20), 0, "did not respond within 20 s"),
    ],
)
def test_without_a_camera_the_error_says_what_was_looked_for(
    output: str | Exception | None, code: int, message: str, make: Make
) -> None:
    with pytest.raises(SourceError) as raised:
        choose_source(make([], output, code))
    for part in (message, "plug one in", "--source FILE", "--source synthetic"):
        assert part in str(raised.value)


def test_the_query_of_picamera2_is_valid_python_and_its_output_is_understood(tmp_path: Path) -> None:
    (tmp_path / "picamera2.py").write_text(
        "class Picamera2:\n    @staticmethod\n    def global_camera_info():\n"
        "        return [{'Id': '/base/soc/i2c0mux/imx708@1a'}, {'Id': '/base/scb/pcie/usb@0,0-1.3:1.0'}]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", opening._ASK_PICAMERA2],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == "cameras: 1\n"


def test_a_camera_mounted_on_its_side_is_turned(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)

    def corners(rotate: int, flip: bool) -> tuple[tuple[int, int], list[bool]]:
        request = SourceRequest(str(tmp_path / "a.png"), (32, 24), live=False, rotate=rotate, flip=flip)
        source = open_source(request)
        frame = next(iter(source)).frame
        assert source.info.size_wh == frame.shape[1::-1]
        return source.info.size_wh, [bool(frame[y, x, 0] > 127) for y in (4, -4) for x in (4, -4)]

    assert corners(0, False) == ((64, 48), [True, False, False, False])
    assert corners(90, False) == ((48, 64), [False, True, False, False])
    assert corners(180, False) == ((64, 48), [False, False, False, True])
    assert corners(270, False) == ((48, 64), [False, False, True, False])
    assert corners(0, True) == ((64, 48), [False, False, True, False])
    assert corners(90, True) == ((48, 64), [False, False, False, True])
