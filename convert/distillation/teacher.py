"""A teacher's outputs for every view of every photo, computed once and stored in a file.

A teacher is slow, and a student must be taught on the same view that the teacher saw (Beyer et al., 2022,
arXiv:2106.05237, "a good teacher is patient and consistent"). So there is a fixed number of augmented views per photo;
the teacher sees each once, and the student sees them in a new order in every epoch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import typer

from seg_edge import Segmenter
from seg_edge.errors import DataError, ModelError
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.photo.read import read_photo
from seg_edge.preprocess import resize_to_input
from seg_edge.system.files import atomic_write
from train.augment import Augmentation, augment
from train.keras_model import KerasBackend, TrainedModel, compiled, keras_segmenter
from train.runs import provenance, read_run

OUTPUTS_NAME = "teacher.npz"


class AttentionBackend(KerasBackend):
    """A Keras model that also keeps the attention map of one of its layers.

    Attributes:
        attention: The last photo's map, float32 (h, w), see `attention_map`.
    """

    def __init__(self, model: Any, layer: str):
        super().__init__(model)
        self._infer_both = compiled(keras.Model(model.inputs[0], [model.outputs[0], layer_output(model, layer)]))
        self.attention = np.zeros((1, 1), np.float32)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Logits float32 (1, h, w, classes) of an image float32 (1, height, width, 3)."""
        logits, features = self._infer_both(tensor)
        self.attention = attention_map(features)[0].numpy()
        return logits.numpy()


