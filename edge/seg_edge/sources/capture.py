"""Frames of any source, from a process that can be killed: what stalls, crashes or is unplugged is opened again.

The capture process (`capture_child.py`) writes frames into shared memory and tells of each over a pipe; a thread here
copies them out and passes them on. The words between the two are the classes below, and "begin". Nothing is shared by
name, so nothing is left behind however either of them ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Pipe

import numpy as np

from seg_edge.errors import SourceError
from seg_edge.sources.open import shown_name
from seg_edge.sources.source import SourceInfo, SourceRequest

OPENER = "seg_edge.sources.open:open_source"
SLOTS = 3  # one being written, one being copied out, one to spare
FRAME_BYTES = 7680 * 4320 * 3  # 8K; memory that no frame touches is not used
SMALL_BYTES = 2048 * 2048 * 3
SLOT_BYTES = FRAME_BYTES + SMALL_BYTES
MEMORY_BYTES = SLOTS * SLOT_BYTES

FIRST_OPEN_S = 20.0  # a cold Raspberry Pi imports picamera2 in seconds; an RTSP stream waits for its key frame
REOPEN_S = 5.0  # after which another attempt is made: a camera that is back is found within 10 s
STALL_S = 3.0  # without a frame for so long, the camera is taken for lost
BACK_OFF_S = (0.25, 0.5, 1.0, 2.0)
STOP_S = 1.0  # for the source to close its device of its own accord


@dataclass(frozen=True)
class Start:
    """To the capture process: what to open, with which function (`module:name`), and whose child it is."""

    request: SourceRequest
    opener: str
    parent: int


@dataclass(frozen=True)
class Opened:
    """From it: the source is open."""

    info: SourceInfo


@dataclass(frozen=True)
class FrameReady:
    """From it: a frame lies in `slot`, which is given back by sending its number.

    `captured` and `read_at` (when the source had handed the frame out) are `time.monotonic()` seconds; `resize_s` is
    what the model-sized picture took; `at_s` is as in `Shot`; `missed` counts the frames since the start for which no
    slot was free.
    """

    slot: int
    shape: tuple[int, ...]
    captured: float
    read_at: float
    resize_s: float
    at_s: float | None
    missed: int


@dataclass(frozen=True)
class Failed:
    """From it: the source could not be opened or has failed."""

    message: str


@dataclass(frozen=True)
class Ended:
    """From it: there are no more frames."""


Message = Opened | FrameReady | Failed | Ended


def slot_views(
    memory: mmap.mmap, slot: int, shape: tuple[int, ...], small_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The frame and the model-sized picture in a slot of the shared memory, uint8, not copied.

    Raises:
        SourceError: The frame is larger than 8K.
    """
    size, small_size = int(np.prod(shape)), int(np.prod(small_shape))
    if size > FRAME_BYTES or small_size > SMALL_BYTES:
        raise SourceError(f"frames of {shape[1]}x{shape[0]} are too large; ask for smaller ones with --size.")
    start = slot * SLOT_BYTES
    frame = np.frombuffer(memory, np.uint8, size, start).reshape(shape)
    return frame, np.frombuffer(memory, np.uint8, small_size, start + FRAME_BYTES).reshape(small_shape)


@dataclass(frozen=True, eq=False)
class Captured:
    """A frame that has arrived.

    Attributes:
        frame: BGR uint8 (height, width, 3).
        small: The same picture at the model's input size, RGB uint8.
        captured: `time.monotonic()` when it was taken, in seconds.
        arrived: When it was here.
        resize_s: What the model-sized picture took, seconds, between the two.
        at_s: Of a file: when it is to be shown, in seconds from the file's start; None where that isn't known.
    """

    frame: np.ndarray
    small: np.ndarray
    captured: float
    arrived: float
    resize_s: float
    at_s: float | None = None


