"""A small `Picamera2` by hand over the stand-in's camera, for where the real package isn't installed.

It has the methods that `seg_edge.sources.picamera` calls, with the real ones' parameters; a test compares the two.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.stand_in_libcamera import (
    MODES,
    Camera,
    CameraConfiguration,
    CameraManager,
    ColorSpace,
    ControlId,
    FrameBuffer,
    PixelFormat,
    Rectangle,
    Request,
    SensorConfiguration,
    Size,
    StreamRole,
)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return (value.x, value.y, value.width, value.height) if isinstance(value, Rectangle) else value


class FakeRequest:
    def __init__(self, request: Request, config: dict[str, Any], streams: dict[str, Any]):
        self.request, self.config, self.streams = request, config, streams

    def get_metadata(self) -> dict[str, Any]:
        return {control.name: _plain(value) for control, value in self.request.metadata.items()}

    def make_array(self, name: str) -> np.ndarray:
        config = self.config[name]
        (width, height), stride = config["size"], config["stride"]
        memory = np.frombuffer(self.request.buffers[self.streams[name].stream].memory, np.uint8)
        if config["format"] == "YUV420":
            return memory.reshape(height * 3 // 2, stride).copy()
        return np.ascontiguousarray(memory.reshape(height, stride)[:, : width * 3]).reshape(height, width, 3)


class FakePicamera2:
    manager: CameraManager
    platform = SimpleNamespace(name="VC4")

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [
            {"Model": "imx219", "Id": camera.id, "Num": number}
            for number, camera in enumerate(FakePicamera2.manager.cameras)
        ]

    def __init__(self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None, allocator: Any = None):
        self.camera: Camera = self.manager.cameras[camera_num]
        try:
            self.camera.acquire()
        except RuntimeError as error:
            raise RuntimeError("Camera __init__ sequence did not complete.") from error

    @property
    def camera_controls(self) -> dict[str, Any]:
        return {
            control.name: (_plain(info.min), _plain(info.max), _plain(info.default))
            for control, info in self.camera.controls.items()
        }

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        return [
            {"size": size, "bit_depth": bits, "crop_limits": area, "fps": round(1e6 / shortest_us, 2)}
            for bits in (8, 10)
            for size, (area, shortest_us) in MODES.items()
        ]

    def create_video_configuration(
        self,
        main: Any = {},  # noqa: B006
        lores: Any = None,
        raw: Any = {},  # noqa: B006
        transform: Any = None,
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: Any = {},  # noqa: B006
        display: Any = "main",
        encode: Any = "main",
        queue: bool = True,
        sensor: Any = {},  # noqa: B006
        use_case: str = "video",
    ) -> dict[str, Any]:
        def even(stream: dict[str, Any]) -> dict[str, Any]:
            return stream | {"size": (stream["size"][0] // 2 * 2, stream["size"][1] // 2 * 2)}

        return {
            "main": {"preserve_ar": True} | even(main),
            "lores": {"preserve_ar": False} | even(lores) if lores else None,
            "colour_space": colour_space or ColorSpace.Rec709(),
            "controls": {"FrameDurationLimits": (33333, 33333)} | controls,
            "sensor": sensor,
        }

    def configure(self, camera_config: Any = None) -> None:
        main, lores = camera_config["main"], camera_config["lores"]
        if lores:
            assert lores["size"][0] <= main["size"][0]
            assert lores["size"][1] <= main["size"][1]
            assert lores["format"] == "YUV420" or self.platform.name == "PISP"
        roles = [StreamRole.Viewfinder] * (2 if lores else 1)
        configured: CameraConfiguration = self.camera.generate_configuration(roles)
        self.streams = dict(zip(("main", "lores"), configured, strict=False))
        for name, stream in self.streams.items():
            stream.size = Size(*camera_config[name]["size"])
            stream.pixel_format = PixelFormat(camera_config[name]["format"])
            stream.color_space = camera_config["colour_space"]
        configured.validate()
        for name, stream in self.streams.items():
            camera_config[name]["stride"] = stream.stride
        configured.sensor_config = SensorConfiguration()
        configured.sensor_config.output_size = Size(*camera_config["sensor"]["output_size"])
        self.camera.configure(configured)
        self.config = camera_config

    def camera_configuration(self) -> dict[str, Any]:
        return self.config

    def start(self, config: Any = None, show_preview: Any = False) -> None:
        controls = dict(self.config["controls"])
        if "ScalerCrops" in self.camera_controls:
            controls["ScalerCrops"] = [self.camera_controls["ScalerCrops"][0]] * 2
        self.camera.started_with = controls
        self._apply(controls)

    def set_controls(self, controls: Any) -> None:
        self.camera.set_later |= controls
        self._apply(controls)

    def _apply(self, controls: dict[str, Any]) -> None:
        known: dict[str, ControlId] = {control.name: control for control in self.camera.controls}
        crops: dict[ControlId, Any] = {}
        if "ScalerCrop" in controls:
            crops[known["ScalerCrop"]] = Rectangle(*controls["ScalerCrop"])
        if "ScalerCrops" in controls:
            crops[known["ScalerCrops"]] = [Rectangle(*crop) for crop in controls["ScalerCrops"]]
        self.camera.apply(crops)

    @contextlib.contextmanager
    def captured_request(self, wait: Any = None, flush: Any = None) -> Iterator[FakeRequest]:
        request = Request(0)
        for stream in self.streams.values():
            request.add_buffer(stream.stream, FrameBuffer(stream.frame_size))
        self.camera.expose(request)
        yield FakeRequest(request, self.config, self.streams)

    def close(self) -> None:
        self.camera.release()


@contextlib.contextmanager
def fake_installed(monkeypatch: pytest.MonkeyPatch, pisp: bool) -> Iterator[CameraManager]:
    """As `installed`, but with the fake instead of the real package."""
    manager = CameraManager()
    manager.cameras.append(Camera(manager, pisp))
    picamera2, libcamera = ModuleType("picamera2"), ModuleType("libcamera")
    picamera2.Picamera2 = FakePicamera2  # type: ignore[attr-defined]
    libcamera.ColorSpace = ColorSpace  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "picamera2", picamera2)
        patch.setitem(sys.modules, "libcamera", libcamera)
        patch.setattr(FakePicamera2, "manager", manager, raising=False)
        patch.setattr(FakePicamera2, "platform", SimpleNamespace(name="PISP" if pisp else "VC4"))
        yield manager
