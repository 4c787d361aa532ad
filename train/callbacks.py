"""Prepares the run folder, updates it after each epoch, draws the curves, and prints a line per epoch."""

from __future__ import annotations

import csv
import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from seg_edge.errors import OutputError, SegEdgeError
from seg_edge.system.files import atomic_write, write_file
from train.dataset import Dataset
from train.losses import DiceCoefficient
from train.runs import SPLIT_NAME


def prepare_run(out: Path, data: Dataset, about: dict[str, Any], *, resume: bool, force: bool) -> None:
    """Makes the run folder, or checks that an existing run may be continued or replaced.

    Args:
        out: The run folder.
        data: The dataset, whose split is written there.
        about: What must be unchanged to continue: recipe and initial model.
        resume: Continue an existing run.
        force: Replace it.

    Raises:
        OutputError: A run exists, and neither `resume` nor `force` is set or it is a different run.
    """
    state = out / "recipe.json"
    text = json.dumps({"fingerprint": data.fingerprint, **about}, indent=2)
    old = [out / name for name in ("recipe.json", "model.keras", "log.csv", "run.json", "last.weights.h5")]
    holds_run = any(path.exists() for path in old)
    if holds_run and not force:
        if not resume:
            raise OutputError(f"{out} already holds a run; --resume continues it, --force replaces it.")
        if not state.is_file() or not _may_continue(state.read_text(encoding="utf-8"), json.loads(text)):
            raise OutputError(
                f"{out} was trained with another recipe, another --initial or other photos; "
                "give the same, or another --out."
            )
        write_file(state, text.encode())
        return
    out.mkdir(parents=True, exist_ok=True)
    if holds_run:
        for path in old:
            path.unlink(missing_ok=True)
        shutil.rmtree(out / "tensorboard", ignore_errors=True)
    data.save_split(out / SPLIT_NAME)
    write_file(state, text.encode())


def _may_continue(earlier_text: str, about: dict[str, Any]) -> bool:
    """Whether only the epochs differ, and grow; the learning rate then continues on the longer schedule."""
    try:
        earlier = json.loads(earlier_text)
        before, now = earlier.pop("recipe"), dict(about["recipe"])
        epochs = before.pop("epochs", 0), now.pop("epochs", 0)
    except (ValueError, KeyError, AttributeError, TypeError):
        return False
    return (
        earlier == {key: value for key, value in about.items() if key != "recipe"}
        and before == now
        and epochs[0] <= epochs[1]
    )


SAVE_EVERY_S = 20.0  # for a small network and few photos, saving takes longer than an epoch


