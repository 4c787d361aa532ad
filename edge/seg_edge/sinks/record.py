"""The camera's pictures as a video in real time, in one file or in segments."""

from __future__ import annotations

import contextlib
import os
import queue
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import OutputError, SourceError, UsageError
from seg_edge.sinks.remux import put_index_first
from seg_edge.sinks.sink import OutputFrame
from seg_edge.sinks.video_file import VideoFile
from seg_edge.sinks.video_formats import video_format
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.video_container import import_av
from seg_edge.sources.video_file import VideoFileSource

# Pictures: enough for a card that stalls for a quarter of a second; in 1080p each takes 6 MB.
WAITING = 8
LONGEST_GAP_S = 10.0
CLOSING_S = 60.0
ANY_INPUT_WH = (1, 1)  # what is read back goes to no model


class Record:
    """Records what is published, on a thread of its own, so that a slow disk doesn't stop the camera.

    Each picture is shown at the time it was taken. A gap of more than 10 s, such as a camera that was lost for an hour,
    is shortened to 10 s. If the program is killed, the file still plays up to the last second or so: MP4 and MOV are
    written in fragments, and get a single index, at the front, when they are finished.

    Args:
        path: Its suffix chooses the format, see `seg_edge.sinks.video_formats.FORMATS`. Missing folders are made.
        fps: The camera's frames a second.
        force: Replace an existing file.
        segment_s: Begin a new file after this many seconds; None records a single file.
        next_path: Returns the path of the next segment.
        finished: Called with each finished file, on a thread.

    Raises:
        UsageError: The suffix is unknown, or the rate isn't valid.
        OutputError: The file exists, the folder can't be written to, or PyAV is missing or too old.

    Attributes:
        name: `--record FILE`.
        path: The file that is being written.
        frames: Frames written, over all segments.
        dropped: Pictures left out because the encoder or the disk didn't keep up; those before them are shown longer.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        force: bool = False,
        segment_s: float | None = None,
        next_path: Callable[[], Path] | None = None,
        finished: Callable[[Path], None] = lambda path: None,
    ):
        self.name, self.path = f"--record {path}", path
        self.frames = self.dropped = 0
        self._fps, self._segment_s, self._next_path, self._finished = fps, segment_s, next_path, finished
        form = video_format(path)
        self._indexed_last = form.container in ("mp4", "mov")
        import_av(OutputError)  # fails now rather than at the first picture
        if not 0 < fps <= 1000:
            raise UsageError(f"{path}: {fps:g} frames a second is not a valid recording rate; give one with --fps.")
        _check_path(path, force)
        self._queue: queue.Queue[tuple[np.ndarray, float] | None] = queue.Queue(WAITING)
        self._error: Exception | None = None
        self._closed = self._ended = False
        self._given_up = threading.Event()
        self._finisher = ThreadPoolExecutor(1, "record")
        self._finishing: list[Future[None]] = []
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._thread.start()

    def publish(self, item: OutputFrame) -> None:
        """Takes one picture.

        Raises:
            OutputError: Nothing more can be written; the file plays until then.
        """
        self._raise()
        try:
            self._queue.put_nowait((item.picture, item.captured))
        except queue.Full:
            self.dropped += 1

    def idle(self, message: str) -> None:
        """Does nothing: the last picture is shown until the camera is back."""

    def close(self) -> None:
        """Finishes the file. May be called twice.

        Raises:
            OutputError: The file isn't complete, or Ctrl-C interrupted this.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._close()
        except KeyboardInterrupt:
            self._given_up.set()
            self._thread.join(CLOSING_S)
            raise OutputError(
                f"{self.path}: interrupted while the file was being finished; what was recorded is kept and plays."
            ) from None

    def _close(self) -> None:
        try:
            self._queue.put(None, timeout=CLOSING_S)
        except queue.Full:
            raise self._too_slow() from None
        self._thread.join(CLOSING_S)
        if self._thread.is_alive():
            raise self._too_slow()
        self._raise()

    def _too_slow(self) -> OutputError:
        return OutputError(f"{self.path}: its disk took over {CLOSING_S:.0f} s to finish; the video's end is missing.")

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        """The thread. After an error it goes on emptying the queue, so that `close` isn't kept waiting."""
        try:
            self._encode()
            self._finisher.shutdown()
            for finishing in self._finishing:
                finishing.result()
        except Exception as error:
            self._error = self._with_outcome(error) if isinstance(error, OutputError) and self.path.exists() else error
            while not self._ended:
                self._next()
        finally:
            self._finisher.shutdown()

    def _with_outcome(self, error: OutputError) -> OutputError:
        """The error, with a sentence on whether the file plays; a file without a picture is deleted."""
        try:
            with contextlib.closing(VideoFileSource(SourceRequest(str(self.path), ANY_INPUT_WH, live=False))):
                return OutputError(f"{error} What was recorded until then is kept.")
        except SourceError:
            self.path.unlink(missing_ok=True)
            return OutputError(f"{error} Nothing of it plays, so it was deleted.")

    def _next(self) -> tuple[np.ndarray, float] | None:
        taken = self._queue.get()
        self._ended = taken is None
        return taken

    def _encode(self) -> None:
        waiting = self._next()
        while waiting is not None:
            waiting = self._encode_segment(waiting)
            self._finishing.append(self._finisher.submit(self._finish, self.path))
            if waiting is not None and self._next_path is not None:
                self.path = self._next_path()

    def _encode_segment(self, first: tuple[np.ndarray, float]) -> tuple[np.ndarray, float] | None:
        """Writes one file; returns the picture that the next one begins with, or None at the end."""
        waiting: tuple[np.ndarray, float] | None = first
        last_s = began_s = first[1]
        with VideoFile(self.path, first[0].shape[1::-1], self._fps, live=True) as film:
            while waiting is not None:
                picture, captured = waiting
                began_s += max(0.0, captured - last_s - LONGEST_GAP_S)
                last_s, at_s = captured, captured - began_s
                if self._segment_s and at_s >= self._segment_s:
                    return waiting
                fits = picture.shape[1::-1] == film.size_wh
                film.write(picture if fits else cv2.resize(picture, film.size_wh), at_s)
                self.frames += 1
                waiting = self._next()
        return None

    def _finish(self, path: Path) -> None:
        if self._indexed_last:
            put_index_first(path, self._given_up)
        self._finished(path)


def _check_path(path: Path, force: bool) -> None:
    """Checks, before the camera starts, that the file can be written."""
    if path.is_dir() or (path.exists() and not force):
        raise OutputError(f"{path}: exists; choose another name, or replace it with --force.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(0, "the existing file is read-only")
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error}); choose another location.") from error
