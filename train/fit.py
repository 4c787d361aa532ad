"""Trains a U-Net on a data folder: `python train/fit.py --data DIR --out RUN`.

RUN then holds `model.keras` (the best epoch by validation Dice), `run.json` (recipe, seed, split fingerprint, versions,
scores), `split.json` (which photos it never saw), `log.csv`, `curves.png`, `tensorboard/`, and `last.weights.h5`,
from which `--resume` continues after an interruption to the same result.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import math
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import train.quiet  # noqa: F401

# isort: split

import keras
import tensorflow as tf

from seg_edge import __version__
from seg_edge.errors import DataError, OutputError, SegEdgeError
from train.augment import Augmentation
from train.callbacks import Checkpoint, Progress
from train.dataset import Dataset, fixed_stream, open_dataset, training_stream
from train.losses import LOSSES, DiceCoefficient
from train.recipes import RECIPES, Recipe
from train.unet import unet


def fit(
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    initial: Path | None = None,
) -> dict[str, Any]:
    """Trains and writes the run folder; returns what `run.json` holds.

    Args:
        data: The split photos.
        recipe: Every value of the training.
        out: The run folder; made when it isn't there.
        resume: Continue the run that `out` holds.
        force: Replace it.
        initial: A `.keras` of the same shape to start from instead of random weights.
    """
    keras.utils.set_random_seed(recipe.seed)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    keras.mixed_precision.set_global_policy("mixed_float16" if on_gpu else "float32")

    size_wh, cached = (recipe.size, recipe.size), round(recipe.size * recipe.cache_zoom)
    steps = math.ceil(len(data.parts["train"]) / recipe.batch)
    model = _build(data, recipe, steps, jit=on_gpu)
    if initial:
        _copy_weights(initial, model)
    _prepare_run(out, data, recipe, resume=resume, force=force)
    checkpoint = Checkpoint(out, steps)
    done = checkpoint.restore(model) if resume else 0
    if done < recipe.epochs:
        model.fit(
            training_stream(
                data.parts["train"],
                size_wh=size_wh,
                cache_size_wh=(cached, cached),
                batch=recipe.batch,
                settings=recipe.augmentation,
                seed=recipe.seed,
                skip_batches=done * steps,
            ),
            steps_per_epoch=steps,
            initial_epoch=done,
            epochs=recipe.epochs,
            validation_data=fixed_stream(data.parts["val"], size_wh, recipe.batch),
            callbacks=_callbacks(checkpoint, recipe, out),
            shuffle=False,  # the stream is shuffled
            verbose=0,
        )
    plot_curves(out / "log.csv", out / "curves.png")
    return _write_run(data, recipe, out, checkpoint, on_gpu, initial)


def _build(data: Dataset, recipe: Recipe, steps: int, *, jit: bool) -> keras.Model:
    classes = len(data.classes)
    model = unet(
        (recipe.size, recipe.size),
        classes,
        recipe.widths,
        stem_stride=recipe.stem_stride,
        decoder=recipe.decoder,
        dropout=recipe.dropout,
    )
    if recipe.optimizer not in ("adam", "adamw"):
        raise ValueError(f"optimizer is adam or adamw, got {recipe.optimizer!r}")
    optimizer_class = keras.optimizers.AdamW if recipe.optimizer == "adamw" else keras.optimizers.Adam
    optimizer = optimizer_class(
        _schedule(recipe, steps),
        weight_decay=recipe.weight_decay or None,
        use_ema=recipe.ema > 0,
        ema_momentum=recipe.ema or 0.99,
        ema_overwrite_frequency=None,
    )
    loss = _named(LOSSES, recipe.loss, "loss")(classes, recipe.class_weights or None)
    model.compile(optimizer, loss, metrics=[DiceCoefficient(classes)], jit_compile=jit)
    optimizer.build(model.trainable_variables)
    return model


def _schedule(recipe: Recipe, steps: int) -> Any:
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule != "cosine":
        raise ValueError(f"schedule is constant or cosine, got {recipe.schedule!r}")
    warmup = max(1, recipe.epochs * steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 100,
        max(1, recipe.epochs * steps - warmup),
        alpha=0.01,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )


def _named(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} is one of {', '.join(table)}, got {name!r}")
    return table[name]


def _copy_weights(source: Path, model: keras.Model) -> None:
    try:
        model.set_weights(keras.saving.load_model(source, compile=False).get_weights())
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{source}: can't start from it, the models differ or the file is damaged ({first})."
        ) from error


def _callbacks(checkpoint: Checkpoint, recipe: Recipe, out: Path) -> list[keras.callbacks.Callback]:
    averaged = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    board = keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False)
    return [*averaged, keras.callbacks.TerminateOnNaN(), checkpoint, board, Progress(recipe.epochs)]


def plot_curves(log: Path, picture: Path) -> None:
    """Loss and Dice over the epochs, train and validation, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with log.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [int(float(row["epoch"])) for row in rows]
    for axis, name, label in zip(axes, ("loss", "dice"), ("loss", "mean Dice coefficient"), strict=True):
        for key, what in ((name, "train (varied photos)"), (f"val_{name}", "validation")):
            axis.plot(epochs, [float(row[key]) for row in rows], label=what)
        axis.set(xlabel="epoch", ylabel=label)
        axis.grid(alpha=0.3)
    axes[1].set_ylim(0, 1)
    axes[0].legend()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _write_run(
    data: Dataset,
    recipe: Recipe,
    out: Path,
    checkpoint: Checkpoint,
    on_gpu: bool,
    initial: Path | None,
) -> dict[str, Any]:
    best = max(checkpoint.rows, key=lambda row: row["val_dice"])
    run = {
        "recipe": dataclasses.asdict(recipe),
        "initial": _parentage(initial) if initial else None,
        "seed": recipe.seed,
        "classes": list(data.classes),
        "split": {
            "fingerprint": data.fingerprint,
            "seed": data.seed,
            **{part: len(examples) for part, examples in data.parts.items()},
        },
        "versions": {
            "seg-edge": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
        "gpu": on_gpu,
        "seconds": round(sum(row["seconds"] for row in checkpoint.rows), 1),
        "scores": {
            "what": "mean Dice over the classes without background, at the input's size, of the epoch that was kept",
            "val_dice": best["val_dice"],
            "epoch": int(best["epoch"]),
        },
    }
    temporary = out / "run.tmp"
    temporary.write_text(json.dumps(run, indent=2), encoding="utf-8")
    temporary.replace(out / "run.json")
    return run


def _parentage(initial: Path) -> dict[str, Any]:
    """The model a training started from: its SHA-256 and how it was trained itself, as far as that lies beside it."""
    path = initial.parent / "run.json"
    run = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    earlier = {key: run[key] for key in ("recipe", "initial", "split") if key in run}
    return {"sha256": hashlib.sha256(initial.read_bytes()).hexdigest(), **earlier}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line: a recipe's name, and an option for every value in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="data folder with images/ and masks/")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--classes", type=_words, help="names, where the data folder has no labels.txt: cat,dog")
    parser.add_argument("--group", default="none", help="keep together: none, similar, or a regular expression")
    parser.add_argument("--names", default="", help="train on photos in whose name this regular expression is found")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--initial", type=Path, help="a .keras to start from")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for all cores")
    going_on = parser.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="continue an interrupted run")
    going_on.add_argument("--force", action="store_true", help="replace the run that is there")
    values = parser.add_argument_group("values of the recipe")
    for owner in (Recipe(), Augmentation()):
        for field in dataclasses.fields(owner):
            example = getattr(owner, field.name)
            if isinstance(example, Augmentation):
                continue
            values.add_argument(f"--{field.name.replace('_', '-')}", type=_parser_of(field.name, example))
    return parser.parse_args(arguments)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _parser_of(name: str, example: object) -> Any:
    if isinstance(example, tuple):
        number = float if name == "class_weights" else int

        def numbers(text: str) -> tuple[float, ...]:
            return tuple(number(word) for word in _words(text))

        numbers.__name__ = "list of numbers"  # argparse says: invalid list of numbers value: 'a,b'
        return numbers
    return type(example)


