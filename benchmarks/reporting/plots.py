"""The report's plots, as SVG files. All their figures are in tables too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from convert.pareto import pareto_front
from seg_edge.card import PALETTE

STYLE = {
    "svg.fonttype": "none",  # text stays text: small and copyable
    "svg.hashsalt": "seg-edge",  # the same plot gives the same file
    "text.parse_math": False,  # names may contain a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
# Okabe and Ito's colours, which are safe for colour blindness, without yellow, which is too pale on white.
COLOURS = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (PALETTE[i] for i in (5, 4, 0, 1, 3, 2))]
MARKERS = {"model": "o", "full": "s", "peer": "^"}
LONGEST_NAME = 34  # characters


class Spot(NamedTuple):
    """A model in a plot of quality over cost, with intervals."""

    name: str
    role: str
    cost: float
    cost_range: tuple[float, float]
    quality: float
    quality_range: tuple[float, float]


def draw_pareto(path: Path, spots: Sequence[Spot], cost: str, quality: str) -> None:
    """Quality over logarithmic cost; the dashed line is the Pareto front."""
    figure, (axes,) = _figure(7.0, 4.2)
    costs, qualities = [spot.cost for spot in spots], [spot.quality for spot in spots]
    front = pareto_front(costs, qualities)
    axes.step([costs[i] for i in front], [qualities[i] for i in front], "--", color="#8c959f", where="post")
    for index, spot in enumerate(spots):
        axes.errorbar(
            spot.cost,
            spot.quality,
            [[max(0.0, spot.quality - spot.quality_range[0])], [max(0.0, spot.quality_range[1] - spot.quality)]],
            [[max(0.0, spot.cost - spot.cost_range[0])], [max(0.0, spot.cost_range[1] - spot.cost)]],
            fmt=MARKERS.get(spot.role, "D"),
            color=_colour(index),
            label=short_name(spot.name),
        )
    axes.set(xscale="log", xlabel=cost, ylabel=quality)
    axes.xaxis.set_major_formatter("{x:,.4g}")
    _save(figure, path)


def draw_history(path: Path, panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], runs: int) -> None:
    """A panel per figure and a line per model, over the runs."""
    figure, all_axes = _figure(9.0, 0.9 + 1.9 * len(panels), len(panels))
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        axes.set_title(short_name(title), loc="left")
        axes.set_xlim(0.5, runs + 0.5)
        for name, points in lines.items():
            style = {"color": _colour(names.index(name)), "label": short_name(name)}
            axes.plot([run for run, _ in points], [value for _, value in points], marker="o", **style)
        if "Dice" not in title:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:,.4g}")
    all_axes[-1].set_xlabel("run")
    _save(figure, path)


def short_name(name: str) -> str:
    """A name fit for a plot: no characters that XML can't hold, and not too long."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _figure(width: float, height: float, rows: int = 1) -> tuple[Any, Any]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, sharex=True, squeeze=False)[:, 0]


def _save(figure: Any, path: Path) -> None:
    from matplotlib import rc_context

    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    with rc_context(STYLE):
        figure.legend(list(handles.values()), list(handles), loc="outside right upper")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
