"""What every taker of segmented frames is to the rest: a window, a page, a file, another program."""

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
        age_ms: Milliseconds from then until now, when it goes to the sinks.
        fps: Published frames a second, of late.
        frame: BGR uint8 (height, width, 3), as the camera gave it.
        answer: Its segmentation.
        picture: BGR uint8 (height, width, 3): the frame with the effect drawn, mirrored where that is wanted.
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
        snapshot: Set when somebody wants the next picture kept.
        stopped: Set when the camera shall end.
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
            OutputError: It can't go on. It is closed then, the others go on, and the program ends with 1.
        """
        ...

    def idle(self, message: str) -> None:
        """Called some 20 times a second while there is no frame; `message` tells why, such as a lost camera."""
        ...

    def close(self) -> None:
        """Finishes the file, frees the device. May be called twice.

        Raises:
            OutputError: What was taken is not whole.
        """
        ...
