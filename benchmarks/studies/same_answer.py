"""Does a model give the same values everywhere? `sudo .venv/bin/python benchmarks/studies/same_answer.py [MODEL...]`.

Runs the same frames through a model on this machine and on emulated Raspberry Pi processors (`--cpu`), or with
tflite-runtime 2.14, the last one for 32-bit systems, in its own environment (`--tflite-runtime`). Both are set up on
first use. Every output value is compared. Exits with 1 if any differs by more than `--steps`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform as this_machine
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.studies import arm64_root
from seg_edge.commands.console import exit_codes
from seg_edge.errors import SegEdgeError, UsageError
from seg_edge.interpreter import LiteRT
from seg_edge.models import DEFAULT_MODEL, open_model
from seg_edge.photo.find import PHOTO_SUFFIXES
from seg_edge.photo.read import read_photo
from seg_edge.preprocess import resize_to_input

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "tests" / "data" / "grace_hopper.jpg"
WORKER = Path(__file__).with_name("run_frames.py")
TFLITE_RUNTIME = ("tflite-runtime==2.14.0", "numpy<2")
TFLITE_PYTHON = "python3.11"  # the last one with wheels of tflite-runtime
NOISE_SEED = 0


@dataclass(frozen=True)
class Difference:
    """The differences between two sets of scores.

    Attributes:
        values: How many were compared.
        differing: How many aren't equal.
        largest: The largest difference, in steps of an integer output, else in the output's unit.
        labels: Share of pixels with another most likely class; None for a single channel.
    """

    values: int
    differing: int
    largest: float
    labels: float | None


def compare(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Compares scores (frames, height, width, channels) of the same shape and dtype.

    Raises:
        SegEdgeError: Shapes or dtypes differ.
    """
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        raise SegEdgeError(f"{ours.dtype} {ours.shape} here, {theirs.dtype} {theirs.shape} there; not the same model.")
    differences = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    labels = float(np.mean(ours.argmax(-1) != theirs.argmax(-1))) if ours.shape[-1] > 1 else None
    return Difference(differences.size, int(np.count_nonzero(ours != theirs)), float(differences.max()), labels)


def make_frames(content: bytes, photos: Sequence[Path], noise: int) -> np.ndarray:
    """The model's input for each photo and for `noise` frames of seeded noise: (frames, height, width, 3).

    Raises:
        UsageError: There is neither.
    """
    spec = LiteRT(content, 1, "the model").input
    height, width = spec.shape[1:3]
    pixels = [resize_to_input(read_photo(photo), (width, height)) for photo in photos]
    random = np.random.default_rng(NOISE_SEED)
    pixels += [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(noise)]
    if not pixels:
        raise UsageError("there are no photos and no noise to compare on; give --photos or --noise 1.")
    stacked = np.stack(pixels)
    # A uint8 input gets the pixels, any other 0..1 regardless of the card: it only matters that both get the same.
    return stacked if spec.dtype == np.uint8 else spec.quantise(stacked / 255)


@dataclass(frozen=True)
class Platform:
    """A processor and runtime on which `run_frames.py` runs.

    Attributes:
        name: For messages.
        command: Makes the command line from the worker's arguments.
        folder: Folder for its files.
        inside: The same folder as seen from inside.
        site: Folder of its packages, besides seg_edge.
    """

    name: str
    command: Callable[[list[str]], list[str]]
    folder: Path
    inside: str
    site: str = ""

    def run(self, models: Mapping[str, bytes], frames: Mapping[str, np.ndarray]) -> Output:
        """Copies models and frames there, runs them, and checks that they arrived unchanged.

        Raises:
            SegEdgeError: The worker failed, or ran other files.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(ROOT / "edge" / "seg_edge", self.folder / "seg_edge", ignore=shutil.ignore_patterns("models"))
        shutil.copy(WORKER, self.folder)
        for name, content in models.items():
            (self.folder / f"{name}.tflite").write_bytes(content)
            np.save(self.folder / f"{name}.frames.npy", frames[name])
        line = self.command([f"{self.inside}/{WORKER.name}", self.inside])
        paths = os.pathsep.join(path for path in (self.inside, self.site) if path)
        done = subprocess.run(
            line, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths, "LC_ALL": "C.UTF-8"}
        )
        if done.returncode:
            message = done.stderr.strip() or f"exit status {done.returncode}"
            raise SegEdgeError(f"{self.name}: running the models failed ({message.splitlines()[-1]}).")
        reports = json.loads(done.stdout)["models"]
        for name, content in models.items():
            sent = hashlib.sha256(content).hexdigest(), hashlib.sha256(frames[name].tobytes()).hexdigest()
            if sent != (reports[name]["model_sha256"], reports[name]["frames_sha256"]):
                raise SegEdgeError(f"{self.name}: {name} and its frames differ from those sent.")
        return Output(reports, {name: np.load(self.folder / f"{name}.scores.npy") for name in models})


@dataclass(frozen=True)
class Output:
    """A platform's results: `run_frames.run`'s report and the scores of each model."""

    reports: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, np.ndarray]


@contextmanager
def here() -> Iterator[Platform]:
    """This Python and its runtime."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        yield Platform(f"{this_machine.machine()}, here", lambda rest: [sys.executable, *rest], folder, str(folder))


def arm(root: Path, cpu: str) -> Platform:
    """An emulated Arm processor with an existing root."""
    site = f"/{arm64_root.SITE}"
    return Platform(cpu, lambda rest: arm64_root.command(root, cpu, rest), root / "exchange", "/exchange", site)


