"""How does the cost grow? `python benchmarks/studies/scale.py [--quick] [--json FILE]`; `make bench` runs it too.

Measures latency over input size and threads, memory over photo size, time over the number of photos, and photos per
second over worker processes, and fits a law to each curve. The values of a curve take turns in random order, so that
other load affects all of them alike. A law holds only in the measured range.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.growth import Samples, describe_speedup, line, medians, power_law
from benchmarks.reporting import document
from benchmarks.reporting.curves import describe_curve
from seg_edge.apps.bench.cold_start import run_once
from seg_edge.apps.bench.document import describe_machine
from seg_edge.apps.bench.text import headline
from seg_edge.apps.bench.watch import Watch
from seg_edge.callbacks import Log
from seg_edge.commands.console import exit_codes
from seg_edge.errors import SegEdgeError
from seg_edge.evaluation.latency import measure
from seg_edge.interpreter import available_cores
from seg_edge.models import DEFAULT_MODEL, open_model
from seg_edge.photo.write import encode_picture
from seg_edge.segmenter import Segmenter
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.synthetic import SyntheticSource
from seg_edge.system.files import write_file

ROOT = Path(__file__).parents[2]
PHOTO_WH = (640, 480)
WARMUP_RUNS = 3
Curve = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Extent:
    """What is measured, and how often.

    Attributes:
        sides: Sides of the square inputs, in pixels.
        megapixels: Sizes of the photos for memory.
        photos: Numbers of photos.
        runs: Inferences per model or number of threads in a round.
        rounds: Rounds of everything but the input sizes, which take turns at every run.
        seconds: How long the worker processes segment.
        workers_per_core: Most worker processes, for each core.
    """

    sides: tuple[int, ...] = (96, 128, 192, 256, 384, 512)
    megapixels: tuple[float, ...] = (0.3, 1, 3, 6, 12, 24)
    photos: tuple[int, ...] = (1, 3, 10, 30, 100, 300)
    runs: int = 60
    rounds: int = 3
    seconds: float = 3.0
    workers_per_core: int = 2


QUICK = Extent((32, 64), (0.3, 6), (1, 20), runs=5, rounds=1, seconds=0.3, workers_per_core=1)


def measure_scale(quick: bool, log: Log) -> tuple[list[Curve], list[str]]:
    """Measures all curves in about two minutes, or with `quick` in seconds, with too few points to rely on.

    Returns:
        Curves as plain JSON: `name`, what `x` and `y` are and their units, `points` (x; y, the median; p5 and p95; n
        samples) and `fit` (`text`; `r2`, the share of variance explained, None for fewer than three points), and a note
        on each curve that can't be measured here.

    Raises:
        SegEdgeError: A measured process fails.
    """
    extent, missing = QUICK if quick else Extent(), []
    with tempfile.TemporaryDirectory() as work:
        folder, curves = Path(work), []
        if importlib.util.find_spec("tensorflow"):
            curves.append(over_input_size(extent, folder, log))
        else:
            missing.append("latency over input size: TensorFlow isn't installed (pip install '.[train]')")
        curves.append(over_threads(extent, log))
        if Path("/proc/self/status").is_file():
            curves.append(over_photo_size(extent, folder, log))
        else:
            missing.append("memory over photo size: there is no /proc/self/status here")
        curves += [over_photos(extent, folder, log), over_workers(extent, log)]
    return curves, missing


def make_curve(
    name: str, x: tuple[str, str], y: tuple[str, str], samples: Samples, text: str, r2: float | None
) -> Curve:
    """A curve as plain JSON, see `measure_scale`; `x` and `y` are each a quantity and its unit."""
    points = []
    for value, values in samples.items():
        low, median, high = (float(percentile) for percentile in np.percentile(values, (5, 50, 95)))
        points.append({"x": value, "y": median, "n": len(values), "p5": low, "p95": high})
    fit = {"text": text, "r2": r2}
    return {"name": name, "x": x[0], "unit_x": x[1], "y": y[0], "unit_y": y[1], "points": points, "fit": fit}


def over_input_size(extent: Extent, folder: Path, log: Log) -> Curve:
    """Milliseconds of the recipe `default`, untrained and int8, at several input sizes."""
    log("latency over input size")
    # In a separate process: TensorFlow's threads and memory would affect later measurements.
    _run("-c", f"from benchmarks.studies.scale import write_models; write_models({str(folder)!r}, {extent.sides!r})")
    contents = {str(side): (folder / f"{side}.tflite").read_bytes() for side in extent.sides}
    timings = measure(contents, threads=1, runs=extent.runs)
    samples = {side * side: timings[str(side)].samples for side in extent.sides}
    _, exponent, r2 = power_law(*medians(samples))
    text = f"twice the pixels take {2**exponent:.2f} times as long (exponent {exponent:.2f})"
    y = ("one inference, 1 thread", "ms")
    return make_curve("latency over input size", ("input size", "pixels"), y, samples, text, r2)


def write_models(folder: str, sides: Sequence[int]) -> None:
    """Writes the U-Net of the recipe `default` as `<side>.tflite`, calibrated on noise."""
    import train.quiet  # noqa: F401

    # isort: split

    import keras
    import tensorflow as tf

    from convert.quantisation.converter import converter_of, to_full_integer
    from train.recipes import default
    from train.unet import unet

    recipe, noise = default(), np.random.default_rng(0)
    for side in sides:
        keras.utils.set_random_seed(recipe.seed)
        model = unet((side, side), 2, recipe.widths, stem_stride=recipe.stem_stride, decoder=recipe.decoder)
        batches = [[noise.random((1, side, side, 3), np.float32)] for _ in range(2)]
        converter = converter_of(model)
        converter.representative_dataset = lambda batches=batches: iter(batches)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        write_file(Path(folder) / f"{side}.tflite", to_full_integer(converter))


def over_threads(extent: Extent, log: Log) -> Curve:
    """Milliseconds of the bundled model by number of threads."""
    log("latency over threads")
    model = {DEFAULT_MODEL: open_model(DEFAULT_MODEL).content}
    # One number of threads at a time: waiting threads spin on a core.
    samples = _alternate(
        list(range(1, max(4, available_cores()) + 1)),
        extent.rounds,
        lambda n: measure(model, threads=n, runs=extent.runs, warmup=WARMUP_RUNS)[DEFAULT_MODEL].samples,
    )
    law = describe_speedup(samples, "threads", available_cores(), is_rate=False)
    y = (f"one inference of {DEFAULT_MODEL!r}", "ms")
    return make_curve("latency over threads", ("threads", "threads"), y, samples, *law)


def over_photo_size(extent: Extent, folder: Path, log: Log) -> Curve:
    """Peak memory of `seg-edge image` by megapixels of the photo."""
    log("memory over photo size")
    folders = {size: _photos(folder / f"{size} MP", _scaled(PHOTO_WH, size), 1) for size in extent.megapixels}
    samples = _alternate(extent.megapixels, extent.rounds, lambda size: [_image(folders[size], folder / "out")[1]])
    fixed, per_megapixel, r2 = line(*medians(samples))
    text = f"{fixed:.0f} MB, plus {per_megapixel:.1f} MB per megapixel"
    x, y = ("photo size", "megapixels"), ("peak memory of one 'seg-edge image'", "MB")
    return make_curve("memory over photo size", x, y, samples, text, r2)


def over_photos(extent: Extent, folder: Path, log: Log) -> Curve:
    """Seconds of `seg-edge image` for a folder by the number of photos in it."""
    log("time over number of photos")
    folders = {count: _photos(folder / f"{count} photos", PHOTO_WH, count) for count in extent.photos}
    samples = _alternate(extent.photos, extent.rounds, lambda count: [_image(folders[count], folder / "out")[0]])
    start, per_photo, r2 = line(*medians(samples))
    text = f"{start:.2f} s to start, plus {per_photo * 1000:.1f} ms per photo"
    x, y = ("photos", "photos"), ("one 'seg-edge image' for all", "s")
    return make_curve("time over number of photos", x, y, samples, text, r2)


def over_workers(extent: Extent, log: Log) -> Curve:
    """Photos per second of several processes at once, each with one thread."""
    log("throughput over worker processes")
    cores = available_cores()
    most = extent.workers_per_core * cores
    counts = sorted({1, min(2, most), min(4, most), cores, most})
    samples = _alternate(counts, extent.rounds, lambda n: [_throughput(n, extent.seconds)])
    law = describe_speedup(samples, "processes", cores, is_rate=True)
    y = ("total throughput, 1 thread each", "photos/s")
    return make_curve("throughput over worker processes", ("worker processes", "processes"), y, samples, *law)


def _throughput(workers: int, seconds: float) -> float:
    command = [sys.executable, "-c", f"from benchmarks.studies.scale import work; work({seconds})"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(subprocess.Popen(command, cwd=ROOT, text=True, **pipes)) for _ in range(workers)]
        if any(worker.stdout.readline() != "ready\n" for worker in started if worker.stdout):
            raise SegEdgeError("a worker process could not start; run 'seg-edge doctor'.")
        for worker in started:  # once all are ready
            if worker.stdin:
                worker.stdin.write("go\n")
                worker.stdin.flush()
        return sum(float(worker.communicate()[0]) for worker in started)


def work(seconds: float) -> None:
    """A worker process: reports that it is ready, waits for a line, segments, and prints photos per second."""
    cv2.setNumThreads(1)
    source, segmenter = SyntheticSource(SourceRequest("synthetic", PHOTO_WH)), Segmenter(DEFAULT_MODEL, 1)
    frames = [source.frame(10 * index) for index in range(8)]
    for frame in frames:
        segmenter(frame)
    print("ready", flush=True)
    sys.stdin.readline()
    began, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        segmenter(frames[count % len(frames)])
        count += 1
    print(count / elapsed)


def _alternate(values: Sequence[Any], rounds: int, sample: Callable[[Any], Sequence[float]]) -> dict[Any, list[float]]:
    """Samples of each value, in rounds with a new random order of values."""
    order = random.Random(0)
    samples: dict[Any, list[float]] = {value: [] for value in values}
    for _ in range(rounds):
        for value in order.sample(list(values), len(values)):
            samples[value] += sample(value)
    return samples


def _image(photos: Path, out: Path) -> tuple[float, float]:
    """Seconds that one `seg-edge image` of a folder took, and its peak memory in 10^6 bytes."""
    return run_once(["image", str(photos), "--out", str(out), "--force"])


def _run(*arguments: str) -> None:
    """Runs Python.

    Raises:
        SegEdgeError: It failed.
    """
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SegEdgeError(f"a measured process failed: {(done.stderr.strip() or '?').splitlines()[-1]}")


def _photos(folder: Path, size_wh: tuple[int, int], count: int) -> Path:
    """A folder of `count` JPEG photos of a drawn person."""
    folder.mkdir()
    drawn = SyntheticSource(SourceRequest("synthetic", PHOTO_WH)).frame(0)
    content = encode_picture(cv2.resize(drawn, size_wh), ".jpg")
    for index in range(count):
        (folder / f"{index}.jpg").write_bytes(content)
    return folder


def _scaled(size_wh: tuple[int, int], megapixels: float) -> tuple[int, int]:
    factor = math.sqrt(megapixels * 1e6 / (size_wh[0] * size_wh[1]))
    return round(size_wh[0] * factor), round(size_wh[1] * factor)


def show(curve: Curve) -> str:
    """A curve as Markdown: the fitted law, and a table of the points."""
    return "\n\n".join(describe_curve(document.Curve.model_validate(curve)))


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few points and runs, to see that it works.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Also write the curves to this file.")] = None,
) -> None:
    """Measures how the cost grows, and prints each curve with its fitted law."""
    watch = Watch()
    with exit_codes():
        with watch.watching():
            curves, missing = measure_scale(quick, lambda text: typer.echo(text, err=True))
        result = {"machine": describe_machine(), "watch": watch.verdict(), "quick": quick, "curves": curves}
        if out:
            write_file(out, json.dumps(result, indent=1).encode())
        typer.echo(f"{headline(result)}; medians")
        for text in [*map(show, curves), *missing]:
            typer.echo(f"\n{text}")


if __name__ == "__main__":
    typer.run(main)
