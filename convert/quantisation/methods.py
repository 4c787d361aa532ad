"""Methods to convert a Keras model to `.tflite`: post-training int8, int8 with chosen or learnt ranges, float."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convert.quantisation.bias_correction import with_corrected_biases
from convert.quantisation.converter import convert_float, convert_with_ranges, converter_of, to_full_integer
from convert.quantisation.equalise import equalised
from convert.quantisation.fake_quant import Range
from convert.quantisation.fold import fold_batch_norm
from convert.quantisation.qat import fine_tune, fine_tuning_recipe
from convert.quantisation.ranges import METHODS, PERCENTILE, choose_ranges
from seg_edge.errors import DataError, UsageError
from seg_edge.evaluation.data_folder import Example
from seg_edge.photo.read import read_photo
from seg_edge.preprocess import Preprocessor
from train.dataset import Dataset
from train.keras_model import KerasBackend, TrainedModel

KINDS = ("int8", "float16", "float32")


@dataclass(frozen=True)
class Method:
    """How a model is converted.

    Attributes:
        kind: One of `KINDS`; the rest is for `int8`.
        ranges: How the activations' ranges are chosen, one of `convert.quantisation.ranges.METHODS`; `minmax` without
            `qat` leaves it to the converter, else channels are equalised first; biases are corrected without `qat`.
        percentile: For the ranges of that name, see `convert.quantisation.ranges.by_percentile`.
        qat: Epochs of quantisation-aware fine-tuning.

    Raises:
        UsageError: A value is invalid.
    """

    kind: str = "int8"
    ranges: str = "minmax"
    percentile: float = PERCENTILE
    qat: int = 0

    def __post_init__(self) -> None:
        for option, value, known in (("--kind", self.kind, KINDS), ("--ranges", self.ranges, METHODS)):
            if value not in known:
                raise UsageError(f"{option} must be one of {', '.join(known)}, got {value!r}.")
        if not 50 < self.percentile <= 100:
            raise UsageError(f"--percentile must be above 50 and at most 100, got {self.percentile:g}.")
        if self.qat < 0:
            raise UsageError(f"--qat must be a number of epochs, got {self.qat}.")
        if self.kind != "int8" and (self.qat or self.ranges != "minmax"):
            raise UsageError(f"--ranges and --qat are for int8; {self.kind} has no ranges.")

    @property
    def uses_converter_ranges(self) -> bool:
        """Whether the converter finds the ranges itself."""
        return self.ranges == "minmax" and not self.qat


def convert_int8(model: keras.Model, photos: Sequence[Example]) -> bytes:
    """Post-training full-integer quantisation, with ranges found by the converter.

    Args:
        model: Input float32 (batch, height, width, 3), RGB 0..1.
        photos: Photos to calibrate the activations' ranges on; at least one.

    Returns:
        The flatbuffer: uint8 (1, height, width, 3) in, with pixels as they are, uint8 logits out.

    Raises:
        ModelError: The result isn't full-integer.
    """
    converter = converter_of(model)
    converter.representative_dataset = lambda: _calibration_batches(model, photos)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return to_full_integer(converter)


def _calibration_batches(model: keras.Model, photos: Sequence[Example]) -> Iterator[list[np.ndarray]]:
    preprocess = Preprocessor(KerasBackend(model).input, scale=1 / 255, offset=0.0)
    for index, example in enumerate(photos):
        tensor = preprocess(read_photo(example.image))
        if index == 0:  # include black and white, so the input's range is 0..1 and a pixel quantises to itself
            tensor[0, 0, 0], tensor[0, 0, 1] = 0.0, 1.0
        yield [tensor]


@dataclass(frozen=True, eq=False)
class Converted:
    """A converted model.

    Attributes:
        content: The flatbuffer.
        folded: The quantised network without batch normalisation; None if the converter folded it.
        ranges: Its tensors' ranges.
        qat: The fine-tuning's `run.json`; None without fine-tuning.
    """

    content: bytes
    folded: keras.Model | None = None
    ranges: Mapping[str, Range] | None = None
    qat: Mapping[str, Any] | None = None


def convert_model(
    method: Method,
    source: TrainedModel,
    data: Dataset,
    photos: Sequence[Example],
    qat_out: Path,
    *,
    resume: bool = False,
    force: bool = False,
) -> Converted:
    """Converts a trained model; a fine-tuning is saved in `qat_out`."""
    if method.kind != "int8":
        return Converted(convert_float(source.model, method.kind))
    if method.uses_converter_ranges:
        return Converted(convert_int8(source.model, photos))
    images = calibration_images(source.model, photos)
    folded, ranges = calibrate(method, source.model, images)
    if not method.qat:
        folded = with_corrected_biases(folded, images)
        return Converted(convert_with_ranges(folded, ranges), folded, ranges)
    recipe = fine_tuning_recipe(source.run, method.qat)
    start = {"ranges": method.ranges, "percentile": method.percentile, "calibration_photos": len(photos)}
    parent = {**source.provenance, "quantisation": start}
    folded, ranges, run = fine_tune(folded, ranges, data, recipe, qat_out, parent=parent, resume=resume, force=force)
    return Converted(convert_with_ranges(folded, ranges), folded, ranges, run)


def calibration_images(model: keras.Model, photos: Sequence[Example]) -> list[np.ndarray]:
    """The photos as the model's input, float32 (1, height, width, 3), RGB 0..1."""
    return [tensor for (tensor,) in _calibration_batches(model, photos)]


def calibrate(
    method: Method, model: keras.Model, images: Sequence[np.ndarray]
) -> tuple[keras.Model, Mapping[str, Range]]:
    """The model without batch normalisation and with equalised channels, and its tensors' ranges on the images."""
    folded = equalised(fold_batch_norm(model), images)
    return folded, choose_ranges(folded, images, method.ranges, method.percentile)


def evenly_spaced(examples: Sequence[Example], count: int) -> list[Example]:
    """At most `count` evenly spaced examples.

    Raises:
        DataError: There are none.
    """
    if not examples:
        raise DataError("the train part is empty; calibration needs photos.")
    picked = np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int)
    return [examples[index] for index in picked]