@contextmanager
def tflite_runtime(environment: Path) -> Iterator[Platform]:
    """tflite-runtime 2.14 in a virtual environment, made if needed.

    Raises:
        SegEdgeError: It can't be made.
    """
    make_tflite_environment(environment)
    python = str(environment / "bin" / "python")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        yield Platform("tflite-runtime", lambda rest: [python, *rest], folder, str(folder))


def make_tflite_environment(environment: Path) -> None:
    """Makes the virtual environment unless it is complete.

    Raises:
        SegEdgeError: There is no Python 3.11, or the packages can't be installed.
    """
    stamp = environment / "ready"
    if stamp.is_file() and stamp.read_text() == " ".join(TFLITE_RUNTIME):
        return
    this_python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python = sys.executable if this_python == TFLITE_PYTHON else shutil.which(TFLITE_PYTHON)
    if not python:
        raise SegEdgeError(f"{TFLITE_PYTHON} not found; tflite-runtime 2.14 has no wheels for a newer Python.")
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    arm64_root.run([python, "-m", "venv", "--clear", str(environment)])
    arm64_root.run([*pip, *TFLITE_RUNTIME])
    stamp.write_text(" ".join(TFLITE_RUNTIME))


def check_delegated(platform: Platform, output: Output) -> None:
    """Checks that XNNPACK, the reference, was used: without it the built-in kernels run silently.

    Raises:
        SegEdgeError: A model ran without it.
    """
    without = [name for name, report in output.reports.items() if not report["delegated"]]
    if without:
        raise SegEdgeError(f"{platform.name}: XNNPACK isn't in use for {', '.join(without)}; nothing can be concluded.")


def find_photos(paths: Sequence[Path]) -> list[Path]:
    """Photos and the photos in folders, in order."""
    photos: list[Path] = []
    for path in paths:
        photos += sorted(p for p in path.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES) if path.is_dir() else [path]
    return photos


def main(
    models: Annotated[list[str] | None, typer.Argument(help="A .tflite or a bundled model's name.")] = None,
    cpu: Annotated[list[str] | None, typer.Option(help="Emulated processor; repeatable.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the arm64 Debian; made if missing.")] = None,
    photos: Annotated[list[Path] | None, typer.Option(help="Photo or folder of photos; repeatable.")] = None,
    noise: Annotated[int, typer.Option(min=0, help="Frames of noise, in addition to the photos.")] = 2,
    tflite: Annotated[bool, typer.Option("--tflite-runtime", help="Compare with tflite-runtime 2.14.")] = False,
    environment: Annotated[
        Path | None, typer.Option(help="Folder of its virtual environment; made if missing.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Allowed difference; 0, or 2 for tflite-runtime.")] = None,
    mirror: Annotated[str, typer.Option(help="Debian mirror for the root; by default debootstrap's own.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs of tflite-runtime, alternating with ours.")] = 3,
) -> None:
    """Compares a model's output here with that on other processors or an older runtime."""
    cpus = cpu or ["cortex-a72", "cortex-a76"]
    with exit_codes():
        unknown = sorted(set(cpus) - set(arm64_root.CPU_PARTS))
        if unknown:
            raise UsageError(f"--cpu {unknown[0]} is not one of {', '.join(arm64_root.CPU_PARTS)}.")
        files = [open_model(model) for model in models or [DEFAULT_MODEL]]
        contents = {f"{index}_{file.name}": file.content for index, file in enumerate(files)}
        pictures = find_photos(photos or [PHOTO])
        frames = {name: make_frames(content, pictures, noise) for name, content in contents.items()}
        typer.echo(f"{len(pictures)} photos and {noise} frames of noise, seed {NOISE_SEED}")
        typer.echo(f"{'model':<28}{'platform':<34}{'values':>12}{'differ':>12}{'largest':>9}{'labels':>9}{'time':>7}")
        if tflite:
            folder = environment or Path.home() / ".cache" / "seg-edge" / "tflite-runtime"
            with here() as ours, tflite_runtime(folder) as theirs:
                pairs = [(ours.run(contents, frames), theirs.run(contents, frames)) for _ in range(rounds)]
            largest = _print_difference(theirs, pairs, timed=True)
        else:
            folder = (root or arm64_root.default_root()).resolve()
            arm64_root.set_up(folder, mirror)
            with here() as ours:
                reference = ours.run(contents, frames)
            check_delegated(ours, reference)
            largest = 0.0
            for platform in (arm(folder, name) for name in cpus):
                output = platform.run(contents, frames)
                check_delegated(platform, output)
                largest = max(largest, _print_difference(platform, [(reference, output)], timed=False))
    allowed = steps if steps is not None else 2 if tflite else 0
    if largest > allowed:
        typer.echo(f"error: values differ by up to {largest:g} steps; {allowed} is allowed.", err=True)
        raise typer.Exit(1)


def _print_difference(platform: Platform, pairs: Sequence[tuple[Output, Output]], *, timed: bool) -> float:
    """Prints a line per model; returns the largest difference."""
    largest = 0.0
    ours, theirs = pairs[0]
    for name, report in theirs.reports.items():
        difference = compare(ours.scores[name], theirs.scores[name])
        ratio = statistics.median(b.reports[name]["ms"] / a.reports[name]["ms"] for a, b in pairs)
        labels = "-" if difference.labels is None else f"{difference.labels:.3%}"
        runtime = f"{platform.name}, {report['runtime'].split()[-1]}, XNNPACK {'yes' if report['delegated'] else 'no'}"
        typer.echo(
            f"{name.partition('_')[2]:<28}{runtime:<34}{difference.values:>12,}{difference.differing:>12,}"
            f"{difference.largest:>9g}{labels:>9}{f'x{ratio:.1f}' if timed else '-':>7}"
        )
        largest = max(largest, difference.largest)
    return largest


if __name__ == "__main__":
    typer.run(main)
