"""The report's plots, each as an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.reporting.plot_style import (
    COLOURS,
    FAINT,
    INK,
    ROLE_MARKER,
    as_svg,
    canvas,
    colour,
    log_ticks,
    put_names,
    roles_legend,
    tidy,
)
from seg_edge.apps.bench.rounds import FRAME_STAGES

BINS = 60
FEW = 30  # samples, below which each is drawn
CUT = 12.0  # a frame that takes over so many times as long as the quickest is not drawn to its end

# A run's number, a figure of it, and where that lies.
Past = tuple[int, float, Sequence[float] | None]


@dataclass(frozen=True)
class Spot:
    """A model in a plot of quality over cost.

    Attributes:
        name: Of the model.
        role: See `seg_edge.apps.bench.candidates.Candidate`.
        cost: Less is better.
        cost_range: Where it lies.
        quality: More is better.
        quality_range: Where it lies.
    """

    name: str
    role: str
    cost: float
    cost_range: tuple[float, float]
    quality: float
    quality_range: tuple[float, float]


def frontier(spots: Sequence[Spot]) -> list[Spot]:
    """Those that no other beats in both, the cheapest first."""
    best: list[Spot] = []
    for spot in sorted(spots, key=lambda one: (one.cost, -one.quality)):
        if not best or spot.quality > best[-1].quality:
            best.append(spot)
    return best


def pareto(spots: Sequence[Spot], cost: str, quality: str) -> str:
    """Quality over cost, which is logarithmic, with the frontier that none beats."""
    with canvas(5.4, 4.1) as figure:
        axes = figure.subplots()
        front = frontier(spots)
        corners = [(front[0].cost, front[0].quality)]
        for cheap, dear in pairwise(front):
            corners += [(dear.cost, cheap.quality), (dear.cost, dear.quality)]
        axes.plot(*zip(*corners, strict=True), color=FAINT, linewidth=1.2, linestyle="--", zorder=1)
        bars: list[Any] = list(pairwise(corners))
        for spot in spots:
            shade = colour(spot.role)
            ends = (
                ((spot.cost_range[0], spot.quality), (spot.cost_range[1], spot.quality)),
                ((spot.cost, spot.quality_range[0]), (spot.cost, spot.quality_range[1])),
            )
            for one, other in ends:
                axes.plot([one[0], other[0]], [one[1], other[1]], color=shade, linewidth=1.2, alpha=0.55, zorder=2)
            bars += ends
            axes.plot(spot.cost, spot.quality, ROLE_MARKER.get(spot.role, "o"), color=shade, markersize=7, zorder=3)
        axes.set(xscale="log", xlabel=cost, ylabel=quality)
        axes.margins(x=0.2, y=0.12)
        log_ticks(axes.xaxis, [value for spot in spots for value in spot.cost_range])
        axes.grid(alpha=0.25)
        roles_legend(figure, [spot.role for spot in spots])
        put_names(figure, axes, [(s.cost, s.quality, s.name, colour(s.role)) for s in spots], bars)
        return as_svg(figure)


def distributions(samples: Mapping[str, Sequence[float]], roles: Mapping[str, str]) -> str:
    """Each model's milliseconds: where they lie, and how they spread around their own median."""
    names = list(samples)
    with canvas(9.6, 1.25 + 0.42 * len(names)) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.25))
        for row, name in enumerate(names):
            values, shade = np.array(samples[name]), colour(roles[name])
            low, middle, high = np.percentile(values, (5, 50, 95))
            left.plot([values.min(), values.max()], [row, row], color=shade, linewidth=1)
            left.plot([low, high], [row, row], color=shade, linewidth=5, alpha=0.5, solid_capstyle="butt")
            left.plot(middle, row, ROLE_MARKER.get(roles[name], "o"), color=shade, markersize=6)
            _spread(right, values / middle, row, shade)
        everything = [value for values in samples.values() for value in values]
        left.set(xscale="log", xlabel="ms", title="ms: median, 5–95 %, extremes")
        log_ticks(left.xaxis, everything)
        left.set_yticks(range(len(names)), [tidy(name) for name in names])
        left.set_ylim(len(names) - 0.4, -0.7)
        right.set(xscale="log", xlabel="times the model's own median", title="how one inference differs from the next")
        relative = [value / np.median(values) for values in samples.values() for value in values]
        right.set_xlim(max(0.4, min(0.9, min(relative) * 0.97)), min(4.0, max(1.2, max(relative) * 1.03)))
        log_ticks(right.xaxis, right.get_xlim())
        right.axvline(1, color=FAINT, linewidth=0.8, zorder=0)
        right.tick_params(left=False)
        for axes in (left, right):
            axes.grid(axis="x", alpha=0.25)
        return as_svg(figure)


