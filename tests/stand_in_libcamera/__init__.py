"""A stand-in for libcamera's Python bindings, enough to run the real `picamera2.Picamera2` where there is no camera.

`installed()` puts it into `sys.modules`, with empty stand-ins for what picamera2 imports and never uses here (pykms,
prctl, PiDNG, piexif, simplejpeg: some have no wheels), and takes it all out again.

Its camera has modes of an IMX219 and looks at a scene in which red grows from left to right and green from top to
bottom of the whole sensor, so that a pixel tells where on the sensor it was seen. The crops are those of libcamera's
`src/libcamera/pipeline/rpi`: `vc4.cpp` crops once, to the larger output; `pisp.cpp` crops each output by itself, and
`applyScalerCrop` in `pipeline_base.cpp` takes `ScalerCrops` before `ScalerCrop`.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import mmap
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

NATIVE = (3280, 2464)
# size: crop of the sensor that it reads, shortest frame in microseconds
MODES = {
    (640, 480): ((1000, 752, 1280, 960), 4850),
    (1640, 1232): ((0, 0, *NATIVE), 23900),
    (1920, 1080): ((680, 692, 1920, 1080), 21100),
    (3280, 2464): ((0, 0, *NATIVE), 47100),
}


class StreamRole(enum.Enum):
    StillCapture, Raw, VideoRecording, Viewfinder = range(4)


class ControlType(enum.Enum):
    Null, Rectangle, Size = range(3)


class Orientation(enum.Enum):
    Rotate0, Rotate0Mirror, Rotate180, Rotate180Mirror, Rotate90, Rotate90Mirror, Rotate270, Rotate270Mirror = range(8)


class Transform:
    def __init__(self, other: Transform | None = None, hflip: int = 0, vflip: int = 0, transpose: int = 0):
        self.hflip = other.hflip if other else hflip
        self.vflip = other.vflip if other else vflip
        self.transpose = other.transpose if other else transpose

    def __str__(self) -> str:  # picamera2 makes it the __repr__ too
        return f"{self.hflip}{self.vflip}{self.transpose}"


class ColorSpace:
    YcbcrEncoding = enum.Enum("YcbcrEncoding", "Null Rec601 Rec709")
    Range = enum.Enum("Range", "Full Limited")

    def __init__(self, other: ColorSpace):
        self.__dict__.update(other.__dict__)

    @classmethod
    def _named(cls, primaries: str, encoding: Any, span: Any) -> ColorSpace:
        self = cls.__new__(cls)
        self.primaries, self.transferFunction, self.ycbcrEncoding, self.range = primaries, primaries, encoding, span
        return self

    def __str__(self) -> str:
        return self.primaries

    @classmethod
    def Sycc(cls) -> ColorSpace:
        return cls._named("sycc", cls.YcbcrEncoding.Rec601, cls.Range.Full)

    @classmethod
    def Smpte170m(cls) -> ColorSpace:
        return cls._named("smpte170m", cls.YcbcrEncoding.Rec601, cls.Range.Limited)

    @classmethod
    def Rec709(cls) -> ColorSpace:
        return cls._named("rec709", cls.YcbcrEncoding.Rec709, cls.Range.Limited)

    @classmethod
    def Raw(cls) -> ColorSpace:
        return cls._named("raw", cls.YcbcrEncoding.Null, cls.Range.Full)


class Size:
    def __init__(self, width: int, height: int):
        self.width, self.height = width, height


class Rectangle:
    def __init__(self, x: int, y: int, width: int, height: int):
        self.x, self.y, self.width, self.height = x, y, width, height


class PixelFormat(str):
    __slots__ = ()


class FrameBuffer:
    """In libcamera it is made of file descriptors; here it is the memory."""

    def __init__(self, length: int):
        self.memory = mmap.mmap(-1, length)
        self.metadata = SimpleNamespace(status=FrameMetadata.Status.Success)


class FrameMetadata:
    Status = enum.Enum("Status", "Success Error Startup")


class SensorConfiguration:
    bit_depth = 0
    output_size: Size


class ControlId:
    def __init__(self, name: str, kind: ControlType = ControlType.Null):
        self.name, self.type = name, kind


class StreamConfiguration:
    def __init__(self, role: StreamRole):
        self.role, self.stream = role, object()
        self.color_space: ColorSpace | None = None
        self.size, self.pixel_format, self.buffer_count, self.stride = Size(640, 480), PixelFormat("XBGR8888"), 4, 0
        self.formats = SimpleNamespace(
            pixel_formats=[PixelFormat("SRGGB8"), PixelFormat("SRGGB10_CSI2P")],
            sizes=lambda _: [Size(*size) for size in MODES],
        )

    @property
    def frame_size(self) -> int:
        return self.stride * self.size.height * 3 // (2 if self.pixel_format == "YUV420" else 3)


class CameraConfiguration(list[StreamConfiguration]):
    Status = enum.Enum("Status", "Valid Adjusted Invalid")
    orientation = Orientation.Rotate0
    sensor_config: SensorConfiguration | None = None

    def at(self, index: int) -> StreamConfiguration:
        return self[index]

    def validate(self) -> Any:
        for stream in self:
            bytes_a_row = {"RGB888": 3, "BGR888": 3, "YUV420": 1}.get(stream.pixel_format, 4) * stream.size.width
            stream.stride = -(-bytes_a_row // 64) * 64
        return self.Status.Valid


class Request:
    Status = enum.Enum("RequestStatus", "Pending Complete Cancelled")

    def __init__(self, cookie: int):
        self.cookie, self.status = cookie, self.Status.Pending
        self.buffers: dict[Any, FrameBuffer] = {}
        self.metadata: dict[ControlId, Any] = {}
        self.controls: dict[ControlId, Any] = {}

    def add_buffer(self, stream: object, buffer: FrameBuffer) -> None:
        self.buffers[stream] = buffer

    def reuse(self) -> None:
        self.status, self.controls = self.Status.Pending, {}

    def set_control(self, control: ControlId, value: Any) -> None:
        self.controls[control] = value


_CONTROLS = {name: ControlId(name) for name in ("ExposureTime", "ExposureTimeMode", "AnalogueGain", "AnalogueGainMode")}
_CONTROLS |= {name: ControlId(name) for name in ("NoiseReductionMode", "FrameDurationLimits", "AfMode", "LensPosition")}
_CONTROLS |= {name: ControlId(name, ControlType.Rectangle) for name in ("ScalerCrop", "ScalerCrops")}
_PROPERTIES = {name: ControlId(name) for name in ("Model", "Location", "Rotation", "ColorFilterArrangement")}
_SENSOR_TIMESTAMP = ControlId("SensorTimestamp")


class Camera:
    """One camera; the tests set its attributes to make it another."""

    def __init__(self, manager: CameraManager, pisp: bool, ident: str = "/base/soc/i2c0mux/i2c@1/imx219@10"):
        self.id, self.manager, self.pisp = ident, manager, pisp
        self.has_scaler_crops = pisp
        self.has_autofocus = False
        self.busy = self.broken = self.silent = False
        self.clock = time.CLOCK_MONOTONIC
        self.frames_a_second = 200.0
        self.acquired = self.running = False
        self.configured: CameraConfiguration | None = None
        self.mode = NATIVE
        self.crops: list[tuple[int, int, int, int]] = []
        self.started_with: dict[str, Any] = {}
        self.set_later: dict[str, Any] = {}
        self.sequence = 0
        self.queue: deque[Request] = deque()

    @property
    def properties(self) -> dict[ControlId, Any]:
        known = {"Model": "imx219", "Location": 2, "Rotation": 180, "ColorFilterArrangement": 0}
        return {_PROPERTIES[name]: value for name, value in known.items()}

    @property
    def controls(self) -> dict[ControlId, Any]:
        def info(low: Any, high: Any, default: Any) -> Any:
            return SimpleNamespace(min=low, max=high, default=default)

        area, shortest_us = MODES[self.mode]
        known = {
            "ExposureTime": info(75, 11766829, 20000),
            "AnalogueGain": info(1.0, 10.66, 1.0),
            "NoiseReductionMode": info(0, 4, 0),
            "FrameDurationLimits": info(shortest_us, 11767556, 33333),
            "ScalerCrop": info(Rectangle(0, 0, 64, 64), Rectangle(*area), Rectangle(*area)),
        }
        if self.has_autofocus:
            known |= {"AfMode": info(0, 2, 0), "LensPosition": info(0.0, 32.0, 1.0)}
        if self.has_scaler_crops and len(self.crops) == 2:
            known["ScalerCrops"] = info(Rectangle(*self.crops[0]), Rectangle(*self.crops[1]), Rectangle(*self.crops[0]))
        return {_CONTROLS[name]: value for name, value in known.items()}

    def acquire(self) -> None:
        if self.busy:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        if self.broken:
            raise RuntimeError("the sensor does not answer")
        self.acquired = True

    def release(self) -> None:
        self.acquired = False

    def generate_configuration(self, roles: list[StreamRole]) -> CameraConfiguration:
        return CameraConfiguration(map(StreamConfiguration, roles))

    def configure(self, config: CameraConfiguration) -> int:
        assert config.sensor_config is not None
        self.mode = (config.sensor_config.output_size.width, config.sensor_config.output_size.height)
        outputs = [stream.size for stream in config if stream.role != StreamRole.Raw]
        if not self.pisp:
            outputs = [max(outputs, key=lambda size: size.width * size.height)] * len(outputs)
        self.crops = [self._bounded(size) for size in outputs]
        self.configured = config
        return 0

    def _bounded(self, size: Size) -> tuple[int, int, int, int]:
        """The largest part of what the mode reads with the proportions of `size`, from its middle."""
        x, y, width, height = MODES[self.mode][0]
        w = min(width, height * size.width // size.height)
        h = min(height, width * size.height // size.width)
        return x + (width - w) // 2, y + (height - h) // 2, w, h

    def create_request(self, cookie: int) -> Request:
        return Request(cookie)

    def start(self, controls: dict[ControlId, Any]) -> None:
        self.started_with = {control.name: value for control, value in controls.items()}
        self.apply(controls)
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def queue_request(self, request: Request) -> None:
        self.set_later |= {control.name: value for control, value in request.controls.items()}
        self.apply(request.controls)
        self.queue.append(request)

    def stop(self) -> None:
        self.running = False
        self.thread.join()
        while self.queue:
            self.queue.popleft().status = Request.Status.Cancelled

    def apply(self, controls: dict[ControlId, Any]) -> None:
        def plain(crop: Rectangle) -> tuple[int, int, int, int]:
            return crop.x, crop.y, crop.width, crop.height

        if self.pisp and self.has_scaler_crops and _CONTROLS["ScalerCrops"] in controls:
            self.crops = [plain(crop) for crop in controls[_CONTROLS["ScalerCrops"]]]
        elif _CONTROLS["ScalerCrop"] in controls:
            self.crops = [plain(controls[_CONTROLS["ScalerCrop"]])] * len(self.crops)

    def _run(self) -> None:
        while self.running:
            time.sleep(1 / self.frames_a_second)
            if self.queue and not self.silent:
                request = self.queue.popleft()
                self.expose(request)
                self.manager.hand_over(request)

    def expose(self, request: Request) -> None:
        assert self.configured is not None
        self.sequence += 1
        outputs = [stream for stream in self.configured if stream.role != StreamRole.Raw]
        for config, crop in zip(outputs, self.crops, strict=True):
            picture = scene(crop, (config.size.width, config.size.height), self.sequence)
            memory = np.frombuffer(request.buffers[config.stream].memory, np.uint8)
            write(picture, config.pixel_format, config.stride, memory, config.color_space)
        request.metadata = {_SENSOR_TIMESTAMP: time.clock_gettime_ns(self.clock)}
        if self.has_scaler_crops and len(self.crops) == 2:
            request.metadata[_CONTROLS["ScalerCrops"]] = [Rectangle(*crop) for crop in self.crops]
        request.status = Request.Status.Complete


def scene(crop: tuple[int, int, int, int], size_wh: tuple[int, int], sequence: int) -> np.ndarray:
    """BGR of the part `crop` (x, y, width, height) of what the sensor sees; blue counts the frames."""
    across = crop[0] + (np.arange(size_wh[0]) + 0.5) * crop[2] / size_wh[0]
    down = crop[1] + (np.arange(size_wh[1]) + 0.5) * crop[3] / size_wh[1]
    picture = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    picture[..., 2] = across[None, :] * 255 / NATIVE[0]
    picture[..., 1] = down[:, None] * 255 / NATIVE[1]
    picture[..., 0] = 40 + sequence % 8
    return picture


def write(picture: np.ndarray, fmt: str, stride: int, memory: np.ndarray, colour_space: ColorSpace | None) -> None:
    """Lays a BGR picture out as the ISP does; the padding is white noise to whoever takes it for picture."""
    height, width = picture.shape[:2]
    if fmt == "YUV420":
        whole = np.full(stride * height * 3 // 2, 255, np.uint8)
        y, uv = whole[: stride * height].reshape(height, stride), whole[stride * height :].reshape(-1, stride // 2)
        planes = yuv(picture, colour_space)
        y[:, :width] = planes[..., 0]
        uv[:, : width // 2] = np.concatenate([planes[::2, ::2, 1], planes[::2, ::2, 2]])
    else:
        rows = picture if fmt == "RGB888" else picture[..., ::-1]
        whole = np.full((height, stride), 255, np.uint8)
        whole[:, : width * 3] = rows.reshape(height, -1)
    memory[:] = whole.ravel()


def yuv(picture: np.ndarray, colour_space: ColorSpace | None) -> np.ndarray:
    """Y, U, V uint8 (height, width, 3), with the formulas of ITU-R BT.601 or BT.709."""
    assert colour_space is not None
    of_red, of_blue = (0.2126, 0.0722) if colour_space.ycbcrEncoding.name == "Rec709" else (0.299, 0.114)
    blue, green, red = (picture[..., channel] / 255 for channel in range(3))
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    planes = np.stack([luma, (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)], axis=2)
    full = colour_space.range.name == "Full"
    scale, offset = ((255, 255, 255), (0, 128, 128)) if full else ((219, 224, 224), (16, 128, 128))
    return np.clip(np.rint(planes * scale + offset), 0, 255).astype(np.uint8)


class CameraManager:
    def __init__(self) -> None:
        self.cameras: list[Camera] = []
        self.ready: deque[Request] = deque()
        self.event_fd, self._bell = os.pipe2(os.O_NONBLOCK)

    def hand_over(self, request: Request) -> None:
        self.ready.append(request)
        with contextlib.suppress(BlockingIOError):
            os.write(self._bell, b"\0")

    def get_ready_requests(self) -> list[Request]:
        with contextlib.suppress(BlockingIOError):
            os.read(self.event_fd, 4096)
        return [self.ready.popleft() for _ in range(len(self.ready))]


class Allocator:
    """Instead of picamera2's DmaAllocator, which takes memory from /dev/dma_heap."""

    in_use = 0
    at_most = 0

    def __init__(self) -> None:
        self.frame_buffers: dict[object, list[FrameBuffer]] = {}
        self.mapped_buffers: dict[FrameBuffer, mmap.mmap] = {}

    @staticmethod
    def sync(allocator: Allocator, buffer: FrameBuffer, write: bool) -> Any:
        return contextlib.nullcontext(buffer.memory)

    def allocate(self, config: CameraConfiguration, use_case: str | None) -> None:
        self.frame_buffers = {
            stream.stream: [FrameBuffer(stream.frame_size) for _ in range(stream.buffer_count)] for stream in config
        }
        self.mapped_buffers = {buffer: buffer.memory for row in self.frame_buffers.values() for buffer in row}

    def buffers(self, stream: object) -> list[FrameBuffer]:
        return self.frame_buffers[stream]

    def acquire(self, buffers: dict[object, FrameBuffer]) -> None:
        self.in_use += 1

    def release(self, buffers: dict[object, FrameBuffer]) -> None:
        self.in_use -= 1

    def close(self) -> None:
        pass


