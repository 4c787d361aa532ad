"""The models to measure, by name; each can be opened in another process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.errors import ModelError
from seg_edge.models import open_model
from seg_edge.segmenter import Segmenter

# Latencies are divided by this model's, so that they can be compared between machines, days and loads. It never
# changes, as figures divided by another one couldn't be compared. benchmarks/studies/make_reference.py made it.
REFERENCE = Path(__file__).with_name("reference.tflite")
REFERENCE_SHA256 = "5d20e601670a41f5659958d518503575ba56b012811c741a4b9850cebf92a485"


@dataclass(frozen=True)
class Candidate:
    """A model to measure.

    Attributes:
        name: Its name in the results, different for each candidate.
        open: Makes a Segmenter with this many threads. Must be picklable, as it is called in other processes.
        role: `model`, `reference`, `full` (the model that others were made from), or `peer` (made by others).
        file: Its file; `seg-edge image --model` accepts it if it is a `.tflite`. None if it has none.
        about: A note for readers of the report.
    """

    name: str
    open: Callable[[int], Segmenter] = field(compare=False)  # two partial objects are never equal
    role: str = "model"
    file: Path | None = None
    about: str = ""


def candidate(model: str | Path, name: str = "", role: str = "model", about: str = "") -> Candidate:
    """A bundled model or a `.tflite` file; named after its file unless a name is given.

    Raises:
        ModelError: It doesn't exist or can't be trusted.
    """
    file = open_model(model)
    where: str | Path = model if file.name == str(model) else file.path.resolve()
    return Candidate(name or file.name, partial(_open, where), role, file.path.resolve(), about)


def reference() -> Candidate:
    """The fixed model that latencies are divided by.

    Raises:
        ModelError: The installation is damaged.
    """
    if not REFERENCE.is_file() or hashlib.sha256(REFERENCE.read_bytes()).hexdigest() != REFERENCE_SHA256:
        raise ModelError(f"{REFERENCE}: missing, or not the file that was shipped; install seg-edge again.")
    about = "fixed and untrained; every latency is divided by its own"
    return candidate(REFERENCE, "reference", "reference", about)


def describe(candidate: Candidate) -> dict[str, Any]:
    """A candidate's entry in the results: role, bytes, SHA-256, input, classes and version.

    Raises:
        ModelError: It can't be loaded.
    """
    segmenter = candidate.open(1)
    spec, card = segmenter.backend.input, segmenter.file.card
    content = candidate.file.read_bytes() if candidate.file else b""
    return {
        "role": candidate.role,
        "about": candidate.about,
        "file": candidate.file.name if candidate.file else None,
        "bytes": len(content) or None,
        "sha256": hashlib.sha256(content).hexdigest() if content else None,
        "input_wh": [spec.shape[2], spec.shape[1]],
        "dtype": np.dtype(spec.dtype).name,
        "classes": list(segmenter.card.class_names),
        "version": card.version if card else None,
    }


def check_names(candidates: list[Candidate]) -> None:
    """Refuses candidates with the same name, as their figures would be mixed up.

    Raises:
        ModelError: Two have the same name.
    """
    names = [item.name for item in candidates]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        raise ModelError(f"two of the models are called {duplicate!r}; rename one file, or measure them one by one.")


def _open(model: str | Path, threads: int) -> Segmenter:
    return Segmenter(model, threads)
