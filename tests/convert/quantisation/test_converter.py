"""Layers from elsewhere are converted to full integers, or refused with the layer's name."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import tensorflow as tf
from keras import layers

from convert.quantisation.converter import converter_of, to_full_integer
from convert.tflite_file import check_full_integer
from seg_edge.errors import ModelError
from train.foreign.graph import flatten, with_background, without_last_activation

Layer = Callable[[keras.KerasTensor], keras.KerasTensor]


def full_integer(model: keras.Model) -> bytes:
    """As `convert.quantisation.methods.convert_int8`, on noise."""

    def noise() -> Iterator[list[np.ndarray]]:
        yield [np.random.default_rng(0).random((1, 8, 8, 3), np.float32)]

    converter = converter_of(model)
    converter.representative_dataset = noise
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return to_full_integer(converter)


def foreign(inner: Layer, channels: int = 3, last: str | None = None, name: str = "scores") -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = inner(layers.Conv2D(4, 3, padding="same")(image))
    return keras.Model(image, layers.Conv2D(channels, 1, activation=last, name=name)(x))


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (layers.GroupNormalization(2, name="norm_2"), r"SQUARE in the layer 'norm_2' computed in float"),
        (layers.Activation("elu", name="bend"), r"ELU in the layer 'bend' computed in float"),
        (layers.UpSampling2D(1, interpolation="bicubic", name="up"), r"for ResizeBicubic in the layer 'up'"),
    ],
)
def test_layers_without_an_int8_form_are_refused_with_advice(inner: Layer, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        full_integer(flatten(foreign(inner), None, "m"))
    assert "Replace the layer" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("inner", "channels", "last"),
    [(layers.Identity(), 2, "sigmoid"), (layers.LeakyReLU(name="knick über, unter"), 3, None)],
)
def test_sigmoids_and_names_in_any_script_can_be_converted(inner: Layer, channels: int, last: str | None) -> None:
    model = foreign(inner, channels, last, "Ausgabe ü: 1")
    logits = without_last_activation(flatten(model, None, "m"))[0]
    check_full_integer(full_integer(with_background(logits) if last else logits))
