"""A Keras model from a file in the project's form: RGB 0..1 in, logits out, a channel for each class."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seg_edge.errors import ModelError, UsageError
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.scores import score
from seg_edge.system.files import atomic_write, write_file
from train.dataset import Dataset, open_dataset, open_split
from train.foreign.graph import flatten, with_background, with_margin, without_last_activation
from train.foreign.input_scale import UNIT, WAYS, InputScale, split_front, stated_by, with_input
from train.foreign.reading import read_keras
from train.keras_model import keras_segmenter, load_keras
from train.runs import RUN_NAME, SPLIT_NAME, read_run, sha256_of, versions

TRIED_PHOTOS = 8
SAME = 0.005  # of mean Dice: 0..1 is taken where another way is no better than this
Log = Callable[[str], Any]


@dataclass(frozen=True)
class InputOptions:
    """What the user says of the input of a model from elsewhere; None where nothing was said.

    Attributes:
        scale: It takes `pixel * scale + offset`, pixels 0..255.
        offset: See `scale`.
        size_wh: Input width and height.
    """

    scale: float | None = None
    offset: float | None = None
    size_wh: tuple[int, int] | None = None


def import_model(
    path: Path, data: Path, split: Path | None = None, options: InputOptions | None = None, log: Log = print
) -> tuple[Path, Dataset]:
    """A model in the project's form, with the split photos it is judged on.

    One that was made here is taken as it is. Of one from elsewhere a copy in our form is written into a folder beside
    it, `<stem>_imported/`, and taken again the next time.

    Args:
        path: A `.keras` or `.h5` file.
        data: The data folder.
        split: `split.json`; None for the one beside the model. Where a model from elsewhere has none, it is drawn.
        options: What the user says of its input.
        log: Receives a line on what was found.

    Raises:
        DataError: The data folder or the split can't be used.
        ModelError: The model can't, with what to do.
    """
    options, own_split = options or InputOptions(), path.parent / SPLIT_NAME
    if read_run(path):
        if options != InputOptions():
            raise UsageError(
                f"{path} was made here and takes RGB 0..1 at its own size; leave the --input options away."
            )
        return path, open_split(data, split or own_split)
    model = read_keras(path)  # first, as it says what is wrong with the file
    folder = path.with_name(f"{path.stem}_imported")
    target = folder / "model.keras"
    drawn = folder / SPLIT_NAME
    dataset = split_of(path, data, split or (drawn if drawn.is_file() and not own_split.is_file() else None), log)
    parent = {"file": path.name, "sha256": sha256_of(path), "told": dataclasses.asdict(options)}
    done = read_run(target) if target.is_file() else {}
    if done.get("parent") == json.loads(json.dumps(parent)) and done.get("classes") == list(dataset.classes):
        log(f"{path} was imported before: {target}")
        dataset.save_split(folder / SPLIT_NAME)
        return target, dataset
    ours, about = in_our_form(model, path, dataset.classes, dataset.parts["val"], options, log)
    folder.mkdir(exist_ok=True)
    with atomic_write(target) as place:
        ours.save(place)
    dataset.save_split(folder / SPLIT_NAME)
    run = {"parent": parent, "imported": about, "classes": list(dataset.classes), "versions": versions()}
    write_file(folder / RUN_NAME, json.dumps(run, indent=2).encode())
    log(f"{path} takes RGB 0..1 and gives logits in {target}")
    return target, dataset


def split_of(model: Path, data: Path, split: Path | None, log: Log = print) -> Dataset:
    """The split photos that a model is judged on: as given, as in the model's folder, or else drawn, with a note.

    Raises:
        DataError: The data folder or the split can't be used.
    """
    own_split = model.parent / SPLIT_NAME
    if split or own_split.is_file():
        return open_split(data, split or own_split)
    dataset = open_dataset(data, log=log)
    log(
        f"There is no {own_split}, so it is unknown which photos the model was trained on: {dataset.in_words} are "
        "drawn. If it was trained on some of these, its scores say little; give its own with --split."
    )
    return dataset


def open_keras(
    path: Path, names: Sequence[str], examples: Sequence[Example], options: InputOptions | None = None, log: Log = print
) -> keras.Model:
    """A model in the project's form, without a copy of it; see `in_our_form`."""
    if read_run(path):
        return load_keras(path)
    return in_our_form(read_keras(path), path, names, examples, options or InputOptions(), log)[0]


