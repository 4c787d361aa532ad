"""Where the time of a `.tflite` goes, operator by operator.

No runtime reports to Python how long an operator takes, so each is cut out as a model of its own. These and the whole
model are timed alternately.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convert.tflite_file import TfliteGraph, operators
from seg_edge.card import strip_card
from seg_edge.evaluation.latency import RUNS, random_tensor, time_in_turns
from seg_edge.interpreter import find_runtime, inference, load


@dataclass(frozen=True)
class OperatorTime:
    """The time of an operator, cut out and run alone; `share` is of the sum over all operators, 0..1."""

    kind: str
    name: str
    macs: int
    ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Times of the operators, and how reliable they are.

    Attributes:
        times: In execution order, without folded operators; a clamp that XNNPACK fuses is in its producer's time.
        whole_ms: Median of the whole model, in the same turns.
        agreement: Median over the turns of the operators' summed time, relative to the whole model's: 1 if cutting
            changed nothing. Below 0.75 or above 1.25 the shares are rough.
    """

    times: list[OperatorTime]
    whole_ms: float
    agreement: float


def operator_times(content: bytes, threads: int = 1, runs: int = RUNS) -> list[OperatorTime]:
    """Time and share of each operator; see `profile`."""
    return profile(content, threads, runs).times


def profile(content: bytes, threads: int = 1, runs: int = RUNS, seconds: float | None = None) -> Profile:
    """Times each operator, cut out of the model, alternating with the others and the whole.

    An operator run alone doesn't find its input in the cache as it would after its predecessor. For int8 U-Nets the sum
    and the whole agree within a tenth; for a float model of a hundred small operators, such as MediaPipe's selfie, the
    sum is 1.3 to 1.7 times the whole. Then the times of the large operators are right (as far as the difference
    between models cut before and after them shows) and their shares too small. On a busy machine short calls are
    interrupted less often than the long one, so the medians add up to less than the whole's although `agreement` is
    near 1: use the shares there.

    Args:
        content: The `.tflite`, with or without a card.
        threads: CPU threads.
        runs: Runs of each operator and of the whole model.
        seconds: See `seg_edge.evaluation.latency.measure`.

    Raises:
        ModelError: LiteRT can't load it.
    """
    graph, all_operators = TfliteGraph(content), operators(content)
    pieces = graph.pieces()
    contents = [strip_card(content), *(graph.cut(piece) for piece in pieces)]
    runtime = find_runtime()
    actions = {
        str(index): inference(load(runtime, model, threads, "the model"), random_tensor)
        for index, model in enumerate(contents)
    }
    timings = time_in_turns(actions, threads, runs, seconds=seconds)
    whole, *samples = (np.array(timing.samples) for timing in timings.values())
    medians = np.median(samples, axis=1)
    times = [
        OperatorTime(operator.kind, operator.name, operator.macs, float(ms), float(ms / medians.sum()))
        for operator, ms in zip((all_operators[piece[0]] for piece in pieces), medians, strict=True)
    ]
    return Profile(times, float(np.median(whole)), float(np.median(np.sum(samples, axis=0) / whole)))
