"""Frames from any source, read in a process that can be killed; after a stall, crash or unplugging it is reopened.

The capture process writes frames into shared memory and announces each over a pipe; a thread here copies them out and
passes them on. See `docs/decisions/capture-process.md`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seg_edge.capture.process import LISTEN_S, STOP_S, CaptureProcess, Ended, Failed, FrameReady, slot_views
from seg_edge.errors import SourceError
from seg_edge.sources.source import SourceRequest
from seg_edge.system.memory import peak_mb

OPENER = "seg_edge.sources.open:open_source"

FIRST_OPEN_S = 20.0  # a cold Raspberry Pi imports picamera2 in seconds; an RTSP stream waits for its key frame
REOPEN_S = 5.0  # allowed for an attempt to reopen, so that a camera that is back is found within 10 s
SLOWEST_REOPEN_S = 15.0
STALL_S = 3.0  # a camera without a frame for this long counts as lost
FINITE_STALL_S = 30.0  # a file is not reopened, so a photo that is slow to decode is given time
PEAK_EVERY = 64  # frames between two readings of the capture process's memory
BACK_OFF_S = (0.25, 0.5, 1.0, 2.0)
STEADY_S = 10.0  # a camera that delivered frames for this long has recovered; the next failure is a new one
REPORT_AGAIN_S = 60.0  # for a camera that comes and goes: time between two messages


@dataclass(frozen=True, eq=False)
class CapturedFrame:
    """A frame that has arrived.

    Attributes:
        frame: BGR uint8 (height, width, 3).
        small: The same picture at the model's input size, RGB uint8.
        captured: `time.monotonic()` when it was taken, in seconds.
        arrived: When it reached this process.
        resize_s: Seconds spent on the model-sized picture, between those two times.
        at_s: For a file: when to show it, in seconds from the file's start; None if that isn't known.
    """

    frame: np.ndarray
    small: np.ndarray
    captured: float
    arrived: float
    resize_s: float
    at_s: float | None = None


class Capture:
    """An open source whose frames go to `deliver`, on a thread of its own, until it is closed.

    Args:
        request: What to open.
        deliver: Receives each frame. While it blocks, a source that is not live waits too; a live one misses frames,
            which are counted.
        finished: Called once when there are no more frames; `failure` says whether that is an error.
        log: Receives messages for the user: a camera is lost, or back.
        opener: The function that opens the source, `module:name`.

    Attributes:
        info: The source that was opened.
        received: Frames that arrived.
        missed: Frames that the source delivered while there was no room for them.
        reconnects: How often it was reopened and delivered frames.
        peak_mb: The largest resident set of a capture process so far, in 10^6 bytes, sampled now and then.
        complaint: For a file that has ended: which part could not be shown, empty if none.
        failure: Why it ended early, a SourceError or an internal error; None if it didn't.

    Raises:
        SourceError: It can't be opened.
    """

    def __init__(
        self,
        request: SourceRequest,
        deliver: Callable[[CapturedFrame], None],
        finished: Callable[[], None],
        log: Callable[[str], None],
        opener: str = OPENER,
    ):
        self._request, self._opener = request, opener
        self._deliver, self._finished, self._log = deliver, finished, log
        self.received = self.missed = self.reconnects = 0
        self.failure: Exception | None = None
        self.complaint = ""
        self._closing, self._wanted = threading.Event(), threading.Event()
        self._wanted.set()
        self._lost_at: float | None = None
        self.peak_mb = 0.0
        self._attempts = 0
        self._flowing_since: float | None = None
        self._reported_at = 0.0
        self._reported = False
        began = time.monotonic()
        self._process = CaptureProcess(request, opener)
        try:
            self.info = self._process.wait_until_open(FIRST_OPEN_S if request.live else None)
        except BaseException:
            self._process.close()
            raise
        # A board that is slow to open a camera is also slow to reopen it.
        self._reopen_s = min(max(REOPEN_S, 2 * (time.monotonic() - began)), SLOWEST_REOPEN_S)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Starts delivering frames."""
        self._thread.start()

    def want(self, wanted: bool) -> None:
        """Closes the device while no frames are needed. For endless sources."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def close(self) -> None:
        """Ends the capture process, which releases the device; kills it if it doesn't end within a second."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(4 * STOP_S)
        self._process.close()

    @property
    def trouble(self) -> str:
        """Why the picture is frozen, for the user; empty while frames come."""
        lost_at = self._lost_at  # the other thread may clear it at any moment
        return "" if lost_at is None else f"Camera lost {time.monotonic() - lost_at:.0f} s ago; trying again."

    @property
    def stall_s(self) -> float | None:
        """Seconds without a frame after which the source counts as lost; None for no limit."""
        if not self._request.live:
            return None
        fps = self._request.fps or self.info.fps
        return max(STALL_S if self.info.endless else FINITE_STALL_S, 3 / fps if fps else 0.0)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    self._pump()
                    if self._wanted.is_set():
                        break
                    self._rest()
                except SourceError as error:
                    if not self.info.endless:
                        self.failure = error
                        break
                    self._recover(error)
        except Exception as error:
            self.failure = error
        finally:
            self._finished()
            # Here, not in `close`: the kernel kills the process when the thread that started it ends.
            self._process.close()

    def _pump(self) -> None:
        """Delivers frames until the source ends; raises SourceError when it stalls, fails or dies."""
        self._process.begin()
        missed_before = self.missed
        while self._wanted.is_set() and not self._closing.is_set():
            message = self._process.receive(self.stall_s, self._closing)
            if isinstance(message, FrameReady):
                self.missed = missed_before + message.missed
                self._arrive(message)
            elif isinstance(message, Failed):
                raise SourceError(message.message)
            elif isinstance(message, Ended) and self.info.endless:
                raise SourceError(f"{self._process.name}: it gives no more pictures.")
            else:
                self.complaint = message.complaint if isinstance(message, Ended) else ""
                return

    def _rest(self) -> None:
        """Waits with the camera closed until frames are wanted; raises SourceError if it can't be reopened then."""
        self._process.close()
        while not self._wanted.wait(LISTEN_S):
            if self._closing.is_set():
                return
        self._process = CaptureProcess(self._request, self._opener)
        self.info = self._process.wait_until_open(self._reopen_s, self._closing)

    def _arrive(self, message: FrameReady) -> None:
        width, height = self._request.input_size_wh
        views = slot_views(self._process.memory, message.slot, message.shape, (height, width, 3))
        frame, small = (view.copy() for view in views)
        self._process.give_back(message.slot)
        self.received += 1
        if self.received % PEAK_EVERY == 1:
            self.peak_mb = max(self.peak_mb, peak_mb(self._process.pid))
        arrived = time.monotonic()
        self._flowing_since = self._flowing_since or arrived
        if self._lost_at is not None:
            self.reconnects += 1
            if self._reported:
                self._log(f"the camera is back after {arrived - self._lost_at:.1f} s: {self.info.description}")
                self._reported = False
            self._lost_at = None
        self._deliver(CapturedFrame(frame, small, message.captured, arrived, message.resize_s, message.at_s))

    def _recover(self, error: SourceError) -> None:
        """Reopens the source, however long that takes; returns once it is open or `close` was called."""
        now = time.monotonic()
        if self._flowing_since and now - self._flowing_since > STEADY_S:
            self._attempts = 0
        self._flowing_since = None
        self._lost_at = self._lost_at or now
        if not self._reported and (self._attempts == 0 or now - self._reported_at > REPORT_AGAIN_S):
            self._reported, self._reported_at = True, now
            self._log(f"{error} Trying again.")
        while not self._closing.is_set():
            self._process.close()
            if self._closing.wait(BACK_OFF_S[min(self._attempts, len(BACK_OFF_S) - 1)]):
                return
            self._attempts += 1
            try:
                self._process = CaptureProcess(self._request, self._opener)
                self.info = self._process.wait_until_open(self._reopen_s, self._closing)
                return
            except SourceError:
                continue
