"""A Raspberry Pi's camera module, by picamera2.

Two streams come from one exposure: `main` is the picture, and `lores`, if available, is the same picture at the model's
size, scaled by the image processor (ISP), which saves the CPU a resize. That both show the same view is not obvious
when the model's input is square and the picture 4:3. According to the sources of libcamera
(`src/libcamera/pipeline/rpi`) and picamera2 (`configure_`):

- Up to the Pi 4 (vc4) the ISP crops its input once, to the proportions of the larger output, and scales both outputs
  from that: lores is main, stretched.
- On a Pi 5 (PiSP) each output has its own crop, by default to its own proportions: a square lores would lack the left
  and right of main. picamera2 from 0.3.23 on gives both the crop of main (`preserve_ar` is False for lores) where
  libcamera has the control `ScalerCrops`: lores is main, stretched. With an older version of either, it is not.

So lores is used where it is main, stretched, or both have the same proportions; a frame whose metadata still shows two
crops comes without `small`. Otherwise all frames come without it, and the segmenter resizes the picture.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from seg_edge.errors import SourceError
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest

__all__ = ["Picamera2Source"]

_SIZE_WH, _FPS = (640, 480), 30.0
_CONTINUOUS = 2  # libcamera's AfModeEnum.Continuous
# Controls with side effects: the frame rate comes from the request, and two crops give two different pictures.
_RESERVED = {"FrameRate": "fps", "FrameDurationLimits": "fps", "ScalerCrops": "ScalerCrop, which serves both streams"}
_LIST = "`rpicam-hello --list-cameras` lists the cameras found"


class Picamera2Source:
    """An open camera module; a `Source`.

    The sensor runs in the mode with the widest view at the requested rate: by default picamera2 picks a small mode for
    a small picture, which on some cameras shows only the middle of the view. Autofocus, if available, runs
    continuously unless `controls` say otherwise.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest, *, controls: Mapping[str, object] | None = None) -> None:
        """Opens the camera and starts it.

        Args:
            request: `name` is `picamera2` or `picamera2:N`, N counting the cameras from 0. The size is 640x480 if
                None, and is rounded to even numbers; the rate is 30 if None, or the sensor's highest if that is lower.
            controls: libcamera's controls by name, such as `{"ExposureTime": 8000, "AnalogueGain": 2.0}`.

        Raises:
            SourceError: picamera2 can't be imported, there is no such camera, another program is using it, it lacks a
                control, or it can't be started.
        """
        number = _number(request.name)
        picamera2, colour_space = _import_picamera2()
        self._name = f"Raspberry Pi camera {number} ({_model(picamera2, number)})"
        self._small_wh: tuple[int, int] | None = None
        self._camera: Any = _opened(picamera2, number, self._name)
        try:
            self._start(request, dict(controls or {}), colour_space)
        except SourceError:
            self.close()
            raise
        except Exception as error:  # picamera2 passes on whatever libcamera's bindings raise
            self.close()
            raise SourceError(f"{self._name} can't be started ({_reason(error)}); {_LIST}.") from error

    def _start(self, request: SourceRequest, controls: dict[str, object], colour_space: object) -> None:
        camera, fps = self._camera, request.fps or _FPS
        size_wh = request.size_wh or _SIZE_WH
        old = camera.platform.name == "VC4"
        wanted = _checked(controls, camera.camera_controls, self._name, fps)
        sensor = _widest_mode(camera, size_wh, fps)
        lores = _lores(size_wh, request.input_size_wh, "YUV420" if old else "BGR888")
        for small in (lores, None) if lores else (None,):
            # Without the unused raw stream there are fewer buffers. YUV is BT.601 with limited range, as OpenCV
            # assumes; by default picamera2 uses BT.709 for larger pictures.
            config = camera.create_video_configuration(
                main={"format": "RGB888", "size": size_wh},  # B, G, R in memory
                lores=small,
                raw=None,
                colour_space=colour_space,
                controls=wanted,
                sensor=sensor,
            )
            camera.configure(config)
            config = camera.camera_configuration()
            if small is None or _same_picture(config, small, "ScalerCrops" in camera.camera_controls, old):
                break
        if config["main"]["format"] != "RGB888":
            raise SourceError(f"{self._name} has no RGB888 stream but {config['main']['format']}; try another size.")
        self._small_wh = config["lores"]["size"] if config["lores"] else None
        camera.start()
        if "ScalerCrop" in controls:  # picamera2 starts a Pi 5's camera with crops of its own
            camera.set_controls({"ScalerCrop": controls["ScalerCrop"]})
        shortest_us = camera.camera_controls.get("FrameDurationLimits", (0,))[0]
        fps = min(fps, 1e6 / shortest_us) if shortest_us else fps
        width, height = config["main"]["size"]
        description = f"{self._name}, {width}x{height} at {fps:.4g} fps"
        if self._small_wh:
            description += ", model-sized stream by the ISP"
        self.info = SourceInfo(description, (width, height), fps)

    def __iter__(self) -> Iterator[SourceFrame]:
        """The newest frame each time, without end; the camera gets its buffer back before the frame is yielded.

        Raises:
            SourceError: The camera has failed. (An unplugged one raises nothing: libcamera just goes silent.)
        """
        # With `queue`, its default, picamera2 keeps one finished frame and replaces it with the next.
        while self._camera is not None:
            try:
                with self._camera.captured_request() as request:
                    metadata = request.get_metadata()
                    frame = request.make_array("main")  # a copy without the padding
                    lores = request.make_array("lores") if self._small_wh else None
            except Exception as error:  # as above
                raise SourceError(f"{self._name} has failed ({_reason(error)}); {_LIST}.") from error
            captured = _captured(metadata.get("SensorTimestamp"))
            crops = metadata.get("ScalerCrops", ())
            same_crop = all(crop == crops[0] for crop in crops)
            small = _as_rgb(lores, self._small_wh) if lores is not None and self._small_wh and same_crop else None
            yield SourceFrame(frame, small, captured)

    def close(self) -> None:
        """Stops and releases the camera. May be called twice; may hang if the camera was unplugged."""
        camera, self._camera = self._camera, None
        if camera is not None:
            # A camera that is gone can't be stopped properly; the error doesn't matter anymore.
            with contextlib.suppress(Exception):
                camera.close()


