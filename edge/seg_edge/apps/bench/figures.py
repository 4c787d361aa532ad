"""From samples to figures: percentiles where there are enough samples, and ratios with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seg_edge.apps.bench.rounds import STAGES, Round

CONFIDENCE = 0.95
# A percentile near the end is given only where at least one sample is expected beyond it.
NEEDED = {50: 1, 95: 20, 99: 100}


def percentiles(samples: Sequence[float]) -> dict[str, Any]:
    """`n`, `min`, `p50`, `p95`, `p99` of milliseconds; None if there are too few samples."""
    figures: dict[str, Any] = {"n": len(samples), "min": round(min(samples), 4)}
    for percent, needed in NEEDED.items():
        enough = len(samples) >= needed
        figures[f"p{percent}"] = round(float(np.percentile(samples, percent)), 4) if enough else None
    return figures


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """A distribution-free confidence interval of the median, and its confidence.

    The k-th lowest and k-th highest of n enclose the median with probability 1 - 2 P(Binomial(n, 1/2) < k) (H. A. David
    and H. N. Nagaraja, Order Statistics, 3rd ed., 2003, section 7.1). k is the largest for which that is at least
    `CONFIDENCE`; below 6 values there is none, and the whole range is given with its probability.

    Returns:
        Low, high, probability.
    """
    ordered, count = sorted(values), len(values)

    def covered(k: int) -> float:
        return 1 - 2 * sum(math.comb(count, index) for index in range(k)) / 2**count

    k = max((k for k in range(1, count // 2 + 1) if covered(k) >= CONFIDENCE), default=1)
    return ordered[k - 1], ordered[-k], max(0.0, covered(k))


def ratio(rounds: Sequence[float]) -> dict[str, Any]:
    """The median of the rounds' ratios, its interval, and the ratios themselves."""
    low, high, confidence = median_interval(rounds)
    return {
        "median": round(float(np.median(rounds)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "confidence": round(confidence, 4),
        "rounds": [round(value, 4) for value in rounds],
    }


def latency(rounds: Sequence[Round], reference: str) -> list[dict[str, Any]]:
    """An entry for each candidate and number of threads: the model alone, a whole frame, and its stages."""
    entries = []
    for threads in sorted({item.threads for item in rounds}):
        same = [item for item in rounds if item.threads == threads]
        for name in same[0].inference:
            alone = [item.inference[name] for item in same]
            frames = [item.frame[name] for item in same]
            against = [item.inference[reference] for item in same]
            entries.append(
                {
                    "model": name,
                    "threads": threads,
                    "inference_ms": percentiles([ms for timing in alone for ms in timing.samples]),
                    "ratio": ratio([a.ratio_to(b) for a, b in zip(alone, against, strict=True)]),
                    "frame_ms": percentiles([ms for timing in frames for ms in timing.samples]),
                    "frame_ratio": ratio([a.ratio_to(b) for a, b in zip(frames, against, strict=True)]),
                    "stages_ms": {
                        stage: percentiles([ms for item in same for ms in item.stages[name][stage]]) for stage in STAGES
                    },
                    "every": max(timing.stride for timing in alone),
                    "samples_ms": [[round(ms, 4) for ms in timing.samples] for timing in alone],
                }
            )
    return entries
