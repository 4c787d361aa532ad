"""The capture process as seen by the program: how it is started and ended, and the messages between the two.

The messages are the classes below, and "begin". Frames are in unnamed shared memory, so nothing is left behind, however
either process ends. The process runs `child.py`.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_edge.capture.channel import channel_pair
from seg_edge.errors import SourceError
from seg_edge.sources.names import shown_name
from seg_edge.sources.source import SourceInfo, SourceRequest

SLOTS = 3  # one being written, one being copied out, one to spare
FRAME_BYTES = 7680 * 4320 * 3  # 8K; memory that no frame touches is not used
SMALL_BYTES = 2048 * 2048 * 3
SLOT_BYTES = FRAME_BYTES + SMALL_BYTES
MEMORY_BYTES = SLOTS * SLOT_BYTES

LISTEN_S = 0.1  # how soon a stop is noticed
STOP_S = 1.0  # for the source to close its device by itself


@dataclass(frozen=True)
class Start:
    """To the capture process: what to open, with which function (`module:name`), and the parent's process id."""

    request: SourceRequest
    opener: str
    parent: int


@dataclass(frozen=True)
class Opened:
    """From the capture process: the source is open."""

    info: SourceInfo


@dataclass(frozen=True)
class FrameReady:
    """From the capture process: a frame is in `slot`, which is freed by sending its number back.

    `captured` and `at_s` are as in `SourceFrame`; `resize_s` is the time spent on the model-sized picture; `missed`
    counts the frames since the start for which no slot was free.
    """

    slot: int
    shape: tuple[int, ...]
    captured: float
    resize_s: float
    at_s: float | None
    missed: int


@dataclass(frozen=True)
class Failed:
    """From the capture process: the source could not be opened or has failed."""

    message: str


@dataclass(frozen=True)
class Ended:
    """From the capture process: there are no more frames; `complaint` says which part of a file could not be shown."""

    complaint: str = ""


Message = Opened | FrameReady | Failed | Ended


def slot_views(
    memory: mmap.mmap, slot: int, shape: tuple[int, ...], small_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The frame and the model-sized picture in a slot of the shared memory, uint8, not copied.

    Raises:
        SourceError: The frame is larger than 8K.
    """
    size, small_size = math.prod(shape), math.prod(small_shape)
    if size > FRAME_BYTES or small_size > SMALL_BYTES:
        raise SourceError(f"frames of {shape[1]}x{shape[0]} are larger than 8K (7680x4320); scale them down.")
    start = slot * SLOT_BYTES
    frame = np.frombuffer(memory, np.uint8, size, start).reshape(shape)
    return frame, np.frombuffer(memory, np.uint8, small_size, start + FRAME_BYTES).reshape(small_shape)


def waited_for_core_s(pid: int) -> float:
    """Seconds for which a process's main thread was ready to run but had no core, since it began; 0 if unknown.

    On an overloaded machine, a process that is slow for this reason must not be mistaken for one that hangs.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # it has ended; or not Linux
        return 0.0


class CaptureProcess:
    """One capture process with its memory.

    Args:
        request: What to open.
        opener: The function that opens it, `module:name`.

    Raises:
        SourceError: It can't be started.
    """

    def __init__(self, request: SourceRequest, opener: str):
        self.name = shown_name(request.name)
        try:
            memory_fd = os.memfd_create("seg-edge frames")
            try:
                self._start(memory_fd)
            finally:
                os.close(memory_fd)
        except OSError as error:
            raise SourceError(f"{self.name}: no capture process can be started ({error.strerror}).") from error
        self._send(Start(request, opener, os.getpid()))

    def _start(self, memory_fd: int) -> None:
        os.ftruncate(memory_fd, MEMORY_BYTES)
        self.memory = mmap.mmap(memory_fd, MEMORY_BYTES)
        self._pipe, theirs = channel_pair()
        with contextlib.closing(theirs):
            # -P: files in the current folder must not be imported as modules.
            # Its own session: Ctrl-C in the terminal reaches only the program, which then ends this process in order.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "seg_edge.capture.child", str(theirs.fileno()), str(memory_fd)],
                pass_fds=(theirs.fileno(), memory_fd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # drivers and codecs are chatty; what matters comes over the pipe
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_open(self, seconds: float | None, closing: threading.Event | None = None) -> SourceInfo:
        """Waits until the source is open; returns its description.

        Raises:
            SourceError: It could not be opened within `seconds`, counted as in `receive`, or `closing` was set.
        """
        message = self.receive(seconds, closing)
        if isinstance(message, Opened):
            return message.info
        raise SourceError(message.message if isinstance(message, Failed) else f"{self.name}: the camera did not open.")

    def receive(self, seconds: float | None, closing: threading.Event | None = None) -> Message | None:
        """The next message; None if `closing` is set meanwhile.

        Raises:
            SourceError: There was none within `seconds`, not counting the time for which the process waited for a core;
                or it has died.
        """
        began = time.monotonic() - waited_for_core_s(self.pid)
        while closing is None or not closing.is_set():
            try:
                message = self._pipe.receive(LISTEN_S)
            except TimeoutError:
                lasted = time.monotonic() - waited_for_core_s(self.pid) - began
                if seconds is not None and lasted > seconds:
                    raise SourceError(f"{self.name}: no picture for {seconds:.0f} s.") from None
            except (EOFError, OSError):
                raise SourceError(f"{self.name}: {self._how_it_died()}.") from None
            else:
                assert isinstance(message, Message)
                return message
        return None

    def _how_it_died(self) -> str:
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return "the capture process has closed its pipe"
        if code < 0:
            return f"the camera's driver crashed the capture process ({signal.strsignal(-code) or -code})"
        return f"the capture process ended with {code}"

    def begin(self) -> None:
        """Tells it to send frames."""
        self._send("begin")

    def give_back(self, slot: int) -> None:
        """Frees a slot."""
        self._send(slot)

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # it has died; the next `receive` raises that
            self._pipe.send(message)

    def close(self) -> None:
        """Closes the pipe, which makes the process end after its current frame; kills it if it doesn't."""
        self._pipe.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            # In an uninterruptible driver call even the kill waits; the kernel completes it when the call returns.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with contextlib.suppress(BufferError):
            self.memory.close()
