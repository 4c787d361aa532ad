"""How long one inference takes, several models compared in one run.

On a machine that does anything else, timing two models one after the other says more about the machine than about the
models. So they alternate: each turn runs all of them in another random order, so that none always finds the same
model's data in the caches. Two models are compared by the median of their ratios in each turn.

`LiteRT.run` is timed, as it runs for a camera: the input tensor copied in, the inference, the scores copied out.
Resizing the picture and turning the scores into labels are not included.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from seg_edge.errors import ModelError, UsageError
from seg_edge.interpreter import LiteRT, TensorSpec

Name = TypeVar("Name", bound=Hashable)

RUNS = 50
WARMUP = 5
MIN_RUNS = 3  # however short the time limit is
WARMUP_SHARE = 0.2  # of the time limit, at most


@dataclass(frozen=True)
class Timing:
    """How long something took, alternating with others.

    Attributes:
        samples: Milliseconds of each run, in the order of the turns.
        threads: CPU threads of each inference.
        load: `os.getloadavg` before the first and after the last run: 1, 5 and 15 minutes; empty where it isn't known.
        stride: n if it took part in one turn of n, from the first on.
    """

    samples: tuple[float, ...]
    threads: int
    load: tuple[tuple[float, float, float], ...] = ()
    stride: int = 1

    @property
    def median_ms(self) -> float:
        """The median, which is the figure to report."""
        return float(np.median(self.samples))

    @property
    def p5_ms(self) -> float:
        """The 5th percentile: close to the time on an idle machine."""
        return float(np.percentile(self.samples, 5))

    @property
    def p95_ms(self) -> float:
        """The 95th percentile."""
        return float(np.percentile(self.samples, 95))

    @property
    def min_ms(self) -> float:
        """The fastest run."""
        return min(self.samples)

    def ratio_to(self, other: Timing) -> float:
        """How many times as long as `other` this takes: the median of the ratios of each turn that both took part in.

        Raises:
            ValueError: They were not measured together.
        """
        together = max(self._turns[0], other._turns[0]) < min(self._turns[1], other._turns[1])
        if not together or self.threads != other.threads:
            raise ValueError(
                f"{len(self.samples)} runs at {self.threads} threads and {len(other.samples)} at {other.threads} "
                "were not measured in the same turns"
            )
        ours, theirs = self._by_turn(), other._by_turn()
        return float(np.median([ours[turn] / theirs[turn] for turn in ours.keys() & theirs.keys()]))

    @property
    def _turns(self) -> tuple[int, int]:
        """How many turns there were: more than the first number, at most the second."""
        return (len(self.samples) - 1) * self.stride, len(self.samples) * self.stride

    def _by_turn(self) -> dict[int, float]:
        return {index * self.stride: sample for index, sample in enumerate(self.samples)}


def measure(
    models: Mapping[str, bytes | Path],
    threads: int = 1,
    runs: int = RUNS,
    warmup: int = WARMUP,
    seconds: float | None = None,
) -> dict[str, Timing]:
    """Times one inference of each model, alternating, on random pixels.

    Args:
        models: Contents or files of `.tflite` models from one image to one score map, with or without a card.
        threads: CPU threads of each inference.
        runs: Runs of each model.
        warmup: Turns before them that don't count.
        seconds: Stop after the turn that exceeds this time, for all models and the warm-up together, but not before
            `MIN_RUNS` counted turns; there are then fewer samples than `runs`. None: no limit.

    Returns:
        A timing for each name, all with the same number of samples.

    Raises:
        ModelError: A file can't be read, or LiteRT can't run it.
        UsageError: A number is out of range.
    """
    inferences: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        backend = LiteRT(_content(model), threads, str(model) if isinstance(model, Path) else name)
        tensor = random_tensor(backend.input)
        inferences[name] = lambda backend=backend, tensor=tensor: backend.run(tensor)  # type: ignore[misc]
    return time_in_turns(inferences, threads, runs, warmup, seconds)


def time_in_turns(
    actions: Mapping[Name, Callable[[], object]],
    threads: int = 1,
    runs: int = RUNS,
    warmup: int = WARMUP,
    seconds: float | None = None,
    strides: Mapping[Name, int] | None = None,
    seed: int = 0,
) -> dict[Name, Timing]:
    """Times any functions, alternating; see `measure`.

    Args:
        actions: What to run, by name.
        threads: Only recorded in the result.
        runs: The number of turns.
        warmup: Turns before them that don't count.
        seconds: See `measure`.
        strides: For slow actions, n: they take part in one turn of n.
        seed: Of the order in each turn.

    Raises:
        UsageError: A number is out of range.
    """
    if runs < 1 or warmup < 0 or (seconds is not None and not seconds > 0):
        raise UsageError(f"runs is {runs}, warmup {warmup}, seconds {seconds}; give 1 or more, 0 or more, above 0.")
    stride = {name: (strides or {}).get(name, 1) for name in actions}
    if min(stride.values(), default=1) < 1:
        raise UsageError(f"strides is {strides}; give 1 or more.")
    random, samples = np.random.default_rng(seed), {name: list[float]() for name in actions}

    def turn(number: int) -> dict[Name, float]:
        playing = [name for name in actions if number % stride[name] == 0]
        return {playing[place]: _time(actions[playing[place]]) for place in random.permutation(len(playing))}

    began, before = time.perf_counter(), _load()
    for number in range(warmup):
        turn(number)
        if seconds is not None and time.perf_counter() - began > WARMUP_SHARE * seconds:
            break
    for number in range(runs):
        for name, ms in turn(number).items():
            samples[name].append(ms)
        if seconds is not None and number + 1 >= MIN_RUNS and time.perf_counter() - began > seconds:
            break
    load = before + _load()
    return {name: Timing(tuple(taken), threads, load, stride[name]) for name, taken in samples.items()}


def _time(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def random_tensor(spec: TensorSpec, seed: int = 0) -> np.ndarray:
    """A tensor of `spec`'s shape and dtype, the same for the same seed: integers of its whole range, floats 0..1."""
    random = np.random.default_rng(seed)
    if spec.dtype == np.float32:
        return random.random(spec.shape, np.float32)
    bounds = np.iinfo(spec.dtype)  # type: ignore[type-var]
    return random.integers(bounds.min, bounds.max, spec.shape, spec.dtype, endpoint=True)  # type: ignore[arg-type]


def _content(model: bytes | Path) -> bytes:
    if isinstance(model, bytes):
        return model
    try:
        return model.read_bytes()
    except OSError as error:
        raise ModelError(f"{model}: can't be read ({error.strerror}).") from error


def _load() -> tuple[tuple[float, float, float], ...]:
    return (os.getloadavg(),) if hasattr(os, "getloadavg") else ()
