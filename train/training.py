"""Training: the task, compiling and fitting the model, and the run folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from seg_edge.errors import DataError, UsageError
from seg_edge.system.files import write_file
from train.blind_guess import blind_dice
from train.callbacks import Checkpoint, Progress, plot_curves, prepare_run
from train.dataset import Dataset, fixed_stream, training_stream
from train.keras_model import TrainedModel
from train.losses import DiceCoefficient
from train.network import start
from train.optimizers import Adam, AdamW
from train.recipes import Recipe
from train.runs import MODEL_NAME, RUN_NAME, versions
from train.scene_stream import PictureFolder, SceneTask
from train.strategy import (
    EVERYTHING,
    ONE_DEVICE,
    check_batch,
    input_context,
    is_chief,
    of_one_device,
    prepare_model,
    require_same,
    run_folder,
    worker_lost,
)


class TrainingTask(Protocol):
    """What a model is trained and validated on."""

    about: dict[str, Any]

    def training_model(self, model: keras.Model) -> keras.Model:
        """The model to fit; it shares its layers with `model`, which is saved."""
        ...

    def training_batches(self, skip_batches: int) -> tf.data.Dataset:
        """Endless batches, starting after this many."""
        ...

    def validation_batches(self) -> tf.data.Dataset:
        """Batches of (image, mask) of the val part, not augmented."""
        ...


class MaskTask:
    """The usual task: augmented photos of the train part and their masks."""

    def __init__(
        self,
        data: Dataset,
        recipe: Recipe,
        size_wh: tuple[int, int],
        context: tf.distribute.InputContext = EVERYTHING,
    ):
        self.data, self.recipe, self.size_wh, self.context = data, recipe, size_wh, context
        self.about: dict[str, Any] = {}

    def training_model(self, model: keras.Model) -> keras.Model:
        """The model itself."""
        return model

    def training_batches(self, skip_batches: int) -> tf.data.Dataset:
        """See `train.dataset.training_stream`."""
        width, height = self.size_wh
        zoom = self.recipe.cache_zoom
        return training_stream(
            self.data.parts["train"],
            size_wh=self.size_wh,
            cache_size_wh=(round(width * zoom), round(height * zoom)),
            batch=self.recipe.batch,
            settings=self.recipe.augmentation,
            seed=self.recipe.seed,
            skip_batches=skip_batches,
            context=self.context,
        )

    def validation_batches(self) -> tf.data.Dataset:
        """See `train.dataset.fixed_stream`."""
        return fixed_stream(self.data.parts["val"], self.size_wh, self.recipe.batch)


def fit(
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    network: Path | None = None,
    network_wh: tuple[int, int] | None = None,
    initial: Path | None = None,
    scenes: Sequence[PictureFolder] = (),
    places: Sequence[PictureFolder] = (),
    xla: bool = True,
    strategy: tf.distribute.Strategy = ONE_DEVICE,
) -> TrainedModel:
    """Builds the recipe's U-Net, trains it and writes the run folder; returns the kept model.

    Args:
        data: The dataset.
        recipe: All settings of the training.
        out: The run folder; made if missing.
        resume: Continue the run in `out`.
        force: Replace it.
        network: A `.keras` to train further, e.g. a pruned one, instead of the recipe's U-Net.
        network_wh: New width and height of its input in pixels; None keeps its own.
        initial: A `.keras` to start from instead of new weights; at least half of the weights must match.
        scenes: Pictures to train on instead of the train part, see `train.scene_stream`.
        places: Pictures without people, to add to these scenes.
        xla: Compile the step with XLA if there is a GPU.
        strategy: The devices to train on, see `train.strategy`.
    """
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy("mixed_float16" if _on_gpu() else "float32")
    with strategy.scope():
        model, about = start(recipe, data, network, initial, network_wh)
        context = input_context(strategy)
        size_wh = (model.input_shape[2], model.input_shape[1])
        if scenes:
            task: TrainingTask = SceneTask(scenes, data, recipe, size_wh, places, context)
        else:
            task = MaskTask(data, recipe, size_wh, context)
        about |= task.about
        return _train(model, data, recipe, out, task, about, resume=resume, force=force, xla=xla, strategy=strategy)


def train_model(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    parent: Mapping[str, Any] | None,
    task: TrainingTask | None = None,
    resume: bool = False,
    force: bool = False,
    xla: bool = True,
) -> TrainedModel:
    """Trains an existing model as `fit` does, and writes the run folder.

    Args:
        model: Any segmentation network, with its initial weights.
        data: The dataset.
        recipe: Settings of the training; those of the architecture are recorded only without a parent.
        out: The run folder; made if missing.
        parent: Where the model comes from, see `TrainedModel.provenance`; None if built from the recipe.
        task: What to train on; by default the train part's masks.
        resume: Continue the run in `out`.
        force: Replace it.
        xla: Compile the step with XLA if there is a GPU.

    Returns:
        The model of the kept epoch.
    """
    keras.utils.set_random_seed(recipe.seed)
    height, width = model.input_shape[1:3]
    task = task or MaskTask(data, recipe, (width, height))
    values = recipe.training_values() if parent else dataclasses.asdict(recipe)
    about = {"recipe": values, **task.about, "parent": dict(parent) if parent else None}
    return _train(model, data, recipe, out, task, about, resume=resume, force=force, xla=xla)


def _train(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    out: Path,
    task: TrainingTask,
    about: dict[str, Any],
    *,
    resume: bool,
    force: bool,
    xla: bool,
    strategy: tf.distribute.Strategy = ONE_DEVICE,
) -> TrainedModel:
    steps = recipe.steps_per_epoch(len(data.parts["train"]))
    check_batch(strategy, recipe.batch, together=2 if recipe.consistency else 1)
    dice = DiceCoefficient(len(data.classes))
    trained = task.training_model(model)
    prepare_model(trained, strategy)
    _compile(trained, len(data.classes), recipe, steps, dice, jit=_on_gpu() and xla)
    with run_folder(out, strategy, resume) as folder:
        prepare_run(folder, data, about, resume=resume, force=force)
        checkpoint = Checkpoint(folder, model, steps, dice, data.classes, recipe.keep)
        try:
            done = checkpoint.restore(trained) if resume else 0
            require_same(strategy, [data.fingerprint, about, versions(), done])
            if done < recipe.epochs:
                trained.fit(
                    strategy.distribute_datasets_from_function(lambda _: task.training_batches(done * steps)),
                    steps_per_epoch=steps,
                    initial_epoch=done,
                    epochs=recipe.epochs,
                    validation_data=task.validation_batches(),
                    callbacks=_callbacks(checkpoint, recipe, folder, is_chief(strategy)),
                    shuffle=False,  # the stream is shuffled
                    verbose=0,
                )
        except tf.errors.OpError as error:
            raise DataError(worker_lost(error, strategy) or _root_cause(error)) from error
        plot_curves(folder / "log.csv", folder / "curves.png")
        _write_run(data, recipe, folder, checkpoint, about)
        return TrainedModel.load(folder / MODEL_NAME)


def _on_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _compile(model: keras.Model, classes: int, recipe: Recipe, steps: int, dice: DiceCoefficient, *, jit: bool) -> None:
    if recipe.optimizer not in ("adam", "adamw"):
        raise UsageError(f"optimizer must be adam or adamw, got {recipe.optimizer!r}")
    with_decay = recipe.optimizer == "adamw"  # AdamW doesn't accept None, and Adam skips the decay only for None
    optimizer = (AdamW if with_decay else Adam)(
        _schedule(recipe, steps),
        weight_decay=recipe.weight_decay if with_decay else recipe.weight_decay or None,
        use_ema=recipe.ema > 0,
        ema_momentum=recipe.ema or 0.99,
        ema_overwrite_frequency=None,
    )
    loss = of_one_device(recipe.make_loss(classes), tf.distribute.get_strategy())
    model.compile(optimizer, loss, metrics=[dice], jit_compile=jit)
    model.optimizer.build(model.trainable_variables)  # under mixed precision a wrapper that scales the loss


def _schedule(recipe: Recipe, steps: int) -> Any:
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule != "cosine":
        raise UsageError(f"schedule must be constant or cosine, got {recipe.schedule!r}")
    warmup = max(1, recipe.epochs * steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 100,
        max(1, recipe.epochs * steps - warmup),
        alpha=0.01,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )


def _callbacks(checkpoint: Checkpoint, recipe: Recipe, out: Path, verbose: bool) -> list[keras.callbacks.Callback]:
    averaged = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    board = keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False)
    progress = [Progress(recipe.epochs)] if verbose else []
    return [*averaged, keras.callbacks.TerminateOnNaN(), checkpoint, board, *progress]


def _write_run(data: Dataset, recipe: Recipe, out: Path, checkpoint: Checkpoint, about: Mapping[str, Any]) -> None:
    kept = checkpoint.kept_row
    run = {
        **about,
        "seed": recipe.seed,
        "classes": list(data.classes),
        "split": {
            "fingerprint": data.fingerprint,
            "seed": data.seed,
            "group": data.group,
            "names": data.names,
            **{part: len(examples) for part, examples in data.parts.items()},
        },
        "versions": versions(),
        "gpu": _on_gpu(),
        "seconds": round(sum(row["seconds"] for row in checkpoint.rows), 1),
        "scores": {
            "what": "mean Dice over the classes without background, at the input size, of the kept epoch",
            "val_dice": kept["val_dice"],
            "val_dice_per_class": checkpoint.per_class(kept),
            "epoch": int(kept["epoch"]),
            "blind_dice": blind_dice(_pixels(data)),
        },
    }
    write_file(out / RUN_NAME, json.dumps(run, indent=2).encode())


def _pixels(data: Dataset) -> np.ndarray:
    """Pixel count of each class in the val part, int (classes,)."""
    counts = [np.bincount(e.load_mask().ravel(), minlength=256)[: len(data.classes)] for e in data.parts["val"]]
    return np.sum(counts, axis=0)


def _root_cause(error: tf.errors.OpError) -> str:
    """The message of our own error if TensorFlow wrapped one, else TensorFlow's."""
    lines = [line for line in str(error.message).splitlines() if "Error: " in line]
    return lines[0].split("Error: ", 1)[1] if lines else str(error.message).splitlines()[0]
