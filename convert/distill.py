"""A large model teaches a small one: `python convert/distill.py TEACHER --data DIR --out RUN [--student FILE.keras]`.

The student learns from the true masks and from what the teacher says of the same view (Hinton et al., 2015,
arXiv:1503.02531): its soft labels at a temperature and, with `--hint`, where one of its layers looks. Photos without
masks may be added. The student is a `.keras`, such as the one convert/prune.py wrote, or a new member of the U-Net
family by the options of train/fit.py.

RUN holds what train/fit.py writes, and `teacher.npz`, the teacher's answers.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import train.quiet  # noqa: F401

# isort: split

import keras
import numpy as np
import tensorflow as tf
from seg_edge.photo.find import find_photos

from convert.teacher import ANSWERS_NAME, Teacher, Views, ask, attention_map, layer_output
from seg_edge.errors import DataError, SegEdgeError, UsageError
from train.dataset import Dataset, fixed_stream, open_split
from train.evaluate import load_keras
from train.fit import Masks, build, train_model
from train.options import thread_count, use_threads
from train.recipes import ARCHITECTURE, RECIPES, Recipe, add_options, given_values
from train.runs import parentage, sha256_of


@dataclass(frozen=True)
class Teaching:
    """How a teacher is listened to.

    Attributes:
        weight: Of the teacher's soft labels; the true masks weigh the rest of 1.
        temperature: Divides the logits of both: above 1, the less likely classes count more.
        views: Varied views of each photo that the teacher answers.
        hint: Layer of the teacher and of the student, `NAME` or `THEIRS:OURS`, whose attention maps are to agree.
        hint_weight: Of their squared distance, added to the rest.
    """

    weight: float = 0.5
    temperature: float = 2.0
    views: int = 16
    hint: str = ""
    hint_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise UsageError(f"--teacher-weight is from 0 to 1, got {self.weight}.")
        if not self.temperature > 0:
            raise UsageError(f"--temperature is above 0, got {self.temperature}.")
        if self.views < 1:
            raise UsageError(f"--views is at least 1, got {self.views}.")

    @property
    def hint_layers(self) -> tuple[str, str]:
        """Names of the teacher's layer and of the student's."""
        theirs, _, ours = self.hint.partition(":")
        return theirs, ours or theirs


class Lesson:
    """True masks and the teacher's answers, view by view; what `train.fit.train_model` learns from."""

    def __init__(
        self,
        teacher: Path,
        data: Dataset,
        recipe: Recipe,
        size_wh: tuple[int, int],
        answers: Path,
        teaching: Teaching,
        unlabelled: Sequence[Path] = (),
    ):
        self.data, self.recipe, self.size_wh, self.teaching = data, recipe, size_wh, teaching
        examples, how = data.parts["train"], recipe.augmentation
        self.views = Views(examples, unlabelled, size_wh, recipe.cache_zoom, how, recipe.seed, teaching.views)
        self.about: dict[str, Any] = {
            "distillation": {**asdict(teaching), "teacher": parentage(teacher), "unlabelled photos": len(unlabelled)}
        }
        if unlabelled:  # others can't continue a run
            seen = "".join(map(sha256_of, unlabelled)).encode()
            self.about["distillation"]["unlabelled sha256"] = hashlib.sha256(seen).hexdigest()
        self._asked = {
            "teacher": sha256_of(teacher),
            "photos": [data.fingerprint, *(sha256_of(path) for path in unlabelled)],
            "views": [self.views.count, size_wh, recipe.cache_zoom, asdict(recipe.augmentation), recipe.seed],
            "hint": teaching.hint_layers[0],
        }
        self._place, self._teacher = answers, Teacher(teacher, data.classes, teaching.hint_layers[0])

    @cached_property
    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """The teacher's answers and hints, see `ask`.

        It takes hours, so it is asked at the first batch: when all is known to fit and there is something to train.
        """
        return ask(self._teacher, self.views, self._place, self._asked)

    def pupil(self, model: keras.Model) -> keras.Model:
        """The student with the loss of this lesson."""
        outputs = {"logits": model.outputs[0]}
        if self.teaching.hint:
            outputs["features"] = layer_output(model, self.teaching.hint_layers[1])
        return Pupil(model.inputs, outputs, teaching=self.teaching)

    def training(self, skip_batches: int) -> tf.data.Dataset:
        """Endless batches of (image, {mask, teacher, hint}), all views in a new order in each round."""
        answers, hints = self.told

        def show(number: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            image, mask = self.views.draw(number)
            answer, hint = tf.numpy_function(
                lambda n: (answers[n], hints[n]), [number], (tf.float16, tf.float16), stateful=False
            )
            answer = tf.ensure_shape(answer, answers.shape[1:])
            return image, {"mask": mask, "teacher": answer, "hint": tf.ensure_shape(hint, hints.shape[1:])}

        return (
            tf.data.Dataset.range(self.views.count)
            .shuffle(self.views.count, seed=self.recipe.seed, reshuffle_each_iteration=True)
            .repeat()
            .skip(skip_batches * self.recipe.batch)
            .map(show, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(self.recipe.batch, drop_remainder=True)
            .prefetch(2)
        )

    def validation(self) -> tf.data.Dataset:
        """The val part and its masks; the teacher has no say in which epoch is kept."""
        return fixed_stream(self.data.parts["val"], self.size_wh, self.recipe.batch)


class Pupil(keras.Model):
    """A student under training: gives its logits and, for a hint, a layer's features."""

    def __init__(self, *args: Any, teaching: Teaching, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.teaching = teaching

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The masks' loss, the teacher's and the hint's, weighed; in validation the masks' alone."""
        if not isinstance(y, dict):
            return super().compute_loss(x, y, y_pred["logits"], sample_weight, training)
        teaching, logits = self.teaching, y_pred["logits"]
        of_masks = super().compute_loss(x, y["mask"], logits, sample_weight, training)
        of_teacher = soft_label_loss(y["teacher"], logits, teaching.temperature)
        loss = (1 - teaching.weight) * of_masks + teaching.weight * of_teacher
        if "features" in y_pred:
            loss += teaching.hint_weight * hint_loss(y["hint"], y_pred["features"])
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
    seen = tf.image.resize(tf.cast(probabilities, tf.float32), logits.shape[1:3], antialias=True)
    soft = tf.nn.softmax(tf.math.log(seen + 1e-6) / temperature)
    divergence = tf.nn.softmax_cross_entropy_with_logits(soft, logits / temperature)
    divergence -= tf.nn.softmax_cross_entropy_with_logits(soft, tf.math.log(soft))  # its lowest, so that 0 is agreement
    return temperature**2 * tf.reduce_mean(divergence)


def hint_loss(theirs: Any, features: Any) -> Any:
    """Squared distance of the unit attention maps, the teacher's (b, h, w) and that of features (b, h', w', c)."""
    ours = attention_map(features)
    resized = tf.image.resize(tf.cast(theirs, tf.float32)[..., tf.newaxis], ours.shape[1:3], antialias=True)[..., 0]
    resized /= tf.norm(resized, axis=(1, 2), keepdims=True) + 1e-6
    return tf.reduce_mean(tf.reduce_sum(tf.square(resized - ours), axis=(1, 2)))


def distill(
    teacher: Path,
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    student: Path | None = None,
    teaching: Teaching | None = None,
    unlabelled: Sequence[Path] = (),
    answers: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Teaches and writes the run folder; returns what `run.json` holds.

    Args:
        teacher: A `.keras` or `.tflite` with the data's classes.
        data: The split photos.
        recipe: Values of the training, and the architecture where there is no `student`.
        out: The run folder.
        student: A `.keras` with the weights to start from.
        teaching: How the teacher is listened to; with weight 0 and no hint it isn't asked at all.
        unlabelled: Photos without masks; none may be in the val or test part. The same file is refused; one that was
            saved anew, or the next of a burst, isn't known for one.
        answers: Where the teacher's answers are kept, so that several students can share them; by default in `out`.
        resume: Continue the run that `out` holds.
        force: Replace it.
    """
    teaching = teaching or Teaching()
    _check_unlabelled(unlabelled, data)
    keras.utils.set_random_seed(recipe.seed)
    model = load_keras(student) if student else build(recipe, len(data.classes))
    if model.output_shape[-1] != len(data.classes):
        raise DataError(f"{student}: gives {model.output_shape[-1]} classes, the data has {len(data.classes)}.")
    height, width = model.input_shape[1:3]
    alone = teaching.weight == 0 and not teaching.hint
    return train_model(
        model,
        data,
        recipe,
        out,
        parent=parentage(student) if student else None,
        lesson=Masks(data, recipe, (width, height))
        if alone
        else Lesson(teacher, data, recipe, (width, height), answers or out / ANSWERS_NAME, teaching, unlabelled),
        resume=resume,
        force=force,
        xla=alone,  # which has no resizing with antialiasing
    )


def _check_unlabelled(photos: Sequence[Path], data: Dataset) -> None:
    held_out = {sha256_of(example.image): example.name for part in ("val", "test") for example in data.parts[part]}
    for path in photos:
        if sha256_of(path) in held_out:
            raise DataError(f"{path} is a photo of the val or test part; leave those out of --unlabelled.")


def _photos_in(folder: Path) -> Sequence[Path]:
    photos, unreadable = find_photos([str(folder)])
    for error in unreadable.values():
        raise error
    return photos


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("teacher", type=Path, help="a .keras, or any .tflite with the same classes")
    parser.add_argument("--data", type=Path, required=True, help="the data folder that the teacher was trained on")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--student", type=Path, help="a .keras to start from; else a new U-Net by the recipe")
    parser.add_argument("--split", type=Path, help="split.json; by default the one beside the teacher")
    parser.add_argument(
        "--unlabelled", type=Path, help="folder of photos without masks; none like those of val and test"
    )
    parser.add_argument("--teacher-weight", type=float, default=Teaching.weight, help="0..1; the masks weigh the rest")
    parser.add_argument("--temperature", type=float, default=Teaching.temperature)
    parser.add_argument("--views", type=int, default=Teaching.views, help="varied views of each photo")
    parser.add_argument("--hint", default="", help="layer whose attention maps are to agree: NAME or THEIRS:OURS")
    parser.add_argument("--hint-weight", type=float, default=Teaching.hint_weight)
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--threads", type=thread_count, default=0, help="CPU threads; 0 for all cores")
    going_on = parser.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="continue an interrupted run")
    going_on.add_argument("--force", action="store_true", help="replace the run that is there")
    add_options(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Runs the command; exits with 1 and one line when it can't."""
    given = parse_arguments()
    use_threads(given.threads)
    try:
        values = given_values(given)
        kept = [name for name in ARCHITECTURE if name in values]
        if given.student and kept:
            raise UsageError(f"--{kept[0].replace('_', '-')} is for a new U-Net; {given.student} has its own.")
        teaching = Teaching(given.teacher_weight, given.temperature, given.views, given.hint, given.hint_weight)
        run = distill(
            given.teacher,
            open_split(given.data, given.split or given.teacher.parent / "split.json"),
            RECIPES[given.recipe]().replace(**values),
            given.out,
            student=given.student,
            teaching=teaching,
            unlabelled=_photos_in(given.unlabelled) if given.unlabelled else (),
            resume=given.resume,
            force=given.force,
        )
    except KeyboardInterrupt:
        print("interrupted; the same line with --resume continues", file=sys.stderr)
        sys.exit(130)
    except (SegEdgeError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    scores = run["scores"]
    print(f"best val dice {scores['val_dice']:.4f} in epoch {scores['epoch']}: {given.out / 'model.keras'}")


if __name__ == "__main__":
    main()
