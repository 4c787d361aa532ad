"""The figures measured on each machine: `history/<machine>.csv`, one row per figure, newest run last.

`make bench` adds the rows of a run, and `check.py` compares with the newest ones. As a command, this file prints the
newest figures as a Markdown table, or writes that table into a page between two markers:
`python benchmarks/history.py [--update README.md]`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, NonNegativeInt, ValidationError

from benchmarks.reporting.tables import by_role, file_size, markdown_table, number, update_page, with_interval
from seg_edge.commands.console import exit_codes
from seg_edge.errors import DataError
from seg_edge.system.files import write_file

FOLDER = Path(__file__).with_name("history")
MS, RATIO, FRAME_RATIO = "ms", "ratio", "frame ratio"
MEAN_DICE, PHOTO_DICE = "mean Dice", "Dice, mean over photos"

_Blank = BeforeValidator(lambda value: None if value == "" else value)
Number = Annotated[FiniteFloat | None, _Blank]


class Row(BaseModel):
    """One figure of one model in one run.

    Attributes:
        created: Date and time of the run, ISO 8601.
        commit: The checkout's commit, with `+` if files differed from it.
        machine: The machine's readable name.
        model: The model's name.
        role: See `seg_edge.apps.bench.candidates.Candidate`.
        bytes: Size of its file; None if it has none.
        sha256: The first 12 digits of its file's SHA-256.
        figure: What was measured.
        of: The number of threads, or the name of the suite.
        value: The figure; None if there was nothing to find.
        low: The lower end of its interval; None if there is none.
        high: The upper end.
        samples: Inferences, rounds or photos.
        data: The first 12 digits of the fingerprint of photos and masks; empty for a latency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: str
    commit: str
    machine: str
    model: str
    role: str
    bytes: Annotated[NonNegativeInt | None, _Blank]
    sha256: str
    figure: str
    of: str
    value: Number
    low: Number
    high: Number
    samples: NonNegativeInt
    data: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Identifies the figure from run to run."""
        return self.model, self.figure, self.of


def rows(document: Mapping[str, Any]) -> list[Row]:
    """The figures of a run of `make bench`.

    Ratios are from the rounds with only our models, as in the check, if there are any: other models in a round
    slightly affect the times.
    """
    found = [*latency_rows(document, document["latency"])]
    alone = {row.key: row for row in latency_rows(document, document.get("check", ())) if row.figure != MS}
    return [alone.get(row.key, row) for row in found] + [
        row for scored in document["accuracy"] for row in accuracy_rows(document, scored)
    ]


def latency_rows(document: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows for the result of `seg_edge.apps.bench.figures.latency`."""
    found = []
    for entry in entries:
        threads = str(entry["threads"])
        ms = entry["inference_ms"]
        found.append(_row(document, entry["model"], MS, threads, ms["p50"], samples=ms["n"]))
        for figure, key in ((RATIO, "ratio"), (FRAME_RATIO, "frame_ratio")):
            ratio = entry[key]
            found.append(
                _row(
                    document, entry["model"], figure, threads, ratio["median"], ratio["interval"], len(ratio["rounds"])
                )
            )
    return found


def accuracy_rows(document: Mapping[str, Any], scored: Mapping[str, Any]) -> list[Row]:
    """The rows for the result of `seg_edge.apps.bench.accuracy.measure_accuracy`."""
    found = []
    for model, figures in scored["models"].items():
        values = {MEAN_DICE: (figures["mean_dice"], figures["intervals"]["mean_dice"])}
        values[PHOTO_DICE] = figures["mean_photo_dice"], figures["intervals"]["mean_photo_dice"]
        if len(figures["dice"]) > 1:
            values |= {f"Dice of {name}": (value, None) for name, value in figures["dice"].items()}
        for figure, (value, interval) in values.items():
            found.append(
                _row(
                    document,
                    model,
                    figure,
                    scored["data"],
                    value,
                    interval,
                    scored["photos"],
                    scored["fingerprint"][:12],
                )
            )
    return found


