"""Models are timed alternately, and compared turn by turn."""

import time
from pathlib import Path

import numpy as np
import pytest

from seg_edge.errors import ModelError, UsageError
from seg_edge.evaluation.latency import MIN_RUNS, Timing, measure, random_tensor, time_in_turns
from seg_edge.interpreter import TensorSpec
from tests.tiny import FOUR_UINT8, GREY, SIGMOID_FLOAT32, TWO_UINT8


def test_files_and_contents_are_timed_together() -> None:
    timings = measure({"uint8": TWO_UINT8, "float": SIGMOID_FLOAT32.read_bytes()}, threads=2, runs=7, warmup=1)
    assert list(timings) == ["uint8", "float"]
    for timing in timings.values():
        assert len(timing.samples) == 7
        assert timing.threads == 2
        assert 0 < timing.min_ms <= timing.p5_ms <= timing.median_ms <= timing.p95_ms
        assert all(len(moment) == 3 for moment in timing.load)


def test_they_take_turns_after_a_warm_up() -> None:
    ran: list[str] = []
    timings = time_in_turns({name: lambda name=name: ran.append(name) for name in "ABC"}, runs=3, warmup=2)
    turns = ["".join(ran[start : start + 3]) for start in range(0, len(ran), 3)]
    assert len(turns) == 5
    assert {"".join(sorted(turn)) for turn in turns} == {"ABC"}
    assert {name: len(timing.samples) for name, timing in timings.items()} == {"A": 3, "B": 3, "C": 3}


def test_the_order_of_a_turn_is_random_and_reproducible() -> None:
    def order(seed: int) -> str:
        ran: list[str] = []
        actions = {name: lambda name=name: ran.append(name) for name in "ABC"}
        time_in_turns(actions, runs=60, warmup=0, seed=seed)
        return "".join(ran)

    turns = {order(0)[start : start + 3] for start in range(0, 180, 3)}
    assert turns == {"ABC", "ACB", "BAC", "BCA", "CAB", "CBA"}
    assert order(0) == order(0) != order(1)


def test_a_slow_one_can_take_part_in_fewer_turns() -> None:
    ran: list[str] = []
    actions = {name: lambda name=name: ran.append(name) for name in "AB"}
    timings = time_in_turns(actions, runs=10, warmup=0, strides={"B": 4})
    assert ran.count("A") == len(timings["A"].samples) == 10
    assert ran.count("B") == len(timings["B"].samples) == 3
    assert Timing((4.0, 8.0, 6.0), 1, stride=4).ratio_to(Timing((2.0, 9, 9, 9) * 2 + (2.0, 9), 1)) == 3.0


def test_each_sample_is_of_its_own_action() -> None:
    timings = time_in_turns({"short": lambda: time.sleep(0.001), "long": lambda: time.sleep(0.03)}, runs=3, warmup=0)
    assert timings["long"].min_ms >= 30
    assert timings["short"].min_ms < 30
    assert timings["long"].ratio_to(timings["short"]) > 1 > timings["short"].ratio_to(timings["long"])


def test_the_ratio_is_of_each_turn() -> None:
    """A machine that is ten times as slow in some turns changes nothing; a ratio of medians would."""
    slow, quick = Timing((2.0, 20.0, 3.0), 1), Timing((1.0, 10.0, 2.0), 1)
    assert slow.ratio_to(quick) == 2.0
    assert slow.median_ms / quick.median_ms == 1.5


def test_timings_that_were_not_measured_together_are_not_compared() -> None:
    with pytest.raises(ValueError, match="turns"):
        Timing((1.0, 2.0), 1).ratio_to(Timing((1.0,), 1))
    with pytest.raises(ValueError, match="turns"):
        Timing((1.0,), 1).ratio_to(Timing((1.0,), 2))
    with pytest.raises(ValueError, match="turns"):
        Timing((1.0, 2.0), 1, stride=4).ratio_to(Timing((1.0,) * 4, 1))


def test_the_measurement_stops_when_the_time_is_over() -> None:
    timings = time_in_turns({"a": lambda: time.sleep(0.02), "b": lambda: None}, runs=1000, warmup=1000, seconds=0.4)
    assert MIN_RUNS <= len(timings["a"].samples) == len(timings["b"].samples) <= 20


def test_even_the_shortest_time_limit_gives_some_samples() -> None:
    assert len(time_in_turns({"a": lambda: time.sleep(0.01)}, runs=50, seconds=1e-6)["a"].samples) == MIN_RUNS
    assert len(time_in_turns({"a": lambda: None}, runs=2, seconds=1e-6)["a"].samples) == 2


def test_a_stride_of_0_is_refused() -> None:
    with pytest.raises(UsageError, match="strides"):
        time_in_turns({"a": lambda: None}, strides={"a": 0})


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"warmup": -1}, {"seconds": 0.0}, {"threads": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        measure({"a": TWO_UINT8}, **wrong)  # type: ignore[arg-type]


def test_a_model_that_cant_be_timed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.tflite"):
        measure({"a": tmp_path / "gone.tflite"})
    with pytest.raises(ModelError, match=GREY.name):
        measure({"a": FOUR_UINT8, "b": GREY})
    with pytest.raises(ModelError, match="b: "):
        measure({"a": FOUR_UINT8, "b": b"not a model"})


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_random_pixels_cover_the_dtype_and_repeat(dtype: type[np.generic]) -> None:
    spec = TensorSpec("image", (1, 64, 64, 3), dtype)
    tensor = random_tensor(spec)
    assert (tensor.min(), tensor.max()) == (np.iinfo(dtype).min, np.iinfo(dtype).max)  # type: ignore[type-var]
    assert tensor.dtype == dtype
    assert np.array_equal(tensor, random_tensor(spec))
    assert not np.array_equal(tensor, random_tensor(spec, seed=1))


def test_random_floats_are_pixels_of_0_to_1() -> None:
    tensor = random_tensor(TensorSpec("image", (1, 64, 64, 3), np.float32))
    assert tensor.dtype == np.float32
    assert 0 <= tensor.min() < 0.01
    assert 0.99 < tensor.max() < 1
