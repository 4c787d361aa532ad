"""Training a student on the true masks, the teacher's soft labels and, with a hint, its attention."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.distillation.teacher import Teacher, Views, attention_map, layer_output, teacher_outputs
from seg_edge.errors import UsageError
from train.dataset import Dataset, fixed_stream
from train.recipes import Recipe
from train.runs import sha256_of


@dataclass(frozen=True)
class DistillConfig:
    """How a student learns from a teacher.

    Attributes:
        weight: Weight of the teacher's soft labels; the true masks have the rest of 1.
        temperature: Divides the logits of both: above 1, the less likely classes count more.
        views: Augmented views per photo, for each of which the teacher's output is stored.
        hint: Layer of the teacher and of the student, `NAME` or `TEACHER_NAME:STUDENT_NAME`,
            whose attention maps should match.
        hint_weight: Weight of the maps' squared distance, which is added to the loss.
    """

    weight: float = 0.5
    temperature: float = 2.0
    views: int = 16
    hint: str = ""
    hint_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise UsageError(f"--teacher-weight must be from 0 to 1, got {self.weight}.")
        if not self.temperature > 0:
            raise UsageError(f"--temperature must be above 0, got {self.temperature}.")
        if self.views < 1:
            raise UsageError(f"--views must be at least 1, got {self.views}.")

    @property
    def hint_layers(self) -> tuple[str, str]:
        """Names of the teacher's and the student's layer."""
        teacher_layer, _, student_layer = self.hint.partition(":")
        return teacher_layer, student_layer or teacher_layer


class DistillationTask:
    """True masks and the teacher's outputs for the same views; a `train.training.TrainingTask`.

    Args:
        teacher: Run on every view.
        data: The dataset.
        recipe: The augmentation and the batch size.
        size_wh: The student's input size.
        outputs_file: Stores the teacher's outputs.
        config: How the student learns.
        unlabelled: Photos without masks.

    Raises:
        ModelError: The teacher has no layer with the hint's name.
    """

    def __init__(
        self,
        teacher: Teacher,
        data: Dataset,
        recipe: Recipe,
        size_wh: tuple[int, int],
        outputs_file: Path,
        config: DistillConfig,
        unlabelled: Sequence[Path] = (),
    ):
        self.data, self.recipe, self.size_wh, self.config = data, recipe, size_wh, config
        self._teacher, self._outputs_file = teacher, outputs_file
        if config.hint:
            teacher.watch(config.hint_layers[0])
        self.views = Views(
            data.parts["train"],
            unlabelled,
            size_wh,
            recipe.cache_zoom,
            recipe.augmentation,
            recipe.seed,
            config.views,
        )
        self.about: dict[str, Any] = {
            "distillation": {**asdict(config), "teacher": teacher.provenance, "unlabelled photos": len(unlabelled)}
        }
        hashes = [sha256_of(path) for path in unlabelled]
        if unlabelled:  # a run can't be continued with other photos
            self.about["distillation"]["unlabelled sha256"] = hashlib.sha256("".join(hashes).encode()).hexdigest()
        self._identity = {
            "teacher": teacher.provenance["sha256"],
            "photos": [data.fingerprint, *hashes],
            "views": [self.views.count, size_wh, recipe.cache_zoom, asdict(recipe.augmentation), recipe.seed],
            "hint": config.hint_layers[0],
        }

    @cached_property
    def teacher_outputs(self) -> tuple[np.ndarray, np.ndarray]:
        """The teacher's probabilities and hints, see `convert.distillation.teacher.teacher_outputs`.

        Computing them takes hours, so it starts with the first batch, after everything else has been checked.
        """
        return teacher_outputs(self._teacher, self.views, self._outputs_file, self._identity)

    def training_model(self, model: keras.Model) -> keras.Model:
        """The student with the loss of this task."""
        outputs = {"logits": model.outputs[0]}
        if self.config.hint:
            outputs["features"] = layer_output(model, self.config.hint_layers[1])
        return StudentModel(model.inputs, outputs, config=self.config)

    def training_batches(self, skip_batches: int) -> tf.data.Dataset:
        """Endless batches of (image, {mask, teacher, hint}), with all views in a new order each round."""
        probabilities, hints = self.teacher_outputs

        def load(number: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            image, mask = self.views.draw(number)
            soft_labels, hint = tf.numpy_function(
                lambda n: (probabilities[n], hints[n]), [number], (tf.float16, tf.float16), stateful=False
            )
            soft_labels = tf.ensure_shape(soft_labels, probabilities.shape[1:])
            return image, {"mask": mask, "teacher": soft_labels, "hint": tf.ensure_shape(hint, hints.shape[1:])}

        return (
            tf.data.Dataset.range(self.views.count)
            .shuffle(self.views.count, seed=self.recipe.seed, reshuffle_each_iteration=True)
            .repeat()
            .skip(skip_batches * self.recipe.batch)
            .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(self.recipe.batch, drop_remainder=True)
            .prefetch(2)
        )

    def validation_batches(self) -> tf.data.Dataset:
        """The val part and its masks; the teacher doesn't select the epoch."""
        return fixed_stream(self.data.parts["val"], self.size_wh, self.recipe.batch)


