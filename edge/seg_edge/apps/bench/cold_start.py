"""A cold start: time and memory of one photo in its own process, from the command to the picture."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg_edge.apps.bench.candidates import Candidate
from seg_edge.apps.bench.figures import percentiles
from seg_edge.errors import SegEdgeError

# `seg-edge`, which writes its peak memory into a file at exit. It is measured from inside, as the kernel's figure for a
# child starts from that of its parent; see seg_edge.system.memory.
PROGRAM = (
    "import atexit, pathlib, sys; from seg_edge.system.memory import peak_mb; from seg_edge.commands.cli import main; "
    "atexit.register(lambda: pathlib.Path(sys.argv[1]).write_text(str(peak_mb()))); main(sys.argv[2:])"
)


def run_once(arguments: Sequence[str], before: str = "") -> tuple[float, float]:
    """Wall seconds and peak resident 10^6 bytes (0 without /proc) of one process of `seg-edge`.

    Args:
        arguments: Of the command.
        before: Python to run first.

    Raises:
        SegEdgeError: It failed; with its error message.
    """
    with tempfile.NamedTemporaryFile("r") as peak:
        began = time.perf_counter()
        program = f"{before}; {PROGRAM}" if before else PROGRAM
        done = subprocess.run([sys.executable, "-c", program, peak.name, *arguments], capture_output=True, text=True)
        elapsed = time.perf_counter() - began
        if done.returncode:
            output = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise SegEdgeError(output[-1].removeprefix("error: "))
        return elapsed, float(peak.read())


def measure_cold_starts(candidates: Sequence[Candidate], photo: bytes, threads: int, runs: int) -> list[dict[str, Any]]:
    """`seg-edge image` on one JPEG with each model in turn, in random order, after a warm-up turn.

    The warm-up also brings the files into memory: the very first start after a boot takes longer.

    Returns:
        For each candidate that is a `.tflite`: `ms` (see `seg_edge.apps.bench.figures.percentiles`) and `peak_mb`,
        the highest of all runs, or None if it can't be measured.
    """
    from_file = [candidate for candidate in candidates if candidate.file and candidate.file.suffix == ".tflite"]
    samples: dict[str, list[tuple[float, float]]] = {candidate.name: [] for candidate in from_file}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(photo)
        order = random.Random(0)
        for turn in range(runs + 1):
            for candidate in order.sample(from_file, len(from_file)):
                options = ["--model", str(candidate.file), "--threads", str(threads), "--out", folder, "--force"]
                sample = run_once(["image", str(path), *options])
                if turn:
                    samples[candidate.name].append(sample)
    return [
        {
            "model": name,
            "threads": threads,
            "ms": percentiles([seconds * 1000 for seconds, _ in measured]),
            "peak_mb": round(max(peak for _, peak in measured), 1) or None,
        }
        for name, measured in samples.items()
    ]
