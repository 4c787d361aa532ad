"""The virtual camera over a stand-in for pyvirtualcam, whose signatures are compared with the real one's."""

from __future__ import annotations

import enum
import fcntl
import importlib
import inspect
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seg_edge.errors import OutputError
from seg_edge.sinks import virtual_camera
from seg_edge.sinks.virtual_camera import VirtualCamera
from tests.edge.sinks.output_frames import make_output_frame

# pyvirtualcam 0.15.0, camera.py
CAMERA_SIGNATURE = (
    "(self, width: int, height: int, fps: float, *, fmt: PixelFormat = PixelFormat.RGB, device: Optional[str] = None, "
    "backend: Optional[str] = None, print_fps: bool = False, **kw) -> None"
)


class PixelFormat(enum.Enum):
    RGB = "raw "
    BGR = "24BG"


class FakeCamera:
    """Accepts and refuses the same as the real one."""

    made: list[FakeCamera] = []  # noqa: RUF012
    refusal = ""

    def __init__(
        self,
        width: int,
        height: int,
        fps: float,
        *,
        fmt: PixelFormat = PixelFormat.RGB,
        device: str | None = None,
        backend: str | None = None,
        print_fps: bool = False,
        **kw: Any,
    ) -> None:
        if self.refusal:
            raise RuntimeError(self.refusal)
        assert not kw
        self.width, self.height, self.fps, self.fmt, self.device, self.backend = (
            width,
            height,
            fps,
            fmt,
            device,
            backend,
        )
        self.sent: list[np.ndarray] = []
        self.closed = 0
        FakeCamera.made.append(self)

    def send(self, frame: np.ndarray) -> None:
        if frame.dtype != np.uint8:
            raise TypeError("unexpected frame dtype")
        if frame.shape != (self.height, self.width, 3):
            raise ValueError(f"unexpected frame shape: {frame.shape}")
        self.sent.append(frame.copy())

    def close(self) -> None:
        self.closed += 1

    def sleep_until_next_frame(self) -> None:
        raise AssertionError("it would hold up the pipeline")


def install_camera(monkeypatch: pytest.MonkeyPatch) -> type[FakeCamera]:
    """Installs a fake pyvirtualcam, and a fake loopback device at /dev/null."""
    FakeCamera.made, FakeCamera.refusal = [], ""
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=FakeCamera, PixelFormat=PixelFormat))
    monkeypatch.setattr(virtual_camera, "VIDEO_MAJOR", os.major(os.stat("/dev/null").st_rdev))
    monkeypatch.setattr(virtual_camera, "driver_of", lambda device: "v4l2 loopback")
    return FakeCamera


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeCamera]:
    return install_camera(monkeypatch)


def plain(signature: inspect.Signature) -> list[tuple[str, object, object]]:
    def default(value: object) -> object:
        return value.name if isinstance(value, enum.Enum) else value

    return [(p.name, p.kind, default(p.default)) for p in signature.parameters.values()]


def test_the_stand_in_is_like_the_real_one() -> None:
    try:
        real = importlib.import_module("pyvirtualcam")
    except ImportError:
        namespace: dict[str, Any] = {}
        code = "from typing import Optional\nfrom tests.edge.sinks.test_virtual_camera import PixelFormat\n"
        exec(code + f"def init{CAMERA_SIGNATURE}: ...", namespace)
        assert plain(inspect.signature(namespace["init"])) == plain(inspect.signature(FakeCamera.__init__))
        return
    for method in ("__init__", "send", "close", "sleep_until_next_frame"):
        theirs = inspect.signature(getattr(real.Camera, method))
        assert plain(theirs) == plain(inspect.signature(getattr(FakeCamera, method)))
    assert real.PixelFormat.BGR.value == PixelFormat.BGR.value
    with pytest.raises(RuntimeError, match="does not exist"):  # the kind of error that the sink turns into a sentence
        real.Camera(64, 48, 30, device="/dev/video-none", backend="v4l2loopback")