def in_our_form(
    model: keras.Model, path: Path, names: Sequence[str], examples: Sequence[Example], options: InputOptions, log: Log
) -> tuple[keras.Model, dict[str, Any]]:
    """The model taking RGB 0..1 and giving logits, and what was found and done.

    Args:
        model: From elsewhere.
        path: Its file, for messages.
        names: The data's classes, background first.
        examples: Photos with masks on which to try what it takes for a pixel, where it doesn't say so.
        options: What the user says of its input.
        log: Receives a line on what was found.

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
            f"{path}: it gives {channels} channels, the data has {len(names)} classes with the background: "
            f"{', '.join(names)}."
        )
    if cut:
        log(f"{path} ends in a {cut}, which is cut off: logits are what is rounded and enlarged")
    if framed := with_margin(logits):
        (height, width), (rows, columns) = logits.input_shape[1:3], logits.output_shape[1:3]
        log(f"{path} answers for the middle {columns}x{rows} of {width}x{height} pixels; the margin is background")
        logits, about["margin"] = framed, [width - columns, height - rows]
    rest, matrix, offset = split_front(logits)
    tried = examples[:: -(-len(examples) // TRIED_PHOTOS)]
    ours, about["input"] = _with_found_input(path, rest, (matrix, offset), names, tried, options, log)
    about["output"] = "probabilities" if not cut and _are_probabilities(ours) else "logits"
    return ours, about


def _with_found_input(
    path: Path,
    rest: keras.Model,
    front: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    examples: Sequence[Example],
    options: InputOptions,
    log: Log,
) -> tuple[keras.Model, str]:
    """The model taking RGB 0..1, and what it took before, in words."""
    if options.scale is not None or options.offset is not None:
        scale = InputScale.scalar(1 / 255 if options.scale is None else options.scale, options.offset or 0.0)
        return with_input(rest, front, scale), f"{scale.name}, as given"
    if found := stated_by(front[0]):
        log(f"{path} takes pixels of {found.name}, as its first layers say")
        return with_input(rest, front, found), f"{found.name}, as its first layers say"
    ways = WAYS if len(front[1]) == 3 else WAYS[:3]  # the others are of colours
    tried = {way: _mean_dice(with_input(rest, front, way), names, examples) for way in ways}
    best = max(ways, key=lambda way: tried[way])
    best = UNIT if tried[UNIT] >= tried[best] - SAME else best
    listed = ", ".join(f"{value:.2f} with {way.name}" for way, value in tried.items())
    log(f"{path} doesn't say what it takes for a pixel; {len(examples)} photos score {listed}: taken as {best.name}")
    return with_input(rest, front, best), f"{best.name}, tried: {listed}"


def _mean_dice(model: keras.Model, names: Sequence[str], examples: Sequence[Example]) -> float:
    value = score(keras_segmenter(model, names), examples).mean_dice
    return 0.0 if np.isnan(value) else float(value)


def _are_probabilities(model: keras.Model) -> bool:
    """Do the channels share 1 on any picture?"""
    return all((out >= 0).all() and np.allclose(out.sum(axis=-1), 1, atol=1e-3) for out in _outputs(model))


def _outputs(model: keras.Model) -> list[np.ndarray]:
    """Its outputs for three pictures of noise."""
    pictures = np.random.default_rng(0).random((3, *model.input_shape[1:]), np.float32)
    return [np.asarray(model(picture[np.newaxis], training=False)) for picture in pictures]
