"""Results for the report: read, checked down to every figure that is shown, and what they count for.

A file in the folder may come from anybody, so nothing of it is taken on trust: not its shape, nor that a number is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import history
from benchmarks.reporting.shapes import DOCUMENT, misfit
from seg_edge.apps.bench.document import read_document
from seg_edge.errors import DataError


@dataclass(frozen=True)
class Result:
    """A file of results."""

    path: Path
    document: dict[str, Any]

    @property
    def machine(self) -> str:
        """Its name, for people."""
        return str(self.document["machine"]["name"])

    @cached_property
    def standing(self) -> str:
        """Why the figures are no results; empty where they are."""
        reasons = []
        if self.document.get("made_up"):
            reasons.append("made up")
        if not self.document["watch"]["valid"]:
            reasons.append("invalid")
        if self.document.get("quick"):
            reasons.append("quick, no result")
        return "; ".join(reasons)

    @property
    def head(self) -> str:
        """The machine, and what there is to be said against its figures."""
        return self.machine + (f" ({self.standing})" if self.standing else "")

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """What was measured, by name."""
        return dict(self.document["models"])

    @property
    def reference(self) -> str:
        """Whose latency the others' are divided by."""
        return str(self.document["settings"]["reference"])

    @property
    def threads(self) -> list[int]:
        """Numbers of threads with latencies, the fewest first."""
        return sorted({entry["threads"] for entry in self.document["latency"]})

    def timed(self, model: str, threads: int) -> dict[str, Any] | None:
        """Latencies of a model; None where they weren't measured."""
        entries = self.document["latency"]
        return next((e for e in entries if e["model"] == model and e["threads"] == threads), None)

    def part(self, name: str) -> list[Any]:
        """`cold_start`, `accuracy`, `flicker`, `scale` or `missing`; empty where the file has none."""
        return list(self.document.get(name) or [])


def read_results(folder: Path) -> list[Result]:
    """Every `*.json` of the folder: what counts first, of that what has most models.

    Raises:
        DataError: A file is something else.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        document = read_document(path)
        wrong = misfit(document, DOCUMENT) or _stranger(document)
        if wrong:
            raise DataError(f"{path}: {wrong[1:]} is not as 'seg-edge bench --json' writes it; measure again.")
        results.append(Result(path, document))
    return sorted(results, key=lambda result: (result.standing != "", -len(result.models)))


def read_runs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The runs of each `*.jsonl` of the folder by its stem, the oldest first.

    Raises:
        DataError: A line is something else.
    """
    runs = {}
    for path in sorted(folder.glob("*.jsonl")):
        runs[path.stem] = history.read(path)
    return {machine: lines for machine, lines in runs.items() if lines}


def _stranger(document: dict[str, Any]) -> str | None:
    """Where a model is spoken of that the document doesn't describe."""
    known = document["models"]
    if document["settings"]["reference"] not in known:
        return ".settings.reference"
    if not document["latency"]:
        return ".latency"
    for part in ("latency", "cold_start"):
        for index, entry in enumerate(document.get(part) or []):
            if entry["model"] not in known:
                return f".{part}[{index}].model"
    for part in ("accuracy", "flicker"):
        for index, entry in enumerate(document.get(part) or []):
            full = entry.get("full")
            if not entry["models"].keys() <= known.keys() or (full is not None and full not in entry["models"]):
                return f".{part}[{index}].models"
    return None
