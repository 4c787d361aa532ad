"""Which source a name means, and which camera `auto` chooses.

A named source is opened or is an error; no other takes its place. Backends are imported only when they are used.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from seg_edge.errors import SourceError
from seg_edge.sources.names import camera_device, is_sequence, is_url, shown_name
from seg_edge.sources.source import Source, SourceRequest
from seg_edge.system.board import Machine, find_cameras

KINDS = "auto, picamera2, a camera's number, /dev/videoN, a video, a photo, a folder of photos, a URL or synthetic"
# Seconds allowed to a cold Raspberry Pi for importing picamera2 and querying libcamera.
PICAMERA2_S = 20.0
# libcamera lists USB cameras too; those are opened by V4L2.
_ASK_PICAMERA2 = """
from picamera2 import Picamera2
print("cameras:", sum("/usb" not in camera["Id"] for camera in Picamera2.global_camera_info()))
"""


def open_source(request: SourceRequest) -> Source:
    """Opens the source that `request.name` names; for `auto`, the first camera found.

    Raises:
        SourceError: It can't be opened, or the name doesn't mean a source.
    """
    source = _open(request)
    if request.rotate or request.flip:
        from seg_edge.sources.turned import TurnedSource

        return TurnedSource(source, request.rotate, request.flip)
    return source


def _open(request: SourceRequest) -> Source:
    name = choose_source(Machine()) if request.name == "auto" else request.name
    request = replace(request, name=name)
    if re.fullmatch(r"picamera2(:\d+)?", name):
        from seg_edge.sources.picamera import Picamera2Source

        return Picamera2Source(request, controls=request.controls)
    if request.controls:
        raise SourceError(f"{shown_name(name)}: --control is for a Raspberry Pi's camera module; leave it out.")
    if name == "synthetic":
        from seg_edge.sources.synthetic import SyntheticSource

        return SyntheticSource(request)
    if is_url(name):
        from seg_edge.sources.polled import PolledSource, is_one_picture

        if is_one_picture(name):
            return PolledSource(request)
    if camera_device(name) or is_url(name):
        from seg_edge.sources.opencv import OpenCVSource

        source = OpenCVSource(request)
        if source.info.endless and not source.stale:
            return source
        source.close()
        if not source.info.endless:
            return _open_video(request)
        from seg_edge.sources.stream import StreamSource

        return StreamSource(request)

    from seg_edge.photo.find import PHOTO_SUFFIXES

    path = Path(name)
    if name and is_sequence(path):
        from seg_edge.sources.numbered import NumberedSource

        return NumberedSource(request)
    if name and (path.is_dir() or path.suffix.lower() in PHOTO_SUFFIXES):
        from seg_edge.sources.still import StillSource

        return StillSource(request)
    if name and path.exists():
        return _open_video(request)
    shown = name if name.isprintable() else ascii(name)
    raise SourceError(f"source {shown!r}: there is no such file; a source is {KINDS}.")


def _open_video(request: SourceRequest) -> Source:
    from seg_edge.sources.video_file import VideoFileSource

    return VideoFileSource(request)


def choose_source(machine: Machine) -> str:
    """The name of the camera that `auto` means: a camera module, else the first USB camera this user may open.

    Raises:
        SourceError: There is no camera; the synthetic source is never chosen.
    """
    module = _camera_modules(machine)
    if module == "":
        return "picamera2"
    cameras = find_cameras(machine)
    for camera in cameras:
        if camera.allowed:
            return camera.device
    if cameras:
        found = ", ".join(f"{camera.device} ({camera.name})" for camera in cameras)
        usb = f"{found}: no permission (sudo usermod -aG video $USER, then log out and in again)"
    else:
        usb = "USB: none (plug one in)"
    raise SourceError(
        f"no camera found. Camera module: {module}. {usb}. `seg-edge doctor` tells more; "
        "`--source FILE` opens a video or photos, `--source synthetic` shows a demo."
    )


def _camera_modules(machine: Machine) -> str:
    """Empty if picamera2 finds a camera, else why not.

    It is queried in a process of its own: libcamera may crash, and its threads would stay in this program.
    """
    try:
        if find_spec("picamera2") is None:
            return "picamera2 is not installed here"
    except ValueError:  # a module without a spec, such as a test's fake
        pass
    try:
        command = [sys.executable, "-P", "-c", _ASK_PICAMERA2]
        done = machine.run(command, capture_output=True, text=True, timeout=PICAMERA2_S)
    except subprocess.TimeoutExpired:
        return f"picamera2 did not respond within {PICAMERA2_S:.0f} s"
    except OSError as error:
        return f"picamera2 could not be queried ({error.strerror})"
    count = re.search(r"^cameras: (\d+)$", done.stdout, re.MULTILINE)
    if count is None:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return f"picamera2 does not work here ({lines[-1]})"
    return "" if int(count[1]) else "picamera2 finds none (check the ribbon cable)"
