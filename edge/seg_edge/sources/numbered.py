"""Numbered pictures, `f%04d.png`, as a video: in the order of their numbers, which may go up by more than one."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from seg_edge.errors import PhotoError, SourceError
from seg_edge.photo.read import read_photo
from seg_edge.sources.names import SEQUENCE, numbered
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest
from seg_edge.sources.still import LARGEST_WH, fit_inside
from seg_edge.sources.video_container import FPS
from seg_edge.sources.video_file import Playback


class NumberedSource:
    """Numbered pictures, `request.fps` (30) a second; scaled down in proportion to fit `request.size_wh` if given.

    What is missing between two of them leaves its time, as does a picture that can't be read or has another size.

    Raises:
        SourceError: There are none, or the first can't be read.

    Attributes:
        info: What was opened.
        complaint: After iteration: how many pictures are missing; else empty.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest):
        self._pattern, self._live = Path(request.name), request.live
        self._fit_wh = request.size_wh or LARGEST_WH
        self._numbers = _numbers(self._pattern)
        self._left = iter(self._numbers)
        self._step = _usual_step(self._numbers)
        self._fps = request.fps or float(FPS)
        self._closed = False
        self.complaint = ""
        try:
            self._first: np.ndarray | None = self._read(self._numbers[0])
        except PhotoError as error:
            raise SourceError(str(error)) from error
        self._shape = self._first.shape
        size_wh = (self._shape[1], self._shape[0])
        text = f"{self._pattern}, {size_wh[0]}x{size_wh[1]} at {self._fps:g} fps"
        self.info = SourceInfo(text, size_wh, self._fps, len(self._numbers), endless=False)

    def _read(self, number: int) -> np.ndarray:
        return fit_inside(read_photo(numbered(self._pattern, number)), self._fit_wh)

    def __iter__(self) -> Iterator[SourceFrame]:
        """The pictures."""
        playback, first = Playback(), self._numbers[0]
        lost: list[str] = []
        due = first
        for number in self._left:
            if self._closed:
                return
            lost += [f"{numbered(self._pattern, gone).name} is missing" for gone in range(due, number, self._step)]
            due = number + self._step
            try:
                picture, self._first = self._read(number) if self._first is None else self._first, None
            except PhotoError as error:
                lost.append(str(error).rstrip("."))
                continue
            if picture.shape != self._shape:
                lost.append(f"{numbered(self._pattern, number).name} has another size than the first")
                continue
            at_s = (number - first) / self._step / self._fps
            yield SourceFrame(picture, None, playback.wait(at_s) if self._live else time.monotonic(), at_s)
        if lost:
            self.complaint = lost[0] + (f", and so on: {len(lost)} pictures" if lost[1:] else "")

    def close(self) -> None:
        """Ends the iteration."""
        self._closed = True


def _numbers(pattern: Path) -> list[int]:
    """The numbers of the pictures that match a pattern, ascending.

    Raises:
        SourceError: There are none.
    """
    match = SEQUENCE.search(pattern.name)
    assert match is not None
    form = re.compile(rf"{re.escape(pattern.name[: match.start()])}(\d+){re.escape(pattern.name[match.end() :])}")
    names = os.listdir(pattern.parent) if pattern.parent.is_dir() else []
    found = sorted({int(m[1]) for m in map(form.fullmatch, names) if m and match[0] % int(m[1]) == m[1]})
    if not found:
        raise SourceError(f"{pattern}: there are no such pictures; check the folder and the name.")
    return found


def _usual_step(numbers: list[int]) -> int:
    """By how much the numbers mostly go up."""
    steps = Counter(after - before for before, after in pairwise(numbers))
    return max(steps, key=lambda step: (steps[step], -step)) if steps else 1