def append(path: Path, added: Sequence[Row]) -> None:
    """Adds rows to the file, which is replaced atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, Row.model_fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in [*read(path), *added])
    write_file(path, text.getvalue().encode())


def read(path: Path) -> list[Row]:
    """All rows of a machine, oldest first; none if there is no file.

    Raises:
        DataError: A row isn't as `append` writes it.
    """
    if not path.is_file():
        return []
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, fields in enumerate(csv.DictReader(file), 2):
            try:
                found.append(Row.model_validate(fields))
            except ValidationError as error:
                column = error.errors()[0]["loc"][0]
                raise DataError(f"{path}, line {number}: the column {column} is invalid.") from error
    return found


def newest(found: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    """The newest row of each figure, for the models that the last run measured."""
    by_key = {row.key: row for row in found}
    last = max((row.created for row in by_key.values()), default="")
    models = {row.model for row in by_key.values() if row.created == last}
    return {key: row for key, row in by_key.items() if row.model in models}


def summary(found: Iterable[Row]) -> str:
    """A Markdown table with a row per model: its file, its time on one thread, and its Dice on each suite."""
    figures = newest(found)
    models = {row.model: row for row in figures.values()}
    threads = min((row.of for row in figures.values() if row.figure == MS), key=int, default="1")
    suites = list(dict.fromkeys(row.of for row in figures.values() if row.figure == MEAN_DICE))
    suites.sort(key=lambda suite: suite == "drawn")  # last: real photos matter more
    photos = {row.of: row.samples for row in figures.values() if row.figure == MEAN_DICE}
    unit = "thread" if threads == "1" else "threads"
    heads = ["model", "file", f"ms, {threads} {unit}", "time / reference"]
    heads += [f"Dice, {photos[suite]} photos of {suite}" for suite in suites]
    lines = []
    for model in sorted(models.values(), key=by_role):
        ms, ratio = figures.get((model.model, MS, threads)), figures.get((model.model, RATIO, threads))
        scores = [figures.get((model.model, MEAN_DICE, suite)) for suite in suites]
        cells = [model.model, file_size(model.bytes), number(ms.value if ms else None)]
        cells += [with_interval((row.value, row.low, row.high) if row else None) for row in (ratio, *scores)]
        lines.append(cells)
    return markdown_table(heads, lines)


def newest_file(folder: Path) -> Path:
    """The file in `folder` with the newest run.

    Raises:
        DataError: There is none.
    """
    files = [path for path in folder.glob("*.csv") if read(path)]
    if not files:
        raise DataError(f"{folder}: nothing has been measured yet; run 'make bench'.")
    return max(files, key=lambda path: read(path)[-1].created)


def newest_figures(found: Sequence[Row]) -> str:
    """The table of the newest figures, and where and when they were measured."""
    last = found[-1]
    return f"{summary(found)}\n\nMeasured on {last.machine}, {last.created[:10]}."


def _row(
    document: Mapping[str, Any],
    model: str,
    figure: str,
    of: str,
    value: float | None,
    interval: Sequence[float] | None = None,
    samples: int = 0,
    data: str = "",
) -> Row:
    about = document["models"][model]
    low, high = interval or (None, None)
    return Row(
        created=document["created"],
        commit=document.get("commit") or "",
        machine=document["machine"]["name"],
        model=model,
        role=about["role"],
        bytes=about["bytes"],
        sha256=(about["sha256"] or "")[:12],
        figure=figure,
        of=of,
        value=value,
        low=low,
        high=high,
        samples=samples,
        data=data,
    )


def main(
    update: Annotated[Path | None, typer.Option(help="Page to write the table into, between its markers.")] = None,
    folder: Annotated[Path, typer.Option("--history", help="Folder of the history.")] = FOLDER,
) -> None:
    """Prints the newest figures as a Markdown table."""
    with exit_codes():
        found = read(newest_file(folder))
        if update:
            update_page(update, "figures", newest_figures(found))
        else:
            typer.echo(summary(found))


if __name__ == "__main__":
    typer.run(main)
