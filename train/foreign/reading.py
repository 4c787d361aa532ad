"""Reads a Keras model from a file of any kind, or refuses it with advice."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from seg_edge.errors import ModelError

PLAIN = ("Functional", "Sequential", "Model")
SUFFIXES = (".keras", ".h5", ".hdf5")


def read_keras(path: Path) -> keras.Model:
    """The model in a `.keras` or `.h5` file, uncompiled. Code inside the file is never run.

    Raises:
        ModelError: It is missing, is another kind of file, or holds layers that only its author's program has.
    """
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ModelError(f"{path}: this is a folder; give the .keras or .h5 file in it.")
        conversion = (
            " If you have only this folder: pip install tf-keras, then "
            f"tf_keras.models.load_model('{path}').save('model.h5')."
        )
        raise ModelError(
            f"{path}: a SavedModel folder holds no layers to read; where it was trained, save it with "
            f"model.save('model.keras').{conversion if (path / 'keras_metadata.pb').is_file() else ''}"
        )
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    try:
        model = keras.saving.load_model(path, compile=False, custom_objects=_plain_class_of(path))
    except Exception as error:  # Keras raises ValueError, TypeError, KeyError, AttributeError, OSError ...
        raise ModelError(_why(path, error)) from error
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path}: it holds a {type(model).__name__}, not a model.")
    return model


def _plain_class_of(path: Path) -> dict[str, Any]:
    """Custom objects that load a functional model of a custom class, e.g. with its own `train_step`, as a plain one."""
    config = _config(path)
    if not isinstance(config, dict) or "layers" not in (config.get("config") or {}) or not _is_custom(config):
        return {}
    return {str(config.get(key)): keras.Model for key in ("registered_name", "class_name")}


def _is_custom(config: dict[str, Any]) -> bool:
    module = str(config.get("module") or "")
    return config.get("class_name") not in PLAIN and not module.startswith("keras")


def _why(path: Path, error: Exception) -> str:
    """One sentence on why the file can't be read."""
    config = _config(path)
    if config is None:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"{path}: not a Keras model, or a damaged one ({reason}); give a .keras or .h5 file."
    if isinstance(config, dict) and _is_custom(config):
        return (
            f"{path}: it is a {config.get('class_name')}, a class of your own program, so its graph can't be read; "
            "build it as a functional model, keras.Model(inputs, outputs), and save it again."
        )
    lambdas = [name for kind, name, _ in _layers(config) if kind == "Lambda"]
    if lambdas:
        return (
            f"{path}: the layer {lambdas[0]!r} is a Lambda, Python code inside the file, which isn't run; build it "
            "from Keras' own layers (Rescaling, Activation, ...) and save the model again."
        )
    custom = [(kind, name) for kind, name, is_custom in _layers(config) if is_custom]
    if custom:
        kind, name = custom[0]
        if kind in ("TFOpLambda", "SlicingOpLambda"):
            return (
                f"{path}: the layer {name!r} is a bare operation, such as x / 255, saved by Keras 2; build it from "
                "layers (Rescaling, Concatenate, ...) and save the model again."
            )
        return (
            f"{path}: the layer {name!r} is a {kind}, a layer of your own program; build it from Keras' own layers "
            "and save the model again."
        )
    return f"{path}: Keras {keras.__version__} can't read this model ({(str(error).splitlines() or ['?'])[0]})."


def _config(path: Path) -> Any:
    """The layers' configuration in the file; None if there is none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        with h5py.File(path) as file:
            return json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _layers(config: Any) -> Iterator[tuple[str, str, bool]]:
    """(class, name, whether it is custom) of every layer in the configuration, nested models included."""
    if isinstance(config, list):
        for part in config:
            yield from _layers(part)
    elif isinstance(config, dict):
        kind, inner = config.get("class_name"), config.get("config")
        if isinstance(kind, str) and isinstance(inner, dict) and "name" in inner:
            module = config.get("module")
            is_custom = not hasattr(keras.layers, kind) and not str(module or "").startswith("keras")
            yield kind, str(inner["name"]), is_custom and kind not in PLAIN
        for part in config.values():
            yield from _layers(part)
