"""A cold start: what one photo costs as a whole process, from the command to the picture."""

from __future__ import annotations

import os
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


def run_once(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and peak resident 10^6 bytes of one process, as the kernel accounts them.

    Raises:
        SegEdgeError: It failed; with the last line that it said.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read().decode("utf-8", "replace").strip() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SegEdgeError(said.splitlines()[-1] if said else f"{command[0]}: exit status {process.returncode}.")
    return elapsed, usage.ru_maxrss * 1024 / 1e6


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
                sample = run_once([sys.executable, "-m", "seg_edge.cli", "image", str(path), *options])
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
