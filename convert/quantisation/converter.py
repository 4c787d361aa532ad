"""TensorFlow's converter: a Keras model in, a `.tflite` as bytes out, float or int8 with given ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import keras
import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError

from convert.quantisation.fake_quant import Range, with_fake_quant
from convert.tflite_file import check_full_integer, layer_of
from seg_edge.errors import ModelError
from seg_edge.system.native_log import without_native_log


def converter_of(model: keras.Model) -> Any:
    """A `tf.lite.TFLiteConverter` for the model.

    Its batch is fixed to 1: a dynamic one leaves SHAPE and PACK around every transposed convolution.
    """
    height, width = model.input_shape[1:3]
    inputs = keras.Input((height, width, 3), batch_size=1, name="image")
    return tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))


def convert(converter: Any) -> bytes:
    """The flatbuffer, without the converter's output.

    Raises:
        ModelError: The model has an operation for which `.tflite` has no operator.
    """
    try:
        with without_native_log(), redirect_stdout(StringIO()):
            content: bytes = converter.convert()
    except (ConverterError, RuntimeError) as error:
        raise ModelError(_reason(str(error))) from error
    return content


def _reason(message: str) -> str:
    """One sentence from the many lines of the converter's error."""
    if found := re.search(r'"(\w+):", "([^"@]+)@.*?op is neither a custom op nor a flex op', message):
        return (
            f"a .tflite has no operator for {found[1]} in the layer {layer_of(found[2])!r}. Replace the layer and "
            "train again."
        )
    return f"TensorFlow can't convert the model ({(message.splitlines() or ['no reason given'])[0][:200]})."


def convert_float(model: keras.Model, dtype: str) -> bytes:
    """Converts without quantisation, for comparison.

    Args:
        model: Input float32 (batch, height, width, 3), RGB 0..1.
        dtype: `float32`, or `float16`: weights stored as halves, half the size; the device chooses the precision.

    Returns:
        The flatbuffer: float32 (1, height, width, 3) in, RGB 0..1, float32 logits out.
    """
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype must be float16 or float32, got {dtype!r}")
    converter = converter_of(model)
    if dtype == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return convert(converter)


def convert_with_ranges(folded: keras.Model, ranges: Mapping[str, Range]) -> bytes:
    """Converts to full integers with given ranges of the activations; the kernels' follow from their weights.

    Args:
        folded: The model without batch normalisation, see `convert.quantisation.fold.fold_batch_norm`.
        ranges: Ranges of all rounded tensors, see `convert.quantisation.ranges.choose_ranges`.

    Returns:
        The flatbuffer, as from `convert.quantisation.methods.convert_int8`.

    Raises:
        ModelError: The result isn't full-integer.
    """
    return to_full_integer(converter_of(with_fake_quant(folded, ranges, kernels=())))


def to_full_integer(converter: Any) -> bytes:
    """The flatbuffer with uint8 in and out, from a converter that has ranges or a representative dataset.

    Raises:
        ModelError: The result isn't full-integer.
    """
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    content = convert(converter)
    check_full_integer(content)
    return content
