"""Opens a Keras model in the project's form: RGB 0..1 in, logits out, a channel for each class."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seg_edge.callbacks import Log
from seg_edge.errors import ModelError, UsageError
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.scores import score
from seg_edge.system.files import atomic_write, write_file
from train.dataset import Dataset, open_dataset, open_split
from train.foreign.graph import flatten, with_background, with_margin, without_last_activation
from train.foreign.input_scale import SCALES, UNIT, InputScale, split_front, stated_by, with_input
from train.foreign.reading import read_keras
from train.keras_model import TrainedModel, keras_segmenter, load_keras
from train.runs import RUN_NAME, SPLIT_NAME, read_run, sha256_of, versions

TRIED_PHOTOS = 8
SAME = 0.005  # mean Dice by which another scale must beat 0..1


@dataclass(frozen=True)
class InputOptions:
    """Options for the input of a model from elsewhere; None if not given.

    Attributes:
        scale: The model expects `pixel * scale + offset`, pixels 0..255.
        offset: See `scale`.
        size_wh: Input width and height.
    """

    scale: float | None = None
    offset: float | None = None
    size_wh: tuple[int, int] | None = None


def import_model(
    path: Path, data: Path, split: Path | None = None, options: InputOptions | None = None, log: Log = print
) -> tuple[TrainedModel, Dataset]:
    """A model in the project's form, with the dataset it is scored on.

    A model of this project is loaded unchanged. One from elsewhere is converted into a folder next to it,
    `<stem>_imported/`, and reused from there the next time.

    Args:
        path: A `.keras` or `.h5` file.
        data: The data folder.
        split: `split.json`; None for the one next to the model. If a model from elsewhere has none, one is drawn.
        options: Options for its input.
        log: Receives lines on what was found.

    Raises:
        DataError: The data folder or the split can't be used.
        ModelError: The model can't be used; the message says what to do.
    """
    options, own_split = options or InputOptions(), path.parent / SPLIT_NAME
    if read_run(path):
        if options != InputOptions():
            raise UsageError(
                f"{path} has a {RUN_NAME}, so it expects RGB 0..1 at its own size; leave out the --input options."
            )
        return TrainedModel.load(path), open_split(data, split or own_split)
    model = read_keras(path)  # first, for its clear errors
    folder = path.with_name(f"{path.stem}_imported")
    target = folder / "model.keras"
    drawn_split = folder / SPLIT_NAME
    if not split and drawn_split.is_file() and not own_split.is_file():
        split = drawn_split
    dataset = split_of(path, data, split, log)
    parent = {"file": path.name, "sha256": sha256_of(path), "told": dataclasses.asdict(options)}
    done = read_run(target) if target.is_file() else {}
    if done.get("parent") == json.loads(json.dumps(parent)) and done.get("classes") == list(dataset.classes):
        log(f"{path} was imported before: {target}")
        dataset.save_split(folder / SPLIT_NAME)
        return TrainedModel.load(target), dataset
    converted, about = in_our_form(model, path, dataset.classes, dataset.parts["val"], options, log)
    folder.mkdir(exist_ok=True)
    with atomic_write(target) as temporary:
        converted.save(temporary)
    dataset.save_split(folder / SPLIT_NAME)
    run = {"parent": parent, "imported": about, "classes": list(dataset.classes), "versions": versions()}
    write_file(folder / RUN_NAME, json.dumps(run, indent=2).encode())
    log(f"{path} was converted to take RGB 0..1 and give logits: {target}")
    return TrainedModel.load(target), dataset


def split_of(model: Path, data: Path, split: Path | None, log: Log = print) -> Dataset:
    """The dataset that a model is scored on, with the given split, the one next to the model, or a drawn one.

    Raises:
        DataError: The data folder or the split can't be used.
    """
    own_split = model.parent / SPLIT_NAME
    if split or own_split.is_file():
        return open_split(data, split or own_split)
    dataset = open_dataset(data, log=log)
    log(
        f"There is no {own_split}, so it is unknown which photos the model was trained on; a split is drawn: "
        f"{dataset.in_words}. If the model was trained on held-out photos, its scores say little; give its own split "
        "with --split."
    )
    return dataset


def open_keras(
    path: Path, names: Sequence[str], examples: Sequence[Example], options: InputOptions | None = None, log: Log = print
) -> keras.Model:
    """A model in the project's form, without writing it; see `in_our_form`."""
    if read_run(path):
        return load_keras(path)
    return in_our_form(read_keras(path), path, names, examples, options or InputOptions(), log)[0]


