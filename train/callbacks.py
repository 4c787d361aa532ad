"""What happens at the end of each epoch of a training: logged, kept, printed."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path

import keras

from seg_edge.errors import SegEdgeError


class Checkpoint(keras.callbacks.Callback):
    """Logs each epoch, keeps the best model and what is needed to continue.

    The state to continue from is one file, renamed into place; how many epochs it has seen is the optimiser's step
    count.
    """

    def __init__(self, out: Path, steps: int):
        super().__init__()
        self.log, self.last, self.best = (
            out / "log.csv",
            out / "last.weights.h5",
            out / "model.keras",
        )
        self.steps = steps
        self.rows: list[dict[str, float]] = []
        self.began = time.monotonic()

    @property
    def best_dice(self) -> float:
        """Highest validation Dice of the epochs so far; -1 before the first."""
        return max((row["val_dice"] for row in self.rows), default=-1.0)

    def restore(self, model: keras.Model) -> int:
        """Loads the last epoch's state; returns the number of epochs done, 0 when there is nothing to continue."""
        if not self.last.is_file():
            return 0
        model.load_weights(self.last)
        done = int(model.optimizer.iterations.numpy()) // self.steps
        with self.log.open(newline="") as stream:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
        self.rows = [{**row, "epoch": int(row["epoch"])} for row in rows[:done]]
        for layer in model.layers:  # save_weights leaves out dropout's generator: it counts the steps
            if hasattr(layer, "seed_generator"):
                state = layer.seed_generator.state
                state.assign([state.numpy()[0], model.optimizer.iterations.numpy()])
        return done

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the best model, the log and the state, in this order: a kill between two repeats the epoch."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(logs["loss"]):
            raise SegEdgeError(
                f"the training diverged in epoch {epoch + 1} (its loss is {logs['loss']}); "
                "start anew with a smaller --learning-rate."
            )
        if logs["val_dice"] > self.best_dice:
            self._save_best()
        row = {"epoch": epoch + 1, **logs, "seconds": round(time.monotonic() - self.began, 2)}
        self.rows.append(row)
        temporary = self.log.with_suffix(".tmp")
        with temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.log)
        temporary = self.last.with_name("saving.weights.h5")
        self.model.save_weights(temporary, overwrite=True)
        temporary.replace(self.last)

    def _save_best(self) -> None:
        model, temporary = self.model, self.best.with_name("saving.keras")
        raw = [variable.numpy() for variable in model.trainable_variables]
        model.optimizer.finalize_variable_values(model.trainable_variables)
        model.save(temporary, include_optimizer=False)
        for variable, value in zip(model.trainable_variables, raw, strict=True):
            variable.assign(value)
        temporary.replace(self.best)


class Progress(keras.callbacks.Callback):
    """One line an epoch, with the time left."""

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
        each = (time.monotonic() - self.began) / (epoch + 1 - self.first)
        left = time.strftime("%H:%M:%S", time.gmtime(each * (self.epochs - epoch - 1)))
        print(
            f"epoch {epoch + 1}/{self.epochs}  loss {logs['loss']:.4f}  dice {logs['dice']:.4f}  "
            f"val loss {logs['val_loss']:.4f}  val dice {logs['val_dice']:.4f}  {each:.1f} s each, {left} left",
            flush=True,
        )
