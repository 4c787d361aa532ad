"""The interface of a source of frames: a camera, a stream, a video, photos, a demo.

A source is opened with a `SourceRequest`, iterated once, and ends when there are no more frames. It does not reconnect,
does not time out a driver that hangs, and keeps no queue beyond its driver's own: `capture/supervisor.py`, which runs
every source in a process of its own, does that for all of them.

To add a kind of source:

1. Write `sources/NAME.py` with a class that has `info`, `__iter__` and `close` as in `Source`. Its constructor takes
   the `SourceRequest`, opens the device and raises `SourceError` in one sentence if it can't. Import heavy libraries
   there.
2. Choose it by its name in `sources/open.py:open_source`, with an import inside that branch, and name it in `KINDS`.
3. Put it into `KINDS` of `tests/edge/sources/test_source_contract.py`, which holds it to everything said here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True)
class SourceRequest:
    """What the user asks a source for.

    Attributes:
        name: As the user typed it: `picamera2`, `0`, `/dev/video0`, a file, a folder, a URL, `synthetic`.
        input_size_wh: The model's input size. A camera with a second, small stream delivers it at this size.
        size_wh: The picture's size; None takes what the source has, for a camera 640x480.
        fps: Frames a second; None takes what the source has, for a camera 30.
        live: Frames come in real time, a file's too. If False, every frame comes, as fast as the reader takes them.
        rotate: Turn frames clockwise by so many degrees: 0, 90, 180 or 270.
        flip: Exchange top and bottom, after that.
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
    """What was opened.

    Attributes:
        description: For the user: what and how, such as `/dev/video0 (HD Webcam), 640x480 at 30 fps, MJPG`.
        size_wh: The frames' size; a folder's photos may each have another.
        fps: Frames a second as the source says; 0 where it doesn't.
        frames: How many there are, as the source says, which may be wrong; None where there is no end or none knows.
        endless: Whether the frames go on until somebody stops them: if they cease, something has failed.
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
        small: The same picture, RGB uint8 (input_h, input_w, 3), where the camera itself makes it; else None.
        captured: `time.monotonic()` at the moment the picture was taken, as near as the source can tell, in seconds.
        at_s: Of a file: when it is to be shown, in seconds from the file's start; None where that isn't known.
    """

    frame: np.ndarray
    small: np.ndarray | None
    captured: float
    at_s: float | None = None


class Source(Protocol):
    """An open source. Iterated once, from one thread.

    One of a file may have an attribute `complaint`, which tells at its end what of it could not be shown.
    """

    info: SourceInfo

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames; ends when there are no more.

        Raises:
            SourceError: The camera or stream has failed.
        """
        ...

    def close(self) -> None:
        """Gives the device back. May be called twice."""
        ...
