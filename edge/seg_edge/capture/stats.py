"""The figures of a run, which `--stats` of `seg-edge camera` and `seg-edge video` writes."""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from typing import Any

from seg_edge.capture.pipeline import Pipeline, SegmentedFrame
from seg_edge.capture.timeline import Timeline
from seg_edge.evaluation.flicker import FlickerMeter
from seg_edge.segmenter import Segmenter
from seg_edge.system.board import Machine, read_board
from seg_edge.system.memory import peak_mb

RATE_WINDOW_S = 2.0


class RunStats:
    """Counts published frames, and describes the run at its end.

    Args:
        flicker: Whether to measure flicker, which takes some time for each frame.
    """

    def __init__(self, flicker: bool) -> None:
        self.timeline, self.flicker = Timeline(), FlickerMeter() if flicker else None
        self.published = 0
        self._recent: deque[tuple[float, float]] = deque()  # when each frame was published, and its age then, in ms
        self._began, self._cpu_before = time.monotonic(), _cpu_s()
        self._first = self._last = 0.0

    def add(self, item: SegmentedFrame, render_ms: float, publish_ms: float) -> None:
        """Counts a frame that has just been published."""
        now = time.monotonic()
        self._first = self._first or now
        self._last = now
        self.published += 1
        age_ms = (now - item.source.captured) * 1000
        self._recent.append((now, age_ms))
        while now - self._recent[0][0] > RATE_WINDOW_S:
            self._recent.popleft()
        self.timeline.add({**item.stages_ms, "render": render_ms, "publish": publish_ms}, age_ms)
        if self.flicker:
            self.flicker.add(item.result)

    @property
    def fps(self) -> float:
        """Published frames a second, over the last two seconds."""
        if len(self._recent) < 2:
            return 0.0
        return (len(self._recent) - 1) / (self._recent[-1][0] - self._recent[0][0])

    @property
    def age_ms(self) -> float:
        """The median age of published frames over the last two seconds, in milliseconds; 0 without any."""
        return statistics.median(age for _, age in self._recent) if self._recent else 0.0

    def to_json(self, pipeline: Pipeline, segmenter: Segmenter) -> dict[str, Any]:
        """The object of `--stats`, complete once the pipeline is closed; `docs/camera.md` describes each entry."""
        seconds = time.monotonic() - self._began
        board = read_board(Machine())
        knows_throttling = board.throttle_bits is not None
        span = self._last - self._first
        flicker = self.flicker.score if self.flicker else None
        return {
            "source": pipeline.info.description,
            "frames": {
                "captured": pipeline.captured,
                "segmented": pipeline.segmented,
                "published": self.published,
                "dropped": pipeline.dropped,
            },
            "fps": round((self.published - 1) / span, 3) if span else None,
            **self.timeline.to_json(),
            "flicker": None if flicker is None else round(flicker, 6),
            "reconnects": pipeline.reconnects,
            "seconds": round(seconds, 3),
            "cpu_share": round((_cpu_s() - self._cpu_before) / seconds / (os.cpu_count() or 1), 4),
            "peak_rss_mb": round(peak_mb() + pipeline.capture_peak_mb, 1),
            "throttled": {"now": board.throttled_now, "since_boot": board.throttled_since_boot}
            if knows_throttling
            else None,
            "load": board.load,
            "model": {"name": segmenter.file.name, "sha256": segmenter.file.sha256},
            "threads": segmenter.threads,
        }


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])
