"""A Keras model from a file in the project's form: RGB 0..1 in, logits out, a channel for each class, background first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from seg_edge.errors import ModelError
from seg_edge.labelled import Example
from seg_edge.scores import score
from train.foreign.graph import flatten, with_background, without_last_activation
from train.foreign.input_scale import UNIT, WAYS, InputScale, said_by, split_front, with_input
from train.foreign.reading import read_keras
from train.keras_model import keras_segmenter, load_keras
from train.runs import read_run

TRIED_PHOTOS = 8
SAME = 0.005  # of mean Dice: 0..1 is taken where another way is no better than this
Log = Callable[[str], Any]


@dataclass(frozen=True)
class Told:
    """What the user says of a model from elsewhere, None where nothing.

    Attributes:
        scale: It takes `pixel * scale + offset`, pixels 0..255.
        offset: See `scale`.
        size_wh: Input width and height.
    """

    scale: float | None = None
    offset: float | None = None
    size_wh: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Opened:
    """A model in the project's form.

    Attributes:
        model: Input float32 (1, height, width, 3), RGB 0..1; output float32 (1, h, w, classes).
        output: `logits`, or `probabilities` where these couldn't be cut off.
        about: What was found and done, for the card; empty for a model of our own.
    """

    model: keras.Model
    output: str = "logits"
    about: dict[str, Any] = field(default_factory=dict)


def open_keras(
    path: Path, names: Sequence[str], examples: Sequence[Example], told: Told | None = None, log: Log = print
) -> Opened:
    """Opens a model of our own as it is, and one from elsewhere in our form.

    Args:
        path: A `.keras` or `.h5` file.
        names: The data's classes, background first.
        examples: Photos with masks on which to try what the model takes for a pixel, where it doesn't say so.
        told: What the user says of it.
        log: Is given a line on what was found.

    Raises:
        ModelError: It can't be used, with what to do.
    """
    told = told or Told()
    if read_run(path):
        if told != Told():
            raise ModelError(
                f"{path} was made here, and takes RGB 0..1 at its own size; leave the --input options away."
            )
        return Opened(load_keras(path))
    flat = flatten(read_keras(path), told.size_wh, path)
    logits, cut = without_last_activation(flat)
    channels = int(logits.outputs[0].shape[3])
    about: dict[str, Any] = {"output cut off": cut} if cut else {}
    if channels == len(names) - 1 and (channels == 1 or cut == "sigmoid"):
        logits = with_background(logits)
        about["background"] = f"added to {channels} channel{'s' if channels > 1 else ''}"
    elif channels != len(names):
        raise ModelError(
            f"{path}: it gives {channels} channels, the data has {len(names)} classes with the background: "
            f"{', '.join(names)}."
        )
    rest, *front = split_front(logits)
    model, about["input"] = _with_found_input(path, rest, (front[0], front[1]), names, examples, told, log)
    output = "probabilities" if not cut and _are_probabilities(model) else "logits"
    if cut:
        log(f"{path} ends in a {cut}, which is cut off: logits are what is rounded and enlarged")
    return Opened(model, output, about)


def _with_found_input(
    path: Path,
    rest: keras.Model,
    front: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    examples: Sequence[Example],
    told: Told,
    log: Log,
) -> tuple[keras.Model, str]:
    """The model taking RGB 0..1, and what it took before, in words."""
    if told.scale is not None or told.offset is not None:
        scale = InputScale.scalar(1 / 255 if told.scale is None else told.scale, told.offset or 0.0)
        return with_input(rest, front, scale), f"{scale.name}, as told"
    said = said_by(front[0])
    if said:
        log(f"{path} takes pixels of {said.name}, as its first layers say")
        return with_input(rest, front, said), f"{said.name}, as its first layers say"
    every = -(-len(examples) // TRIED_PHOTOS)
    some = examples[::every]
    ways = WAYS if len(front[1]) == 3 else WAYS[:3]  # the others are of colours
    tried = {way: _mean_dice(with_input(rest, front, way), names, some) for way in ways}
    best = max(ways, key=lambda way: tried[way])
    best = UNIT if tried[UNIT] >= tried[best] - SAME else best
    listed = ", ".join(f"{value:.2f} with {way.name}" for way, value in tried.items())
    log(f"{path} doesn't say what it takes for a pixel; on {len(some)} photos it scores {listed}: taken as {best.name}")
    return with_input(rest, front, best), f"{best.name}, tried: {listed}"


def _mean_dice(model: keras.Model, names: Sequence[str], examples: Sequence[Example]) -> float:
    value = score(keras_segmenter(model, names), examples).mean_dice
    return 0.0 if np.isnan(value) else float(value)


def _are_probabilities(model: keras.Model) -> bool:
    """Do the channels share 1 on any picture? Three are looked at."""
    pictures = np.random.default_rng(0).random((3, *model.input_shape[1:]), np.float32)
    answers = [np.asarray(model(picture[np.newaxis], training=False)) for picture in pictures]
    return all(bool((answer >= 0).all() and np.allclose(answer.sum(axis=-1), 1, atol=1e-3)) for answer in answers)
