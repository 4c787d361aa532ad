"""Where the time of a `.tflite` goes, operator by operator.

No runtime tells Python how long an operator takes, so each is cut out as a model of its own and timed in turns with the
others and with the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convert.tflite_file import TfliteGraph, load_interpreter, operators
from seg_edge.card import strip_card
from seg_edge.evaluation.latency import RUNS, random_tensor, time_in_turns
from seg_edge.interpreter import TensorSpec


@dataclass(frozen=True)
class OperatorTime:
    """How long an operator took, cut out and run alone; `share` is of the sum over all operators, 0..1."""

    kind: str
    name: str
    macs: int
    ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Times of the operators, and how far to believe them.

    Attributes:
        times: In the order they run, without the folded, and with a clamp that XNNPACK fuses in its maker's time.
        whole_ms: Median of the whole model in the same turns.
        agreement: Median over the turns of the sum of the operators' times, over the whole's: 1 if cutting changed
            nothing. Below 0.75 or above 1.25 the shares are rough.
    """

    times: list[OperatorTime]
    whole_ms: float
    agreement: float


def operator_times(content: bytes, threads: int = 1, runs: int = RUNS) -> list[OperatorTime]:
    """Time and share of each operator; see `profile`."""
    return profile(content, threads, runs).times


def profile(content: bytes, threads: int = 1, runs: int = RUNS, seconds: float | None = None) -> Profile:
    """Times each operator cut out of the model, in turns with the others and the whole.

    An operator alone finds its input where the other models left the cache, not where its predecessor put it. For
    int8 U-Nets the sum and the whole agree within a tenth; for a float model of a hundred small operators, such as
    MediaPipe's selfie, the sum is 1.3 to 1.7 times the whole, and then the times of the large operators are right
    (as far as differences between models cut off before and after them tell) and the shares too small. On a busy
    machine short calls are interrupted less often than the long one, so the medians add up to less than the whole's
    although `agreement` is near 1: use the shares there.

    Args:
        content: The `.tflite`, with or without a card.
        threads: CPU threads.
        runs: Of each operator and of the whole.
        seconds: See `seg_edge.evaluation.latency.measure`.

    Raises:
        ModelError: LiteRT can't load it.
    """
    graph, listed = TfliteGraph(content), operators(content)
    pieces = graph.pieces()
    contents = [strip_card(content), *(graph.cut(piece) for piece in pieces)]
    actions = {str(place): _invoke(model, threads) for place, model in enumerate(contents)}
    timings = time_in_turns(actions, threads, runs, seconds=seconds)
    whole, *samples = (np.array(timing.samples) for timing in timings.values())
    medians = np.median(samples, axis=1)
    times = [
        OperatorTime(one.kind, one.name, one.macs, float(ms), float(ms / medians.sum()))
        for one, ms in zip((listed[piece[0]] for piece in pieces), medians, strict=True)
    ]
    return Profile(times, float(np.median(whole)), float(np.median(np.sum(samples, axis=0) / whole)))


def _invoke(content: bytes, threads: int) -> Callable[[], object]:
    """The inference alone, on random inputs that are set beforehand."""
    interpreter = load_interpreter(content, threads)
    for detail in interpreter.get_input_details():
        spec = TensorSpec(detail["name"], tuple(int(side) for side in detail["shape"]), detail["dtype"])
        interpreter.set_tensor(detail["index"], random_tensor(spec))
    return interpreter.invoke
