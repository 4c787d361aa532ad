"""Growth laws: power law, straight line and Amdahl's law, each fitted by least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Samples = Mapping[Any, Sequence[float]]


def power_law(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float | None]:
    """`y = factor * x ** exponent` by least squares on the logarithms: factor, exponent, R² of the logarithms."""
    xs, ys = np.log(x), np.log(y)
    exponent, log_factor = np.polyfit(xs, ys, 1)
    return float(np.exp(log_factor)), float(exponent), _r2(ys, log_factor + exponent * xs)


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float | None]:
    """`y = intercept + slope * x` by least squares on relative errors, as errors grow with y: intercept, slope, R²."""
    xs, ys = np.array(x, float), np.array(y, float)
    slope, intercept = np.polyfit(xs, ys, 1, w=1 / ys)
    return float(intercept), float(slope), _r2(ys, intercept + slope * xs)


def serial_share(workers: Sequence[float], times: Sequence[float]) -> tuple[float, float | None]:
    """The serial share of the work, by Amdahl's law (AFIPS 1967), and R².

    `time(n) = time(1) * (serial + (1 - serial) / n)`. Below 0, more workers helped more than the law allows.
    """
    serial, parallel, r2 = line([1 / n for n in workers], times)
    return serial / (serial + parallel), r2


def _r2(y: np.ndarray, fitted: np.ndarray) -> float | None:
    spread = float(np.sum((y - y.mean()) ** 2))
    return 1 - float(np.sum((y - fitted) ** 2)) / spread if len(y) > 2 and spread else None


def medians(samples: Samples) -> tuple[list[float], list[float]]:
    """x, and the median y at each, to fit a law to."""
    return list(samples), [float(np.median(values)) for values in samples.values()]


def describe_speedup(samples: Samples, unit: str, cores: int, is_rate: bool) -> tuple[str, float | None]:
    """Amdahl's law for samples by number of workers, as text, and R²; ignores more workers than cores."""
    counts, values = medians({count: values for count, values in samples.items() if count <= cores})
    if len(counts) < 2:
        return "one core: there is nothing to fit", None
    times = [1 / value for value in values] if is_rate else values
    serial, r2 = serial_share(counts, times)
    share = f"by Amdahl's law {serial:.0%} of the work is serial"
    if not 0 <= serial <= 1:
        share = "more of them cost time" if serial > 1 else "more than Amdahl's law allows"
    speedup = times[0] / times[-1]
    return f"{counts[-1]:g} {unit} are {speedup:.2f} times as fast as {counts[0]:g} ({share})", r2
