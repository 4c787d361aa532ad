"""Video files, written with OpenCV's own FFmpeg; what it can encode was tried, see `FORMATS`."""

from __future__ import annotations

import math
import os
import select
import shutil
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, NoReturn

import cv2
import numpy as np

from seg_edge.errors import OutputError, UsageError
from seg_edge.preprocess import check_frame
from seg_edge.system.native_log import without_native_log

# An MP4's index is written last: room for it must be left, 16 bytes a frame, and for whatever else the machine writes.
SPARE_BYTES = 32 << 20
CHECK_EVERY_S = 1.0


class Format(NamedTuple):
    """What a suffix stands for.

    Attributes:
        fourcc: The codec. No build of opencv-python has a software H.264 or H.265 encoder, its VP9 takes a hundred
            times as long as its MPEG-4 ("mp4v"), and VP8, which browsers play, fifteen times.
        cut_short: Whether a file plays that was cut short by a kill. MP4's and MOV's index comes last, and OpenCV
            passes no options on to the container that would spread it. MKV, AVI and WebM lose what is still in
            FFmpeg's buffer, up to 256 KiB and half a second; TS loses nothing.
        piped: Whether the file can be written without going back in it, so that a pipe serves.
    """

    fourcc: str
    cut_short: bool
    piped: bool = False


FORMATS = {
    ".mp4": Format("mp4v", cut_short=False),
    ".mkv": Format("mp4v", cut_short=True),
    ".avi": Format("MJPG", cut_short=True),
    ".mov": Format("mp4v", cut_short=False),
    ".webm": Format("VP80", cut_short=True),
    ".ts": Format("mp4v", cut_short=True, piped=True),
}


def video_format(path: Path) -> Format:
    """What will be written to `path`, by its suffix.

    Raises:
        UsageError: The suffix is none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a video's name ends with one of {', '.join(FORMATS)}.")
    return FORMATS[path.suffix.lower()]


class VideoFile:
    """A video of a constant frame rate, without sound. Replaces what is there. One thread at a time.

    OpenCV's writer can't date frames: VIDEOWRITER_PROP_PTS serves packets that were encoded elsewhere.

    Args:
        path: Its suffix chooses the format, see `FORMATS`.
        size_wh: Of the frames. The codecs need even sides: of an odd one the last column or row is left out.
        fps: Frames a second, kept to a thousandth.
        called: What messages call it, where that isn't `path`.

    Raises:
        UsageError: Unknown suffix, or a size or rate that is none.
        OutputError: The file can't be opened.

    Attributes:
        path: As given.
        size_wh: As given.
        frames: Written so far.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int], fps: float, called: str = ""):
        form = video_format(path)
        if min(size_wh) < 2 or not 0 < fps <= 1000:
            raise UsageError(f"{called or path}: {size_wh[0]}x{size_wh[1]} at {fps:g} frames a second is no video.")
        self.path, self.size_wh, self.frames = path, size_wh, 0
        self._called = called or str(path)
        self._checked, self._failed = -math.inf, False
        self._pump: _Pump | None = None
        # An absolute path, for FFmpeg takes what stands before a colon as a protocol.
        target = str(path.absolute())
        try:
            if form.piped:
                self._pump = _Pump(path)
                target = self._pump.place
        except OSError as error:
            raise self._not_written(error.strerror or str(error)) from error
        fourcc = cv2.VideoWriter.fourcc(*form.fourcc)
        with without_native_log():
            self._writer = cv2.VideoWriter(target, cv2.CAP_FFMPEG, fourcc, fps, size_wh)
        if self._pump:
            self._pump.start()
        if not self._writer.isOpened():
            self._failed = True
            self.close()
            raise self._not_written(f"OpenCV can't write {path.suffix} there, or has no {form.fourcc} encoder")

    def write(self, frame: np.ndarray) -> None:
        """Adds one frame, BGR uint8 (height, width, 3) of the file's size.

        Raises:
            TypeError: The frame is something else.
            OutputError: It can't be written; what was written before is kept. Close the file.
        """
        check_frame(frame)
        if frame.shape[1::-1] != self.size_wh:
            raise TypeError(f"{self.path}: a frame of {self.size_wh} was expected, got {frame.shape[1::-1]}")
        # OpenCV 5 returns whether it could write, earlier ones None; neither says why.
        taken = self._writer.write(frame)
        if self._pump and self._pump.error:
            self._fail(self._pump.error.strerror or str(self._pump.error))
        if taken is False:
            self._fail("the disk refused it or is full")
        self.frames += 1
        if time.monotonic() - self._checked > CHECK_EVERY_S:
            self._checked = time.monotonic()
            self._check_space()

    def close(self) -> None:
        """Finishes the file. May be called twice.

        Raises:
            OutputError: The file doesn't play; not raised after a failed `write`, which has told already.
        """
        if not self._writer.isOpened() and not (self._pump and self._pump.running):
            return
        self._writer.release()
        if self._pump:
            self._pump.finish()
        if self._failed or not self.frames:
            return
        # Only in a pipe every byte was seen to arrive.
        if self._pump:
            if self._pump.error:
                raise self._not_written(self._pump.error.strerror or str(self._pump.error))
        elif not _plays(self.path):
            raise self._not_written("what was written doesn't play, the disk may be full")

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._failed = self._failed or error is not None
        self.close()

    def _check_space(self) -> None:
        try:
            free = shutil.disk_usage(self.path.absolute().parent).free
        except OSError as error:
            self._fail(error.strerror or str(error))
        if free < SPARE_BYTES:
            self._fail(f"under {SPARE_BYTES >> 20} MiB are free on its disk")

    def _fail(self, why: str) -> NoReturn:
        self._failed = True
        raise OutputError(f"{self._called}: the video stops after {self.frames} frames ({why}).")

    def _not_written(self, why: str) -> OutputError:
        return OutputError(f"{self._called}: the video can't be written ({why}); choose another place.")


class _Pump:
    """Carries what OpenCV writes into a named pipe to the file at once.

    For a file, FFmpeg keeps 256 KiB in memory, many seconds of a calm picture; for a pipe it keeps nothing. And what
    the disk says is heard here, which OpenCV keeps to itself.
    """

    def __init__(self, path: Path):
        self.error: OSError | None = None
        self._file = path.open("wb", buffering=0)
        self._folder = tempfile.mkdtemp(prefix="seg-edge-")
        self.place = os.path.join(self._folder, f"pipe{path.suffix.lower()}")
        os.mkfifo(self.place)
        # Opened before the writer, which would wait for a reader; without waiting for the writer.
        self._end = os.open(self.place, os.O_RDONLY | os.O_NONBLOCK)
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="video file", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Once the writer has opened the pipe, or failed to: without a writer the pipe is at its end."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits for the last byte; the writer must have closed the pipe."""
        self._finishing.set()
        self._thread.join()

    def _carry(self) -> None:
        with self._file, os.fdopen(self._end, "rb", buffering=0) as end:
            while True:
                if select.select([end], [], [], 0.2)[0]:
                    block = end.read(1 << 16)
                    if not block:
                        return
                    self._keep(block)
                elif self._finishing.is_set():
                    # A process that was forked meanwhile holds the writer's end open too: no end will be seen.
                    return

    def _keep(self, block: bytes) -> None:
        # On a full disk the pipe is still emptied, or the writer would wait for ever.
        while block and not self.error:
            try:
                block = block[self._file.write(block) :]
            except OSError as error:
                self.error = error


def _plays(path: Path) -> bool:
    with without_native_log():
        film = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        try:
            return film.read()[0]
        finally:
            film.release()
