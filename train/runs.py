"""The record next to a trained model, `run.json`: how it was made, and from which model.

Each step writes its `.keras` to a folder of its own. The `run.json` there holds the SHA-256 and the `run.json` of the
model the step started from, so the last file holds the whole history.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from seg_edge import __version__
from seg_edge.errors import DataError, OutputError

RUN_NAME = "run.json"
MODEL_NAME = "model.keras"
SPLIT_NAME = "split.json"
NOT_INHERITED = ("versions", "gpu", "seconds")


def read_run(model: Path) -> dict[str, Any]:
    """The `run.json` next to the model; empty for a model from elsewhere.

    Raises:
        DataError: It can't be read.
    """
    path = model.parent / RUN_NAME
    if not path.is_file():
        return {}
    try:
        run: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        return run
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not written by a training ({error}); train again.") from error


def require_empty(out: Path) -> None:
    """Checks that a folder is empty or missing.

    Raises:
        OutputError: It isn't.
    """
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out} isn't empty; give another --out.")


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's content, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def provenance(sha256: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a parent model in the `run.json` of a new one: its SHA-256 and its own run."""
    return {"sha256": sha256, **{key: value for key, value in run.items() if key not in NOT_INHERITED}}


def versions() -> dict[str, str]:
    """Versions of the tools that make a model."""
    return {
        "seg-edge": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
