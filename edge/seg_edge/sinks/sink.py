"""The interface of a sink, which takes segmented frames: a window, a web page, a file, another program.

To add a kind of sink:

1. Write `sinks/NAME.py` with a class that has `name`, `publish`, `idle` and `close` as in `Sink`. Its constructor opens
   the device, or checks the path, and raises `OutputError` in one sentence if it can't. A file is created with the
   first frame. What takes long runs on a thread of its own.
2. Give it an option in `commands/camera.py`, a field in `apps/camera_settings.py`, and open it in
   `apps/camera_sinks.py`, with an import inside that branch.
3. Put it into `KINDS` of `tests/edge/sinks/test_sink_contract.py`, which holds it to everything said here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seg_edge.segmentation import Segmentation


@dataclass(frozen=True, eq=False)
class OutputFrame:
    """One segmented frame on its way out. Sinks share it: none writes into its arrays.

    Attributes:
        number: Counts the published frames, from 1.
        captured: `time.monotonic()` when the picture was taken, in seconds.
        age_ms: Milliseconds from then until it went to the sinks.
        fps: Frames published per second, over the last two seconds.
        frame: BGR uint8 (height, width, 3), as the camera gave it.
        answer: Its segmentation.
        picture: BGR uint8 (height, width, 3): the frame with the effect drawn, and mirrored if asked for.
    """

    number: int
    captured: float
    age_ms: float
    fps: float
    frame: np.ndarray
    answer: Segmentation
    picture: np.ndarray


class Controls:
    """What a person, a signal or a sink may change while the camera runs. Any thread may set it.

    Attributes:
        effect: A name in `seg_edge.effects.EFFECTS`.
        mirror: Whether pictures are mirrored, as people expect of themselves.
        snapshot: Set to keep the next picture.
        stopped: Set to stop the camera.
        reason: Why, for the user; empty for the ordinary end.
    """

    def __init__(self, effect: str = "overlay", mirror: bool = False):
        self.effect, self.mirror = effect, mirror
        self.snapshot, self.stopped = threading.Event(), threading.Event()
        self.reason = ""

    def stop(self, reason: str = "") -> None:
        """Ends the camera; the first reason stays."""
        if not self.stopped.is_set():
            self.reason = reason
            self.stopped.set()


class Sink(Protocol):
    """Takes frames, all from the program's main thread, in order. What takes long does it on a thread of its own.

    Attributes:
        name: What the user calls it, for messages: `--record clip.mp4`.
    """

    name: str

    def publish(self, item: OutputFrame) -> None:
        """Takes one frame.

        Raises:
            OutputError: It can't go on: it is closed, the other sinks go on, and the program exits with 1.
        """
        ...

    def idle(self, message: str) -> None:
        """Called some 20 times a second while there is no frame; `message` tells why, such as a lost camera."""
        ...

    def close(self) -> None:
        """Finishes the file, frees the device. May be called twice.

        Raises:
            OutputError: Some of what it took could not be written.
        """
        ...
