"""How often `make bench-check` cries wolf, and what it would miss: `python benchmarks/false_alarms.py --times 12`.

Measures the unchanged tree again and again, as the check does, and compares each measurement with each other one as if
it were the history. The sooner of a pair may be either; so n measurements give n (n - 1) comparisons, which are not
independent, but show what differences chance makes on this machine at this load. It also says how often a model that is
really slower would have been found, by raising the later measurement's ratios by so much.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import permutations
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.check import ATTEMPTS, RATIOS, ROUNDS, RUNS, has_risen
from seg_edge.bench.candidates import candidate, reference
from seg_edge.bench.figures import latency
from seg_edge.bench.rounds import Round, measure_rounds
from seg_edge.bench.run import drawn_frame
from seg_edge.commands.console import StatusLine, exit_codes
from seg_edge.interpreter import default_threads
from seg_edge.models import bundled_models

SLOWED = (0.1, 0.15, 0.2, 0.25, 0.3)

# The ratios of one measurement, with their intervals, by model, threads and kind.
Ratios = dict[tuple[str, int, str], dict[str, Any]]


def ratios(rounds: Sequence[Round]) -> Ratios:
    """All that the check would compare."""
    return {
        (entry["model"], entry["threads"], kind): entry[kind]
        for entry in latency(rounds, "reference")
        for kind in RATIOS
        if entry["model"] != "reference"
    }


def alarm(before: Ratios, later: Sequence[Ratios], slowed: float = 0.0) -> bool:
    """Whether the check would end in an alarm: something looks slower in each of the attempts.

    Args:
        before: The history.
        later: Of each attempt, over all rounds so far.
        slowed: By how much the models are made to look slower.
    """
    return all(any(has_risen(before[key], _slower(now[key], slowed)) for key in before) for now in later)


def _slower(ratio: dict[str, Any], by: float) -> dict[str, Any]:
    return {"median": ratio["median"] * (1 + by), "interval": [end * (1 + by) for end in ratio["interval"]]}


def summarise(measured: Sequence[Sequence[Round]]) -> dict[str, Any]:
    """Rates over all ordered pairs of measurements; the attempts of a check are the measurement and those after it."""
    count = len(measured)
    single = [ratios(rounds) for rounds in measured]
    following = [
        [
            ratios([found for step in range(tries + 1) for found in measured[(start + step) % count]])
            for tries in range(ATTEMPTS)
        ]
        for start in range(count)
    ]
    pairs = list(permutations(range(count), 2))
    # Of a check that goes on with the measurement it is compared with, nothing could be learnt.
    apart = [(i, j) for i, j in pairs if (i - j) % count >= ATTEMPTS]
    changes = [abs(single[j][key]["median"] / single[i][key]["median"] - 1) for i, j in pairs for key in single[i]]
    return {
        "measurements": count,
        "comparisons": len(pairs),
        "figures_each": len(single[0]),
        "change": {
            "median": round(float(np.median(changes)), 4),
            "p95": round(float(np.percentile(changes, 95)), 4),
            "largest": round(max(changes), 4),
        },
        "alarms": {
            "at the first attempt": _share(alarm(single[i], single[j : j + 1]) for i, j in pairs),
            f"after {ATTEMPTS} attempts": _share(alarm(single[i], following[j]) for i, j in apart),
        },
        "intervals meet": _share(_meet(single[i][key], single[j][key]) for i, j in pairs for key in single[i]),
        "found": {f"{by:.0%} slower": _share(alarm(single[i], following[j], by) for i, j in apart) for by in SLOWED},
    }


def _meet(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the intervals of two measurements of the same thing overlap, as they should."""
    return one["interval"][0] <= other["interval"][1] and other["interval"][0] <= one["interval"][1]


def _share(outcomes: Any) -> float:
    return round(float(np.mean(list(outcomes))), 4)


def main(
    times: Annotated[int, typer.Option(min=ATTEMPTS + 1, help="Measurements.")] = 12,
    rounds: Annotated[int, typer.Option(min=1, help="Processes at each number of threads.")] = ROUNDS,
    runs: Annotated[int, typer.Option(min=1, help="Inferences in each process.")] = RUNS,
) -> None:
    """Prints, as JSON, how often the check would be wrong."""
    line = StatusLine()
    threads = range(1, default_threads() + 1)
    before = os.getloadavg()
    measured = []
    with exit_codes():
        models = [reference(), *(candidate(name) for name in bundled_models())]
        for number in range(times):
            line.show(f"measurement {number + 1} of {times}")
            measured.append(measure_rounds(models, drawn_frame(), threads, rounds, runs, seed=1000 * number))
    line.show("")
    load = [round(value, 1) for value in (before[0], os.getloadavg()[0])]
    typer.echo(json.dumps({"load": load, "rounds": rounds, "runs": runs, **summarise(measured)}, indent=1))


if __name__ == "__main__":
    typer.run(main)
