"""Model files: the bundled ones, and the checks that any file must pass before it is loaded.

A `.tflite` file from an unknown source is code for the interpreter, so its size, its flatbuffer identifier and its card
are checked first; a bundled one must have the SHA-256 that was committed with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from seg_edge.card import ModelCard, read_card
from seg_edge.errors import ModelError

FOLDER = Path(__file__).parent
DEFAULT_MODEL = "person"
PHOTO_MODEL = "person-fine"  # finer and slower; not always bundled
MAX_MODEL_BYTES = 200_000_000  # the full U-Net in float32 is 124 MB
FLATBUFFER_IDENTIFIER = b"TFL3"  # bytes 4 to 7 of every TensorFlow Lite model (its schema's file_identifier)


@dataclass(frozen=True)
class ModelFile:
    """A checked model file that is not loaded yet."""

    name: str
    path: Path
    content: bytes
    sha256: str
    card: ModelCard | None


def bundled_models() -> dict[str, str]:
    """The names of the models that come with the package, each with its file's SHA-256."""
    listing: dict[str, str] = json.loads((FOLDER / "bundled.json").read_text(encoding="utf-8"))
    return listing


def open_model(model: str | Path) -> ModelFile:
    """Reads and checks a model.

    Args:
        model: The name of a bundled model, or a `.tflite` file.

    Raises:
        ModelError: It is missing, or fails a check.
    """
    listing = bundled_models()
    name = str(model)
    is_bundled = name in listing
    path = FOLDER / f"{name}.tflite" if is_bundled else Path(model)
    try:
        exists = path.exists()
    except (OSError, ValueError):  # not a valid file name
        exists = False
    if is_bundled and not exists:
        raise ModelError(f"{path}: the bundled model's file is missing; install seg-edge again.")
    if not exists:
        raise ModelError(f"{name}: no such model; give a .tflite file, or one that is bundled: {', '.join(listing)}.")
    content = _read(path, name)
    sha256 = hashlib.sha256(content).hexdigest()
    if is_bundled and sha256 != listing[name]:
        raise ModelError(f"{path}: it is not the file that was shipped; install seg-edge again.")
    return ModelFile(name if is_bundled else path.stem, path, content, sha256, read_card(content, path.name))


def _read(path: Path, name: str) -> bytes:
    try:
        if not path.is_file():
            raise ModelError(f"{name}: not a file; give a .tflite file.")
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"{name}: {size:,} bytes is more than the {MAX_MODEL_BYTES:,} that a model may have.")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{name}: can't be read ({error.strerror}).") from error
    if content[4:8] != FLATBUFFER_IDENTIFIER:
        hint = " Convert it first with convert/quantize.py." if path.suffix in (".keras", ".h5") else ""
        raise ModelError(f"{name}: not a TensorFlow Lite model: bytes 4 to 7 aren't TFL3.{hint}")
    return content