class Checkpoint(keras.callbacks.Callback):
    """Logs each epoch, and saves the best or last model and the state to continue from.

    Model and state are written after the first and the last epoch, and in between at most every `SAVE_EVERY_S` seconds;
    after a kill, the epochs since are repeated. The state is one file, renamed into place, that also holds the number
    of epochs done: the optimiser doesn't count the steps that overflow under loss scaling. Model and state don't go
    through `atomic_write`: with a fixed temporary name, the hundreds of megabytes that a kill leaves behind are
    overwritten by the next save.

    Args:
        out: The run folder.
        kept: The model to save; it shares its layers with the trained one.
        steps: Per epoch.
        dice: The metric the model is compiled with; at the end of an epoch it holds the validation counts.
        classes: Class names, background first.
        keep: `best` or `last`, see `train.recipes.Recipe`.
    """

    def __init__(
        self,
        out: Path,
        kept: keras.Model,
        steps: int,
        dice: DiceCoefficient,
        classes: Sequence[str],
        keep: str = "best",
    ):
        super().__init__()
        self.kept, self.keep = kept, keep
        self.log, self.last, self.best = (
            out / "log.csv",
            out / "last.weights.h5",
            out / "model.keras",
        )
        self.steps, self.dice, self.classes = steps, dice, classes
        self.rows: list[dict[str, float]] = []
        self.began, self._saved_s = time.monotonic(), -math.inf
        self._copy: keras.Model | None = None
        self._is_newer = False  # than the saved model

    @property
    def best_dice(self) -> float:
        """Highest validation Dice of the epochs so far; -1 before the first."""
        return max((row["val_dice"] for row in self.rows), default=-1.0)

    @property
    def kept_row(self) -> dict[str, float]:
        """The log's row of the epoch whose model is kept."""
        return self.rows[-1] if self.keep == "last" else max(self.rows, key=lambda row: row["val_dice"])

    def restore(self, model: keras.Model) -> int:
        """Loads the last saved state; returns the number of epochs done, 0 if there is no state."""
        if not self.last.is_file():
            return 0
        model.load_weights(self.last)
        with h5py.File(self.last) as file:
            done = int(file.attrs["epochs"])
        with self.log.open(encoding="utf-8", newline="") as stream:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
        self.rows = [{**row, "epoch": int(row["epoch"])} for row in rows[:done]]
        for layer in model.layers:  # save_weights leaves out the state of dropout's generator, which counts the steps
            if hasattr(layer, "seed_generator"):
                state = layer.seed_generator.state
                state.assign([state.numpy()[0], done * self.steps])
        return done

    def per_class(self, row: dict[str, float]) -> dict[str, float | None]:
        """Dice of each foreground class in a row of the log; None if the class did not occur."""
        values = {name: row[f"val_dice_{name}"] for name in self.classes[1:]}
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the log, then if it is time the model and the state: in this order, a kill only repeats epochs."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(logs["loss"]):
            raise SegEdgeError(
                f"the training diverged in epoch {epoch + 1} (its loss is {logs['loss']}); "
                "start again with a smaller --learning-rate."
            )
        if self.keep == "last" or logs["val_dice"] > self.best_dice:
            self._keep()
        values = map(float, self.dice.per_class()[1:])
        each = {f"val_dice_{name}": value for name, value in zip(self.classes[1:], values, strict=True)}
        row = {"epoch": epoch + 1, **logs, **each, "seconds": round(time.monotonic() - self.began, 2)}
        self.rows.append(row)
        with atomic_write(self.log) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if is_last or time.monotonic() - self._saved_s >= SAVE_EVERY_S:
            self._save(epoch + 1)

    def _save(self, epochs: int) -> None:
        if self._copy and self._is_newer:
            temporary = self.best.with_name("saving.keras")
            self._copy.save(temporary)
            temporary.replace(self.best)
            self._is_newer = False
        temporary = self.last.with_name("saving.weights.h5")
        self.model.save_weights(temporary, overwrite=True)
        with h5py.File(temporary, "a") as file:
            file.attrs["epochs"] = epochs
        temporary.replace(self.last)
        self._saved_s = time.monotonic()

    def _keep(self) -> None:
        """Copies the averaged weights into a model without the optimiser, whose state is three times the weights."""
        model = self.model
        if self._copy is None:
            uncompiled = keras.Model(self.kept.input, self.kept.output, name=self.kept.name)
            self._copy = keras.models.clone_model(uncompiled, clone_function=_in_float32)  # as converters need it
        raw = [variable.numpy() for variable in model.trainable_variables]
        model.optimizer.finalize_variable_values(model.trainable_variables)
        self._copy.set_weights(self.kept.get_weights())
        for variable, value in zip(model.trainable_variables, raw, strict=True):
            variable.assign(value)
        self._is_newer = True


def _in_float32(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if "synchronized" in config:  # batch normalisation on several devices
        config["synchronized"] = False
    return type(layer).from_config({**config, "dtype": "float32"})


class Progress(keras.callbacks.Callback):
    """Prints a line per epoch, with the time left."""

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs, self.first, self.began = epochs, 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Notes when the first epoch of this process began."""
        if not self.began:
            self.first, self.began = epoch, time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prints the line."""
        logs = logs or {}
        seconds = (time.monotonic() - self.began) / (epoch + 1 - self.first)
        left = time.strftime("%H:%M:%S", time.gmtime(seconds * (self.epochs - epoch - 1)))
        print(
            f"epoch {epoch + 1}/{self.epochs}  loss {logs['loss']:.4f}  dice {logs['dice']:.4f}  "
            f"val loss {logs['val_loss']:.4f}  val dice {logs['val_dice']:.4f}  {seconds:.1f} s each, {left} left",
            flush=True,
        )


def plot_curves(log: Path, picture: Path) -> None:
    """Loss and Dice over the epochs, train and validation, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with log.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [int(float(row["epoch"])) for row in rows]
    for axis, name, label in zip(axes, ("loss", "dice"), ("loss", "mean Dice coefficient"), strict=True):
        for key, curve in ((name, "train (augmented photos)"), (f"val_{name}", "validation")):
            axis.plot(epochs, [float(row[key]) for row in rows], label=curve)
        axis.set(xlabel="epoch", ylabel=label)
        axis.grid(alpha=0.3)
    axes[1].set_ylim(0, 1)
    axes[0].legend()
    with atomic_write(picture) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)
