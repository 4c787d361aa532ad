"""The document of a benchmark: JSON with the figures and the machine they were measured on, checked when it is read."""

from __future__ import annotations

import datetime
import json
import platform
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import seg_edge
from seg_edge.apps.bench.watch import describe_board
from seg_edge.errors import DataError
from seg_edge.interpreter import find_runtime
from seg_edge.system.board import Machine, read_board

FORMAT = 1
KIND = "seg-edge bench"
PARTS = ("machine", "watch", "settings", "models", "latency")
MAX_BYTES = 100_000_000


def describe_machine(machine: Machine | None = None) -> dict[str, Any]:
    """What figures measured here depend on: the board, the system and the versions.

    Returns:
        Among others `name`, for readers, and `key`, equal on machines whose latency ratios can be compared.

    Raises:
        RuntimeMissingError: No LiteRT runtime is installed.
    """
    board, runtime = read_board(machine or Machine()), find_runtime()
    name = f"{board.model or board.cpu or board.arch}, {board.cores} cores"
    key = f"{board.model or board.cpu} {board.arch} {board.cores} {runtime.name} {_minor(runtime.version)}"
    return {
        "name": name,
        "key": re.sub(r"[^a-z0-9.]+", "-", key.lower()).strip("-"),
        **describe_board(board),
        "kernel": f"{platform.system()} {platform.release()}",
        "bits": Machine().bits,
        "versions": {
            "seg-edge": seg_edge.__version__,
            "python": platform.python_version(),
            runtime.name: runtime.version,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    }


def make_document(**parts: Any) -> dict[str, Any]:
    """The document of `parts`, preceded by its format and the time."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"kind": KIND, "format": FORMAT, "created": now, **parts}


def read_document(path: Path) -> dict[str, Any]:
    """Reads a document that `seg-edge bench --json` or `make bench` wrote.

    Raises:
        DataError: It can't be read or is something else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size:,} bytes; a benchmark's result is not that large.")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({str(error).splitlines()[0]}).") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise DataError(f"{path}: not what 'seg-edge bench --json' writes; leave other files out of this folder.")
    if document.get("format") != FORMAT:
        raise DataError(
            f"{path}: its format is {document.get('format')!r} and this seg-edge reads {FORMAT}; measure again with it."
        )
    missing = [part for part in PARTS if part not in document]
    if missing:
        raise DataError(f"{path}: {missing[0]!r} is missing; the file was cut short, measure again.")
    return document


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
