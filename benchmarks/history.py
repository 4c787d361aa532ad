"""What was measured before: `history/<machine>.jsonl`, one line a run, with what later runs are compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seg_edge.errors import DataError
from seg_edge.files import write_file

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
        model, threads = models[timed["model"]], str(timed["threads"])
        for kind in ("ratio", "frame_ratio"):
            model[kind][threads] = {key: timed[kind][key] for key in ("median", "interval")}
        model["ms"][threads] = timed["inference_ms"]["p50"]
    for scored in document["accuracy"]:
        for name, figures in scored["models"].items():
            models[name]["dice"][scored["data"]] = {
                "mean_dice": figures["mean_dice"],
                "mean_photo_dice": figures["mean_photo_dice"],
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
            line["models"], line["commit"], line["created"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a run of the benchmark ({error}); remove it.") from error
        lines.append(line)
    return lines


def dump(document: dict[str, Any]) -> bytes:
    """A document as JSON on one line: its samples are not for reading."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
