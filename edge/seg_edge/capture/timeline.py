"""The time that frames spend in each stage: one histogram per stage, of constant size however long the camera runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# A frame's stages, in order. `capture` is decoding and transfer into the program; the resize in between counts as
# `preprocess`. `wait` is idle time between two stages.
STAGES = ("capture", "preprocess", "inference", "postprocess", "render", "publish", "wait")

LOWEST_MS = 1e-3
RATIO = 1.01  # between neighbouring bins, so a percentile is exact to half a percent
BINS = math.ceil(math.log(1e8) / math.log(RATIO))  # up to 10^5 s, or 28 hours


class Histogram:
    """Counts of durations in bins of equal ratio, for percentiles without keeping every value.

    Between 1 µs and 10^5 s a percentile is within 0.5 % of the exact one; values outside count in the nearest bin.
    """

    def __init__(self) -> None:
        self._counts = [0] * BINS
        self.count, self.total_ms = 0, 0.0

    def add(self, ms: float) -> None:
        """Counts one duration, in milliseconds."""
        position = math.log(ms / LOWEST_MS) / math.log(RATIO) if ms > LOWEST_MS else 0
        self._counts[min(int(position), BINS - 1)] += 1
        self.count += 1
        self.total_ms += ms

    def percentile(self, percent: float) -> float | None:
        """The smallest duration, in ms, that `percent` of all don't exceed (nearest rank); None if there are none."""
        rank, passed = max(1, math.ceil(percent / 100 * self.count)), 0
        for index, count in enumerate(self._counts):
            passed += count
            if passed >= rank and count:
                return LOWEST_MS * RATIO ** (index + 0.5)
        return None


class Timeline:
    """The durations of every stage of every frame, the frames' ages when published, and the unexplained rest."""

    def __init__(self) -> None:
        self.stages = {stage: Histogram() for stage in STAGES}
        self.age, self.unaccounted = Histogram(), Histogram()

    def add(self, stages_ms: Mapping[str, float], age_ms: float) -> None:
        """Counts one frame.

        Args:
            stages_ms: Milliseconds in each of `STAGES`, each measured by itself.
            age_ms: From the moment the picture was taken to the moment it was published, measured independently.
        """
        for stage, ms in stages_ms.items():
            self.stages[stage].add(ms)
        self.age.add(age_ms)
        self.unaccounted.add(abs(age_ms - sum(stages_ms.values())))

    def to_json(self) -> dict[str, Any]:
        """`frame_age_ms` with p50, p95 and p99; `stages_ms` with p50, p95 and mean of each stage.

        `unaccounted_ms` is the part of a frame's age that no stage explains: near 0, or the stages are wrong.
        """
        stages = {stage: {**_percentiles(times, 50, 95), "mean": _mean(times)} for stage, times in self.stages.items()}
        return {
            "frame_age_ms": _percentiles(self.age, 50, 95, 99),
            "stages_ms": stages,
            "unaccounted_ms": _percentiles(self.unaccounted, 50, 95),
        }


def _percentiles(times: Histogram, *percents: int) -> dict[str, float | None]:
    values = {f"p{percent}": times.percentile(percent) for percent in percents}
    return {name: None if value is None else round(value, 3) for name, value in values.items()}


def _mean(times: Histogram) -> float | None:
    return round(times.total_ms / times.count, 3) if times.count else None
