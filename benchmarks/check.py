"""Did it get slower or worse? `make bench-check`, or `python benchmarks/check.py`: 1 if so, after saying in what.

Compares our models with the newest figures in this machine's history, which `make bench` wrote: a Dice, of a class too,
may fall by 0.005 on the same photos, a latency ratio (to the reference model of the same run) rise by 15 %. Timing is
noisy even as a ratio. So a ratio counts as risen only if its interval lies above the one in the history altogether, and
what looks slower is measured again, twice: it must still be so over all rounds together. `benchmarks/false_alarms.py`
measures how often that is wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import history
from benchmarks.suites import SUITES, Suite, read_suites, unique
from seg_edge.apps.bench.accuracy import measure_accuracy
from seg_edge.apps.bench.candidates import Candidate, reference
from seg_edge.apps.bench.document import describe_machine
from seg_edge.apps.bench.figures import latency
from seg_edge.apps.bench.rounds import Round, measure_rounds
from seg_edge.apps.bench.run import drawn_frame
from seg_edge.apps.bench.watch import Watch
from seg_edge.commands.console import StatusLine, exit_codes
from seg_edge.errors import DataError, SegEdgeError

MAX_FALL = 0.005
MAX_RISE = 0.15
ATTEMPTS = 3
ROUNDS, RUNS = 5, 40
RATIOS = {"ratio": "the model alone", "frame_ratio": "a whole frame"}
SCORES = {"mean_dice": "mean Dice", "mean_photo_dice": "Dice, mean over photos"}


@dataclass(frozen=True)
class Comparison:
    """One figure of one model, then and now."""

    model: str
    what: str
    before: float
    now: float
    failed: bool

    @property
    def change(self) -> str:
        """What became of it: scores as a difference, times in per cent."""
        if "Dice" in self.what:
            return f"{self.now - self.before:+.4f}"
        return f"{self.now / self.before - 1:+.1%}"


def has_risen(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a ratio, with `median` and `interval`, is higher than it may be and surely higher than it was."""
    return now["median"] > then["median"] * (1 + MAX_RISE) and now["interval"][0] > then["interval"][1]


