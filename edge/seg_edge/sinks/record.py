"""The camera's pictures as a video that lasts as long as they took."""

from __future__ import annotations

import math
import os
import queue
import tempfile
import threading
from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.sink import OutputFrame
from seg_edge.sinks.video_file import VideoFile, video_format
from seg_edge.system.ffmpeg import has_ffmpeg, rewrap

# A card that takes its time for a quarter of a second costs no picture; 1080p pictures are 6 MB each.
WAITING = 8
LONGEST_GAP_S = 10.0
CLOSING_S = 60.0


class Record:
    """Records what is published, on a thread of its own, so that a slow disk doesn't stop the camera.

    The file has a constant rate and keeps the camera's time: while pictures are missing the last one is repeated, what
    comes sooner than the rate asks for is left out. A gap of more than 10 s, such as a camera that was lost for an
    hour, lasts 10 s. Whatever happens, the file plays until then: MP4 and MOV, whose index comes last, are recorded
    as `NAME.recording.ts` and rewrapped by ffmpeg at the end; after a kill that file is left.

    Args:
        path: Its suffix chooses the format, see `seg_edge.sinks.video_file.FORMATS`. Missing folders are made.
        fps: The file's frames a second: the camera's.
        force: Replace an existing file.

    Raises:
        UsageError: Unknown suffix, a rate that is none, or MP4 or MOV without ffmpeg.
        OutputError: The file exists, or the folder can't be written to.

    Attributes:
        name: `--record FILE`.
        frames: Written, repeated ones included.
        dropped: Pictures left out because encoder or disk didn't keep up; those before them were repeated.
    """

    def __init__(self, path: Path, fps: float, force: bool = False):
        self.name = f"--record {path}"
        self.frames = self.dropped = 0
        self._path, self._fps = path, fps
        self._live = path if video_format(path).cut_short else path.with_name(f"{path.stem}.recording.ts")
        if not 0 < fps <= 1000:
            raise UsageError(f"{path}: {fps:g} frames a second is no rate to record at; give one with --fps.")
        if self._live != path and not has_ffmpeg():
            raise UsageError(
                f"{path}: recording {path.suffix} needs ffmpeg (sudo apt install ffmpeg); or name it {path.stem}.mkv."
            )
        _check_writable(path, self._live, force)
        self._queue: queue.Queue[tuple[np.ndarray, float] | None] = queue.Queue(WAITING)
        self._error: Exception | None = None
        self._closed = self._ended = False
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
        """Nothing: the gap is filled when the camera is back."""

    def close(self) -> None:
        """Finishes the file. May be called twice.

        Raises:
            OutputError: It isn't whole.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._queue.put(None, timeout=CLOSING_S)
        except queue.Full:
            raise self._too_slow() from None
        self._thread.join(CLOSING_S)
        if self._thread.is_alive():
            raise self._too_slow()
        self._raise()
        if self._live != self._path and self._live.exists():
            rewrap(self._live, self._path)
            self._live.unlink()

    def _too_slow(self) -> OutputError:
        return OutputError(f"{self._live}: its disk took over {CLOSING_S:.0f} s to finish; the video's end is missing.")

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        """The thread. After an error it goes on taking pictures, so that nobody waits for it."""
        try:
            self._encode()
        except Exception as error:
            kept = isinstance(error, OutputError) and self.frames
            self._error = OutputError(f"{error} What was recorded until then is kept.") if kept else error
            while not self._ended:
                self._next()

    def _next(self) -> tuple[np.ndarray, float] | None:
        taken = self._queue.get()
        self._ended = taken is None
        return taken

    def _encode(self) -> None:
        first = self._next()
        if first is None:
            return
        last, began = first
        with VideoFile(self._live, last.shape[1::-1], self._fps) as film:
            pace = Pace(self._fps, began)
            waiting: tuple[np.ndarray, float] | None = first
            while waiting is not None:
                picture, captured = waiting
                repeats = pace.repeats(captured)
                for _ in range(max(0, repeats)):
                    film.write(last)
                if repeats >= 0:
                    last = picture if picture.shape[1::-1] == film.size_wh else cv2.resize(picture, film.size_wh)
                    film.write(last)
                self.frames = film.frames
                waiting = self._next()


class Pace:
    """Fits pictures that come when they come to a constant rate.

    A picture may be a frame's time off before one is repeated or left out: a camera's jitter doesn't show.

    Args:
        fps: The rate.
        began: When the first picture was taken, in seconds.
        longest_gap_s: What is longer is cut to this.
    """

    def __init__(self, fps: float, began: float, longest_gap_s: float = LONGEST_GAP_S):
        self._fps, self._began, self._longest = fps, began, longest_gap_s
        self._written = 0

    def repeats(self, captured: float) -> int:
        """How often to write the last picture again before one taken at `captured`; -1 leaves this one out."""
        late = (captured - self._began) * self._fps - self._written
        if late < -1:
            return -1
        missing = max(0, math.floor(late))
        longest = math.floor(self._longest * self._fps)
        if missing > longest:
            self._began += (missing - longest) / self._fps
            missing = longest
        self._written += missing + 1
        return missing


def _check_writable(path: Path, live: Path, force: bool) -> None:
    """Before the camera starts: whether there will be a file."""
    for place in {path, live}:
        if place.is_dir() or (place.exists() and not force):
            raise OutputError(f"{place}: exists; choose another name, or replace it with --force.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(0, "the file there is read-only")
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error}); choose another place.") from error