def _number(name: str) -> int:
    match = re.fullmatch(r"picamera2(?::([0-9]{1,3}))?", name)
    if not match:
        raise SourceError(f"{name!r} is not a Raspberry Pi camera; write picamera2, or picamera2:1 for the second one.")
    return int(match[1] or 0)


def _import_picamera2() -> tuple[Any, object]:
    """The class Picamera2, and the colour space in which OpenCV reads YUV."""
    # libcamera reads this when it is loaded, and logs to stderr; a user's own setting is kept.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:FATAL")
    logging.getLogger("picamera2").setLevel(logging.CRITICAL + 1)
    try:
        from libcamera import ColorSpace
        from picamera2 import Picamera2
    except Exception as error:  # a ValueError if a compiled part is for another NumPy
        if "numpy" in str(error).lower() and not isinstance(error, ModuleNotFoundError):
            advice = "it was built for another NumPy than this environment's: pip install 'numpy<2'"
        else:
            advice = (
                "sudo apt install python3-picamera2, and use an environment made by "
                "/usr/bin/python3 -m venv --system-site-packages DIR"
            )
        raise SourceError(f"picamera2 can't be imported ({error}); {advice}; see `seg-edge doctor`.") from error
    return Picamera2, ColorSpace.Smpte170m()


def _model(picamera2: Any, number: int) -> str:
    """The sensor's name, such as imx708."""
    try:
        cameras = picamera2.global_camera_info()
    except Exception as error:  # as in Picamera2Source
        raise SourceError(f"libcamera can't look for cameras ({_reason(error)}); {_LIST}.") from error
    if not cameras:
        raise SourceError(f"No Raspberry Pi camera was found; check its ribbon cable with the power off; {_LIST}.")
    models = [str(camera.get("Model", "unnamed")) for camera in cameras]
    if number >= len(cameras):
        found = ", ".join(f"picamera2:{index} ({model})" for index, model in enumerate(models))
        raise SourceError(f"There is no Raspberry Pi camera {number}; there is {found}.")
    if "/usb" in cameras[number]["Id"]:  # libcamera lists those too, with one stream each and rarely RGB
        raise SourceError(f"Camera {number} ({models[number]}) is a USB camera; name it /dev/videoN instead.")
    return models[number]


def _opened(picamera2: Any, number: int, name: str) -> Any:
    try:
        return picamera2(number)
    except Exception as error:  # as in Picamera2Source
        reason = _reason(error)
        if re.search(r"busy|acquire", reason, re.IGNORECASE):
            raise SourceError(
                f"{name} is in use by another program; end it (`sudo fuser -v /dev/media* /dev/video*` shows which)."
            ) from error
        raise SourceError(f"{name} can't be opened ({reason}); {_LIST}.") from error


