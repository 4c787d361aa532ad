"""Runs models on stored frames with the local LiteRT runtime; `same_answer.py` starts it on each platform.

`python run_frames.py FOLDER` runs each `FOLDER/NAME.tflite` on `FOLDER/NAME.frames.npy`, writes
`FOLDER/NAME.scores.npy`, and prints a JSON report. It needs only NumPy and `seg_edge.interpreter`, so it also runs
without OpenCV.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.interpreter import LiteRT


def run(model: Path) -> dict[str, Any]:
    """Runs one model on its frames with one thread.

    Returns:
        The SHA-256 of the model and frames as received, the runtime, whether XNNPACK runs part of the model, and the
        median inference time in milliseconds.
    """
    content, frames = model.read_bytes(), np.load(model.with_suffix(".frames.npy"))
    backend = LiteRT(content, 1, model.name)
    scores, elapsed_ms = [], []
    for frame in frames:
        began = time.perf_counter()
        scores.append(backend.run(frame[np.newaxis])[0])
        elapsed_ms.append((time.perf_counter() - began) * 1000)
    np.save(model.with_suffix(".scores.npy"), np.stack(scores))
    delegation = backend.delegation()
    return {
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "frames_sha256": hashlib.sha256(frames.tobytes()).hexdigest(),
        "runtime": f"{backend.runtime.name} {backend.runtime.version}",
        "delegated": bool(delegation and delegation[0]),
        "ms": statistics.median(elapsed_ms),
    }


def main(folder: Path) -> None:
    """Runs every model of the folder."""
    reports = {model.stem: run(model) for model in sorted(folder.glob("*.tflite"))}
    json.dump({"machine": platform.machine(), "numpy": np.__version__, "models": reports}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
