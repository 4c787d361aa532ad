"""A photo repeated like a camera's pictures, or a folder's photos one after another; and the clock that paces them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import PhotoError, SourceError
from seg_edge.photo.find import find_photos
from seg_edge.photo.read import read_photo
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest

PHOTO_FPS = 10.0
FOLDER_FPS = 1.0
LARGEST_WH = (7680, 4320)  # 8K, the largest frame allowed; photos may be larger


class Pace:
    """A clock that ticks `fps` times a second without drift, and without a burst after a delay."""

    def __init__(self, fps: float):
        self._period = 1 / fps
        self._due: float | None = None

    def wait(self) -> float:
        """Sleeps until the next tick is due; returns its time, `time.monotonic()` seconds."""
        now = time.monotonic()
        due = now if self._due is None else self._due + self._period
        if due < now - self._period:
            due = now  # whole ticks were missed; they are dropped like a camera's frames
        elif due > now:
            time.sleep(due - now)
        self._due = due
        return due


def fit_inside(frame: np.ndarray, size_wh: tuple[int, int] | None) -> np.ndarray:
    """The frame scaled down in proportion to fit inside `size_wh`; unchanged if it fits or `size_wh` is None."""
    height, width = frame.shape[:2]
    if size_wh is None or (width <= size_wh[0] and height <= size_wh[1]):
        return frame
    scale = min(size_wh[0] / width, size_wh[1] / height)
    smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA)


def letterboxed(frame: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """The frame scaled in proportion to fit `size_wh`, centred, with black bars."""
    height, width = frame.shape[:2]
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner_w, inner_h = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(frame, (inner_w, inner_h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size_wh[0] - inner_w) // 2, (size_wh[1] - inner_h) // 2
    right, bottom = size_wh[0] - inner_w - left, size_wh[1] - inner_h - top
    return cv2.copyMakeBorder(scaled, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))


class StillSource:
    """A photo or a folder of photos.

    Live, a photo is repeated forever at `request.fps` (10), and a folder's photos come once each, in natural order,
    `request.fps` (1) a second. Not live, every photo comes once. Photos larger than `request.size_wh` (7680x4320) are
    scaled down in proportion. Photos of a folder that can't be read are skipped; once the others have been shown, an
    error names the first of them.

    Raises:
        SourceError: There is no photo, or none can be read.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest):
        self._request = request
        self._fit_wh = request.size_wh or LARGEST_WH
        self._closed = False
        self._failures: list[str] = []
        found = find_photos([request.name])
        for failure in found.failures.values():
            raise SourceError(str(failure))
        self._paths = iter(found.paths)
        first = self._next()
        if first is None:
            raise SourceError(self._failures[0])
        self._first: np.ndarray | None = first
        folder = Path(request.name).is_dir()
        self._fps = request.fps or (FOLDER_FPS if folder else PHOTO_FPS)
        self._repeated = request.live and not folder
        size_wh = (first.shape[1], first.shape[0])
        details = f", {size_wh[0]}x{size_wh[1]}" if not folder else f", {len(found.paths)} photos"
        details += f" at {self._fps:g} a second" if request.live else ""
        frames = None if self._repeated else len(found.paths)
        self.info = SourceInfo(request.name + details, size_wh, self._fps, frames, self._repeated)

    def _next(self) -> np.ndarray | None:
        for path in self._paths:
            try:
                return fit_inside(read_photo(path), self._fit_wh)
            except PhotoError as error:
                self._failures.append(str(error))
        return None

    def __iter__(self) -> Iterator[SourceFrame]:
        """The photos.

        Raises:
            SourceError: At the end: some of the folder's photos could not be read.
        """
        photo, self._first = self._first, None
        pace = Pace(self._fps)
        while photo is not None and not self._closed:
            captured = pace.wait() if self._request.live else time.monotonic()
            # A repeated photo is copied, as the reader may change the frame.
            yield SourceFrame(photo.copy() if self._repeated else photo, None, captured)
            if not self._repeated:
                photo = self._next()
        if self._failures and not self._closed:
            more = f" And {len(self._failures) - 1} more photos could not be read." if self._failures[1:] else ""
            raise SourceError(f"{self._failures[0]}{more}")

    def close(self) -> None:
        """Ends the iteration."""
        self._closed = True
