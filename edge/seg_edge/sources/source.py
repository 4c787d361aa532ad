"""What every source of frames is to the rest: a camera, a stream, a file, a photo, a demo.

A source is opened with a `SourceRequest`, is iterated, and ends by exhaustion. It does not reconnect, does not watch
the clock for a driver that hangs and keeps no queue of its own beyond what its driver forces on it: `capture.py`, which
runs it in a process of its own, does all that for every kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True)
class SourceRequest:
    """What is asked of a source.

    Attributes:
        name: As the user typed it: `picamera2`, `0`, `/dev/video0`, a file, a folder, a URL, `synthetic`.
        input_size_wh: The model's input size: what a camera with a second, small stream should set that to.
        size_wh: The picture's size; None takes what the source has, for a camera 640x480.
        fps: Frames a second; None takes what the source has, for a camera 30.
        live: Frames come at their pace, as from a camera, a file's too. Else as fast as they are taken, every one.
        controls: libcamera's controls by name, such as `{"ExposureTime": 8000}`; for `picamera2` alone.
    """

    name: str
    input_size_wh: tuple[int, int]
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    live: bool = True
    controls: Mapping[str, object] = field(default_factory=dict)


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
        frame: BGR uint8 (height, width, 3), the taker's to keep.
        small: The same picture, RGB uint8 (input_h, input_w, 3), where the camera itself makes it; else None.
        captured: `time.monotonic()` at the moment the picture was taken, as near as the source can tell, in seconds.
        at_s: Of a file: when it is to be shown, in seconds from the file's start; None where that isn't known.
    """

    frame: np.ndarray
    small: np.ndarray | None
    captured: float
    at_s: float | None = None


class Source(Protocol):
    """An open source. Iterated once, from one thread."""

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
