"""Model files: the bundled ones, and the checks any file passes before it is loaded.

A `.tflite` from a stranger is code for the interpreter, so its size, its flatbuffer identifier and its card are checked
first; a bundled one must have the SHA-256 that was committed with it.
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
PHOTO_MODEL = "person-fine"  # finer and slower; may not be bundled
MAX_MODEL_BYTES = 200_000_000  # the full U-Net in float32 is 124 MB
FLATBUFFER_IDENTIFIER = b"TFL3"  # bytes 4..8 of every TensorFlow Lite model (its schema's file_identifier)


@dataclass(frozen=True)
class ModelFile:
    """A checked model file, not loaded yet."""

    name: str
    path: Path
    content: bytes
    sha256: str
    card: ModelCard | None


def bundled_models() -> dict[str, str]:
    """Names of the models that come with the package, each with its file's SHA-256."""
    listing: dict[str, str] = json.loads((FOLDER / "bundled.json").read_text(encoding="utf-8"))
    return listing


def open_model(model: str | Path) -> ModelFile:
    """Reads and checks a model.

    Args:
        model: The name of a bundled model, or a `.tflite` file.

    Raises:
        ModelError: It is missing or can't be trusted.
    """
    listing = bundled_models()
    name = str(model)
    is_bundled = name in listing
    path = FOLDER / f"{name}.tflite" if is_bundled else Path(model)
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # a name that can't be a file's
        is_there = False
    if is_bundled and not is_there:
        raise ModelError(f"{path}: the bundled model's file is missing; install seg-edge again.")
    if not is_there:
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
            raise ModelError(f"{name}: {size:,} bytes is more than the {MAX_MODEL_BYTES:,} a model may have.")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{name}: can't be read ({error.strerror}).") from error
    if content[4:8] != FLATBUFFER_IDENTIFIER:
        hint = " Convert it first with convert/quantize.py." if path.suffix in (".keras", ".h5") else ""
        raise ModelError(f"{name}: not a TensorFlow Lite model, its bytes 4 to 8 aren't TFL3.{hint}")
    return content
