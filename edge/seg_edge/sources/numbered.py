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

    A picture that is missing, can't be read or has another size is left out; the others keep their times.

    Raises:
        SourceError: There are none, or the first can't be read.

    Attributes:
        info: What was opened.
        complaint: After iteration: which pictures were left out; empty if none.
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
        left_out: list[str] = []
        expected = first
        for number in self._left:
            if self._closed:
                return
            missing = range(expected, number, self._step)
            left_out += [f"{numbered(self._pattern, gone).name} is missing" for gone in missing]
            expected = number + self._step
            try:
                picture, self._first = self._read(number) if self._first is None else self._first, None
            except PhotoError as error:
                left_out.append(str(error).rstrip("."))
                continue
            if picture.shape != self._shape:
                left_out.append(f"{numbered(self._pattern, number).name} differs in size from the first")
                continue
            at_s = (number - first) / self._step / self._fps
            yield SourceFrame(picture, None, playback.wait(at_s) if self._live else time.monotonic(), at_s)
        if left_out:
            self.complaint = left_out[0] + (f", and so on: {len(left_out)} pictures" if left_out[1:] else "")

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
    """The most frequent step between two numbers; the smallest of equally frequent ones."""
    steps = Counter(after - before for before, after in pairwise(numbers))
    return max(steps, key=lambda step: (steps[step], -step)) if steps else 1