def frames(stages: Mapping[int, Mapping[str, Mapping[str, float]]]) -> str:
    """Stacked bars: the milliseconds of a frame's stages by number of threads and model."""
    names = list(dict.fromkeys(name for models in stages.values() for name in models))
    totals = [sum(parts.values()) for models in stages.values() for parts in models.values()]
    end = 1.12 * max(total for total in totals if total <= CUT * min(totals))
    with canvas(9.6, 1.3 + 0.36 * len(names)) as figure:
        panels = figure.subplots(1, len(stages), sharey=True, squeeze=False)[0]
        for axes, (threads, models) in zip(panels, stages.items(), strict=True):
            for row, name in enumerate(names):
                began = 0.0
                for stage, shade in zip(FRAME_STAGES, (COLOURS[5], COLOURS[0], COLOURS[3], COLOURS[2]), strict=True):
                    ms = models.get(name, {}).get(stage, 0.0)
                    visible = max(0.0, min(ms, end - began))
                    axes.barh(row, visible, 0.66, began, color=shade, label=stage if not row else None)
                    began += ms
                beyond = began > end
                axes.text(
                    end * 0.985 if beyond else began + end * 0.012,
                    row,
                    f"{began:,.0f} ms ▸" if beyond else f"{began:.3g}" if began else "not measured",
                    ha="right" if beyond else "left",
                    va="center",
                    color="white" if beyond else INK,
                    fontsize=9,
                )
            axes.set(xlim=(0, end), xlabel="ms", title=f"{threads} thread{'' if threads == 1 else 's'}")
            axes.set_yticks(range(len(names)), [tidy(name) for name in names])
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.grid(axis="x", alpha=0.25)
            axes.set_axisbelow(True)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), columnspacing=1)
        return as_svg(figure)


def curve(measured: Mapping[str, Any]) -> str:
    """How a cost grows: medians with where 90 % of the samples lie, and the law where it is a line in this plot."""
    points = sorted(measured["points"], key=lambda point: point["x"])
    fit = measured["fit"]
    xs, ys = [point["x"] for point in points], [point["y"] for point in points]
    logarithmic = max(xs) / min(xs) > 20 and fit["kind"] != "amdahl"
    with canvas(4.6, 3.3) as figure:
        axes = figure.subplots()
        law = _law(fit, np.geomspace(min(xs), max(xs), 80))
        if law is not None:
            axes.plot(*law, color=COLOURS[1], linewidth=1.2, linestyle="--", label="the law", zorder=1)
        spread = [[max(0.0, p["y"] - p["p5"]) for p in points], [max(0.0, p["p95"] - p["y"]) for p in points]]
        axes.errorbar(xs, ys, spread, fmt="o", color=COLOURS[0], markersize=5, capsize=3, label="measured, 5–95 %")
        axes.set(xlabel=_axis(measured["x"], measured["unit_x"]), ylabel=_axis(measured["y"], measured["unit_y"]))
        if logarithmic:
            axes.set(xscale="log", yscale="log")
            log_ticks(axes.xaxis, xs)
            log_ticks(axes.yaxis, [value for point in points for value in (point["p5"], point["p95"])])
        else:
            axes.set_ylim(bottom=0)
            if all(float(x).is_integer() for x in xs) and len(xs) < 9:
                axes.set_xticks(xs, [f"{x:,g}" for x in xs])
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8.5)
        return as_svg(figure)


def over_time(panels: Mapping[str, Mapping[str, Sequence[Past]]], runs: Sequence[str]) -> str:
    """A line a model over the runs, a panel a figure; logarithmic but for Dice."""
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    count = len(COLOURS)
    looks: dict[str, dict[str, Any]] = {
        name: {
            "color": COLOURS[i % count],
            "marker": "osD^vPX"[i // count % 7],
            "linestyle": ("-", "--", ":")[i // count % 3],
        }
        for i, name in enumerate(names)
    }
    with canvas(9.6, 0.9 + 1.75 * len(panels)) as figure:
        rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, (title, lines) in zip(rows, panels.items(), strict=True):
            for name, points in lines.items():
                axes.plot([run for run, *_ in points], [value for _, value, _ in points], **looks[name], markersize=5)
                for run, _, sure in points:
                    if sure:
                        axes.plot([run, run], sure, color=looks[name]["color"], linewidth=1.2, alpha=0.5)
            axes.set_title(tidy(title))
            if not title.startswith("Dice"):
                axes.set_yscale("log")
                log_ticks(axes.yaxis, [value for points in lines.values() for _, value, _ in points])
            axes.margins(y=0.15)
            axes.grid(alpha=0.25)
        every = -(-len(runs) // 12)
        rows[-1].set_xticks(range(0, len(runs), every), [tidy(run) for run in runs[::every]], rotation=25, ha="right")
        rows[-1].set_xlim(-0.4, len(runs) - 0.6)
        handles = [Line2D([], [], label=tidy(name), **look) for name, look in looks.items()]
        figure.legend(handles=handles, loc="outside right upper")
        return as_svg(figure)


def _spread(axes: Any, values: np.ndarray, row: int, shade: str) -> None:
    """A histogram that stands on its row; below `FEW` samples, the samples."""
    if len(values) < FEW:
        axes.plot(values, np.full(len(values), row), "|", color=shade, markersize=12)
        return
    counts, edges = np.histogram(np.log(values.clip(0.4, 4)), bins=BINS)
    heights = counts / counts.max() * 0.75
    axes.stairs(row + 0.3 - heights, np.exp(edges), baseline=row + 0.3, fill=True, color=shade, alpha=0.75)


def _law(fit: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Points of a power law or a straight line; Amdahl's is left to its sentence."""
    keys = {"power": ("factor", "exponent"), "linear": ("fixed", "each")}.get(fit["kind"], ())
    values = [fit.get(key) for key in keys]
    if not values or not all(isinstance(value, int | float) for value in values):
        return None
    a, b = (float(value) for value in values if value is not None)
    with np.errstate(over="ignore", invalid="ignore"):
        y = a * x**b if fit["kind"] == "power" else a + b * x
    return (x, y) if np.isfinite(y).all() else None


def _axis(what: str, unit: str) -> str:
    return tidy(what) if unit == what else f"{tidy(what)}, {tidy(unit)}"
