"""Where does the time of models go? `python benchmarks/studies/models.py A.tflite B.tflite ... [--threads 1,2]`.

Prints the cost of each in bytes, multiply-accumulates and milliseconds (timed alternately on this machine), its ratio
to the first, the operators that XNNPACK leaves to the plain kernels, and where its time goes. Any segmentation model
will do; MediaPipe's is in the wheel `mediapipe==0.10.21` as
`mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.reporting.tables import Markdown, markdown_table, update_page
from convert.delegation import not_delegated
from convert.operator_times import Profile, profile
from convert.tflite_file import total
from seg_edge.commands.bench import thread_counts
from seg_edge.commands.console import exit_codes
from seg_edge.evaluation.latency import RUNS, Timing, measure
from seg_edge.interpreter import find_runtime
from seg_edge.models import ModelFile, open_model
from seg_edge.system.board import Machine, read_board

# The converter's suffixes of layer names.
_TAIL = re.compile(r"(_\d+)?/(Relu6?|MaxPool2d|Add|BiasAdd|convolution\d*|Conv2D|resize/ResizeBilinear)\d*$")


@dataclass(frozen=True)
class Measured:
    """A model and its figures, with timings by number of threads."""

    file: ModelFile
    parameters: int
    mmac: float
    undelegated: list[str]
    timings: dict[int, Timing]
    profile: Profile


def measure_models(files: list[ModelFile], threads: Sequence[int], runs: int, seconds: float | None) -> list[Measured]:
    """Times the models alternately at each number of threads, and profiles them at the smallest."""
    names = [str(file.path) for file in files]
    labels = [name + f" ({index})" * (name in names[:index]) for index, name in enumerate(names)]
    contents = {label: file.content for label, file in zip(labels, files, strict=True)}
    timings = {count: measure(contents, count, runs, seconds=seconds) for count in threads}
    found = []
    for label, file in zip(labels, files, strict=True):
        found.append(
            Measured(
                file,
                *total(file.content),
                not_delegated(file.content, threads[0]),
                {count: timings[count][label] for count in threads},
                profile(file.content, threads[0], runs, seconds),
            )
        )
    return found


def table(models: list[Measured], slowest: int) -> list[str]:
    """The lines of a Markdown table and of the lists below it."""
    threads = list(models[0].timings)
    heads = ["model", "file kB", "parameters k", "MMAC", "not delegated"]
    for count in threads:
        heads += [f"ms, {count}t", "p5..p95", "ratio", "GMAC/s"]
    rows = []
    for model in models:
        cells = [
            Markdown(model.file.path.name),
            f"{len(model.file.content) / 1000:.0f}",
            f"{model.parameters / 1000:.1f}",
            f"{model.mmac:.1f}",
            str(len(model.undelegated)),
        ]
        for count in threads:
            timing = model.timings[count]
            cells += [
                f"{timing.median_ms:.2f}",
                f"{timing.p5_ms:.2f}..{timing.p95_ms:.2f}",
                f"{timing.ratio_to(models[0].timings[count]):.2f}",
                f"{model.mmac / timing.median_ms:.1f}",
            ]
        rows.append(cells)
    lines = [markdown_table(heads, rows)]
    for model in models if slowest else ():
        lines += ["", *details(model, slowest, threads[0])]
    return lines


def details(model: Measured, slowest: int, threads: int) -> list[str]:
    """The operators that XNNPACK leaves, and those that take longest."""
    kinds = Counter(operator.split()[0] for operator in model.undelegated)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
    agreement = model.profile.agreement
    lines = [
        f"{model.file.path.name} (sha256 {model.file.sha256[:12]}): XNNPACK leaves {listed}; the slowest at "
        f"{threads} thread{'s' * (threads > 1)} (operators alone add up to {agreement:.2f} of the whole):"
    ]
    for time in sorted(model.profile.times, key=lambda time: -time.ms)[:slowest]:
        rate = f", {time.macs / time.ms / 1e6:.1f} GMAC/s" if time.macs else ""
        lines.append(f"  {time.share:4.0%}  {time.ms:7.3f} ms  {time.kind} {short_name(time.name)}{rate}")
    return lines


def short_name(name: str) -> str:
    """The layer's name in the converter's: `unet_1/down0_a_relu_1/Relu;...` gives `down0_a_relu`."""
    return _TAIL.sub("", name.split(";")[0]).rpartition("/")[2]


def main(
    models: Annotated[list[str], typer.Argument(help=".tflite files, or names of bundled models.")],
    threads: Annotated[str, typer.Option(help="Numbers of threads.")] = "1,2",
    slowest: Annotated[int, typer.Option(min=0, help="Operators to list per model.")] = 3,
    runs: Annotated[int, typer.Option(min=1, help="Inferences per model.")] = RUNS,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop each measurement after this time, with fewer runs.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Also write it into this Markdown page's block `models`.")] = None,
) -> None:
    """Prints a table of the models, and where the time of each goes."""
    with exit_codes():
        counts, files = thread_counts(threads), [open_model(model) for model in models]
        found = measure_models(files, counts, runs, seconds)
        board, runtime = read_board(Machine()), find_runtime()
        timings = [found[0].timings[count] for count in counts]
        load = " to ".join(f"{moment[0]:.1f}" for moment in (*timings[0].load[:1], *timings[-1].load[-1:])) or "unknown"
        lines = [
            f"{board.cpu or board.model or board.arch}, {os.cpu_count()} cores, load {load}, {runtime.name} "
            f"{runtime.version}; medians of {' and '.join(str(len(timing.samples)) for timing in timings)} alternating "
            "runs, ratios to the first model",
            "",
            *table(found, slowest),
        ]
        typer.echo("\n".join(lines))
        if page:
            update_page(page, "models", "\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
