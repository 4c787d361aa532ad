"""The teacher's answers: what a large model says of every view of every photo, asked once and kept in a file.

A teacher is slow, and a student must be taught on the very view that the teacher saw (Beyer et al., 2022,
arXiv:2106.05237, "a good teacher is patient and consistent"). So there is a fixed number of varied views of each
photo; the teacher answers each once, and the student sees them in a new order in every round.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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
from train.keras_model import KerasBackend, keras_segmenter, load_keras

ANSWERS_NAME = "teacher.npz"


class HintingBackend(KerasBackend):
    """A Keras model that, beside its logits, keeps the attention map of one of its layers.

    Attributes:
        attention: Of the last photo, float32 (h, w), see `attention_map`.
    """

    def __init__(self, model: Any, layer: str):
        super().__init__(model)
        self._both = keras.Model(model.inputs[0], [model.outputs[0], layer_output(model, layer)])
        self.attention = np.zeros((1, 1), np.float32)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Logits float32 (1, h, w, classes) of an image float32 (1, height, width, 3)."""
        logits, features = self._both(tensor, training=False)
        self.attention = attention_map(features)[0].numpy()
        return logits.numpy()


class Teacher:
    """A large `.keras` or any `.tflite`, a stranger's too.

    Args:
        path: Of the model.
        classes: The student's class names, background first.
        hint: Name of a layer whose attention map is given too; empty for none. Only of a `.keras`.

    Raises:
        ModelError: It has other classes, or no such layer.
    """

    def __init__(self, path: Path, classes: Sequence[str], hint: str = ""):
        if path.suffix == ".keras":
            model = load_keras(path)
            self.segment = keras_segmenter(model, classes)
            if hint:
                self.segment.backend = HintingBackend(model, hint)
        elif hint:
            raise ModelError(f"{path}: a hint is taken from a layer of a .keras; leave --hint away for a .tflite.")
        else:
            self.segment = Segmenter(path)
        theirs = self.segment.card.class_names
        named = self.segment.file.card is not None
        if len(theirs) != len(classes) or (named and theirs != tuple(classes)):
            raise ModelError(f"{path} knows the classes {', '.join(theirs)}; the data has {', '.join(classes)}.")

    def __call__(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Its probabilities float16 (h, w, classes) at its own output size, and its hint float16 (h', w')."""
        scores = self.segment(frame).score_map
        probabilities = scores.probabilities(scores.stored.shape[:2])  # type: ignore[arg-type]
        attention = getattr(self.segment.backend, "attention", np.zeros((1, 1)))
        return probabilities.astype(np.float16), attention.astype(np.float16)


def layer_output(model: Any, name: str) -> Any:
    """The output of the model's layer of this name.

    Raises:
        ModelError: It has none; lists what it has.
    """
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise ModelError(f"there is no layer {name!r} to take a hint from; there are {', '.join(names[1:-1])}.")
    return model.get_layer(name).output


def attention_map(features: Any) -> Any:
    """Where a layer looks: the sum of its squared channels, of unit length a photo (float32 (b, h, w)).

    Zagoruyko and Komodakis (2017), "Paying more attention to attention", arXiv:1612.03928. It has no channels, so
    teacher and student may have different numbers of them.
    """
    energy = tf.reduce_sum(tf.square(tf.cast(features, tf.float32)), axis=-1)
    return energy / (tf.norm(energy, axis=(1, 2), keepdims=True) + 1e-6)


class Views:
    """A fixed number of varied views of some photos, each the same whenever it is drawn.

    Args:
        examples: Photos with masks.
        unlabelled: Photos without.
        size_wh: Of a view.
        zoom: The photos are kept at this multiple of `size_wh`, so that magnifying one does not blur it.
        settings: How far the views vary.
        seed: Of the variation.
        each: Views of each photo.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        unlabelled: Sequence[Path],
        size_wh: tuple[int, int],
        zoom: float,
        settings: Augmentation,
        seed: int,
        each: int,
    ):
        self.size_wh, self.settings, self.seed = size_wh, settings, seed
        kept_wh = (round(size_wh[0] * zoom), round(size_wh[1] * zoom))
        self.photos = [example.load(kept_wh) for example in examples]
        nothing_known = np.full(kept_wh[::-1], IGNORE, np.uint8)
        self.photos += [(resize_to_input(read_photo(path), kept_wh), nothing_known) for path in unlabelled]
        self.count = each * len(self.photos)

    def draw(self, number: Any) -> tuple[Any, Any]:
        """View `number`, an int64 tensor: image float32 (h, w, 3) in 0..1, mask uint8 (h, w), 255 where unknown."""
        image, mask = tf.numpy_function(
            lambda n: self.photos[n % len(self.photos)], [number], (tf.uint8, tf.uint8), stateful=False
        )
        height, width = self.photos[0][1].shape
        image, mask = tf.ensure_shape(image, (height, width, 3)), tf.ensure_shape(mask, (height, width))
        seed = tf.stack([tf.constant(self.seed, tf.int64), number])
        drawn: tuple[Any, Any] = augment(image, mask, seed, self.settings, self.size_wh)
        return drawn


def teacher_outputs(teacher: Teacher, views: Views, path: Path, about: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's answer to every view, from `path` if the same was asked before.

    Args:
        teacher: To be asked.
        views: To be shown.
        path: The `.npz` to keep the answers in.
        about: What identifies teacher and views; another one is asked anew.

    Returns:
        Probabilities float16 (views, h, w, classes) and hints float16 (views, h', w').
    """
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    kept = _answers_of(path, key)
    if kept:
        return kept
    frames = tf.data.Dataset.range(views.count).map(lambda n: _as_frame(views.draw(n)[0]), num_parallel_calls=2)
    # One array from the start, as they are gigabytes: a list of them, and then the array, would be twice that.
    answers, hints = np.empty(0, np.float16), np.empty(0, np.float16)
    label = f"Asking the teacher about {views.count} views"
    with typer.progressbar(frames.prefetch(2).as_numpy_iterator(), length=views.count, label=label) as shown:
        for number, frame in enumerate(shown):
            answer, hint = teacher(frame)
            if not number:
                answers, hints = (np.empty((views.count, *one.shape), np.float16) for one in (answer, hint))
            answers[number], hints[number] = answer, hint
    with atomic_write(path) as place, place.open("wb") as stream:
        np.savez(stream, probabilities=answers, hints=hints, key=key)
    return answers, hints


def _as_frame(image: Any) -> Any:
    """Float RGB 0..1 to what the runtime takes, BGR uint8."""
    return tf.cast(tf.round(image[..., ::-1] * 255), tf.uint8)


def _answers_of(path: Path, key: str) -> tuple[np.ndarray, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path) as kept:
            return (kept["probabilities"], kept["hints"]) if str(kept["key"]) == key else None
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise DataError(f"{path}: not the teacher's answers ({error}); delete it, they are asked again.") from error