def main() -> None:
    """Runs the command; exits with 1 and one line when it can't."""
    given = parse_arguments()
    names = [f.name for f in (*dataclasses.fields(Recipe), *dataclasses.fields(Augmentation))]
    values = {name: getattr(given, name, None) for name in names}
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    try:
        recipe = RECIPES[given.recipe]().replace(**{n: v for n, v in values.items() if v is not None})
        data = open_dataset(
            given.data,
            classes=given.classes,
            seed=given.split_seed,
            group=given.group,
            names=given.names,
        )
        parts = ", ".join(f"{len(examples)} {part}" for part, examples in data.parts.items())
        print(f"{', '.join(data.classes[1:])}: {parts} photos; recipe {given.recipe}, {recipe.epochs} epochs")
        run = fit(data, recipe, given.out, resume=given.resume, force=given.force, initial=given.initial)
    except (SegEdgeError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except tf.errors.OpError as error:
        sys.exit(f"error: {_root_cause(error)}")
    scores = run["scores"]
    print(f"best val dice {scores['val_dice']:.4f} in epoch {scores['epoch']}: {given.out / 'model.keras'}")


def _prepare_run(out: Path, data: Dataset, recipe: Recipe, *, resume: bool, force: bool) -> None:
    """Makes the run folder, or checks that what is in it may be continued or replaced.

    Raises:
        OutputError: There is a run already and neither was asked for, or it is another than the one to continue.
    """
    state = out / "recipe.json"
    document = {"fingerprint": data.fingerprint, "recipe": dataclasses.asdict(recipe)}
    text = json.dumps(document, indent=2)
    if state.is_file() and not force:
        if not resume:
            raise OutputError(f"{out} holds a run already; --resume continues it, --force replaces it.")
        if state.read_text(encoding="utf-8") != text:
            raise OutputError(
                f"{out} was trained with another recipe or other photos; give the same, or another --out."
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    for name in ("last.weights.h5", "log.csv", "model.keras", "run.json"):
        (out / name).unlink(missing_ok=True)
    data.save_split(out / "split.json")
    state.write_text(text, encoding="utf-8")


def _root_cause(error: tf.errors.OpError) -> str:
    """The sentence of our own error that TensorFlow wrapped, when there is one."""
    lines = [line for line in str(error.message).splitlines() if "Error: " in line]
    return lines[0].split("Error: ", 1)[1] if lines else str(error.message).splitlines()[0]


if __name__ == "__main__":
    main()
