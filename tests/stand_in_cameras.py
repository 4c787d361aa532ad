"""Cameras for tests: pictures that carry their number, clips, MJPEG over HTTP and RTSP servers that can misbehave.

with HttpCamera() as camera:
    ...                      # camera.url
    camera.mode = "stall"    # or "close", "reset", "send"; also .broken, .size_wh
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Self

import cv2
import numpy as np
import pytest

BITS = 16


def numbered(number: int, size_wh: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A picture of a number up to 65,535 as black and white bars, which survive compression and resizing."""
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    bars = np.array([bits], np.uint8)
    picture = cv2.cvtColor(cv2.resize(bars, size_wh, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2BGR)
    picture[-size_wh[1] // 4 :] = (200, 120, 40)  # some colour, to check that it is BGR
    return picture


def read_number(frame: np.ndarray) -> int:
    """The number in a picture by `numbered`."""
    row = frame[frame.shape[0] // 4, :, 1]
    step = len(row) / BITS
    return sum(int(row[int((bit + 0.5) * step)] > 127) << bit for bit in range(BITS))


def write_clip(path: Path, frames: int = 20, fps: float = 25, size_wh: tuple[int, int] = (64, 48)) -> Path:
    """A video of pictures numbered from 0; the suffix selects the format, `.avi` (MJPG) or `.mp4`."""
    fourcc = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))  # type: ignore[attr-defined]
    writer = cv2.VideoWriter(str(path), fourcc, fps, size_wh)
    for number in range(frames):
        writer.write(numbered(number, size_wh))
    writer.release()
    return path


class HttpCamera:
    """An MJPEG camera on loopback, for any number of clients at once.

    Attributes:
        mode: `send` pictures, `stall` (send nothing, stay connected), `close` the connection, or `reset` it. It
            applies to connected clients and to new ones, which get their HTTP headers first.
        broken: How many of the next pictures aren't valid JPEGs.
        size_wh: Size of the next pictures.
        sent: `time.monotonic()` at which each number was first sent.
        clients: How many have connected so far.
    """

    def __init__(self, size_wh: tuple[int, int] = (64, 48), fps: float = 30, port: int = 0):
        self.size_wh, self.fps, self.mode, self.broken, self.clients = size_wh, fps, "send", 0, 0
        self.sent: dict[int, float] = {}
        self._began = time.monotonic()
        self._stopped = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):  # clients may disconnect at any moment
                    camera._serve(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/cam.mjpg"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _serve(self, client: BaseHTTPRequestHandler) -> None:
        self.clients += 1
        if client.path.startswith("/snap.jpg"):
            self._send_one(client)
            return
        if not client.path.startswith("/cam.mjpg"):
            client.send_error(404)
            return
        client.send_response(200)
        client.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        client.end_headers()
        last = -1
        while not self._stopped.wait(0.002):
            if self.mode == "reset":
                client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if self.mode in ("reset", "close"):
                return
            number = int((time.monotonic() - self._began) * self.fps)
            if self.mode == "send" and number > last:
                last = number
                self._send(client, number)

    def _send_one(self, client: BaseHTTPRequestHandler) -> None:
        authorized = client.headers.get("Authorization") == f"Basic {b64encode(b'me:pass word').decode()}"
        if self.mode == "locked" and not authorized:
            client.send_response(401)
            client.send_header("WWW-Authenticate", 'Basic realm="camera"')
            client.end_headers()
            return
        jpeg = cv2.imencode(".jpg", numbered(self.clients, self.size_wh))[1].tobytes()
        if self.broken:
            self.broken -= 1
            jpeg = jpeg[: len(jpeg) // 2]
        client.send_response(200)
        client.send_header("Content-Type", "image/jpeg")
        client.send_header("Content-Length", str(len(jpeg)))
        client.end_headers()
        client.wfile.write(jpeg)

    def _send(self, client: BaseHTTPRequestHandler, number: int) -> None:
        jpeg = cv2.imencode(".jpg", numbered(number, self.size_wh))[1].tobytes()
        if self.broken:
            self.broken -= 1
            jpeg = b"\xff\xd8" + os.urandom(200) + b"\xff\xd9"
        self.sent.setdefault(number, time.monotonic())
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        client.wfile.write(head.encode() + jpeg + b"\r\n")

    def close(self) -> None:
        """Closes the port; `HttpCamera(port=camera.port)` opens it again."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FakeVideoCapture:
    """A V4L2 webcam behind OpenCV's interface, as far as sources use it; `test_opencv.py` compares the methods.

    Like the real driver, it chooses the nearest size and rate that it supports, and ignores a format that it doesn't.
    Tests set the class's attributes, through `fake_webcam`.

    Attributes:
        formats: The highest rate by fourcc and size_wh. It starts in the first format.
        opens: Whether `open` works.
        events: What the next calls of `grab` give: "frame", "lost" (from then on), "bad" (a JPEG that can't be
            decoded) or "grey"; "frame" once the list is empty.
        stamp: The driver's timestamp of a frame, given the time it is grabbed; None: that time.
        made: All instances, newest last.
    """

    formats: ClassVar[dict[str, dict[tuple[int, int], float]]] = {"YUYV": {(640, 480): 30.0}}
    opens: ClassVar[bool] = True
    events: ClassVar[list[str]] = []
    stamp: ClassVar[Callable[[float], float] | None] = None
    made: ClassVar[list[FakeVideoCapture]] = []

    def __init__(self) -> None:
        self.opened, self.released = False, 0
        self.fourcc, self.size_wh, self.fps = next(iter(self.formats)), (640, 480), 30.0
        self.asked_wh = [640, 480]
        self.number, self.event, self.grabbed_at = 0, "frame", 0.0
        self.made.append(self)

    def open(self, filename: str, apiPreference: int) -> bool:
        assert apiPreference == cv2.CAP_V4L2
        self.opened = self.opens
        self._nearest()
        return self.opened

    def _nearest(self) -> None:
        sizes = self.formats[self.fourcc]
        self.size_wh = min(sizes, key=lambda wh: abs(wh[0] - self.asked_wh[0]) + abs(wh[1] - self.asked_wh[1]))

    def get(self, propId: int) -> float:
        return {
            cv2.CAP_PROP_FOURCC: lambda: float(int.from_bytes(self.fourcc.encode(), "little")),
            cv2.CAP_PROP_FRAME_WIDTH: lambda: float(self.size_wh[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: lambda: float(self.size_wh[1]),
            cv2.CAP_PROP_FPS: lambda: min(self.fps, self.formats[self.fourcc][self.size_wh]),
            cv2.CAP_PROP_POS_MSEC: lambda: 1000 * (type(self).stamp or float)(self.grabbed_at),
        }[propId]()

    def set(self, propId: int, value: float) -> bool:
        if propId == cv2.CAP_PROP_FOURCC:
            fourcc = int(value).to_bytes(4, "little").decode()
            self.fourcc = fourcc if fourcc in self.formats else self.fourcc
        elif propId == cv2.CAP_PROP_FPS:
            self.fps = value
        else:
            self.asked_wh[(cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT).index(propId)] = int(value)
        self._nearest()
        return True

    def grab(self) -> bool:
        if not self.opened:
            return False
        time.sleep(0.002)
        if self.event != "lost":
            self.event = self.events.pop(0) if self.events else "frame"
        self.number += 1
        self.grabbed_at = time.monotonic()
        return self.event != "lost"

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        if self.event == "bad":
            return True, None
        picture = numbered(self.number, self.size_wh)
        return True, picture[..., 0].copy() if self.event == "grey" else picture

    def release(self) -> None:
        self.opened = False
        self.released += 1


def fake_webcam(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> str:
    """Replaces /dev/video7 by a FakeVideoCapture with these attributes for this test; returns its name."""
    from seg_edge.sources import opencv
    from seg_edge.system.board import Camera

    device = "/dev/video7"
    fake = type("Fake", (FakeVideoCapture,), {"made": [], "events": [], **attributes})
    real = {name: getattr(os, name) for name in ("access",)} | {"exists": os.path.exists}
    monkeypatch.setattr(opencv.cv2, "VideoCapture", fake)
    monkeypatch.setattr(opencv, "find_cameras", lambda machine: [Camera(device, "Fake Cam", True)])
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) == device or real["access"](path, mode))
    monkeypatch.setattr(os.path, "exists", lambda path: str(path) == device or real["exists"](path))
    return device


# Run by Debian's Python: GStreamer's bindings aren't on PyPI.
_RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
width, height, fps = sys.argv[1:4]
server = GstRtspServer.RTSPServer(); server.set_address("127.0.0.1"); server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory(); factory.set_shared(True)
factory.set_launch(f"( videotestsrc is-live=true pattern=smpte ! video/x-raw,width={width},height={height},"
                   f"framerate={fps}/1,format=I420 ! openh264enc gop-size=10"
                   " ! rtph264pay config-interval=-1 name=pay0 )")
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


@contextmanager
def rtsp_camera(size_wh: tuple[int, int] = (64, 48), fps: int = 30) -> Iterator[str]:
    """The URL of an RTSP camera that shows colour bars; skips the test where GStreamer's server isn't installed."""
    try:
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", _RTSP_SERVER, *map(str, (*size_wh, fps))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError:
        pytest.skip("no RTSP server: there is no /usr/bin/python3")
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()  # empty if the import failed
        if not port:
            pytest.skip("no RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad")
        yield f"rtsp://127.0.0.1:{port}/cam"
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
