"""Distillation: a teacher, a student and photos in, a run folder out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras

from convert.distillation.task import DistillationTask, DistillConfig
from convert.distillation.teacher import OUTPUTS_NAME, Teacher
from seg_edge.errors import DataError
from train.dataset import Dataset, held_out_photos
from train.keras_model import TrainedModel
from train.network import build
from train.recipes import Recipe
from train.runs import sha256_of
from train.training import MaskTask, TrainingTask, train_model


def distill(
    teacher: Teacher,
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    student: TrainedModel | None = None,
    config: DistillConfig | None = None,
    unlabelled: Sequence[Path] = (),
    outputs_file: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> TrainedModel:
    """Trains the student and writes the run folder.

    Args:
        teacher: Has the data's classes.
        data: The dataset.
        recipe: Settings of the training, and the architecture if `student` is None.
        out: The run folder.
        student: The network to start from; it isn't changed.
        config: How the student learns; with weight 0 and no hint, from the masks only.
        unlabelled: Photos without masks; none may be in the val or test part. The same file is refused; a re-encoded
            one, or the next of a burst, can't be recognised.
        outputs_file: Stores the teacher's outputs, so that several students can share them; by default in `out`.
        resume: Continue the run in `out`.
        force: Replace it.

    Returns:
        The student of the kept epoch.
    """
    config = config or DistillConfig()
    _check_unlabelled(unlabelled, data)
    keras.utils.set_random_seed(recipe.seed)
    if student:
        student.require_classes(len(data.classes))
    model = _copy(student.model) if student else build(recipe, len(data.classes))
    size_wh = (model.input_shape[2], model.input_shape[1])
    masks_only = config.weight == 0 and not config.hint
    task: TrainingTask
    if masks_only:
        task = MaskTask(data, recipe, size_wh)
    else:
        outputs_file = outputs_file or out / OUTPUTS_NAME
        task = DistillationTask(teacher, data, recipe, size_wh, outputs_file, config, unlabelled)
    return train_model(
        model,
        data,
        recipe,
        out,
        parent=student.provenance if student else None,
        task=task,
        resume=resume,
        force=force,
        xla=masks_only,  # XLA can't resize with antialiasing
    )


def _copy(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _check_unlabelled(photos: Sequence[Path], data: Dataset) -> None:
    held_out = held_out_photos(data)
    for path in photos:
        if sha256_of(path) in held_out:
            raise DataError(f"{path} is a photo of the val or test part; leave it out of --unlabelled.")
