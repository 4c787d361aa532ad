"""Loads a trained `.keras` with its provenance, and runs it where the runtime expects a `.tflite`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from seg_edge import Segmenter
from seg_edge.card import ModelCard, make_classes
from seg_edge.errors import ModelError
from seg_edge.interpreter import TensorSpec
from train.runs import provenance, read_run, sha256_of


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A `.keras` in memory, and how it was made.

    Attributes:
        path: The file.
        model: The network, for inference.
        sha256: The file's SHA-256.
        run: The `run.json` next to it; empty for a model from elsewhere.
    """

    path: Path
    model: keras.Model
    sha256: str
    run: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> TrainedModel:
        """Reads the file and its `run.json`.

        Raises:
            ModelError: The file is missing or isn't a Keras model.
            DataError: Its `run.json` can't be read.
        """
        return cls(path, load_keras(path), sha256_of(path), read_run(path))

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the input in pixels."""
        return int(self.model.input_shape[2]), int(self.model.input_shape[1])

    @property
    def provenance(self) -> dict[str, Any]:
        """The record of this model in the `run.json` of a model made from it."""
        return provenance(self.sha256, self.run)

    def require_classes(self, count: int) -> None:
        """Checks the number of classes, background included.

        Raises:
            ModelError: The model has another number.
        """
        if self.model.output_shape[-1] != count:
            raise ModelError(f"{self.path} has {self.model.output_shape[-1]} classes, the data {count}.")


class KerasBackend:
    """Runs a Keras model in place of a `.tflite`, so that float models are scored like int8 ones."""

    def __init__(self, model: keras.Model):
        height, width = model.input_shape[1:3]
        self.model = model
        self._infer = compiled(model)
        self.input = TensorSpec("image", (1, height, width, 3), np.float32)
        self.output = TensorSpec("logits", (1, *model.output_shape[1:]), np.float32)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Logits float32 (1, h, w, classes) of an image float32 (1, height, width, 3)."""
        return self._infer(tensor).numpy()


def compiled(model: keras.Model) -> Callable[[Any], Any]:
    """The network at inference, as one graph that is built at the first call.

    Its output is that of `model(images, training=False)`, which goes layer by layer and takes 4 to 15 times as long.

    Args:
        model: Takes one image float32 (batch, height, width, channels).
    """
    signature = [tf.TensorSpec(model.input_shape, tf.float32)]
    return tf.function(lambda images: model(images, training=False), input_signature=signature, autograph=False)


def load_keras(path: Path) -> keras.Model:
    """The `.keras` model, for inference.

    Raises:
        ModelError: It is missing or isn't one.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a model written by train/fit.py ({str(error).splitlines()[0]}).") from error
    # A model saved with a list of one input warns each time it is called with the image itself.
    in_list = isinstance(model, keras.Model) and isinstance(model.input, list) and len(model.input) == 1
    return keras.Model(model.input[0], model.outputs[0], name=model.name) if in_list else model


def at_size(model: keras.Model, size_wh: tuple[int, int]) -> keras.Model:
    """The model at another input size; a fully convolutional network has the same weights at any.

    Args:
        model: Takes one image, (batch, height, width, channels).
        size_wh: Width and height in pixels, multiples of the model's downsampling factor.

    Raises:
        ModelError: The size doesn't fit, with a suggestion; or the model works only at its own size.
    """
    _, height, width, depth = model.input_shape
    if (width, height) == tuple(size_wh):
        return model
    shapes = [layer.output.shape for layer in model.layers if len(layer.output.shape) == 4]
    shapes = [shape for shape in shapes if shape[1:3] != (1, 1)]  # from global averages
    factors = (width // min(shape[2] for shape in shapes), height // min(shape[1] for shape in shapes))
    if any(side % factor or side <= 0 for side, factor in zip(size_wh, factors, strict=True)):
        raise ModelError(
            f"input size {size_wh[0]}x{size_wh[1]} does not fit the model, which halves it several times; "
            f"give multiples of {factors[0]}x{factors[1]}."
        )
    image = keras.Input((size_wh[1], size_wh[0], depth), name=model.operations[0].name)
    try:
        resized = keras.models.clone_model(model, input_tensors=image)
        resized.set_weights(model.get_weights())
    except ValueError as error:
        raise ModelError(
            f"the model works only at {width}x{height}, not at {size_wh[0]}x{size_wh[1]} "
            f"({str(error).splitlines()[0]})."
        ) from error
    return resized


def open_segmenter(path: Path, names: Sequence[str]) -> Segmenter:
    """A Segmenter for a `.keras`, with these classes, or for a `.tflite`, with its own."""
    return keras_segmenter(load_keras(path), names) if path.suffix == ".keras" else Segmenter(path)


def keras_segmenter(model: keras.Model, names: Sequence[str], specks: int = 0) -> Segmenter:
    """A Segmenter that runs the Keras model, with the runtime's pre- and postprocessing; `specks` as on a card."""
    backend = KerasBackend(model)
    if backend.output.shape[3] != len(names):
        raise ModelError(f"the model has {backend.output.shape[3]} classes, the data {len(names)}: {', '.join(names)}.")
    size_wh = (backend.input.shape[2], backend.input.shape[1])
    return Segmenter.from_backend(backend, ModelCard("float", make_classes(tuple(names)), size_wh, specks=specks))