def _module(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(attributes)
    return module


_current: list[CameraManager] = []  # picamera2 is loaded once and asks for the manager again and again
_loaded: dict[str, ModuleType] = {}


def _libcamera() -> dict[str, ModuleType]:
    draft = SimpleNamespace(NoiseReductionModeEnum=enum.Enum("NoiseReductionModeEnum", "Off Fast HighQuality Minimal"))
    controls = _module("libcamera.controls", draft=draft, **_CONTROLS)
    classes = (
        *(StreamRole, ControlType, Orientation, Transform, ColorSpace, Size, Rectangle, PixelFormat, FrameBuffer),
        *(FrameMetadata, SensorConfiguration, CameraConfiguration, Request, Camera),
    )
    names: dict[str, Any] = {kind.__name__: kind for kind in classes}
    names["CameraManager"] = SimpleNamespace(singleton=lambda: _current[-1])
    arrangements = SimpleNamespace(ColorFilterArrangementEnum=enum.Enum("ColorFilterArrangementEnum", "MONO"))
    bindings = _module("libcamera._libcamera", **names)
    package = _module("libcamera", _libcamera=bindings, controls=controls, **names)
    package.properties = _module("libcamera.properties", draft=arrangements)  # type: ignore[attr-defined]
    return {"libcamera": package, "libcamera._libcamera": bindings, "libcamera.controls": controls}


def _unused() -> dict[str, ModuleType]:
    return {
        "pykms": _module("pykms", PixelFormat=MagicMock()),
        "prctl": _module("prctl"),
        "piexif": _module("piexif"),
        "simplejpeg": _module("simplejpeg"),
        "pidng": _module("pidng"),
        "pidng.core": _module("pidng.core", PICAM2DNG=None),
        "pidng.camdefs": _module("pidng.camdefs", Picamera2Camera=None),
    }


def _is_ours(name: str) -> bool:
    return name.split(".")[0] in {"picamera2", "libcamera", "pykms", "prctl", "piexif", "simplejpeg", "pidng"}


@contextlib.contextmanager
def installed(monkeypatch: pytest.MonkeyPatch, pisp: bool) -> Iterator[CameraManager]:
    """The real picamera2 over a stand-in with one camera, of a Pi 5 (`pisp`) or an older one.

    Skips the test where the package picamera2 isn't installed; its dependencies and libcamera needn't be.
    """
    if importlib.util.find_spec("picamera2") is None or importlib.util.find_spec("videodev2") is None:
        pytest.skip("picamera2 is not installed: pip install --no-deps picamera2 videodev2")
    manager = CameraManager()
    manager.cameras.append(Camera(manager, pisp))
    before = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    for name in before:
        del sys.modules[name]
    sys.modules |= _loaded or (_libcamera() | _unused())
    _current.append(manager)
    try:
        import picamera2.picamera2 as real
        from picamera2.platform import Platform

        _loaded.update({name: module for name, module in sys.modules.items() if _is_ours(name)})
        real.Picamera2._cm.reset()
        monkeypatch.setattr(real, "DmaAllocator", Allocator)
        monkeypatch.setattr(real.Picamera2, "platform", Platform.PISP if pisp else Platform.VC4)
        yield manager
    finally:
        _current.remove(manager)
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules |= before
