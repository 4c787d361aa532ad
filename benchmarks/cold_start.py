"""One photo from a cold start, whole process: `python benchmarks/cold_start.py PHOTO`.

Runs `seg-edge image PHOTO` with each installed LiteRT runtime in turn, A B A B ..., and prints wall time and peak
memory of the processes.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from seg_edge.apps.bench.cold_start import run_once
from seg_edge.errors import SegEdgeError
from seg_edge.interpreter import RUNTIMES

# Makes every runtime before the wanted one look absent, so that the package's own choice falls on it.
HIDE = "import sys; sys.modules.update(dict.fromkeys({hidden!r}))"


def main(
    photo: Annotated[Path, typer.Argument(help="The photo to segment.")],
    runs: Annotated[int, typer.Option(min=1, help="Counted runs of each runtime, after one that isn't.")] = 9,
) -> None:
    """Times `seg-edge image` from a cold start with every installed runtime."""
    packages = [package for _, _, package in RUNTIMES]
    there = [index for index, package in enumerate(packages) if importlib.util.find_spec(package)]
    samples: dict[str, list[tuple[float, float]]] = {RUNTIMES[index][0]: [] for index in there}
    with tempfile.TemporaryDirectory() as out:
        for turn in range(runs + 1):
            for index in there:
                try:
                    options = ["--out", out, "--force"]
                    sample = run_once(["image", str(photo), *options], HIDE.format(hidden=packages[:index]))
                except SegEdgeError as error:
                    typer.echo(f"error: {RUNTIMES[index][0]}: {error}", err=True)
                    raise typer.Exit(1) from error
                if turn:
                    samples[RUNTIMES[index][0]].append(sample)
    load = os.getloadavg()[0]
    typer.echo(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, {runs} runs each, medians (min..max)")
    first = next(iter(samples))
    for name, measured in samples.items():
        seconds, memory = zip(*measured, strict=True)
        pairs = zip(measured, samples[first], strict=True)
        ratio = statistics.median(theirs[0] / ours[0] for theirs, ours in pairs)
        typer.echo(
            f"{name:<16}{statistics.median(seconds):7.2f} s ({min(seconds):.2f}..{max(seconds):.2f})"
            f"{statistics.median(memory):8.0f} MB   {ratio:.1f} times {first}'s time"
        )


if __name__ == "__main__":
    typer.run(main)
