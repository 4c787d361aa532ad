"""A trained network at another input size, and as one graph."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
from keras import layers

from convert.pruning.cost import mmac
from seg_edge.errors import ModelError
from train.keras_model import at_size, compiled
from train.unet import unet


def test_resizing_keeps_the_weights() -> None:
    model = unet((32, 32), 3, (4, 6, 8), stem_stride=2)
    larger = at_size(model, (64, 40))
    assert larger.input_shape == (None, 40, 64, 3)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), larger.get_weights(), strict=True))
    assert mmac(larger) == pytest.approx(mmac(model) * 64 * 40 / 32**2)
    assert at_size(model, (32, 32)) is model
    with pytest.raises(ModelError, match="36x64 does not fit.*multiples of 8x8"):
        at_size(model, (36, 64))


def test_global_averages_work_at_any_size() -> None:
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(4, 3, strides=4, padding="same")(image)
    x = layers.Multiply()([x, layers.Conv2D(4, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))])
    assert at_size(keras.Model(image, x), (64, 40)).output_shape == (None, 10, 16, 4)


def test_a_model_of_fixed_size_is_refused() -> None:
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Reshape((32, 32, 2))(layers.Dense(32 * 32 * 2)(layers.Flatten()(image)))
    with pytest.raises(ModelError, match="only at 32x32, not at 64x64"):
        at_size(keras.Model(image, x), (64, 64))


def test_a_compiled_network_gives_the_layers_output_and_follows_its_weights() -> None:
    model = unet((32, 32), 3, (4, 6, 8), stem_stride=2)
    images = np.random.default_rng(0).uniform(0, 1, (3, 32, 32, 3)).astype(np.float32)
    infer = compiled(model)
    for _ in range(2):
        np.testing.assert_allclose(infer(images), model(images, training=False), atol=1e-5)
        np.testing.assert_allclose(infer(images[:1]), model(images[:1], training=False), atol=1e-5)
        model.set_weights([weight * 1.5 for weight in model.get_weights()])
