"""Latency in rounds: each is a new process that loads all models and runs them in turns.

How fast a model runs also depends on where its memory happens to be and on which core it starts, which stay the same as
long as the process runs: more turns in one process only make a wrong figure look certain. So there are several
processes, and the interval includes the differences between them.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import cv2
import numpy as np

from seg_edge.apps.bench.candidates import Candidate
from seg_edge.effects import render
from seg_edge.errors import SegEdgeError
from seg_edge.evaluation.latency import Timing, time_in_turns
from seg_edge.photo.write import encode_picture
from seg_edge.preprocess import Preprocessor, resize_to_input
from seg_edge.segmenter import Segmenter
from seg_edge.system.memory import keep_freed_memory
from seg_edge.timing import timed

# The stages of a photo from file to file. A live frame has the four in the middle; `frame` below is their sum.
STAGES = ("decode", "preprocess", "inference", "postprocess", "render", "encode")
FRAME_STAGES = STAGES[1:-1]
SLOW = 10  # models that take over this many times as long as the reference take part in fewer turns
WARMUP = 3


@dataclass(frozen=True)
class Round:
    """What one process measured.

    Attributes:
        threads: Of every model.
        inference: The model alone, by candidate: input tensor in, scores out.
        frame: A whole frame, from the camera's picture to the drawn one, by candidate.
        stages: Milliseconds of each of `STAGES` by candidate, as many as `frame` has samples.
    """

    threads: int
    inference: dict[str, Timing]
    frame: dict[str, Timing]
    stages: dict[str, dict[str, list[float]]]


def measure_rounds(
    candidates: Sequence[Candidate],
    frame: np.ndarray,
    threads: Sequence[int],
    rounds: int,
    runs: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Round]:
    """Measures all candidates, `rounds` times at each number of threads, in random order.

    Args:
        candidates: What to measure; the others are compared with the first, which takes part in every turn.
        frame: The picture to segment, BGR uint8 (height, width, 3).
        threads: Numbers of threads.
        rounds: Processes for each number of threads.
        runs: Turns in each process.
        seed: Of the order.
        progress: Receives the number of processes done and of all processes, after each one.

    Raises:
        SegEdgeError: A model can't be run, or a process died.
    """
    jpeg = encode_picture(frame, ".jpg")
    order = [count for count in threads for _ in range(rounds)]
    np.random.default_rng(seed).shuffle(order)
    found = []
    # Not forked: a child that inherits threads of XNNPACK or OpenCV can hang.
    context = multiprocessing.get_context("spawn")
    for number, count in enumerate(order):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            work = pool.submit(measure_round, tuple(candidates), jpeg, count, runs, seed + number)
            try:
                found.append(work.result())
            except BrokenProcessPool as error:
                names = ", ".join(candidate.name for candidate in candidates)
                raise SegEdgeError(
                    f"the process that measured {names} with --threads {count} died, perhaps out of memory; "
                    "measure fewer models at once."
                ) from error
        progress(number + 1, len(order))
    return found


def measure_round(candidates: Sequence[Candidate], jpeg: bytes, threads: int, runs: int, seed: int) -> Round:
    """One round, in this process; see `measure_rounds`."""
    keep_freed_memory()  # as the camera does
    cv2.setNumThreads(threads)
    segmenters = {candidate.name: candidate.open(threads) for candidate in candidates}
    stages: dict[str, list[dict[str, float]]] = {name: [] for name in segmenters}
    alone: dict[str, Callable[[], object]] = {}
    whole: dict[str, Callable[[], object]] = {}
    for name, segmenter in segmenters.items():
        preprocess = Preprocessor(segmenter.backend.input, segmenter.card.scale, segmenter.card.offset)
        tensor = preprocess.quantise(resize_to_input(decode(jpeg), segmenter.card.input_size_wh))
        alone[name] = lambda backend=segmenter.backend, tensor=tensor: backend.run(tensor)  # type: ignore[misc]
        whole[name] = lambda name=name, segmenter=segmenter: stages[name].append(segment_photo(segmenter, jpeg))  # type: ignore[misc]
    strides = _strides(alone, candidates[0].name, runs)
    actions = {(kind, name): act[name] for kind, act in (("alone", alone), ("whole", whole)) for name in segmenters}
    quick = {key: act for key, act in actions.items() if strides[key[1]] == 1}
    time_in_turns(quick, runs=WARMUP, warmup=0)
    time_in_turns({key: act for key, act in actions.items() if key not in quick}, runs=1, warmup=0)
    for samples in stages.values():
        samples.clear()
    timings = time_in_turns(actions, threads, runs, 0, strides={key: strides[key[1]] for key in actions}, seed=seed)
    return Round(
        threads,
        {name: timings["alone", name] for name in segmenters},
        {name: _frame(timings["whole", name], stages[name]) for name in segmenters},
        {name: {stage: [sample[stage] for sample in stages[name]] for stage in STAGES} for name in segmenters},
    )


def segment_photo(segmenter: Segmenter, jpeg: bytes) -> dict[str, float]:
    """Milliseconds of each of `STAGES` for one photo."""
    timing_ms: dict[str, float] = {}
    with timed(timing_ms, "decode"):
        frame = decode(jpeg)
    segmentation = segmenter(frame)
    timing_ms.update(segmentation.timing_ms)
    with timed(timing_ms, "render"):
        picture = render(frame, segmentation)
    with timed(timing_ms, "encode"):
        encode_picture(picture, ".jpg")
    return timing_ms


def decode(jpeg: bytes) -> np.ndarray:
    """Decodes a JPEG; BGR uint8 (height, width, 3)."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


def _strides(alone: dict[str, Callable[[], object]], reference: str, runs: int) -> dict[str, int]:
    """For each model n if it is to take part in one turn of n, by the time of its second run, as the first loads it.

    Powers of two, so that any two share all the turns of the slower one.
    """
    first = time_in_turns(alone, runs=1, warmup=1)
    most = 2 ** int(math.log2(runs))

    def stride(name: str) -> int:
        times = first[name].min_ms / (SLOW * first[reference].min_ms)
        return 1 if name == reference or times <= 1 else min(most, 2 ** math.ceil(math.log2(times)))

    return {name: stride(name) for name in alone}


def _frame(photo: Timing, stages: list[dict[str, float]]) -> Timing:
    samples = tuple(sum(sample[stage] for stage in FRAME_STAGES) for sample in stages)
    return Timing(samples, photo.threads, photo.load, photo.stride)
