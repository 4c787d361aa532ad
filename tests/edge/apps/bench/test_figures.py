"""Percentiles, intervals and ratios of samples with known results."""

import math

import numpy as np
import pytest

from seg_edge.apps.bench.figures import latency, median_interval, percentiles, ratio
from seg_edge.apps.bench.rounds import STAGES, Round
from seg_edge.evaluation.latency import Timing


def test_a_percentile_is_given_only_where_there_are_samples_beyond_it() -> None:
    assert percentiles([3.0, 1.0, 2.0]) == {"n": 3, "min": 1.0, "p50": 2.0, "p95": None, "p99": None}
    many = percentiles(list(range(1, 102)))
    assert (many["p50"], many["p95"], many["p99"]) == (51, 96, 100)
    assert percentiles([1.0] * 99)["p99"] is None


def test_few_values_give_their_range_and_its_confidence() -> None:
    assert median_interval([5.0, 1.0, 3.0]) == (1.0, 5.0, 0.75)
    assert median_interval([2.0]) == (2.0, 2.0, 0.0)
    assert median_interval([1, 2, 3, 4, 5, 6, 7]) == (1, 7, 1 - 2 / 2**7)


def test_more_values_give_the_narrowest_interval_of_enough_confidence() -> None:
    # For 10 values: the second lowest and second highest, 97.9 % (a table in any text on order statistics).
    low, high, sure = median_interval(list(range(1, 11)))
    assert (low, high) == (2, 9)
    assert sure == pytest.approx(0.9785, abs=1e-4)


@pytest.mark.parametrize("count", [7, 12])
def test_the_interval_holds_the_median_as_often_as_it_says(count: int) -> None:
    random, held, sure = np.random.default_rng(0), 0, 0.0
    for _ in range(4000):
        low, high, sure = median_interval(list(random.lognormal(size=count)))
        held += low <= 1.0 <= high  # the median of a standard lognormal
    assert held / 4000 == pytest.approx(sure, abs=4 * math.sqrt(sure * (1 - sure) / 4000))


def a_round(threads: int, fast: float, slow: float) -> Round:
    stages = {stage: [0.5] * 4 for stage in STAGES}
    timings = {"reference": Timing((fast,) * 4, threads), "model": Timing((slow,) * 4, threads)}
    frames = {name: Timing((2.0,) * 4, threads) for name in timings}
    return Round(threads, timings, frames, dict.fromkeys(timings, stages))


def test_a_slow_machine_in_one_round_changes_no_ratio() -> None:
    rounds = [a_round(1, 1.0, 2.0), a_round(1, 10.0, 20.0), a_round(1, 1.0, 2.2), a_round(2, 1.0, 1.5)]
    entries = {(entry["model"], entry["threads"]): entry for entry in latency(rounds, "reference")}
    assert set(entries) == {(name, threads) for name in ("reference", "model") for threads in (1, 2)}
    one = entries["model", 1]
    assert one["ratio"]["rounds"] == [2.0, 2.0, 2.2]
    assert one["ratio"]["median"] == 2.0
    assert one["ratio"]["interval"] == [2.0, 2.2]
    assert one["inference_ms"]["n"] == 12
    assert one["samples_ms"][1] == [20.0] * 4
    assert one["stages_ms"]["render"]["p50"] == 0.5
    assert entries["reference", 2]["ratio"]["median"] == 1.0
    assert entries["model", 2]["ratio"]["median"] == 1.5


def test_a_ratio_keeps_its_rounds() -> None:
    figures = ratio([1.0, 1.5, 1.2])
    assert figures == {"median": 1.2, "interval": [1.0, 1.5], "confidence": 0.75, "rounds": [1.0, 1.5, 1.2]}
