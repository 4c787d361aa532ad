"""Sources that misbehave on demand, for the capture process to open instead of cameras.

`request.name` is a folder; the file `state` in it sets what the camera does from its next frame on: `works`, `stalls`
(a driver call that never returns and can't be interrupted), `unplugged` (raises, and can't be opened), `crashes` (the
whole process), `hangs` (open never returns), `ends`. A number in the file `frames` is how many frames it gives before
it fails. The file `taken` grows by a byte with each frame.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seg_edge.errors import SourceError
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest

SHAPE = (48, 64, 3)
FPS = 50.0
OPENER = "tests.stand_in_sources:open_source"


def set_state(folder: Path, state: str) -> str:
    """Sets what the camera does from now on; returns the source's name."""
    (folder / "state.new").write_text(state)
    (folder / "state.new").replace(folder / "state")
    return str(folder)


def frames_taken(folder: Path) -> int:
    """How many frames all cameras of this folder have taken so far."""
    taken = folder / "taken"
    return taken.stat().st_size if taken.exists() else 0


class Moody:
    """A camera that behaves as its folder's `state` says. Every pixel of frame `n` is `n % 256`."""

    def __init__(self, request: SourceRequest):
        self.folder, self.live = Path(request.name), request.live
        (self.folder / "pid").write_text(str(os.getpid()))
        self.taken = (self.folder / "taken").open("ab", buffering=0)
        self.check()
        limit = self.folder / "frames"
        self.most = int(limit.read_text()) if limit.exists() else None
        endless = not (self.folder / "finite").exists()
        self.info = SourceInfo("moody camera", (SHAPE[1], SHAPE[0]), FPS, None, endless)

    def check(self) -> bool:
        state = (self.folder / "state").read_text()
        if state in ("stalls", "hangs"):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            while True:
                time.sleep(1000)
        if state == "unplugged":
            raise SourceError("moody camera: it is not there; plug it in.")
        if state == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if state == "is broken":
            raise ZeroDivisionError("a driver's own error")
        return state != "ends"

    def __iter__(self) -> Iterator[SourceFrame]:
        number = 0
        while self.check():
            if self.most is not None and number >= self.most:
                raise SourceError("moody camera: it is gone again.")
            yield SourceFrame(np.full(SHAPE, number % 256, np.uint8), None, time.monotonic())
            self.taken.write(b".")
            number += 1
            if self.live:
                time.sleep(1 / FPS)

    def close(self) -> None:
        self.taken.close()
        (self.folder / "closed").touch()


def open_source(request: SourceRequest) -> Moody:
    return Moody(request)
