"""Distillation from a teacher's file to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from convert.distillation.task import DistillationTask, DistillConfig
from convert.distillation.teacher import ANSWERS_NAME
from seg_edge.errors import DataError
from train.dataset import Dataset
from train.keras_model import load_keras
from train.recipes import Recipe
from train.runs import provenance, sha256_of
from train.training import MaskTask, build, train_model


def distill(
    teacher: Path,
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    student: Path | None = None,
    teaching: DistillConfig | None = None,
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
    teaching = teaching or DistillConfig()
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
        parent=provenance(student) if student else None,
        task=MaskTask(data, recipe, (width, height))
        if alone
        else DistillationTask(
            teacher, data, recipe, (width, height), answers or out / ANSWERS_NAME, teaching, unlabelled
        ),
        resume=resume,
        force=force,
        xla=alone,  # which has no resizing with antialiasing
    )


def _check_unlabelled(photos: Sequence[Path], data: Dataset) -> None:
    held_out = {sha256_of(example.image): example.name for part in ("val", "test") for example in data.parts[part]}
    for path in photos:
        if sha256_of(path) in held_out:
            raise DataError(f"{path} is a photo of the val or test part; leave those out of --unlabelled.")
