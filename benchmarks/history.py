"""What was measured before: `history/<machine>.jsonl`, one line a run, with what later runs are compared with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reporting.shapes import RUN, misfit
from seg_edge.errors import DataError
from seg_edge.system.files import write_file

KINDS = ("ratio", "frame_ratio", "dice")
FOLDER = Path(__file__).with_name("history")


def entry(document: dict[str, Any]) -> dict[str, Any]:
    """The line of a run: when, where, and for each model its file, latency ratios and scores."""
    models: dict[str, dict[str, Any]] = {}
    for name, about in document["models"].items():
        models[name] = {key: about[key] for key in ("role", "sha256", "bytes")} | {
            "ratio": {},
            "frame_ratio": {},
            "ms": {},
            "dice": {},
        }
    for timed in document["latency"]:
        models[timed["model"]]["ms"][str(timed["threads"])] = timed["inference_ms"]["p50"]
    # Ratios as `make bench-check` measures them, where it was done so: beside other models they are a little different.
    checked = document.get("check", [])
    known = {timed["model"] for timed in checked}
    for timed in [*checked, *(timed for timed in document["latency"] if timed["model"] not in known)]:
        for kind in ("ratio", "frame_ratio"):
            figures = {key: timed[kind][key] for key in ("median", "interval")}
            models[timed["model"]][kind][str(timed["threads"])] = figures
    for scored in document["accuracy"]:
        for name, figures in scored["models"].items():
            models[name]["dice"][scored["data"]] = {
                "mean_dice": figures["mean_dice"],
                "mean_photo_dice": figures["mean_photo_dice"],
                "classes": figures["dice"],
                "interval": figures["intervals"]["mean_dice"],
                "photos": scored["photos"],
                "fingerprint": scored["fingerprint"],
            }
    return {
        "created": document["created"],
        "commit": document["commit"],
        "machine": document["machine"]["key"],
        "load": document["watch"]["load"],
        "models": models,
    }


def append(path: Path, line: dict[str, Any]) -> None:
    """Adds a line to the file, which is whole or as it was."""
    before = path.read_bytes() if path.is_file() else b""
    write_file(path, before + json.dumps(line, ensure_ascii=False).encode() + b"\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All lines of a machine, the oldest first; none where there is no file.

    Raises:
        DataError: A line is not what `append` wrote.
    """
    if not path.is_file():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}); remove it.") from error
        if wrong := misfit(line, RUN):
            raise DataError(f"{path}, line {number}: {wrong[1:]} is not as 'make bench' writes it; remove the line.")
        lines.append(line)
    return lines


def latest(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each model of the last line the newest figures: those it lacks, from the lines before."""
    models = {name: {kind: {} for kind in KINDS} | {"role": was["role"]} for name, was in lines[-1]["models"].items()}
    for line in lines:
        for name, model in models.items():
            for kind in KINDS:
                model[kind].update(line["models"].get(name, {}).get(kind, {}))
    return models


def dump(document: dict[str, Any]) -> bytes:
    """A document as JSON on one line: its samples are not for reading."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
