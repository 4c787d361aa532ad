"""How a cost grows: a law fitted to what was measured, in numbers that mean something, and how well it fits.

A fit describes the range that was measured and no more: nothing here computes a value outside it. Where there are no
more points than the law has numbers, every law fits, so R² is None; and so is the standard error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg_edge.errors import SegEdgeError


@dataclass(frozen=True)
class Fit:
    """A law fitted to points.

    Attributes:
        kind: `power`, `linear` or `amdahl`.
        values: Its numbers by name.
        r2: Share of the variance that it explains (of the logarithms, for `power`); None where that says nothing.
        points: How many it was fitted to.
    """

    kind: str
    values: Mapping[str, float | None]
    r2: float | None
    points: int

    def __getitem__(self, name: str) -> float:
        """A number of the law that is there.

        Raises:
            KeyError: It isn't.
        """
        value = self.values[name]
        if value is None:
            raise KeyError(name)
        return value

    def to_json(self, text: str) -> dict[str, Any]:
        """As plain JSON, with the sentence that says it."""
        return {"kind": self.kind, **self.values, "r2": self.r2, "points": self.points, "text": text}


def power(x: Sequence[float], y: Sequence[float]) -> Fit:
    """`y = factor * x ** exponent`, by least squares on the logarithms.

    Values are `factor`, `exponent`, its standard error `exponent_se`, and `doubling`: what y is multiplied by where x
    is doubled.

    Raises:
        SegEdgeError: There are fewer than two different x, or a number isn't above 0.
    """
    xs, ys = (np.log(values) for values in _checked(x, y))
    exponent, intercept = np.polyfit(xs, ys, 1)
    left = ys - (exponent * xs + intercept)
    free = len(xs) - 2
    error = float(np.sqrt(left @ left / free / np.sum((xs - xs.mean()) ** 2))) if free else None
    values = {"factor": float(np.exp(intercept)), "exponent": float(exponent), "exponent_se": error}
    return Fit("power", {**values, "doubling": float(2**exponent)}, _r2(ys, left), len(xs))


def linear(x: Sequence[float], y: Sequence[float]) -> Fit:
    """`y = fixed + each * x`, by least squares on the relative errors: those of a measurement grow with it.

    Raises:
        SegEdgeError: There are fewer than two different x, or a number isn't above 0.
    """
    xs, ys = _checked(x, y)
    fixed, each = _line(xs, ys)
    return Fit("linear", {"fixed": fixed, "each": each}, _r2(ys, ys - (fixed + each * xs)), len(xs))


def amdahl(workers: Sequence[float], y: Sequence[float], *, is_rate: bool = False) -> Fit:
    """Amdahl's law (AFIPS 1967): of the time of one worker, a `serial` share stays however many there are.

    `time(n) = one * (serial + (1 - serial) / n)`, by least squares on the relative errors. A serial share below 0 means
    that more workers helped more than the law allows.

    Args:
        workers: Threads or processes, each with a processor of its own.
        y: Times, or with `is_rate` how much was done in a time.
        is_rate: See `y`; `one` is then the rate of one worker.

    Raises:
        SegEdgeError: There are fewer than two different numbers of workers, or a number isn't above 0.
    """
    counts, ys = _checked(workers, y)
    times = 1 / ys if is_rate else ys
    stays, shared = _line(1 / counts, times)
    fitted = stays + shared / counts
    one = stays + shared
    values = {"one": 1 / one if is_rate else one, "serial": stays / one}
    return Fit("amdahl", values, _r2(ys, ys - (1 / fitted if is_rate else fitted)), len(ys))


Curve = dict[str, Any]


def make_point(x: float, samples: Sequence[float], **more: object) -> dict[str, Any]:
    """A point of a curve: y is the samples' median; p5 and p95 say how far they spread, n how many they are."""
    low, middle, high = (float(value) for value in np.percentile(samples, (5, 50, 95)))
    return {"x": x, "y": middle, "n": len(samples), "p5": low, "p95": high, **more}


def xy(points: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """What a law is fitted to: x and y of the points but those with more workers than processors."""
    kept = [point for point in points if not point.get("oversubscribed")]
    return [point["x"] for point in kept], [point["y"] for point in kept]


def make_curve(
    name: str, x: tuple[str, str], y: tuple[str, str], points: Sequence[Mapping[str, Any]], fit: Mapping[str, Any]
) -> Curve:
    """A curve as plain JSON.

    Args:
        name: What grows over what.
        x: What was varied, and its unit.
        y: What was measured, and its unit.
        points: See `make_point`.
        fit: See `Fit.to_json`.
    """
    return {"name": name, "x": x[0], "unit_x": x[1], "y": y[0], "unit_y": y[1], "points": list(points), "fit": fit}


def fit_workers(points: Sequence[Mapping[str, Any]], unit: str, *, is_rate: bool) -> Mapping[str, Any]:
    """Amdahl's law for points over threads or processes, as JSON; those beyond the processors are left out."""
    counts, values = xy(points)
    if len(counts) < 2:
        return {"kind": "amdahl", "r2": None, "points": len(counts), "text": "one processor: there is nothing to fit"}
    fit = amdahl(counts, values, is_rate=is_rate)
    times = values[-1] / values[0] if is_rate else values[0] / values[-1]
    serial = fit["serial"]
    if serial > 1:
        share = "more of them only cost time"
    elif serial >= 0:
        share = f"by Amdahl's law {serial:.0%} of the work stays on one"
    else:
        share = "more than Amdahl's law allows"
    unsure = "" if fit.r2 is not None else "; any law fits two points"
    text = f"{counts[-1]:g} {unit} are {times:.2f} times as fast as {counts[0]:g} ({share}{unsure})"
    return fit.to_json(text)


def table(curve: Curve) -> list[str]:
    """The lines that show a curve."""
    lines = [f"{curve['name']} ({curve['y']})", f"{curve['unit_x']:>14}{curve['unit_y']:>12}   p5..p95, samples"]
    for point in curve["points"]:
        marks = [f"{point['mmac']:g} MMAC"] if "mmac" in point else []
        marks += ["oversubscribed: more than there are cores"] if point.get("oversubscribed") else []
        spread = f"{point['p5']:.4g}..{point['p95']:.4g}, {point['n']}"
        lines.append(f"{point['x']:>14,g}{point['y']:>12.4g}   {', '.join([spread, *marks])}")
    r2 = curve["fit"]["r2"]
    return [*lines, f"  {curve['fit']['text']}" + ("" if r2 is None else f"; R² {r2:.3f}")]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and slope; weighted, so that the relative errors' squares are least."""
    slope, intercept = np.polyfit(x, y, 1, w=1 / y)
    return float(intercept), float(slope)


def _checked(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    xs, ys = np.array(x, np.float64), np.array(y, np.float64)
    if xs.shape != ys.shape or len(np.unique(xs)) < 2:
        raise SegEdgeError(f"growth needs two points or more with different x, got x {list(x)} and y {list(y)}.")
    if not (np.isfinite(xs).all() and np.isfinite(ys).all() and xs.min() > 0 and ys.min() > 0):
        raise SegEdgeError(f"growth is of numbers above 0, got x {list(x)} and y {list(y)}.")
    return xs, ys


def _r2(y: np.ndarray, left: np.ndarray) -> float | None:
    spread = float(np.sum((y - y.mean()) ** 2))
    return 1 - float(left @ left) / spread if len(y) > 2 and spread else None
