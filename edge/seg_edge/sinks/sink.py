"""The interface of a sink, which receives segmented frames: a window, a web page, a file, another program.

To add a kind of sink:

1. Write `sinks/NAME.py` with a class that has `name`, `publish`, `idle` and `close` as in `Sink`. Its constructor opens
   the device, or checks the path, and raises `OutputError` in one sentence if it can't. A file is created with the
   first frame. Slow work runs on a thread of its own.
2. Give it an option in `commands/camera.py`, a field in `apps/camera_settings.py`, and open it in
   `apps/camera_sinks.py`, with an import inside that branch.
3. Add it to `KINDS` in `tests/edge/sinks/test_sink_contract.py`, which checks everything stated here.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seg_edge.segmentation import Segmentation


@dataclass(frozen=True, eq=False)
class OutputFrame:
    """One segmented frame, ready for output. Sinks share it, so none may write into its arrays.

    Attributes:
        number: The number of the published frame, from 1.
        captured: `time.monotonic()` when the picture was taken, in seconds.
        age_ms: Milliseconds from then until it was given to the sinks.
        fps: Frames published per second, over the last two seconds.
        frame: BGR uint8 (height, width, 3), as the camera gave it.
        result: Its segmentation.
        picture: BGR uint8 (height, width, 3): the frame with the effect drawn, and mirrored if asked for.
    """

    number: int
    captured: float
    age_ms: float
    fps: float
    frame: np.ndarray
    result: Segmentation
    picture: np.ndarray

    @property
    def wall_time(self) -> float:
        """When the picture was taken by the system's clock, in seconds since 1970."""
        return time.time() - (time.monotonic() - self.captured)


class Controls:
    """The settings that a user, a signal or a sink may change while the camera runs, from any thread.

    Attributes:
        effect: A name in `seg_edge.effects.EFFECTS`.
        mirror: Whether pictures are mirrored, as people expect when they see themselves.
        snapshot: Set to keep the next picture.
        stopped: Set to stop the camera.
        reason: Why it was stopped, for the user; empty for an ordinary end.
    """

    def __init__(self, effect: str = "overlay", mirror: bool = False):
        self.effect, self.mirror = effect, mirror
        self.snapshot, self.stopped = threading.Event(), threading.Event()
        self.reason = ""

    def stop(self, reason: str = "") -> None:
        """Stops the camera; the first reason is kept."""
        if not self.stopped.is_set():
            self.reason = reason
            self.stopped.set()


class Sink(Protocol):
    """Receives frames in order, on the program's main thread. Slow work runs on a thread of its own.

    Attributes:
        name: Its name in messages, as the user gave it: `--record clip.mp4`.
    """

    name: str

    def publish(self, item: OutputFrame) -> None:
        """Receives one frame.

        Raises:
            OutputError: It can't continue: it is closed, the other sinks go on, and the program exits with 1.
        """
        ...

    def idle(self, message: str) -> None:
        """Called some 20 times a second while there is no frame; `message` says why, such as a lost camera."""
        ...

    def close(self) -> None:
        """Finishes the file, frees the device. May be called twice.

        Raises:
            OutputError: Some of its frames could not be written.
        """
        ...