class Capture:
    """An open source whose frames go to `deliver`, on a thread of its own, for as long as it is not closed.

    Args:
        request: What to open.
        deliver: Takes each frame. Where it waits, a source that is not live waits too; of a live one, frames are
            missed and counted.
        finished: Called once when there are no more frames; `failure` says whether that is an error.
        tell: Takes news for the user: a camera that is lost, or back.
        opener: The function that opens the source, `module:name`.

    Attributes:
        info: What was opened.
        received: Frames that arrived.
        missed: Frames the source gave while there was no room for them.
        reconnects: How often it was opened again and gave frames.
        failure: Why it ended before its end, a SourceError or a defect of ours; None when all is well.

    Raises:
        SourceError: It can't be opened.
    """

    def __init__(
        self,
        request: SourceRequest,
        deliver: Callable[[Captured], None],
        finished: Callable[[], None],
        tell: Callable[[str], None],
        opener: str = OPENER,
    ):
        self._request, self._opener = request, opener
        self._deliver, self._finished, self._tell = deliver, finished, tell
        self.received = self.missed = self.reconnects = 0
        self.failure: Exception | None = None
        self._closing = threading.Event()
        self._lost_at: float | None = None
        began = time.monotonic()
        self._child = _Child(request, opener)
        try:
            self.info = self._child.wait_until_open(FIRST_OPEN_S)
        except BaseException:
            self._child.close()
            raise
        # A board that is slow to open a camera is slow to open it again.
        self._reopen_s = max(REOPEN_S, 2 * (time.monotonic() - began))
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Begins to deliver."""
        self._thread.start()

    def close(self) -> None:
        """Ends the capture process, which gives the device back; kills it if it doesn't end within a second."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(2 * STOP_S + REOPEN_S)
        self._child.close()

    @property
    def trouble(self) -> str:
        """What a person who looks at a standing picture should know; empty while frames come."""
        if self._lost_at is None:
            return ""
        return f"camera lost {time.monotonic() - self._lost_at:.0f} s ago; trying again"

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    self._pump()
                    break
                except SourceError as error:
                    if not self.info.endless:
                        self.failure = error
                        break
                    self._recover(error)
        except Exception as error:
            self.failure = error
        finally:
            self._finished()

    def _pump(self) -> None:
        """Delivers frames until the source ends; raises SourceError when it stalls, fails or dies."""
        self._child.begin()
        missed_before = self.missed
        stall_s = max(STALL_S, 3 / self.info.fps) if self.info.fps else STALL_S
        while not self._closing.is_set():
            message = self._child.receive(stall_s if self._request.live else None, self._closing)
            if isinstance(message, FrameReady):
                self.missed = missed_before + message.missed
                self._arrive(message)
            elif isinstance(message, Failed):
                raise SourceError(message.message)
            elif message is None or isinstance(message, Ended):
                return

    def _arrive(self, message: FrameReady) -> None:
        width, height = self._request.input_size_wh
        views = slot_views(self._child.memory, message.slot, message.shape, (height, width, 3))
        frame, small = (view.copy() for view in views)
        self._child.give_back(message.slot)
        self.received += 1
        if self._lost_at is not None:
            self.reconnects += 1
            self._tell(f"the camera is back after {time.monotonic() - self._lost_at:.1f} s")
            self._lost_at = None
        self._deliver(Captured(frame, small, message.captured, time.monotonic(), message.resize_s, message.at_s))

    def _recover(self, error: SourceError) -> None:
        """Opens the source again, however long that takes; returns when it is open or nobody wants it any more."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self._tell(f"{error} Trying again.")
        attempt = 0
        while not self._closing.is_set():
            self._child.close()
            if self._closing.wait(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)]):
                return
            attempt += 1
            self._child = _Child(self._request, self._opener)
            with contextlib.suppress(SourceError):
                self.info = self._child.wait_until_open(self._reopen_s, self._closing)
                return


class _Child:
    """One capture process with its memory."""

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
        self._pipe, theirs = Pipe()
        with theirs:
            # Its own session: Ctrl-C in the terminal reaches the program alone, which then ends it in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "seg_edge.sources.capture_child", str(theirs.fileno()), str(memory_fd)],
                pass_fds=(theirs.fileno(), memory_fd),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # drivers and codecs chatter; what matters comes over the pipe
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            )

    def wait_until_open(self, seconds: float, closing: threading.Event | None = None) -> SourceInfo:
        message = self.receive(seconds, closing)
        if isinstance(message, Opened):
            return message.info
        said = message.message if isinstance(message, Failed) else f"{self.name}: the camera did not open."
        raise SourceError(said)

    def receive(self, seconds: float | None, closing: threading.Event | None = None) -> Message | None:
        """The next message; None when `closing` is set meanwhile.

        Raises:
            SourceError: There is none within `seconds`, or the process has died.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._readable():
            if closing is not None and closing.is_set():
                return None
            if deadline is not None and time.monotonic() > deadline:
                raise SourceError(f"{self.name}: no picture for {seconds:.0f} s.")
        try:
            message: Message = self._pipe.recv()
            return message
        except (EOFError, OSError):
            raise SourceError(f"{self.name}: {self._how_it_died()}.") from None

    def _readable(self) -> bool:
        try:
            return self._pipe.poll(0.1)
        except OSError:
            return True  # broken: reading says how

    def _how_it_died(self) -> str:
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return "the capture process has closed its pipe"
        if code < 0:
            return f"the camera's driver crashed the capture process ({signal.Signals(-code).name})"
        return f"the capture process ended with {code}"

    def begin(self) -> None:
        self._send("begin")

    def give_back(self, slot: int) -> None:
        self._send(slot)

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # it died: the next receive says so
            self._pipe.send(message)

    def close(self) -> None:
        """Closes the pipe, upon which the process ends after its current frame; else it is killed."""
        self._pipe.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            # In a driver's uninterruptible call even that waits; the kernel finishes it when the call returns.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with contextlib.suppress(BufferError):
            self.memory.close()
