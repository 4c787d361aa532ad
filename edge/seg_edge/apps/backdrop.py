"""The background behind people: a fixed picture or colour, or a video that plays in a loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg_edge.effects import EffectSettings, cover
from seg_edge.sources.source import SourceFrame, SourceRequest
from seg_edge.sources.video_file import VideoFileSource

ANY_INPUT_WH = (1, 1)  # the model doesn't see it
HALF_TICK_S = 5e-4  # containers that count in milliseconds round timestamps
MOST_FRAMES = 8  # decoded for one picture; a background that needs more plays more slowly


class Backdrop:
    """The settings of an effect, with the right background for each picture.

    Args:
        settings: Of the effect; a background picture is scaled once, for all pictures.
        shape_hw: Height and width of the pictures.
        video: Plays in the background at its own rate, in a loop.

    Raises:
        SourceError: The video can't be read.
    """

    def __init__(self, settings: EffectSettings, shape_hw: tuple[int, int], video: Path | None = None):
        self._shape_hw = shape_hw
        if isinstance(settings.background, np.ndarray):
            settings = replace(settings, background=cover(settings.background, shape_hw))
        self._settings = settings
        self._player = _Player(video) if video else None

    def at(self, seconds: float) -> EffectSettings:
        """The settings for a picture shown this many seconds after the first one; times must rise.

        Raises:
            SourceError: The video was removed or changed meanwhile.
        """
        if self._player is not None and (picture := self._player.newer(seconds)) is not None:
            self._settings = replace(self._settings, background=cover(picture, self._shape_hw))
        return self._settings

    def close(self) -> None:
        """Closes the video."""
        if self._player is not None:
            self._player.close()


def first_picture(video: Path) -> np.ndarray:
    """The first picture of a video, BGR uint8 (height, width, 3).

    Raises:
        SourceError: It can't be read.
    """
    player = _Player(video)
    try:
        picture = player.newer(0.0)
    finally:
        player.close()
    assert picture is not None
    return picture


class _Player:
    def __init__(self, video: Path):
        self._request = SourceRequest(str(video), ANY_INPUT_WH, live=False)
        self._begin(0.0)

    def _begin(self, at_s: float) -> None:
        self._began_s = at_s
        self._source = VideoFileSource(self._request)
        self._frames: Iterator[SourceFrame] = iter(self._source)
        self._next = next(self._frames, None)
        self._last_s = 0.0

    def newer(self, seconds: float) -> np.ndarray | None:
        """The picture that is due; None if it is the same as before."""
        picture = None
        seconds += HALF_TICK_S
        for _ in range(MOST_FRAMES):
            if self._next is None:
                end_s = self._began_s + self._last_s + 1 / (self._source.info.fps or 1)
                if seconds < end_s:
                    return picture
                self._source.close()
                self._begin(end_s)
            if self._next is None or seconds < self._began_s + (self._next.at_s or 0.0):
                return picture
            picture, self._last_s = self._next.frame, self._next.at_s or 0.0
            self._next = next(self._frames, None)
        self._began_s += max(0.0, seconds - self._began_s - self._last_s)
        return picture

    def close(self) -> None:
        self._source.close()