def in_our_form(
    model: keras.Model, path: Path, names: Sequence[str], examples: Sequence[Example], options: InputOptions, log: Log
) -> tuple[keras.Model, dict[str, Any]]:
    """The model converted to RGB 0..1 in and logits out, and what was found and changed.

    Args:
        model: A model from elsewhere.
        path: Its file, for messages.
        names: The data's classes, background first.
        examples: Photos with masks to find its pixel scale with, if its layers don't show it.
        options: Options for its input.
        log: Receives lines on what was found.

    Raises:
        ModelError: It can't be used.
    """
    logits, cut = without_last_activation(flatten(model, options.size_wh, path))
    channels = int(logits.outputs[0].shape[3])
    about: dict[str, Any] = {"cut off": cut} if cut else {}
    if channels == len(names) - 1 and (channels == 1 or cut == "sigmoid"):
        probability = channels == 1 and not cut and all(a.min() >= 0 and a.max() <= 1 for a in _outputs(logits))
        logits = with_background(logits, 0.5 if probability else 0.0)
        about["background"] = f"added to {channels} channel{'s' if channels > 1 else ''}"
    elif channels != len(names):
        raise ModelError(
            f"{path}: its output has {channels} channels, the data has {len(names)} classes with the background: "
            f"{', '.join(names)}."
        )
    if cut:
        log(f"{path} ends in a {cut}, which is removed: quantising and resizing need logits")
    if padded := with_margin(logits):
        (height, width), (rows, columns) = logits.input_shape[1:3], logits.output_shape[1:3]
        log(f"{path} scores only the middle {columns}x{rows} of {width}x{height} pixels; the margin is background")
        logits, about["margin"] = padded, [width - columns, height - rows]
    rest, matrix, offset = split_front(logits)
    sample = examples[:: -(-len(examples) // TRIED_PHOTOS)]
    converted, about["input"] = _with_found_input(path, rest, (matrix, offset), names, sample, options, log)
    about["output"] = "probabilities" if not cut and _are_probabilities(converted) else "logits"
    return converted, about


def _with_found_input(
    path: Path,
    rest: keras.Model,
    front: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    examples: Sequence[Example],
    options: InputOptions,
    log: Log,
) -> tuple[keras.Model, str]:
    """The model with RGB 0..1 as its input, and a description of the input it had before."""
    if options.scale is not None or options.offset is not None:
        scale = InputScale.scalar(1 / 255 if options.scale is None else options.scale, options.offset or 0.0)
        return with_input(rest, front, scale), f"{scale.name}, as given"
    if found := stated_by(front[0]):
        log(f"{path} expects pixels of {found.name}, by its first layers")
        return with_input(rest, front, found), f"{found.name}, by its first layers"
    scales = SCALES if len(front[1]) == 3 else SCALES[:3]  # the others need colours
    dice = {scale: _mean_dice(with_input(rest, front, scale), names, examples) for scale in scales}
    best = max(scales, key=lambda scale: dice[scale])
    best = UNIT if dice[UNIT] >= dice[best] - SAME else best
    listed = ", ".join(f"{value:.2f} with {scale.name}" for scale, value in dice.items())
    log(f"{path} doesn't state its pixel scale; on {len(examples)} photos Dice is {listed}: using {best.name}")
    return with_input(rest, front, best), f"{best.name}, tried: {listed}"


def _mean_dice(model: keras.Model, names: Sequence[str], examples: Sequence[Example]) -> float:
    value = score(keras_segmenter(model, names), examples).mean_dice
    return 0.0 if np.isnan(value) else float(value)


def _are_probabilities(model: keras.Model) -> bool:
    """Whether the channels sum to 1 for any picture."""
    return all((out >= 0).all() and np.allclose(out.sum(axis=-1), 1, atol=1e-3) for out in _outputs(model))


def _outputs(model: keras.Model) -> list[np.ndarray]:
    """Its outputs for three pictures of noise."""
    pictures = np.random.default_rng(0).random((3, *model.input_shape[1:]), np.float32)
    return [np.asarray(model(picture[np.newaxis], training=False)) for picture in pictures]
