"""What each step of a compression cost and gained: a table, its data as JSON, and plots of Dice over time and size."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.pareto import pareto_front
from convert.quantisation.converter import convert_float
from convert.tflite_file import total
from seg_edge import Segmenter
from seg_edge.callbacks import Log
from seg_edge.evaluation.latency import Timing, measure
from seg_edge.evaluation.metrics import dice
from seg_edge.evaluation.scores import Scores, score
from seg_edge.system.files import atomic_write, write_file
from train.dataset import Dataset
from train.keras_model import TrainedModel, at_size, keras_segmenter
from train.runs import sha256_of

THREADS = (1, 2)
RUNS = 50
SECONDS = 120.0  # for all models at one number of threads: a full U-Net takes a second per inference


@dataclass(frozen=True)
class Variant:
    """A model for the table: its name there, and the model, as a path if it is a `.tflite`."""

    name: str
    model: TrainedModel | Path


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: The variant's name.
        path: Its file.
        parameters: Weights and biases at inference, batch normalisation folded in.
        mmac: Millions of multiply-accumulates per inference at `timed_wh`.
        scored_wh: Input size at which it was scored, its own.
        timed_wh: Input size at which it was timed.
        times: By number of threads, for each of which all models were timed alternately.
        val: Scores on the part that selected epochs, which the gate uses.
        test: Scores on the part that selected nothing.
    """

    name: str
    path: Path
    parameters: int
    mmac: float
    scored_wh: tuple[int, int]
    timed_wh: tuple[int, int]
    times: Mapping[int, Timing]
    val: Scores
    test: Scores

    @property
    def file_bytes(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size


def describe(
    variants: Sequence[Variant], data: Dataset, size_wh: tuple[int, int] | None, log: Log = print
) -> list[Row]:
    """Scores every model on val and test, and times all of them alternately.

    Args:
        variants: The first is the reference for the others.
        data: The dataset.
        size_wh: Input size at which a `.keras` is timed; None for its own. It is scored at its own.
        log: Receives lines for the user.
    """
    contents, sizes, scores = {}, {}, {}
    for variant in variants:
        log(f"Scoring {variant.name}")
        contents[variant.name], segmenter, sizes[variant.name] = _opened(variant.model, data, size_wh)
        scores[variant.name] = [score(segmenter, data.parts[part]) for part in ("val", "test")]
    log(f"Timing {len(variants)} models alternately")
    times = {threads: measure(contents, threads, RUNS, seconds=SECONDS) for threads in THREADS}
    return [
        Row(
            variant.name,
            variant.model if isinstance(variant.model, Path) else variant.model.path,
            *total(contents[variant.name]),
            *sizes[variant.name],
            {threads: timings[variant.name] for threads, timings in times.items()},
            *scores[variant.name],
        )
        for variant in variants
    ]


def _opened(
    model: TrainedModel | Path, data: Dataset, size_wh: tuple[int, int] | None
) -> tuple[bytes, Segmenter, tuple[tuple[int, int], tuple[int, int]]]:
    """The model to time, the one to score, and the input sizes of both."""
    if isinstance(model, Path):
        segmenter = Segmenter(model)
        input_wh = segmenter.card.input_size_wh
        return model.read_bytes(), segmenter, (input_wh, input_wh)
    timed_wh = size_wh or model.size_wh
    content = convert_float(at_size(model.model, timed_wh), "float32")
    return content, keras_segmenter(model.model, data.classes), (model.size_wh, timed_wh)


def table(rows: Sequence[Row]) -> str:
    """The table to print: sizes, times and their ratio to the first row's, and scores on the test part."""
    names = rows[0].test.classes[1:]
    head = f"{'model':<26}{'file':>10}{'parameters':>12}{'MMAC':>10}"
    head += "".join(f"{f'ms, {n} thr.':>12}{'faster':>8}" for n in rows[0].times)
    head += f"{'Dice':>8}{'edges':>8}" + "".join(f"{name[:10]:>11}" for name in names)
    lines = [head]
    for row in rows:
        line = f"{row.name:<26}{row.file_bytes / 1e6:7.2f} MB{row.parameters:12,}{row.mmac:10,.0f}"
        for threads, timing in row.times.items():
            line += f"{timing.median_ms:12,.2f}{_times(rows[0].times[threads].ratio_to(timing)):>8}"
        line += f"{row.test.mean_dice:8.4f}{row.test.mean_boundary:8.4f}"
        line += "".join(f"{value:11.4f}" for value in dice(row.test.matrix)[1:])
        lines.append(line)
    sizes = {row.timed_wh for row in rows}
    timed_at = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
    runs = ", ".join(str(len(timing.samples)) for timing in rows[0].times.values())
    others = [row for row in rows if row.scored_wh != row.timed_wh]
    scored = ", ".join(f"{row.name} scored at {row.scored_wh[0]}x{row.scored_wh[1]}" for row in others)
    first = rows[0].times[THREADS[0]]
    lines += [
        "",
        f"Timed alternately at {timed_at}: medians of {runs} runs, "
        f"{platform.machine()}, {os.cpu_count()} cores, load {first.load[0][0] if first.load else float('nan'):.1f}; "
        "a .keras as float32. 'faster': the median of each turn's ratio.",
        f"Dice and edges (boundary F): means over the classes on the {len(rows[0].test.photos)} test photos"
        + (f"; {scored}." if scored else "."),
    ]
    return "\n".join(lines)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The table's data with unrounded figures, and what identifies each file."""
    return [
        {
            "name": row.name,
            "file": str(row.path),
            "sha256": sha256_of(row.path),
            "bytes": row.file_bytes,
            "parameters": row.parameters,
            "mmac": round(row.mmac, 3),
            "scored_wh": row.scored_wh,
            "timed_wh": row.timed_wh,
            "ms": {
                str(threads): {
                    "median": timing.median_ms,
                    "p5": timing.p5_ms,
                    "p95": timing.p95_ms,
                    "samples": len(timing.samples),
                    "times_faster": rows[0].times[threads].ratio_to(timing),
                    "load": timing.load,
                }
                for threads, timing in row.times.items()
            },
            "val": row.val.summary(),
            "test": row.test.summary(),
        }
        for row in rows
    ]


def draw_pareto(rows: Sequence[Row], path: Path) -> None:
    """Plots Dice on the test part over the time on one thread and over the file size, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained", sharey=True)
    for axis, label, values in (
        (axes[0], "ms per inference, one thread", [row.times[THREADS[0]].median_ms for row in rows]),
        (axes[1], "file in MB", [row.file_bytes / 1e6 for row in rows]),
    ):
        scores = [row.test.mean_dice for row in rows]
        front = pareto_front(values, scores)
        axis.plot([values[i] for i in front], [scores[i] for i in front], color="tab:blue", linewidth=1, zorder=1)
        for value, quality, row in zip(values, scores, rows, strict=True):
            axis.scatter(value, quality, zorder=2, color=_colour(row.name))
            axis.annotate(row.name, (value, quality), xytext=(5, 5), textcoords="offset points", fontsize=8)
        axis.set(xscale="log", xlabel=label)
        axis.margins(x=0.2, y=0.1)  # room for the names
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean Dice, test part")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


def _colour(name: str) -> str:
    steps = ("full", "pruned", "distilled", "int8")
    return f"C{next((i for i, step in enumerate(steps) if name.startswith(step)), len(steps))}"


def write_report(rows: Sequence[Row], out: Path) -> str:
    """Writes `table.txt`, `table.json` and `pareto.png` into `out`; returns the table."""
    text = table(rows)
    write_file(out / "table.txt", f"{text}\n".encode())
    write_file(out / "table.json", json.dumps(as_json(rows), indent=2).encode())
    draw_pareto(rows, out / "pareto.png")
    return text
