"""Cameras by V4L2 and network streams, both by OpenCV's VideoCapture.

Comments on VideoCapture's behaviour come from tests with OpenCV 5.0 and from its modules/videoio/src/cap_v4l.cpp.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import cv2
import numpy as np

from seg_edge.errors import SourceError
from seg_edge.sources.names import camera_device, is_url, shown_name
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest
from seg_edge.sources.still import fit_inside
from seg_edge.system.board import Machine, find_cameras
from seg_edge.system.opencv_log import quiet_opencv

CAMERA_SIZE_WH = (640, 480)
FPS = 30.0
TIMEOUT_S = 4
# A single False from read() means a bad JPEG or a broken frame, and pictures continue; once a stream has ended, every
# read() returns False at once.
TRIES = 10
PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}
MJPG = int.from_bytes(b"MJPG", "little")
# OpenCV reads these when it opens its first capture. The user's own settings are kept.
ENVIRONMENT = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp",  # UDP loses packets, which shows as grey smears
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": str(TIMEOUT_S),  # OpenCV's READ_TIMEOUT_MSEC doesn't apply to V4L2
}


class OpenCVSource:
    """A camera (`0`, `/dev/video0`) or a URL.

    A camera is asked for `request.size_wh` (640x480) at `request.fps` (30); `info` says what it actually delivers. A
    stream keeps its own rate, and its own size, scaled down in proportion to fit `request.size_wh` if given. If the URL
    is a video file, `info.endless` is False and no frame comes.

    Raises:
        SourceError: It can't be opened, or gives no picture.

    Attributes:
        info: What was opened.
        stale: A stream's second picture equals its first, so it is frozen or OpenCV can't convert it.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest):
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        self._request, self._name = request, shown_name(request.name)
        self._fit_wh = request.size_wh
        self._stamped = self._closed = self.stale = False
        self._last = 0.0
        self._held: SourceFrame | None = None
        self._capture = cv2.VideoCapture()
        try:
            with quiet_opencv():
                if device := camera_device(request.name):
                    self._open_camera(device)
                else:
                    self._open_url(request.name)
        except BaseException:
            self.close()
            raise

    def _open_camera(self, device: str) -> None:
        self._name, self._fit_wh, self._stamped = device, None, True
        cameras = {camera.device: camera for camera in find_cameras(Machine())}
        if not os.path.exists(device):
            others = ", ".join(f"{camera.device} ({camera.name})" for camera in cameras.values()) or "none"
            raise SourceError(f"{device}: there is no such camera; plug it in. Cameras found: {others}.")
        if not os.access(device, os.R_OK | os.W_OK):
            raise SourceError(f"{device}: no permission; sudo usermod -aG video $USER, then log out and in again.")
        if not self._capture.open(device, cv2.CAP_V4L2):
            advice = f"another program may be using it (`fuser -v {device}` names it), or it is not a camera"
            raise SourceError(f"{device}: can't be opened; {advice}.")
        wanted_wh, wanted_fps = self._request.size_wh or CAMERA_SIZE_WH, self._request.fps or FPS
        self._set_camera(wanted_wh, wanted_fps)
        fourcc = self._number(cv2.CAP_PROP_FOURCC) & 0x7F7F7F7F  # the highest bit says big-endian
        first = self._first("opens but gives no picture; unplug it and plug it in again, or try another port")
        size_wh, fps = (first.shape[1], first.shape[0]), self._rate()
        description = f"{device} ({cameras[device].name})" if device in cameras and cameras[device].name else device
        description += (
            f", {_size(size_wh)}{f' at {fps:g} fps' if fps else ''}, {fourcc.to_bytes(4, 'little').decode().strip()}"
        )
        if size_wh != wanted_wh:
            description += f"; {_size(wanted_wh)} was asked for"
        if fps and abs(fps - wanted_fps) > 0.5:
            description += f"; {wanted_fps:g} fps were asked for"
        self.info = SourceInfo(description, size_wh, fps)

    def _set_camera(self, wanted_wh: tuple[int, int], wanted_fps: float) -> None:
        """Sets size and rate, uncompressed if possible, as MJPG has to be decoded."""
        raw = self._number(cv2.CAP_PROP_FOURCC)
        got = self._try_format(raw, wanted_wh, wanted_fps)
        if got < (True, 1.0) and raw != MJPG and self._try_format(MJPG, wanted_wh, wanted_fps) <= got:
            self._try_format(raw, wanted_wh, wanted_fps)

    def _try_format(self, fourcc: int, wanted_wh: tuple[int, int], wanted_fps: float) -> tuple[bool, float]:
        """Whether the camera then has the size, and its share of the wanted rate, at most 1; 1 if unknown."""
        # The rate comes last, as setting the others restarts the driver. Its four buffers stay: with fewer, one is
        # still being read when the camera needs it, which halves the rate; frames that are read at once don't age.
        self._capture.set(cv2.CAP_PROP_FOURCC, fourcc)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted_wh[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted_wh[1])
        self._capture.set(cv2.CAP_PROP_FPS, wanted_fps)
        size_wh = (self._number(cv2.CAP_PROP_FRAME_WIDTH), self._number(cv2.CAP_PROP_FRAME_HEIGHT))
        return size_wh == wanted_wh, min(1.0, round((self._rate() or wanted_fps) / wanted_fps, 1))

    def _open_url(self, url: str) -> None:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_S * 1000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_S * 1000]
        if not self._capture.open(url, cv2.CAP_FFMPEG, timeouts):
            raise SourceError(f"{self._name}: {_why_not(url)}.")
        # Below 0 for a camera. An RTSP recorder may report a length and still be live.
        if self._number(cv2.CAP_PROP_FRAME_COUNT) > 0 and not url.lower().startswith(("rtsp", "rtmp")):
            self.info = SourceInfo(self._name, (0, 0), 0.0, endless=False)
            return
        first = self._first("connects but gives no picture; check its path, and that the camera is on")
        size_wh = (first.shape[1], first.shape[0])
        jpegs = self._number(cv2.CAP_PROP_FOURCC) == MJPG
        # No camera gives the same picture twice, bit for bit. OpenCV does for interlaced ones: it can't convert them.
        self.stale = not jpegs and (second := self._read()) is not None and np.array_equal(second.frame, first)
        # JPEGs over HTTP carry no time; FFmpeg reports 25 fps for them.
        fps = 0.0 if jpegs else self._rate()
        self.info = SourceInfo(f"{self._name}, {_size(size_wh)}{f' at {fps:g} fps' if fps else ''}", size_wh, fps)

    def _first(self, otherwise: str) -> np.ndarray:
        self._held = self._read()
        if self._held is None:
            raise SourceError(f"{self._name}: {otherwise}.")
        return self._held.frame

    def _number(self, prop: int) -> int:
        value = self._capture.get(prop)
        return int(value) if math.isfinite(value) else 0

    def _rate(self) -> float:
        """Frames a second as the driver or the container states it; 0 if that can't be true."""
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        # Also excludes NaN; 1000 and 90000 are clock rates, not frame rates.
        return round(fps, 3) if 0 < fps < 1000 else 0.0

    def _read(self) -> SourceFrame | None:
        """The next frame; None when there are no more, for any reason."""
        began = time.monotonic()
        for _ in range(TRIES):
            with quiet_opencv():
                grabbed = self._capture.grab()
                captured = self._when_captured()
                good, frame = self._capture.retrieve() if grabbed else (False, None)
            if good and frame is not None and frame.size:
                return SourceFrame(fit_inside(_as_bgr(frame), self._fit_wh), None, captured)
            if time.monotonic() - began >= TIMEOUT_S:
                break
        return None

    def _when_captured(self) -> float:
        """When the picture just grabbed was taken: by V4L2's timestamp, set before the queue, else now."""
        now = time.monotonic()
        if self._stamped:
            # On the kernel's monotonic clock; some drivers and cameras store something else.
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            self._last = max(self._last, stamp if now - 1 < stamp <= now else now)
            return self._last
        return now

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames.

        Raises:
            SourceError: The camera is gone, or the stream has ended.
        """
        # The first picture was taken before the program was ready.
        self._held = None
        while not self._closed and (source_frame := self._read()) is not None:
            yield source_frame
        if not self._closed and self.info.endless:
            stream = is_url(self._request.name)
            raise SourceError(
                f"{self._name}: {'the stream was interrupted' if stream else 'the camera gives no more pictures'}."
            )

    def close(self) -> None:
        """Frees the device; ends the iteration."""
        self._closed = True
        self._held = None
        self._capture.release()


def _as_bgr(frame: np.ndarray) -> np.ndarray:
    channels = 1 if frame.ndim == 2 else frame.shape[2]
    codes = {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}
    return cv2.cvtColor(frame, codes[channels]) if channels in codes else np.ascontiguousarray(frame)


def _size(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"


def _why_not(url: str) -> str:
    """Why a URL doesn't open, as far as can be determined: OpenCV doesn't report it."""
    no_video = "gives no video; check its path, its user and password, and that the camera is on"
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme.lower())
        if not parts.hostname or port is None:
            return no_video
        socket.create_connection((parts.hostname, port), 1).close()
    except socket.gaierror:
        return f"there is no host {parts.hostname}; check the name"
    except ConnectionRefusedError:
        return f"nothing answers on port {port} of {parts.hostname}; check the port, and that the camera is on"
    except ValueError:  # its message would show part of the password
        return "is not a valid address; write / and @ in a password as %2F and %40"
    except OSError as error:
        return f"can't be reached ({error}); check the address and the network"
    return no_video