class Teacher:
    """A large model to learn from: a `.keras`, or any `.tflite`.

    Args:
        segmenter: The model in the runtime.
        provenance: Its record in the student's `run.json`.
    """

    def __init__(self, segmenter: Segmenter, provenance: Mapping[str, Any]):
        self.segmenter, self.provenance = segmenter, provenance

    @classmethod
    def of(cls, model: TrainedModel, classes: Sequence[str]) -> Teacher:
        """A `.keras` as a teacher.

        Args:
            model: The trained network.
            classes: The student's class names, background first.

        Raises:
            ModelError: It has another number of classes.
        """
        return cls(keras_segmenter(model.model, classes), model.provenance)

    @classmethod
    def load(cls, path: Path, classes: Sequence[str]) -> Teacher:
        """A file as a teacher; see `of`.

        Raises:
            ModelError: It can't be read, or has other classes.
        """
        if path.suffix == ".keras":
            return cls.of(TrainedModel.load(path), classes)
        segmenter = Segmenter(path)
        names = segmenter.card.class_names
        has_names = segmenter.file.card is not None
        if len(names) != len(classes) or (has_names and names != tuple(classes)):
            raise ModelError(f"{path} has the classes {', '.join(names)}; the data has {', '.join(classes)}.")
        return cls(segmenter, provenance(segmenter.file.sha256, read_run(path)))

    def watch(self, layer: str) -> None:
        """From now on also returns the attention map of this layer.

        Raises:
            ModelError: The teacher isn't a `.keras`, or has no layer of this name.
        """
        if not isinstance(self.segmenter.backend, KerasBackend):
            raise ModelError("a hint needs a layer of a .keras; leave out --hint for a .tflite.")
        self.segmenter.backend = AttentionBackend(self.segmenter.backend.model, layer)

    def __call__(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities float16 (h, w, classes) at the teacher's output size, and its hint float16 (h', w')."""
        scores = self.segmenter(frame).score_map
        probabilities = scores.probabilities(scores.stored.shape[:2])  # type: ignore[arg-type]
        attention = getattr(self.segmenter.backend, "attention", np.zeros((1, 1)))
        return probabilities.astype(np.float16), attention.astype(np.float16)


def layer_output(model: Any, name: str) -> Any:
    """The output of the model's layer of this name.

    Raises:
        ModelError: It has none of this name; the message lists the existing ones.
    """
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise ModelError(f"the model has no layer {name!r} for --hint; it has {', '.join(names[1:-1])}.")
    return model.get_layer(name).output


def attention_map(features: Any) -> Any:
    """Where a layer looks: the sum of its squared channels, with unit length per photo, float32 (b, h, w).

    Zagoruyko and Komodakis (2017), "Paying more attention to attention", arXiv:1612.03928. As it has no channels, the
    layers of teacher and student may have different numbers of them.
    """
    energy = tf.reduce_sum(tf.square(tf.cast(features, tf.float32)), axis=-1)
    return energy / (tf.norm(energy, axis=(1, 2), keepdims=True) + 1e-6)


class Views:
    """A fixed number of augmented views of some photos, each the same whenever it is drawn.

    Args:
        examples: Photos with masks.
        unlabelled: Photos without.
        size_wh: Size of a view.
        zoom: Photos are cached at this multiple of `size_wh`, so that zooming in does not blur.
        settings: The augmentation.
        seed: Seed of the augmentation.
        views_per_photo: Number of views of each photo.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        unlabelled: Sequence[Path],
        size_wh: tuple[int, int],
        zoom: float,
        settings: Augmentation,
        seed: int,
        views_per_photo: int,
    ):
        self.size_wh, self.settings, self.seed = size_wh, settings, seed
        cache_wh = (round(size_wh[0] * zoom), round(size_wh[1] * zoom))
        self.photos = [example.load(cache_wh) for example in examples]
        unknown = np.full(cache_wh[::-1], IGNORE, np.uint8)
        self.photos += [(resize_to_input(read_photo(path), cache_wh), unknown) for path in unlabelled]
        self.count = views_per_photo * len(self.photos)

    def draw(self, number: Any) -> tuple[Any, Any]:
        """View `number`, an int64 tensor: image float32 (h, w, 3) in 0..1, mask uint8 (h, w), 255 where unknown."""
        image, mask = tf.numpy_function(
            lambda n: self.photos[n % len(self.photos)], [number], (tf.uint8, tf.uint8), stateful=False
        )
        height, width = self.photos[0][1].shape
        image, mask = tf.ensure_shape(image, (height, width, 3)), tf.ensure_shape(mask, (height, width))
        seed = tf.stack([tf.constant(self.seed, tf.int64), number])
        view: tuple[Any, Any] = augment(image, mask, seed, self.settings, self.size_wh)
        return view


def teacher_outputs(
    teacher: Teacher, views: Views, path: Path, identity: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's outputs for every view, read from `path` if already computed.

    Args:
        teacher: The teacher.
        views: The views to run it on.
        path: The `.npz` that stores the outputs.
        identity: Identifies teacher and views; other outputs are computed again.

    Returns:
        Probabilities float16 (views, h, w, classes) and hints float16 (views, h', w').
    """
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    saved = _saved_outputs(path, key)
    if saved:
        return saved
    frames = tf.data.Dataset.range(views.count).map(lambda n: _as_frame(views.draw(n)[0]), num_parallel_calls=2)
    # These are gigabytes; collecting them in a list first would double the memory.
    probabilities, hints = np.empty(0, np.float16), np.empty(0, np.float16)
    label = f"Running the teacher on {views.count} views"
    with typer.progressbar(frames.prefetch(2).as_numpy_iterator(), length=views.count, label=label) as progress:
        for number, frame in enumerate(progress):
            outputs = teacher(frame)
            if not number:
                probabilities, hints = (np.empty((views.count, *output.shape), np.float16) for output in outputs)
            probabilities[number], hints[number] = outputs
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, probabilities=probabilities, hints=hints, key=key)
    return probabilities, hints


def _as_frame(image: Any) -> Any:
    """BGR uint8, as the runtime expects it, from float RGB 0..1."""
    return tf.cast(tf.round(image[..., ::-1] * 255), tf.uint8)


def _saved_outputs(path: Path, key: str) -> tuple[np.ndarray, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path) as saved:
            return (saved["probabilities"], saved["hints"]) if str(saved["key"]) == key else None
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise DataError(f"{path}: not a teacher's outputs ({error}); delete it to compute them again.") from error