class StudentModel(keras.Model):
    """The student in training: outputs its logits and, for a hint, a layer's features."""

    def __init__(self, *args: Any, config: DistillConfig, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.config = config

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The weighted losses of masks, teacher and hint; in validation only the masks'."""
        if not isinstance(y, dict):
            return super().compute_loss(x, y, y_pred["logits"], sample_weight, training)
        config, logits = self.config, y_pred["logits"]
        mask_loss = super().compute_loss(x, y["mask"], logits, sample_weight, training)
        teacher_loss = soft_label_loss(y["teacher"], logits, config.temperature)
        loss = (1 - config.weight) * mask_loss + config.weight * teacher_loss
        if "features" in y_pred:
            loss += config.hint_weight * hint_loss(y["hint"], y_pred["features"])
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Dice against the masks."""
        masks = y["mask"] if isinstance(y, dict) else y
        return super().compute_metrics(x, masks, y_pred["logits"], sample_weight)


def soft_label_loss(probabilities: Any, logits: Any, temperature: float) -> Any:
    """`T^2 KL(teacher_T || student_T)`, mean over all pixels of the student's output.

    Hinton et al. (2015): both distributions at temperature T; T^2 keeps the size of the gradients.

    Args:
        probabilities: The teacher's, (b, h, w, classes) of any size.
        logits: The student's, (b, h', w', classes).
        temperature: T. `softmax(log p / T)` is the softmax of the teacher's own logits divided by T.
    """
    logits = tf.cast(logits, tf.float32)
    resized = tf.image.resize(tf.cast(probabilities, tf.float32), logits.shape[1:3], antialias=True)
    soft = tf.nn.softmax(tf.math.log(resized + 1e-6) / temperature)
    divergence = tf.nn.softmax_cross_entropy_with_logits(soft, logits / temperature)
    divergence -= tf.nn.softmax_cross_entropy_with_logits(soft, tf.math.log(soft))  # so that the minimum is 0
    return temperature**2 * tf.reduce_mean(divergence)


def hint_loss(teacher_attention: Any, features: Any) -> Any:
    """Squared distance between the unit attention maps of the teacher (b, h, w) and of features (b, h', w', c)."""
    attention = attention_map(features)
    resized = tf.image.resize(
        tf.cast(teacher_attention, tf.float32)[..., tf.newaxis], attention.shape[1:3], antialias=True
    )[..., 0]
    resized /= tf.norm(resized, axis=(1, 2), keepdims=True) + 1e-6
    return tf.reduce_mean(tf.reduce_sum(tf.square(resized - attention), axis=(1, 2)))
