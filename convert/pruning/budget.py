"""The budget of a pruned model, and the search for the largest model within a measured time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

from convert.pruning.cost import mmac
from convert.quantisation.methods import convert_int8
from seg_edge.callbacks import Log
from seg_edge.errors import ModelError
from seg_edge.evaluation.latency import measure
from train.dataset import Dataset

ROUNDS = 8  # bisections of the range, on a logarithmic scale
NEAR = 0.97  # a model that takes this share of the time limit is close enough
CALIBRATION_PHOTOS = 4


@dataclass(frozen=True)
class Budget:
    """The most that a model may cost.

    Attributes:
        unit: `params`, `mmac` (millions of multiply-accumulates), `work` (see `convert.pruning.cost.work`), or `ms`:
            median inference time of the int8 model on this machine.
        value: In that unit, above 0.
        threads: CPU threads for inference.
    """

    unit: str
    value: float
    threads: int = 1

    @property
    def name(self) -> str:
        """The name of the result's folder: `60_mmac`."""
        return f"{self.value:.12g}_{self.unit}"


def int8_of(model: keras.Model, data: Dataset) -> bytes:
    """The int8 model for timing, calibrated on a few photos: the ranges don't change its speed."""
    return convert_int8(model, data.parts["train"][:CALIBRATION_PHOTOS])


def inference_ms(model: keras.Model, data: Dataset, threads: int) -> float:
    """Median inference time in milliseconds after conversion to int8. Other load on the machine increases it."""
    return measure({"model": int8_of(model, data)}, threads=threads)["model"].median_ms


def within_ms(
    limit: float,
    range_mmac: tuple[float, float],
    at_mmac: Callable[[float], keras.Model],
    ms_of: Callable[[keras.Model], float],
    log: Log,
) -> tuple[keras.Model, float]:
    """The largest model within a time limit, found by pruning to different numbers of MMAC.

    Args:
        limit: Milliseconds.
        range_mmac: MMAC of the smallest possible model and of the whole model.
        at_mmac: Prunes the model to a number of MMAC.
        ms_of: Converts and times a model.
        log: Receives a line for each timed model.

    Returns:
        The model and its milliseconds.

    Raises:
        ModelError: Even the smallest takes longer; the message gives its time.
    """

    known: dict[float, float] = {}  # similar budgets give the same channels

    def timed(max_mmac: float) -> tuple[keras.Model, float]:
        model = at_mmac(max_mmac)
        size = mmac(model)
        if size not in known:
            known[size] = ms_of(model)
            log(f"{size:,.1f} MMAC take {known[size]:.2f} ms")
        return model, known[size]

    low, high = range_mmac
    best = timed(low)
    if best[1] > limit:
        raise ModelError(
            f"a budget of {limit:g} ms can't be met: with the fewest channels, {low:,.1f} MMAC, the model takes "
            f"{best[1]:.2f} ms here; raise the budget, or lower --minimum or --size."
        )
    whole = timed(high)
    if whole[1] <= limit:
        return whole
    for _ in range(ROUNDS):
        if best[1] >= NEAR * limit:
            break
        middle = (low * high) ** 0.5
        candidate = timed(middle)
        if candidate[1] <= limit:
            low, best = middle, candidate
        else:
            high = middle
    return best
