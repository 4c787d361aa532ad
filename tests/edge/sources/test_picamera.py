"""The picamera2 source with the real package over a stand-in libcamera, and with a fake package."""

import inspect
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge.errors import SourceError
from seg_edge.sources import picamera
from seg_edge.sources.picamera import Picamera2Source
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest
from tests import stand_in_libcamera
from tests.stand_in_libcamera import Camera, CameraManager
from tests.stand_in_libcamera.fake_picamera2 import FakePicamera2, FakeRequest, fake_installed

PATIENCE_S = 20


@pytest.fixture(autouse=True)
def _leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBCAMERA_LOG_LEVELS", "put back afterwards")
    monkeypatch.delenv("LIBCAMERA_LOG_LEVELS")


@pytest.fixture(params=["picamera2", "fake"])
def package(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def board(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "pi4")


on_a_pi_5 = pytest.mark.parametrize("board", ["pi5"], indirect=True)
on_both_boards = pytest.mark.parametrize("board", ["pi4", "pi5"], indirect=True)


@pytest.fixture
def manager(package: str, board: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CameraManager]:
    """The cameras of a board: one, a stand-in for Camera Module 2."""
    installed = stand_in_libcamera.installed if package == "picamera2" else fake_installed
    with installed(monkeypatch, pisp=board == "pi5") as manager:
        yield manager


@pytest.fixture
def camera(manager: CameraManager) -> Camera:
    return manager.cameras[0]


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Camera]:
    """A Pi 4's camera through the real package, for behaviour that the fake lacks."""
    with stand_in_libcamera.installed(monkeypatch, pisp=False) as manager:
        yield manager.cameras[0]


def ask(size_wh: tuple[int, int] | None = None, fps: float | None = None, **others: Any) -> SourceRequest:
    return SourceRequest(**({"name": "picamera2", "input_size_wh": (256, 256)} | others), size_wh=size_wh, fps=fps)


def take(request: SourceRequest, count: int = 1, **arguments: Any) -> tuple[SourceInfo, list[SourceFrame]]:
    source = Picamera2Source(request, **arguments)
    try:
        return source.info, list(islice(source, count))
    finally:
        source.close()


def check_same_picture(source_frame: SourceFrame, size_wh: tuple[int, int]) -> None:
    assert source_frame.small is not None
    assert source_frame.small.shape == (size_wh[1], size_wh[0], 3)
    assert source_frame.small.dtype == np.uint8
    assert source_frame.small.flags.c_contiguous
    expected = cv2.resize(source_frame.frame, size_wh, interpolation=cv2.INTER_AREA)[..., ::-1]
    assert np.abs(expected.astype(int) - source_frame.small).max() <= 6  # YUV halves the colours' resolution


@on_both_boards
@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("size_wh", [None, (360, 264), (1280, 720)])  # a row of 360 pixels is padded
def test_frames(size_wh: tuple[int, int] | None) -> None:
    info, source_frames = take(ask(size_wh), 3)
    width, height = size_wh or (640, 480)
    assert info == SourceInfo(
        f"Raspberry Pi camera 0 (imx219), {width}x{height} at 30 fps, model-sized stream by the ISP",
        (width, height),
        30,
    )
    for source_frame in source_frames:
        assert source_frame.frame.shape == (height, width, 3)
        assert source_frame.frame.dtype == np.uint8
        assert source_frame.frame.flags.c_contiguous
        assert source_frame.frame.flags.writeable
        blue, green, red = (source_frame.frame[..., channel].astype(int) for channel in range(3))
        assert np.ptp(blue) == 0  # no padding in it
        assert np.all(np.diff(red[0]) >= 0)
        assert np.all(np.diff(green[:, 0]) >= 0)
        assert np.ptp(red) > 240  # the whole width of the sensor
        assert 0 <= time.monotonic() - source_frame.captured < PATIENCE_S


@on_both_boards
@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(
    ("size_wh", "input_wh"),
    [((640, 480), (256, 256)), ((640, 480), (250, 130)), ((1280, 720), (192, 192)), ((640, 480), (640, 480))],
)
def test_the_small_picture_shows_the_same(size_wh: tuple[int, int], input_wh: tuple[int, int]) -> None:
    for source_frame in take(ask(size_wh, input_size_wh=input_wh), 2)[1]:
        check_same_picture(source_frame, input_wh)


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("input_wh", [(255, 256), (256, 255), (642, 256), (256, 482)])
def test_an_input_size_that_lores_cannot_have_comes_without_small(input_wh: tuple[int, int]) -> None:
    info, [source_frame] = take(ask(input_size_wh=input_wh))
    assert source_frame.small is None
    assert info.description.endswith("640x480 at 30 fps")