def test_pictures_go_to_the_device_that_was_named(fake: type[FakeCamera]) -> None:
    sink = VirtualCamera("/dev/null", (64, 48), 25.0)
    (camera,) = fake.made
    assert (camera.device, camera.width, camera.height, camera.fps) == ("/dev/null", 64, 48, 25.0)
    assert camera.fmt is PixelFormat.BGR
    item = make_output_frame(1, (48, 64))
    sink.publish(item)
    sink.idle("The camera is gone.")
    np.testing.assert_array_equal(camera.sent[0], item.picture)
    assert sink.name == "--virtual-camera /dev/null"
    sink.close()
    sink.close()
    assert camera.closed == 1
    with pytest.raises(OutputError, match="closed"):
        sink.publish(item)


def test_pictures_of_another_size_are_resized(fake: type[FakeCamera]) -> None:
    sink = VirtualCamera("/dev/null", (641, 361), 0.0)
    assert sink.size_wh == (640, 360)
    sink.publish(make_output_frame(1, (48, 64), value=99))
    sink.publish(make_output_frame(2, (1080, 1920), value=12))
    assert [frame.shape for frame in fake.made[0].sent] == [(360, 640, 3)] * 2
    assert [int(frame.mean()) for frame in fake.made[0].sent] == [99, 12]
    assert fake.made[0].fps > 0


def test_without_the_package_the_error_says_what_to_install(
    fake: type[FakeCamera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(OutputError, match=r"pip install 'seg-edge\[virtualcam\]'"):
        VirtualCamera("/dev/null", (64, 48), 30.0)


def test_a_busy_device_is_reported(fake: type[FakeCamera]) -> None:
    fake.refusal = "'v4l2loopback' backend: Device could not be configured: Device or resource busy"
    with pytest.raises(OutputError, match=r"/dev/null: can't be opened .*busy"):
        VirtualCamera("/dev/null", (64, 48), 30.0)


def test_a_real_camera_is_refused(fake: type[FakeCamera], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_camera, "driver_of", lambda device: "uvcvideo")
    with pytest.raises(OutputError, match=r"real device \(uvcvideo\).*sudo modprobe v4l2loopback"):
        VirtualCamera("/dev/null", (64, 48), 30.0)
    assert not fake.made


def test_a_file_that_is_not_a_video_device_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_camera, "driver_of", lambda device: pytest.fail("it was opened"))
    file = tmp_path / "video0"
    file.write_bytes(b"precious")
    for device in (str(file), "/dev/null", str(tmp_path)):
        with pytest.raises(OutputError, match="is not a video device"):
            VirtualCamera(device, (64, 48), 30.0)
    assert file.read_bytes() == b"precious"


def test_the_error_for_a_missing_device_says_how_to_make_it() -> None:
    with pytest.raises(OutputError, match=r"no such device; .*modprobe v4l2loopback video_nr=4711 "):
        VirtualCamera("/dev/video4711", (64, 48), 30.0)
    with pytest.raises(OutputError, match=r"video_nr=10 "):
        VirtualCamera("/dev/no/such", (64, 48), 30.0)
    with pytest.raises(OutputError):
        VirtualCamera("/dev/\0", (64, 48), 30.0)


def test_the_driver_is_queried_as_the_kernel_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    """struct v4l2_capability of linux/videodev2.h: 16 bytes driver, 32 card, 32 bus_info, 6 words."""

    def ioctl(file: int, request: int, argument: bytes) -> bytes:
        assert request == (2 << 30) | (len(argument) << 16) | (ord("V") << 8)
        assert len(argument) == 16 + 32 + 32 + 6 * 4
        return b"v4l2 loopback".ljust(16, b"\0") + b"Dummy".ljust(88, b"\0")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert virtual_camera.driver_of("/dev/null") == "v4l2 loopback"


def test_a_device_that_can_not_be_queried_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_camera, "VIDEO_MAJOR", os.major(os.stat("/dev/null").st_rdev))
    with pytest.raises(OutputError, match=r"/dev/null: can't be queried"):
        VirtualCamera("/dev/null", (64, 48), 30.0)
