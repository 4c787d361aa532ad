"""Runs all measurements of `seg-edge bench` and puts them into one document."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.apps.bench.accuracy import measure_accuracy
from seg_edge.apps.bench.candidates import Candidate, check_names, describe, reference
from seg_edge.apps.bench.cold_start import measure_cold_starts
from seg_edge.apps.bench.document import describe_machine, make_document
from seg_edge.apps.bench.figures import latency
from seg_edge.apps.bench.rounds import measure_rounds
from seg_edge.apps.bench.watch import Watch
from seg_edge.callbacks import Log
from seg_edge.errors import ModelError
from seg_edge.evaluation.data_folder import check_examples, class_names, held_out_examples
from seg_edge.interpreter import default_threads
from seg_edge.photo.write import encode_picture
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.synthetic import SyntheticSource


@dataclass(frozen=True)
class BenchSettings:
    """What to measure.

    Attributes:
        candidates: The models, besides the reference.
        threads: Numbers of threads; empty for 1 to as many as the commands use.
        frame: The picture to segment, BGR uint8 (height, width, 3); None for a synthetic one of 640x480.
        rounds: Processes at each number of threads.
        runs: Turns in each.
        cold_starts: Processes for each model.
        data: A folder of photos with masks, to score the models on.
        part: Of its `index.csv` or of `split`; all photos if it has neither.
        split: The split that a training run saved.
        classes: Class names where the folder has no labels.txt.
    """

    candidates: tuple[Candidate, ...]
    threads: tuple[int, ...] = ()
    frame: np.ndarray | None = field(default=None, repr=False)
    rounds: int = 7
    runs: int = 60
    cold_starts: int = 5
    data: Path | None = None
    part: str = "test"
    split: Path | None = None
    classes: tuple[str, ...] = ()


def run_bench(settings: BenchSettings, log: Log, watch: Watch | None = None) -> dict[str, Any]:
    """Measures all of it.

    Args:
        settings: What.
        log: Receives lines of progress.
        watch: The watch of a longer run that this one is part of; None for a new one.

    Returns:
        The document; `seg_edge.apps.bench.document` says what it is, `docs/benchmarks.md` what is in it.

    Raises:
        SegEdgeError: Something can't be measured.
    """
    models = [reference(), *settings.candidates]
    check_names(models)
    threads = settings.threads or tuple(range(1, default_threads() + 1))
    frame = drawn_frame() if settings.frame is None else settings.frame
    watch = watch or Watch()
    described = {candidate.name: describe(candidate) for candidate in models}
    scored = _accuracy(settings, log)  # first, so that an unusable folder is reported at once

    with watch.watching():
        rounds = measure_rounds(
            models,
            frame,
            threads,
            settings.rounds,
            settings.runs,
            progress=lambda done, total: log(f"latency: {done} of {total} rounds"),
        )
        log("cold starts")
        cold = measure_cold_starts(
            settings.candidates, encode_picture(frame, ".jpg"), threads[-1], settings.cold_starts
        )
    return make_document(
        machine=describe_machine(),
        watch=watch.verdict(),
        settings={
            "threads": list(threads),
            "rounds": settings.rounds,
            "runs": settings.runs,
            "frame_wh": [frame.shape[1], frame.shape[0]],
            "reference": models[0].name,
        },
        models=described,
        latency=latency(rounds, models[0].name),
        cold_start=cold,
        accuracy=scored,
    )


def drawn_frame() -> np.ndarray:
    """A synthetic person in front of a room, BGR uint8 (480, 640, 3); the same everywhere."""
    return SyntheticSource(SourceRequest("synthetic", (256, 256))).frame(0)


def _accuracy(settings: BenchSettings, log: Log) -> list[dict[str, Any]]:
    if settings.data is None:
        return []
    names = class_names(settings.data, settings.classes or None)
    examples, all_of_them = held_out_examples(settings.data, settings.part, settings.split)
    check_examples(examples, names)
    for candidate in settings.candidates:
        known = candidate.open(1).card.class_names
        if known != names:
            raise ModelError(
                f"{candidate.name} knows the classes {', '.join(known)}; {settings.data} has {', '.join(names)}."
            )
    scored = measure_accuracy(
        settings.data.resolve().name,
        settings.candidates,
        examples,
        names,
        progress=lambda done, total: log(f"accuracy: {done} of {total} photos"),
    )
    return [{**scored, "part": "all" if all_of_them else settings.part}]