@on_a_pi_5
def test_a_pi_5_that_crops_lores_comes_without_small(camera: Camera) -> None:
    camera.has_scaler_crops = False  # libcamera before ScalerCrops
    info, [source_frame] = take(ask())
    assert source_frame.small is None
    assert "ISP" not in info.description
    check_same_picture(take(ask((480, 480)))[1][0], (256, 256))  # the same proportions, so the same crop


@on_a_pi_5
def test_a_frame_with_two_crops_comes_without_small(camera: Camera) -> None:
    source = Picamera2Source(ask())
    source_frames = iter(source)
    check_same_picture(next(source_frames), (256, 256))
    camera.crops = [camera.crops[0], (410, 2, 2460, 2460)]
    deadline = time.monotonic() + PATIENCE_S
    while next(source_frames).small is not None:
        assert time.monotonic() < deadline
    source.close()


@pytest.mark.parametrize(
    ("lores", "crops", "old", "same"),
    [
        ({"preserve_ar": False}, True, False, True),
        ({"preserve_ar": True}, True, False, False),
        ({}, True, False, False),  # picamera2 before 0.3.23
        ({"preserve_ar": False}, False, False, False),
        ({}, False, True, True),
        ({"size": (254, 256)}, False, True, False),  # libcamera took another size
        ({"format": "NV12"}, False, True, False),
    ],
)
def test_when_lores_is_the_same_picture(lores: dict[str, Any], crops: bool, old: bool, same: bool) -> None:
    asked = {"size": (256, 256), "format": "YUV420"}
    config = {"main": {"size": (640, 480)}, "lores": asked | lores}
    assert picamera._same_picture(config, asked, crops, old) is same


def test_an_odd_size_becomes_even(camera: Camera) -> None:
    info, [source_frame] = take(ask((641, 481)))
    assert info.size_wh == (640, 480)
    assert source_frame.frame.shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("size_wh", "fps", "mode", "rate"),
    [
        (None, None, (1640, 1232), 30),
        (None, 12.5, (1640, 1232), 12.5),
        ((1640, 1232), 20, (1640, 1232), 20),
        ((1920, 1080), 20, (3280, 2464), 20),
        ((1920, 1080), 45, (1920, 1080), 45),  # too fast for the modes with the full view
        (None, 100, (640, 480), 100),
        (None, 1000, (640, 480), 1e6 / 4850),  # faster than any mode: then the fastest
    ],
)
def test_the_rate_and_the_mode_with_the_widest_view_at_it(
    camera: Camera, size_wh: tuple[int, int] | None, fps: float | None, mode: tuple[int, int], rate: float
) -> None:
    info, _ = take(ask(size_wh, fps))
    assert camera.mode == mode
    assert info.fps == pytest.approx(rate, abs=0.01)
    duration_us = round(1e6 / (fps or 30))
    assert camera.started_with["FrameDurationLimits"] == (duration_us, duration_us)


def test_controls_reach_the_camera(camera: Camera) -> None:
    take(ask(), controls={"ExposureTime": 8000, "AnalogueGain": 2.0})
    assert camera.started_with["ExposureTime"] == 8000
    assert camera.started_with["AnalogueGain"] == 2.0
    assert "AfMode" not in camera.started_with  # this one has none


@pytest.mark.parametrize(
    ("controls", "mode"), [({}, 2), ({"AfMode": 1}, 1), ({"LensPosition": 2.0}, None), ({"LensPosition": 0.0}, None)]
)
def test_autofocus_runs_unless_told_otherwise(camera: Camera, controls: dict[str, object], mode: int | None) -> None:
    camera.has_autofocus = True
    take(ask(), controls=controls)
    assert camera.started_with.get("AfMode") == mode


@on_both_boards
def test_a_zoom_serves_both_streams(camera: Camera) -> None:
    source = Picamera2Source(ask(), controls={"ScalerCrop": (1640, 1232, 1640, 1230)})
    deadline = time.monotonic() + PATIENCE_S
    for source_frame in source:
        assert time.monotonic() < deadline
        if (
            source_frame.frame[..., 2].min() > 120
            and source_frame.small is not None
            and source_frame.small[..., 0].min() > 110
        ):
            break
    check_same_picture(next(iter(source)), (256, 256))
    source.close()


