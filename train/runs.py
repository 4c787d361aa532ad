"""What lies beside a trained model: `run.json`, how it was made, and whose child it is.

Each `.keras` that a step writes has a folder of its own. Its `run.json` holds the SHA-256 of the model the step started
from and what that one's `run.json` said, so that the whole line of descent can be read from the last file.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from seg_edge import __version__
from seg_edge.errors import DataError

RUN_NAME = "run.json"


def read_run(model: Path) -> dict[str, Any]:
    """What was written beside the model; empty for a model from elsewhere.

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
        raise DataError(f"{path}: not what a training wrote ({error}); train again.") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's content, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def provenance(model: Path) -> dict[str, Any]:
    """The model a step starts from: its SHA-256 and how it was made itself, as far as that lies beside it."""
    earlier = {key: value for key, value in read_run(model).items() if key not in ("versions", "gpu", "seconds")}
    return {"sha256": sha256_of(model), **earlier}


def versions() -> dict[str, str]:
    """Versions of the tools that make a model."""
    return {
        "seg-edge": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
