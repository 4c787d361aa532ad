"""How the report's plots look: colours, axes, and names that don't lie over each other."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from seg_edge.card import PALETTE

LONGEST = 34  # characters of a name
INK, FAINT = "#24292f", "#8c959f"
STYLE = {
    "svg.fonttype": "none",  # text stays text: it is small, and can be read aloud and copied
    "svg.hashsalt": "seg-edge",  # the same plot is the same file
    "text.parse_math": False,  # a name may hold a dollar
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 72,  # an SVG's, so that text is measured as it will be
}
# Okabe and Ito's colours, which colour-blind people tell apart; not the yellow, which is too pale on white.
COLOURS = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (PALETTE[i] for i in (5, 4, 0, 1, 3, 2))] + ["#000000"]
ROLE_COLOUR = {"model": COLOURS[0], "full": COLOURS[1], "peer": COLOURS[4], "reference": "#6e7781"}
ROLE_MARKER = {"model": "o", "full": "s", "peer": "^", "reference": "D"}
ROLE_NAME = {"model": "ours", "full": "ours, the full one", "peer": "others'", "reference": "the reference"}


@contextmanager
def canvas(width: float, height: float) -> Iterator[Any]:
    """An empty figure, in inches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Any) -> str:
    """The figure as an SVG element."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    return text[text.index("<svg") :]


def tidy(name: str) -> str:
    """A name as it can stand in a plot: XML can't hold every character, and a plot no long name."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def colour(role: str) -> str:
    """Of a model by its role."""
    return ROLE_COLOUR.get(role, FAINT)


def log_ticks(axis: Any, values: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 with plain numbers, or wherever they fit if the values are close together."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    decades = math.log10(max(values) / min(values))
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.3 else (1.0,)))
    if decades < 2.3:
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


def roles_legend(figure: Any, roles: Sequence[str]) -> None:
    """What the markers stand for, below the plot."""
    from matplotlib.lines import Line2D

    known = [role for role in ROLE_NAME if role in roles]
    handles = [
        Line2D([], [], color=colour(role), marker=ROLE_MARKER[role], linestyle="", label=ROLE_NAME[role])
        for role in known
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), handletextpad=0.1, columnspacing=1)


def put_names(figure: Any, axes: Any, spots: Sequence[tuple[float, float, str, str]], bars: Sequence[Any]) -> None:
    """Writes a name beside each spot, where it covers least.

    Args:
        figure: The plot's; its layout is fixed by this.
        axes: Where the spots are.
        spots: x, y, name and colour of each.
        bars: ((x, y), (x, y)) of lines that had better not be covered either.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    frame = axes.get_window_extent(renderer).extents
    at = [axes.transData.transform((x, y)) for x, y, *_ in spots]
    dots = [(x - 6, y - 6, x + 6, y + 6) for x, y in at]
    lines = [_box(*axes.transData.transform(ends)) for ends in bars]
    names: list[tuple[float, ...]] = []
    for index in sorted(range(len(spots)), key=lambda i: -at[i][1]):
        x, y, name, shade = spots[index]
        text = axes.annotate(
            tidy(name), (x, y), (0, 0), textcoords="offset points", color=shade, fontsize=9, va="bottom", ha="left"
        )
        extent = text.get_window_extent(renderer)
        others = [dot for i, dot in enumerate(dots) if i != index]
        placings = []
        for away in (9, 16, 26, 38, 52, 68):
            for dx, dy in _around(extent.width, extent.height, away):
                left, bottom = at[index][0] + dx, at[index][1] + dy
                box = (left, bottom, left + extent.width, bottom + extent.height)
                cost = away * 2 + 40 * sum(_overlap(box, other) for other in [*names, *others])
                cost += 2 * sum(_overlap(box, line) for line in lines) + 100 * _outside(box, frame)
                placings.append((cost, away, dx, dy, box))
        _, away, dx, dy, box = min(placings)
        text.set_position((dx, dy))
        names.append(box)
        if away > 16:
            nearest = (min(max(0, dx), dx + extent.width), min(max(0, dy), dy + extent.height))
            end = axes.transData.inverted().transform((at[index][0] + nearest[0], at[index][1] + nearest[1]))
            axes.plot([x, end[0]], [y, end[1]], color=shade, linewidth=0.6, zorder=1, scalex=False, scaley=False)


def _around(width: float, height: float, away: float) -> list[tuple[float, float]]:
    """Where a text's lower left corner may be, seen from its spot."""
    near = away * 0.7
    return [
        (away, -height / 2),
        (near, near),
        (near, -near - height),
        (-away - width, -height / 2),
        (-near - width, near),
        (-near - width, -near - height),
        (-width / 2, away),
        (-width / 2, -away - height),
    ]


def _box(one: Any, other: Any) -> tuple[float, ...]:
    (a, b), (c, d) = one, other
    return min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0.0


def _outside(box: Sequence[float], frame: Sequence[float]) -> float:
    return sum(
        max(0.0, beyond) for beyond in (frame[0] - box[0], frame[1] - box[1], box[2] - frame[2], box[3] - frame[3])
    )
