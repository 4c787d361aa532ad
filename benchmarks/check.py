"""Checks for regressions: `make bench-check`, or `python benchmarks/check.py`; if anything got worse, exits with 1.

Compares our models with the newest figures in this machine's history, which `make bench` wrote. Dice, overall or of a
class, may fall by 0.005 on the same photos; a latency ratio (to the reference model of the same run) may rise by 15 %.
Timing is noisy even as a ratio, so a ratio has risen only if its interval is entirely above the one in the history, and
what looks slower is measured up to twice more: it must still be slower over all rounds together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import history
from benchmarks.history import Row
from benchmarks.suites import SUITES, Suite, read_suites, unique
from seg_edge.apps.bench.accuracy import measure_accuracy
from seg_edge.apps.bench.candidates import Candidate, describe, reference
from seg_edge.apps.bench.document import describe_machine, make_document
from seg_edge.apps.bench.figures import latency
from seg_edge.apps.bench.rounds import Round, measure_rounds
from seg_edge.apps.bench.run import drawn_frame
from seg_edge.apps.bench.watch import Watch
from seg_edge.callbacks import Log
from seg_edge.commands.console import StatusLine, exit_codes
from seg_edge.errors import DataError, SegEdgeError

MAX_FALL = 0.005
MAX_RISE = 0.15
ATTEMPTS = 3
ROUNDS, RUNS = 5, 40

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Comparison:
    """One figure of one model, then and now."""

    before: Row
    now: Row

    @property
    def failed(self) -> bool:
        """Whether it got worse by more than the tolerance."""
        then, now = self.before.value, self.now.value
        if then is None:  # there was nothing to find, so nothing can be lost
            return False
        if "Dice" in self.now.figure:
            return now is None or now < then - MAX_FALL
        certain = self.now.low is None or self.before.high is None or self.now.low > self.before.high
        return now is None or (now > then * (1 + MAX_RISE) and certain)

    @property
    def label(self) -> str:
        """The figure as text."""
        if "Dice" in self.now.figure:
            return f"{self.now.figure} on {self.now.of}"
        return f"{self.now.figure}, {self.now.of} thread{'s' * (self.now.of != '1')}"

    @property
    def change(self) -> str:
        """The difference of scores, or of times in per cent."""
        then, now = self.before.value or 0.0, self.now.value or 0.0
        return f"{now - then:+.4f}" if "Dice" in self.now.figure else f"{now / then - 1:+.1%}"


def compare(before: Mapping[Key, Row], rows: Iterable[Row]) -> tuple[list[Comparison], list[str]]:
    """Each figure with the history's, and a note on each score that can't be compared."""
    found, notes = [], []
    for now in rows:
        then = before.get(now.key)
        if now.figure == history.MS or now.role == "reference":
            continue
        if then and then.data == now.data:
            found.append(Comparison(then, now))
        elif then:
            notes.append(f"{now.model}: {now.of} has other photos or masks now; {now.figure} isn't compared")
        elif now.figure == history.MEAN_DICE:
            notes.append(f"{now.model}: no score on {now.of} in the history")
    return found, notes


def attempts(
    measure: Callable[[int], list[Round]], rows: Callable[[list[Round]], list[Row]], before: Mapping[Key, Row]
) -> Iterator[list[Comparison]]:
    """Comparisons of latencies over all rounds so far, until nothing looks slower or after `ATTEMPTS`.

    Args:
        measure: Measures new rounds for an attempt.
        rows: Turns rounds into figures.
        before: The history's newest figures.
    """
    rounds: list[Round] = []
    for attempt in range(ATTEMPTS):
        rounds += measure(attempt)
        found, _ = compare(before, rows(rounds))
        yield found
        if not any(comparison.failed for comparison in found):
            return


def ours(suites: Sequence[Suite]) -> list[Candidate]:
    """The models to check: ours, without those they were made from."""
    return [c for c in unique([c for suite in suites for c in suite.candidates]) if c.role == "model"]


def check(
    suites: Sequence[Suite], before: Mapping[Key, Row], rounds: int, runs: int, log: Log
) -> tuple[list[Comparison], list[str]]:
    """Measures our models again and compares them with what was measured before.

    Returns:
        All comparisons, and a note on each model or suite that can't be compared.

    Raises:
        DataError: Nothing can be compared.
        SegEdgeError: Something can't be measured.
    """
    models = ours(suites)
    recorded = {row.model: row.role for row in before.values()}
    known = [model for model in models if model.name in recorded]
    if not known:
        raise DataError("none of the models is in the last run of the history; run 'make bench'.")
    names = {model.name for model in models}
    notes = [f"{model.name}: not in the history" for model in models if model not in known]
    notes += [
        f"{name}: in the history, but not measured now"
        for name, role in recorded.items()
        if role == "model" and name not in names
    ]
    document = make_document(
        machine=describe_machine(), models={model.name: describe(model) for model in [reference(), *known]}
    )
    comparisons: list[Comparison] = []
    for suite in suites:
        candidates = [model for model in suite.candidates if model in known]
        if candidates:
            log(f"accuracy on {suite.name}")
            scored = measure_accuracy(suite.name, candidates, suite.examples, suite.classes)
            found, new_notes = compare(before, history.accuracy_rows(document, scored))
            comparisons, notes = comparisons + found, notes + new_notes
    scored_before = {row.of for row in before.values() if row.figure == history.MEAN_DICE and row.model in names}
    notes += [
        f"{data}: scored before, but not now" for data in sorted(scored_before - {suite.name for suite in suites})
    ]
    timed = [row for row in before.values() if row.figure == history.RATIO and row.model in names]
    threads = sorted({int(row.of) for row in timed})

    def rows(measured: list[Round]) -> list[Row]:
        return history.latency_rows(document, latency(measured, "reference"))

    times: list[Comparison] = []
    for times in attempts(lambda attempt: measure_ours(known, threads, rounds, runs, attempt, log), rows, before):
        if any(comparison.failed for comparison in times):
            log("slower than before; measuring again")
    return comparisons + times, notes


def measure_ours(
    models: Sequence[Candidate],
    threads: Sequence[int],
    rounds: int = ROUNDS,
    runs: int = RUNS,
    attempt: int = 0,
    log: Log = lambda text: None,
) -> list[Round]:
    """Rounds of only these models and the reference: other models in a round slightly affect the times."""
    return measure_rounds(
        [reference(), *models],
        drawn_frame(),
        threads,
        rounds,
        runs,
        seed=1000 * attempt,
        progress=lambda done, total: log(f"latency, attempt {attempt + 1}: {done} of {total} rounds"),
    )


def table(comparisons: Sequence[Comparison]) -> Table:
    """All comparisons, for a terminal."""
    rows = Table()
    for head in ("model", "figure", "before", "now", "change", ""):
        rows.add_column(head, justify="left" if head in ("model", "figure", "") else "right")
    for comparison in comparisons:
        verdict = "[red]worse[/red]" if comparison.failed else "ok"
        values = (_digits(comparison.before), _digits(comparison.now))
        rows.add_row(comparison.now.model, comparison.label, *values, comparison.change, verdict)
    return rows


def _digits(row: Row) -> str:
    return "-" if row.value is None else f"{row.value:.4f}"


def newest_rows(path: Path, commit: str) -> list[Row]:
    """The history's rows, up to the newest run of a commit if one is given.

    Raises:
        DataError: It has no such run.
    """
    rows = history.read(path)
    runs = [row.created for row in rows if row.commit.startswith(commit)]
    if not runs:
        when = f"at {commit}" if commit else "yet"
        raise DataError(f"{path}: nothing was measured on this machine {when}; run 'make bench'.")
    return [row for row in rows if row.created <= max(runs)]


def main(
    suites: Annotated[Path, typer.Option(help="TOML file of what to score.")] = SUITES,
    records: Annotated[Path, typer.Option("--history", help="Folder of the history.")] = history.FOLDER,
    against: Annotated[
        str, typer.Option(help="Commit in the history to compare with.", show_default="the newest figures")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Processes per number of threads and attempt.")] = ROUNDS,
    runs: Annotated[int, typer.Option(min=1, help="Inferences per process.")] = RUNS,
) -> None:
    """Compares this tree with the last figures measured on this machine."""
    line = StatusLine()
    with exit_codes():
        rows = newest_rows(records / f"{describe_machine()['key']}.csv", against)
        watch = Watch()
        with tempfile.TemporaryDirectory() as work, watch.watching():
            found, missing = read_suites(suites, Path(work))
            comparisons, notes = check(found, history.newest(rows), rounds, runs, line.show)
        verdict = watch.verdict()
        if not verdict["valid"]:
            raise SegEdgeError(f"nothing can be concluded: {'; '.join(verdict['reasons'])}.")
        line.show("")
        typer.echo(f"Compared with {rows[-1].commit or 'an unknown commit'} of {rows[-1].created}")
        Console(highlight=False, width=None if line.in_terminal else 160).print(table(comparisons))
        for note in [*missing, *notes, *verdict["notes"]]:
            line.log(f"note: {note}")
        failed = [comparison for comparison in comparisons if comparison.failed]
        if failed:
            worst = failed[0]
            raise SegEdgeError(
                f"{len(failed)} of {len(comparisons)} figures got worse, first {worst.now.model}: "
                f"{worst.label} {_digits(worst.before)} -> {_digits(worst.now)}."
            )


if __name__ == "__main__":
    typer.run(main)