def compare_latency(before: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Each latency ratio against the history's.

    Args:
        before: Models by name, of a line of the history.
        entries: What `seg_edge.apps.bench.figures.latency` gave.
    """
    found = []
    for entry in entries:
        threads = str(entry["threads"])
        for kind, what in RATIOS.items():
            known = before.get(entry["model"], {}).get(kind, {}).get(threads)
            if known and entry["model"] != "reference":
                said = f"{what}, {threads} thread{'s' * (threads != '1')}"
                then, now = known["median"], entry[kind]["median"]
                found.append(Comparison(entry["model"], said, then, now, has_risen(known, entry[kind])))
    return found


def compare_accuracy(before: Mapping[str, Any], scored: Mapping[str, Any]) -> tuple[list[Comparison], list[str]]:
    """Each score against the history's, and a sentence on each that can't be compared.

    Args:
        before: Models by name, of a line of the history.
        scored: What `seg_edge.apps.bench.accuracy.measure_accuracy` gave.
    """
    found, notes = [], []
    for name, figures in scored["models"].items():
        known = before.get(name, {}).get("dice", {}).get(scored["data"])
        if not known:
            notes.append(f"{name}: no score on {scored['data']} in the history")
        elif known["fingerprint"] != scored["fingerprint"]:
            notes.append(f"{name}: {scored['data']} holds other photos or masks now, so scores aren't compared")
        else:
            pairs = {what: (known[key], figures[key]) for key, what in SCORES.items()}
            if len(figures["dice"]) > 1:
                pairs |= {f"Dice of {c}": (known["classes"].get(c), now) for c, now in figures["dice"].items()}
            for what, (then, now) in pairs.items():
                if then is not None:  # where nothing was found nor to be found, there is nothing to lose
                    failed = now is None or now < then - MAX_FALL
                    found.append(Comparison(name, f"{what} on {scored['data']}", then, now or 0.0, failed))
    return found, notes


def attempts(
    measure: Callable[[int], list[Round]], before: Mapping[str, Any], tries: int = ATTEMPTS
) -> Iterator[list[Comparison]]:
    """The latency comparison over all rounds so far, until nothing looks slower any more or the tries are over.

    Args:
        measure: Gives new rounds; is told which attempt it is.
        before: Models by name, of a line of the history.
        tries: How often.
    """
    rounds: list[Round] = []
    for attempt in range(tries):
        rounds += measure(attempt)
        found = compare_latency(before, latency(rounds, "reference"))
        yield found
        if not any(comparison.failed for comparison in found):
            return


def ours(suites: Sequence[Suite]) -> list[Candidate]:
    """What is checked: our models, and not those that they are made of."""
    return [c for c in unique([c for suite in suites for c in suite.candidates]) if c.role == "model"]


def check(
    suites: Sequence[Suite], before: Mapping[str, Any], rounds: int, runs: int, log: Callable[[str], None]
) -> tuple[list[Comparison], list[str]]:
    """Measures our models again and compares them with what was measured before, by model.

    Returns:
        All comparisons, and a sentence on each model that can't be compared.

    Raises:
        DataError: Nothing can be compared.
        SegEdgeError: Something can't be measured.
    """
    there = ours(suites)
    known = [which for which in there if which.name in before]
    notes = [f"{which.name}: not in the history" for which in there if which not in known]
    gone = [name for name, was in before.items() if was["role"] == "model" and name not in {c.name for c in there}]
    notes += [f"{name}: in the history, and not there now" for name in gone]
    if not known:
        raise DataError("none of the models is in the last line of the history; run 'make bench'.")
    comparisons: list[Comparison] = []
    for suite in suites:
        candidates = [which for which in suite.candidates if which in known]
        if candidates:
            log(f"accuracy on {suite.name}")
            scored = measure_accuracy(suite.name, candidates, suite.examples, suite.classes)
            found, said = compare_accuracy(before, scored)
            comparisons, notes = comparisons + found, notes + said
    scored_before = {data for which in known for data in before[which.name]["dice"]}
    notes += [
        f"{data}: scored before, and not now" for data in sorted(scored_before - {suite.name for suite in suites})
    ]
    threads = sorted({int(count) for which in known for count in before[which.name]["ratio"]})
    times: list[Comparison] = []
    for times in attempts(lambda attempt: measure_ours(known, threads, rounds, runs, attempt, log), before):
        if any(comparison.failed for comparison in times):
            log("slower than it was; measuring again")
    return comparisons + times, notes


def measure_ours(
    models: Sequence[Candidate],
    threads: Sequence[int],
    rounds: int = ROUNDS,
    runs: int = RUNS,
    attempt: int = 0,
    log: Callable[[str], None] = lambda text: None,
) -> list[Round]:
    """Rounds of these models and the reference alone; what else takes turns with them changes their times a little."""
    return measure_rounds(
        [reference(), *models],
        drawn_frame(),
        threads,
        rounds,
        runs,
        seed=1000 * attempt,
        between=lambda done, total: log(f"latency, attempt {attempt + 1}: {done} of {total} rounds"),
    )


def table(comparisons: Sequence[Comparison]) -> Table:
    """All comparisons for a terminal."""
    shown = Table()
    for head in ("model", "figure", "before", "now", "change", ""):
        shown.add_column(head, justify="left" if head in ("model", "figure", "") else "right")
    for comparison in comparisons:
        verdict = "[red]worse[/red]" if comparison.failed else "ok"
        before, now = f"{comparison.before:.4f}", f"{comparison.now:.4f}"
        shown.add_row(comparison.model, comparison.what, before, now, comparison.change, verdict)
    return shown


def main(
    suites: Annotated[Path, typer.Option(help="What is scored.")] = SUITES,
    records: Annotated[Path, typer.Option("--history", help="Folder of a line a run.")] = history.FOLDER,
    against: Annotated[
        str, typer.Option(help="Commit to compare with, as the history has it.", show_default="the newest figures")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Processes at each number of threads, each time.")] = ROUNDS,
    runs: Annotated[int, typer.Option(min=1, help="Inferences in each process.")] = RUNS,
) -> None:
    """Compares this tree with what was measured last on this machine."""
    line = StatusLine()
    with exit_codes():
        path = records / f"{describe_machine()['key']}.jsonl"
        lines = [was for was in history.read(path) if was["commit"].startswith(against)]
        if not lines:
            raise DataError(f"{path}: nothing was measured on this machine {against or 'yet'}; run 'make bench' there.")
        watch = Watch()
        with tempfile.TemporaryDirectory() as work, watch.watching():
            found, missing = read_suites(suites, Path(work))
            comparisons, notes = check(found, history.latest(lines), rounds, runs, line.show)
        verdict = watch.verdict()
        if not verdict["valid"]:
            raise SegEdgeError(f"nothing can be said: {'; '.join(verdict['reasons'])}.")
    line.show("")
    typer.echo(f"Against {lines[-1]['commit'] or 'an unknown commit'} of {lines[-1]['created']}")
    Console(highlight=False, width=None if line.in_terminal else 160).print(table(comparisons))
    for note in [*missing, *notes, *verdict["notes"]]:
        line.log(f"note: {note}")
    failed = [comparison for comparison in comparisons if comparison.failed]
    if failed:
        worst = failed[0]
        typer.echo(
            f"error: {len(failed)} of {len(comparisons)} figures are worse than they may be, first {worst.model}: "
            f"{worst.what} {worst.before:.4f} -> {worst.now:.4f}.",
            err=True,
        )
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
