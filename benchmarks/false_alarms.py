"""How often `make bench-check` cries wolf, and what it would miss: `python benchmarks/false_alarms.py --times 10`.

Measures the unchanged tree again and again, as the check does, and compares each measurement with each other one as if
that were the history; or with those of another time, such as a quieter one: `--json FILE` keeps them, `--against FILE`
takes them. n measurements give n (n - 1) comparisons, which are not independent: without any alarm, the rate is below
3 / n with 95 % confidence at most (the rule of three: Hanley and Lippman-Hand, JAMA 1983), not 3 / (n (n - 1)). It also
says how often a model that is really slower would have been found, by raising the later measurement's ratios.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.check import ATTEMPTS, RATIOS, ROUNDS, RUNS, has_risen, measure_ours, ours
from benchmarks.suites import SUITES, read_suites
from seg_edge.apps.bench.document import describe_machine
from seg_edge.apps.bench.figures import latency
from seg_edge.apps.bench.rounds import Round
from seg_edge.apps.bench.watch import Watch
from seg_edge.commands.console import StatusLine, exit_codes
from seg_edge.errors import DataError
from seg_edge.interpreter import default_threads
from seg_edge.system.files import write_file

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


def summarise(measured: Sequence[Sequence[Round]], others: Sequence[Ratios] = ()) -> dict[str, Any]:
    """Rates over all ordered pairs of measurements; the attempts of a check are the measurement and those after it.

    Args:
        measured: The rounds of each measurement.
        others: Histories to compare them with; by default each with each other one.
    """
    count = len(measured)
    single = [ratios(rounds) for rounds in measured]
    histories = list(others) or single
    following = [
        [
            ratios([found for step in range(tries + 1) for found in measured[(start + step) % count]])
            for tries in range(ATTEMPTS)
        ]
        for start in range(count)
    ]
    pairs = [(i, j) for i, j in product(range(len(histories)), range(count)) if others or i != j]
    # Of a check that goes on with the measurement it is compared with, nothing could be learnt.
    apart = [(i, j) for i, j in pairs if others or (i - j) % count >= ATTEMPTS]
    keys = list(single[0])
    changes = [abs(single[j][key]["median"] / histories[i][key]["median"] - 1) for i, j in pairs for key in keys]
    return {
        "measurements": count,
        "comparisons": [len(pairs), len(apart)],
        "figures_each": len(keys),
        "change": {
            "median": round(float(np.median(changes)), 4),
            "p95": round(float(np.percentile(changes, 95)), 4),
            "largest": round(max(changes), 4),
        },
        "alarms": {
            "at the first attempt": _share(alarm(histories[i], single[j : j + 1]) for i, j in pairs),
            f"after {ATTEMPTS} attempts": _share(alarm(histories[i], following[j]) for i, j in apart),
        },
        "intervals meet": _share(_meet(histories[i][key], single[j][key]) for i, j in pairs for key in keys),
        "found": {f"{by:.0%} slower": _share(alarm(histories[i], following[j], by) for i, j in apart) for by in SLOWED},
    }


def _meet(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the intervals of two measurements of the same thing overlap, as they should."""
    return one["interval"][0] <= other["interval"][1] and other["interval"][0] <= one["interval"][1]


def _share(outcomes: Any) -> float:
    return round(float(np.mean(list(outcomes))), 4)


def main(
    times: Annotated[int, typer.Option(min=ATTEMPTS + 1, help="Measurements.")] = 10,
    suites: Annotated[Path, typer.Option(help="Whose models are measured.")] = SUITES,
    against: Annotated[Path | None, typer.Option(help="What --json wrote at another time.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Keep the measurements in this file.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Processes at each number of threads.")] = ROUNDS,
    runs: Annotated[int, typer.Option(min=1, help="Inferences in each process.")] = RUNS,
) -> None:
    """Prints, as JSON, how often the check would be wrong."""
    line, watch, measured = StatusLine(), Watch(), []
    with exit_codes(), tempfile.TemporaryDirectory() as work:
        others = read_ratios(against) if against else []
        models, threads = ours(read_suites(suites, Path(work))[0]), range(1, default_threads() + 1)
        with watch.watching():
            for number in range(times):
                line.show(f"measurement {number + 1} of {times}")
                measured.append(measure_ours(models, threads, rounds, runs, number))
        line.show("")
        if out:
            write_ratios(out, [ratios(taken) for taken in measured])
        about = {"machine": describe_machine()["name"], "watch": watch.verdict(), "rounds": rounds, "runs": runs}
        typer.echo(json.dumps({**about, **summarise(measured, others)}, indent=1))


def write_ratios(path: Path, measured: Sequence[Ratios]) -> None:
    """Keeps measurements for another time."""
    write_file(path, json.dumps([[[list(key), value] for key, value in one.items()] for one in measured]).encode())


def read_ratios(path: Path) -> list[Ratios]:
    """What `write_ratios` kept.

    Raises:
        DataError: It is something else.
    """
    try:
        return [{tuple(key): value for key, value in one} for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not what --json wrote ({error}).") from error


if __name__ == "__main__":
    typer.run(main)
