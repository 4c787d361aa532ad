"""Figures as a reader of the report meets them, and what is said of them in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.reporting.parts import Code, Inline, Text
from benchmarks.reporting.results import Result
from seg_edge.apps.bench.figures import ratio as ratio_of

ROLES = {"model": "ours", "full": "ours, the full one", "peer": "others'", "reference": "the reference"}
ORDER = tuple(ROLES)
NONE = "–"


def number(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}".rstrip(".")


def score(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A score of 0 to 1 with its interval."""
    if value is None:
        return NONE
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def times(ratio: dict[str, Any] | None) -> str:
    """A ratio with its interval."""
    if ratio is None:
        return NONE
    low, high = ratio["interval"]
    if low == high == ratio["median"]:  # the reference's own
        return number(low)
    return f"{number(ratio['median'])} ({number(low)}–{number(high)})"


def size(count: int | None) -> str:
    """A file's size in 10^6 bytes."""
    return NONE if count is None else f"{count / 1e6:.2f} MB" if count < 1e7 else f"{count / 1e6:.0f} MB"


def thread_count(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def ordered(models: dict[str, dict[str, Any]], names: Iterable[str] | None = None) -> list[str]:
    """Names of models as the report has them: ours, the full one, others', the reference; small before large."""

    def place(name: str) -> tuple[int, float]:
        role = models[name]["role"]
        return ORDER.index(role) if role in ORDER else len(ORDER), models[name]["bytes"] or float("inf")

    return sorted(models if names is None else names, key=place)


def role(about: dict[str, Any]) -> str:
    """What a model is to us."""
    return ROLES.get(about["role"], about["role"])


def percent(value: float | None) -> str:
    """A share."""
    return NONE if value is None else f"{100 * value:.2f} %"


def sureness(result: Result) -> str:
    """How sure the ratios' intervals are."""
    ratios = [entry["ratio"] for entry in result.document["latency"]]
    sure, rounds = min(ratio["confidence"] for ratio in ratios), len(ratios[0]["rounds"])
    return f"In brackets after a ratio: where its median lies, {100 * sure:.0f} % sure from {rounds} rounds."


def in_short(result: Result) -> list[Text]:
    """Two sentences: ours against the full one, and against others'."""
    suites = sorted(result.part("accuracy"), key=lambda suite: (suite["data"] == "drawn", -suite["photos"]))
    said = [_against_full(result, suite) for suite in suites if suite["full"]][:1]
    with_peers = [suite for suite in suites if _smallest(result, suite) and _peers(result, suite)]
    said += [_against_peers(result, suite) for suite in with_peers[:1]]
    return [sentence for sentence in said if sentence] or [_alone(result)]


def _smallest(result: Result, suite: dict[str, Any]) -> str | None:
    names = [name for name in suite["models"] if result.models[name]["role"] == "model"]
    return next(iter(ordered(result.models, names)), None)


def _peers(result: Result, suite: dict[str, Any]) -> list[str]:
    names = [name for name in suite["models"] if result.models[name]["role"] == "peer"]
    return sorted(names, key=lambda name: -(suite["models"][name]["mean_dice"] or 0))


def _against_full(result: Result, suite: dict[str, Any]) -> Text:
    small, full = _smallest(result, suite), suite["full"]
    if small is None:
        return []
    threads = result.threads[0]
    a, b = result.models[small]["bytes"], result.models[full]["bytes"]
    text: list[Inline] = [Code(small), f", the smallest of ours on {suite['data']}, is {size(a)}"]
    text += [f" where the full model it was made from is {size(b)} ({number(b / a)} times as large)"] if a and b else []
    one, other = result.timed(small, threads), result.timed(full, threads)
    if one and other:
        pairs = zip(other["ratio"]["rounds"], one["ratio"]["rounds"], strict=False)
        faster = times(ratio_of([large / little for large, little in pairs]))
        text.append(f", on {thread_count(threads)} it is {faster} times as fast")
    text.append(f", and on {suite['photos']} photos it has a Dice of {_dice(suite, small)}, the full one ")
    width, height = result.models[full]["input_wh"]
    return [*text, f"{_dice(suite, full)} at its {width}x{height}."]


def _against_peers(result: Result, suite: dict[str, Any]) -> Text:
    ours, threads = _smallest(result, suite) or "", result.threads[0]
    text: list[Inline] = [f"On {suite['photos']} photos of {suite['data']}, on {thread_count(threads)}: "]
    for index, name in enumerate([ours, *_peers(result, suite)]):
        entry = result.timed(name, threads)
        took = f", ratio {times(entry['ratio'])}" if entry else ""
        text += ["; others' " if index == 1 else "; " if index else "our ", Code(name)]
        text.append(f" has a Dice of {_dice(suite, name)}{took}" if not index else f" {_dice(suite, name)}{took}")
    return [*text, "."]


def _alone(result: Result) -> Text:
    name, threads = ordered(result.models)[0], result.threads[0]
    entry = result.timed(name, threads)
    took = f"; an inference takes {number(entry['inference_ms']['p50'])} ms on {thread_count(threads)}" if entry else ""
    ratio = f", {times(entry['ratio'])} of the reference's time" if entry else ""
    return [Code(name), f" is {size(result.models[name]['bytes'])}{took}{ratio}."]


def _dice(suite: dict[str, Any], name: str) -> str:
    figures = suite["models"][name]
    return score(figures["mean_dice"], figures["intervals"]["mean_dice"])