@pytest.mark.parametrize(
    ("controls", "reason"),
    [
        ({"Brightnes": 0.5, "Zoom": 2}, r"camera 0 \(imx219\) has no control Brightnes, Zoom; it has AnalogueGain, .*"),
        ({"FrameRate": 5}, "FrameRate can't be set .*; set fps"),
        ({"FrameDurationLimits": (1, 1)}, "FrameDurationLimits can't be set .*; set fps"),
        ({"ScalerCrops": []}, "ScalerCrops can't be set .*; set ScalerCrop,"),
    ],
)
def test_invalid_controls_are_refused(camera: Camera, controls: dict[str, object], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        Picamera2Source(ask(), controls=controls)
    assert not camera.acquired


@on_both_boards
@pytest.mark.parametrize("name", ["picamera2", "picamera2:0", "picamera2:1"])
def test_cameras_have_numbers(manager: CameraManager, name: str, board: str) -> None:
    manager.cameras.append(Camera(manager, board == "pi5", manager.cameras[0].id.replace("@10", "@0f")))
    source = Picamera2Source(ask(name=name))
    number = int(name.partition(":")[2] or 0)
    assert source.info.description.startswith(f"Raspberry Pi camera {number} (imx219), ")
    assert [camera.acquired for camera in manager.cameras] == [number == 0, number == 1]
    source.close()


@pytest.mark.parametrize("name", ["picamera2:", "picamera2:-1", "picamera2:one", "picamera2:0x", "picamera", "0"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match="is not a Raspberry Pi camera; write picamera2"):
        Picamera2Source(ask(name=name))


def test_a_camera_that_does_not_exist_is_refused(manager: CameraManager) -> None:
    with pytest.raises(SourceError, match=r"There is no Raspberry Pi camera 2; there is picamera2:0 \(imx219\)\."):
        Picamera2Source(ask(name="picamera2:2"))
    manager.cameras.clear()
    with pytest.raises(SourceError, match="No Raspberry Pi camera was found; check its ribbon cable"):
        Picamera2Source(ask())


def test_a_failure_of_libcamera_itself_is_an_error(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("Failed to start CameraManager")

    monkeypatch.setattr(sys.modules["picamera2"].Picamera2, "global_camera_info", fail)
    with pytest.raises(SourceError, match=r"can't look for cameras \(Failed to start CameraManager\)"):
        Picamera2Source(ask())


def test_a_usb_camera_is_refused_with_its_other_name(camera: Camera) -> None:
    camera.id = r"/base/axi/pcie@120000/rp1/usb@200000-1:1.0-046d:0825"
    with pytest.raises(SourceError, match=r"is a USB camera; name it /dev/videoN instead"):
        Picamera2Source(ask())


def test_a_camera_in_use_by_another_program_is_refused(camera: Camera) -> None:
    camera.busy = True
    with pytest.raises(SourceError, match=r"\(imx219\) is in use by another program; end it"):
        Picamera2Source(ask())
    camera.busy = False
    take(ask())


def test_a_camera_that_cannot_be_opened_is_refused(camera: Camera) -> None:
    camera.broken = True
    with pytest.raises(SourceError, match=r"can't be opened \(the sensor does not answer\); `rpicam-hello"):
        Picamera2Source(ask())


def test_a_camera_that_cannot_be_started_is_refused(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(camera, "configure", fail)
    # The real package asks for the modes first, which configures too.
    with pytest.raises(SourceError, match=r"can't be started \(no memory left\)"):
        Picamera2Source(ask())
    assert not camera.acquired


def test_a_camera_that_fails_later_is_an_error(real: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Picamera2Source(ask())
    source_frames = iter(source)
    next(source_frames)

    def fail(*_: object, **__: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(source._camera, "capture_request", fail)
    with pytest.raises(SourceError, match=r"\(imx219\) has failed \(Input/output error\)"):
        next(source_frames)
    source.close()
    assert not real.acquired


@pytest.mark.parametrize("missing", ["libcamera", "picamera2"])
def test_not_installed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_installed(monkeypatch, pisp=False), monkeypatch.context() as patch:
        patch.setitem(sys.modules, missing, None)
        with pytest.raises(SourceError, match=f"can't be imported .*{missing}.*apt install python3-picamera2.*doctor"):
            Picamera2Source(ask())


def test_built_for_another_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    with fake_installed(monkeypatch, pisp=False), monkeypatch.context() as patch:
        patch.setitem(sys.modules, "picamera2", Broken("picamera2"))
        with pytest.raises(SourceError, match=r"size changed.*pip install 'numpy<2'"):
            Picamera2Source(ask())


def test_closing(camera: Camera) -> None:
    source = Picamera2Source(ask())
    source_frames = iter(source)
    next(source_frames)
    assert camera.acquired
    source.close()
    source.close()
    assert not camera.acquired
    assert not camera.running
    assert list(source_frames) == []
    take(ask())  # and again


def test_frames_belong_to_the_reader(real: Camera) -> None:
    source = Picamera2Source(ask())
    first = next(iter(source))
    assert first.small is not None
    frame, small = first.frame.copy(), first.small.copy()
    for source_frame in islice(source, 20):
        assert not np.shares_memory(source_frame.frame, first.frame)
    np.testing.assert_array_equal(first.frame, frame)
    np.testing.assert_array_equal(first.small, small)
    source.close()


def test_a_slow_reader_gets_the_newest_frame(real: Camera) -> None:
    source = Picamera2Source(ask())
    source_frames = iter(source)
    for _ in range(3):
        next(source_frames)
        before = time.monotonic()
        time.sleep(0.5)
        assert next(source_frames).captured > before + 0.1
    source.close()


def test_buffers_go_back_before_the_frame_is_used(real: Camera) -> None:
    source = Picamera2Source(ask())
    kept = list(islice(source, 12))  # twice as many as there are buffers
    real.silent = True
    deadline = time.monotonic() + PATIENCE_S
    while source._camera.allocator.in_use > 1:  # picamera2 itself keeps one
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(kept) == 12
    source.close()


def test_nothing_is_printed(real: Camera, capfd: pytest.CaptureFixture[str]) -> None:
    take(ask(), 2)
    real.busy = True
    with pytest.raises(SourceError):
        Picamera2Source(ask())
    assert capfd.readouterr() == ("", "")
    assert os.environ["LIBCAMERA_LOG_LEVELS"] == "*:FATAL"


@pytest.mark.parametrize("clock", [time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME])
def test_when_it_was_captured(clock: int) -> None:
    now = time.monotonic()
    assert picamera._captured(time.clock_gettime_ns(clock) - 2 * 10**9) == pytest.approx(now - 2, abs=1)


def test_timestamps_by_a_clock_that_counts_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {time.CLOCK_MONOTONIC: 1000 * 10**9, time.CLOCK_BOOTTIME: 5000 * 10**9}
    monkeypatch.setattr(time, "clock_gettime_ns", clocks.__getitem__)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert picamera._captured(999 * 10**9) == 999
    assert picamera._captured(4999 * 10**9) == 999
    assert picamera._captured(123) == 1000
    assert picamera._captured(10**18) == 1000
    assert picamera._captured(None) == 1000


def test_a_sensor_that_does_not_report_its_modes() -> None:
    class Silent:
        sensor_modes = [{"format": "MJPEG"}]  # noqa: RUF012

    class Failing:
        @property
        def sensor_modes(self) -> list[dict[str, Any]]:
            raise KeyError("ScalerCrop")

    assert picamera._widest_mode(Silent(), (640, 480), 30) == {}
    assert picamera._widest_mode(Failing(), (640, 480), 30) == {}


@pytest.mark.usefixtures("real")
def test_the_fake_has_the_real_ones_parameters() -> None:
    import picamera2

    for fake, genuine in ((FakePicamera2, picamera2.Picamera2), (FakeRequest, picamera2.CompletedRequest)):
        for name, member in vars(fake).items():
            if name.startswith("_") and name != "__init__":
                continue
            if inspect.isfunction(inspect.unwrap(getattr(fake, name))) and (fake, name) != (FakeRequest, "__init__"):
                ours, theirs = inspect.signature(getattr(fake, name)), inspect.signature(getattr(genuine, name))
                assert list(ours.parameters) == list(theirs.parameters), name
                defaults = {key: value.default for key, value in theirs.parameters.items() if key in ("raw", "queue")}
                assert all(ours.parameters[key].default == value for key, value in defaults.items())
            else:
                assert member is None or hasattr(genuine, name) or name in ("manager", "config"), name
