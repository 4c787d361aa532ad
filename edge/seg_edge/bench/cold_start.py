"""A cold start: what one photo costs as a whole process, from the command to the picture."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg_edge.bench.candidates import Candidate
from seg_edge.bench.figures import percentiles
from seg_edge.errors import SegEdgeError


# `seg-edge`, which at its end writes its peak memory to stderr. The kernel's account of a child begins with what its
# parent had when it started it, so it must be asked from inside; see seg_edge.memory.
PROGRAM = (
    "import atexit, sys; from seg_edge.memory import peak_mb; from seg_edge.cli import main; "
    "atexit.register(lambda: print(peak_mb(), file=sys.stderr)); main(sys.argv[1:])"
)


def run_once(arguments: Sequence[str], before: str = "") -> tuple[float, float]:
    """Wall seconds and peak resident 10^6 bytes of one process of `seg-edge`.

    Args:
        arguments: Of the command.
        before: Python to run first.

    Raises:
        SegEdgeError: It failed; with what it said.
    """
    began = time.perf_counter()
    command = [sys.executable, "-c", f"{before}; {PROGRAM}" if before else PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    elapsed = time.perf_counter() - began
    *said, peak = done.stderr.splitlines() or [""]
    if done.returncode:
        raise SegEdgeError((said or [peak])[-1].removeprefix("error: ") or f"exit status {done.returncode}")
    return elapsed, float(peak)


def measure_cold_starts(candidates: Sequence[Candidate], photo: bytes, threads: int, runs: int) -> list[dict[str, Any]]:
    """`seg-edge image` on one JPEG with each model in turn, after a turn that doesn't count.

    Returns:
        For each candidate that is a `.tflite`: `ms` (see `seg_edge.bench.figures.percentiles`) and `peak_mb`, the most
        of all runs.
    """
    from_file = [which for which in candidates if which.file and which.file.suffix == ".tflite"]
    samples: dict[str, list[tuple[float, float]]] = {which.name: [] for which in from_file}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(photo)
        for turn in range(runs + 1):
            for which in from_file:
                options = ["--model", str(which.file), "--threads", str(threads), "--out", folder, "--force"]
                sample = run_once(["image", str(path), *options])
                if turn:
                    samples[which.name].append(sample)
    return [
        {
            "model": name,
            "threads": threads,
            "ms": percentiles([seconds * 1000 for seconds, _ in taken]),
            "peak_mb": round(max(peak for _, peak in taken), 1),
        }
        for name, taken in samples.items()
    ]
