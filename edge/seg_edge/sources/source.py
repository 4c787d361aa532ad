"""The interface of a source of frames: a camera, a stream, a video, photos, a demo.

A source is opened with a `SourceRequest`, iterated once, and ends when there are no more frames. It does not reconnect,
does not time out a hanging driver, and keeps no queue beyond its driver's own: `capture/supervisor.py`, which runs
every source in its own process, does that for all of them.

To add a kind of source:

1. Write `sources/NAME.py` with a class that has `info`, `__iter__` and `close` as in `Source`. Its constructor takes
   the `SourceRequest`, opens the device and raises `SourceError` in one sentence if it can't. Import heavy libraries
   there.
2. Choose it by name in `sources/open.py:_open`, importing it inside that branch, and list it in `KINDS` there.
3. Add it to `KINDS` in `tests/edge/sources/test_source_contract.py`, which checks everything stated here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True)
class SourceRequest:
    """What the user wants of a source.

    Attributes:
        name: As the user typed it: `picamera2`, `0`, `/dev/video0`, a file, a folder, a URL, `synthetic`.
        input_size_wh: The model's input size. A camera with a second, small stream delivers it at this size.
        size_wh: The picture's size; None for the source's own, 640x480 for a camera.
        fps: Frames a second; None for the source's own, 30 for a camera.
        live: Frames come in real time, even from a file. If False, every frame comes, as fast as they are read.
        rotate: Degrees to turn frames clockwise: 0, 90, 180 or 270.
        flip: Flip frames vertically, after rotating.
        controls: libcamera's controls by name, such as `{"ExposureTime": 8000}`; only for `picamera2`.
    """

    name: str
    input_size_wh: tuple[int, int]
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    live: bool = True
    controls: Mapping[str, object] = field(default_factory=dict)
    rotate: int = 0
    flip: bool = False


@dataclass(frozen=True)
class SourceInfo:
    """A source that was opened.

    Attributes:
        description: For the user, such as `/dev/video0 (HD Webcam), 640x480 at 30 fps, MJPG`.
        size_wh: The frames' size; a folder's photos may differ in size.
        fps: Frames a second as stated by the source; 0 if it doesn't say.
        frames: The number of frames as stated by the source, which may be wrong; None if endless or unknown.
        endless: Whether frames come until the source is closed; if they stop earlier, something has failed.
    """

    description: str
    size_wh: tuple[int, int]
    fps: float
    frames: int | None = None
    endless: bool = True


class SourceFrame(NamedTuple):
    """One frame.

    Attributes:
        frame: BGR uint8 (height, width, 3); the reader may keep and change it.
        small: The same picture, RGB uint8 (input_h, input_w, 3), if the camera delivers it; else None.
        captured: `time.monotonic()` at the moment the picture was taken, as precisely as the source knows, in seconds.
        at_s: For a file: when to show it, in seconds from the file's start; None if that isn't known.
    """

    frame: np.ndarray
    small: np.ndarray | None
    captured: float
    at_s: float | None = None


class Source(Protocol):
    """An open source. Iterated once, from one thread.

    A file's source may have an attribute `complaint`, which after iteration names the part that could not be shown.
    """

    info: SourceInfo

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames; ends when there are no more.

        Raises:
            SourceError: The camera or stream has failed.
        """
        ...

    def close(self) -> None:
        """Releases the device. May be called twice."""
        ...
