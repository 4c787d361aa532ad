"""Channels whose values differ in size share int8's steps, and the network's output stays the same."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
from keras import layers

from convert.quantisation.equalise import equalised
from convert.quantisation.fake_quant import with_fake_quant
from convert.quantisation.ranges import choose_ranges


def photos(count: int = 4) -> list[np.ndarray]:
    return [np.random.default_rng(i).uniform(0, 1, (1, 16, 16, 3)).astype(np.float32) for i in range(count)]


def with_biases(model: keras.Model) -> keras.Model:
    generator = np.random.default_rng(0)
    model.set_weights([w if w.ndim > 1 else generator.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


def u_net() -> keras.Model:
    """Skips that are added and concatenated, gates of channels and of pixels, pooling, and layers that can't scale."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    skip = layers.ReLU()(layers.Conv2D(8, 3, padding="same", name="first")(image))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(skip))
    x = layers.Add()([skip, x])
    gate = layers.Conv2D(8, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Activation("sigmoid")(gate)])
    pixel_gate = layers.Activation("sigmoid")(layers.Conv2D(1, 1)(x))
    x = layers.Multiply()([pixel_gate, x])
    side = layers.Activation("tanh")(layers.Conv2D(8, 1)(x))
    x = layers.Concatenate()([x, layers.Multiply()([side, pixel_gate])])
    x = layers.ReLU(6.0)(layers.Conv2D(6, 3, padding="same", name="capped")(layers.MaxPooling2D()(x)))
    x = layers.Conv2D(6, 1, activation="relu", name="fused")(x)
    x = layers.Conv2DTranspose(5, 2, strides=2, name="transpose")(x)
    x = layers.Concatenate()([x, skip])
    x = layers.Activation("swish")(layers.Conv2D(4, 1, name="swish")(x))
    return with_biases(keras.Model(image, layers.Conv2D(2, 1, name="logits")(x)))


def test_the_output_stays_the_same() -> None:
    network = u_net()
    before = network.get_weights()
    result = equalised(network, photos())
    for photo in photos(6):
        np.testing.assert_allclose(result(photo), network(photo), atol=1e-4)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_kernel_is_scaled_wherever_its_channels_may_be() -> None:
    network = u_net()
    result = equalised(network, photos())

    def changed(name: str) -> bool:
        return not np.array_equal(network.get_layer(name).get_weights()[1], result.get_layer(name).get_weights()[1])

    assert all(changed(name) for name in ("first", "depthwise", "fused", "transpose"))
    assert not any(changed(name) for name in ("capped", "swish", "logits"))


def test_small_channels_next_to_large_ones_lose_less_in_int8() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same", name="uneven")(image))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same", name="evens_out")(x))
    network = with_biases(keras.Model(image, layers.Conv2D(2, 1)(x)))
    size = np.geomspace(1, 300, 8)
    kernel, bias = network.get_layer("uneven").get_weights()
    network.get_layer("uneven").set_weights([kernel * size, bias * size])
    kernel, bias = network.get_layer("evens_out").get_weights()
    network.get_layer("evens_out").set_weights([kernel / size[:, np.newaxis], bias])

    def error(model: keras.Model) -> float:
        rounded = with_fake_quant(model, choose_ranges(model, photos(), "minmax"))
        return float(np.mean([np.square(rounded(photo) - model(photo)) for photo in photos()]))

    assert error(equalised(network, photos())) < error(network) / 20


def test_a_channel_that_is_larger_on_other_photos_is_not_cut_off() -> None:
    image = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.Conv2D(2, 1, name="first")(image))
    x = layers.ReLU()(layers.DepthwiseConv2D(1, name="second")(x))
    network = keras.Model(image, layers.Conv2D(2, 1, name="logits")(x))
    network.get_layer("first").set_weights([np.full((1, 1, 3, 2), [20.0, 10.0]), np.array([0.0, -16.0])])
    network.get_layer("second").set_weights([np.ones((1, 1, 2, 1)), np.zeros(2)])
    network.get_layer("logits").set_weights([np.eye(2)[np.newaxis, np.newaxis], np.zeros(2)])
    dark, bright = [photo / 2 for photo in photos()], np.ones((1, 16, 16, 3), np.float32)
    result = equalised(network, dark)
    rounded = with_fake_quant(result, choose_ranges(result, dark, "minmax"))
    np.testing.assert_allclose(np.asarray(rounded(bright))[..., 1], 14.0, atol=0.5)