def _reason(error: BaseException) -> str:
    """The root cause: picamera2 wraps it in 'Camera __init__ sequence did not complete.'."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error) or type(error).__name__).rstrip(".")


def _checked(controls: dict[str, object], available: Mapping[str, Any], name: str, fps: float) -> dict[str, object]:
    """The controls to start with, the frame rate among them."""
    for control, instead in _RESERVED.items():
        if control in controls:
            raise SourceError(f"The control {control} can't be set on {name}; set {instead}.")
    if unknown := sorted(set(controls) - set(available)):
        settable = ", ".join(sorted(set(available) - set(_RESERVED)))
        raise SourceError(f"{name} has no control {', '.join(unknown)}; it has {settable}.")
    wanted: dict[str, object] = {}
    if "FrameDurationLimits" in available:
        duration_us = round(1e6 / fps)
        wanted["FrameDurationLimits"] = (duration_us, duration_us)
    if "AfMode" in available and "LensPosition" not in controls:
        wanted["AfMode"] = _CONTINUOUS
    return wanted | controls


def _widest_mode(camera: Any, size_wh: tuple[int, int], fps: float) -> dict[str, object]:
    """The sensor mode with the widest view at this rate; among equals, the smallest with enough pixels."""
    try:
        modes = [mode for mode in camera.sensor_modes if "crop_limits" in mode]
    except (KeyError, RuntimeError):  # a sensor that doesn't report its modes: picamera2 chooses
        return {}
    if not modes:
        return {}
    fastest = max(modes, key=lambda mode: mode["fps"])
    modes = [mode for mode in modes if mode["fps"] >= fps - 0.1] or [fastest]
    seen = max(mode["crop_limits"][2] * mode["crop_limits"][3] for mode in modes)
    modes = [mode for mode in modes if mode["crop_limits"][2] * mode["crop_limits"][3] > 0.95 * seen]

    def cost(mode: dict[str, Any]) -> tuple[bool, int, int]:
        (width, height), pixels = mode["size"], mode["size"][0] * mode["size"][1]
        small = width < size_wh[0] or height < size_wh[1]
        return small, -pixels if small else pixels, -mode["bit_depth"]

    best = min(modes, key=cost)
    return {"output_size": best["size"], "bit_depth": best["bit_depth"]}


def _lores(main_wh: tuple[int, int], input_wh: tuple[int, int], fmt: str) -> dict[str, object] | None:
    """The small stream; None if picamera2 would refuse it or round its size."""
    (main_width, main_height), (width, height) = main_wh, input_wh
    if width > main_width - main_width % 2 or height > main_height - main_height % 2 or width % 2 or height % 2:
        return None
    return {"format": fmt, "size": input_wh}


def _same_picture(config: dict[str, Any], asked: dict[str, object], crops: bool, old: bool) -> bool:
    """Whether lores is as requested and shows the same view as main; the module docstring explains when."""
    main, lores = config["main"], config["lores"]
    if lores["size"] != asked["size"] or lores["format"] != asked["format"]:
        return False
    if main["size"][0] * lores["size"][1] == main["size"][1] * lores["size"][0]:
        return True
    return lores.get("preserve_ar") is False if crops else old


def _as_rgb(lores: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """The small stream as RGB uint8 (h, w, 3), from RGB, or from YUV420 (h * 3/2, stride) with padding."""
    if lores.ndim == 3:
        return lores
    # U and V have half the stride, so the whole array is a picture as wide as the stride.
    return np.ascontiguousarray(cv2.cvtColor(lores, cv2.COLOR_YUV2RGB_I420)[:, : size_wh[0]])


def _captured(timestamp_ns: int | None) -> float:
    """When the sensor began to send the frame, by `time.monotonic()`; now if the camera doesn't report it.

    The kernel uses CLOCK_MONOTONIC, while libcamera documents CLOCK_BOOTTIME. They agree on a Raspberry Pi, which never
    sleeps; elsewhere the frame's age shows which one it is.
    """
    now = time.monotonic()
    if timestamp_ns is not None:
        for clock in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME):
            age_s = (time.clock_gettime_ns(clock) - timestamp_ns) / 1e9
            if 0 <= age_s < 10:
                return now - age_s
    return now
