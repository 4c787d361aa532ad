"""Tied channels are removed together, and the narrow model equals the wide one with these channels set to zero."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from convert.pruning.channels import find_channels
from convert.pruning.cost import layer_costs, mmac, parameters
from convert.pruning.narrow import narrow
from seg_edge.errors import ModelError
from train.unet import unet

SHAPES = [("concatenate", 1), ("concatenate", 2), ("add", 1), ("add", 2)]


def separable(widths: tuple[int, ...] = (4, 6)) -> keras.Model:
    """An encoder-decoder of depthwise and separable convolutions, a stride of 2 and an addition."""
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(widths[0], 3, strides=2, padding="same", use_bias=False, name="stem_conv")(image)
    x = skip = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.ReLU(name="depthwise_relu")(layers.BatchNormalization(name="depthwise_norm")(x))
    x = layers.Conv2D(widths[1], 1, name="pointwise")(x)
    x = layers.SeparableConv2D(widths[0], 3, padding="same", depth_multiplier=2, name="separable_conv")(x)
    x = layers.UpSampling2D(name="up")(layers.BatchNormalization(name="separable_norm")(x))
    x = layers.ReLU(name="add_relu")(layers.Add(name="add")([skip, x]))
    return keras.Model(image, layers.Conv2D(3, 1, name="logits")(x), name="separable")


def shake(model: keras.Model, seed: int = 0) -> keras.Model:
    """Weights as after training: biases, shifts and moving statistics that aren't 0 and 1."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        values = [random.normal(0, 0.5, w.shape) for w in layer.get_weights()]
        if isinstance(layer, layers.BatchNormalization):
            values[3] = random.uniform(0.3, 2.0, values[3].shape)  # variances
        layer.set_weights(values)
    return model


def small(decoder: str, stem_stride: int, widths: tuple[int, ...] = (4, 6, 8)) -> keras.Model:
    return shake(unet((32, 32), 3, widths, stem_stride=stem_stride, decoder=decoder))


def photos(model: keras.Model, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((2, *model.input_shape[1:]), np.float32)


def silence(model: keras.Model, layer: str, channel: int) -> None:
    """Makes a convolution output zeros: by its batch normalisation if it has one, else by its own weights."""
    norm = layer.replace("_conv", "_norm")
    target = model.get_layer(norm if norm != layer else layer)
    weights = target.get_weights()
    if isinstance(target, layers.BatchNormalization):
        weights[0][channel] = weights[1][channel] = 0  # gamma, beta
    elif isinstance(target, layers.Conv2DTranspose):
        weights[0][:, :, channel], weights[1][channel] = 0, 0
    else:
        for weight in weights:
            weight[..., channel] = 0
    target.set_weights(weights)


def remove_shifts(model: keras.Model) -> None:
    """Makes the depthwise convolution of `separable()` map zeros to zeros: no bias, no shift."""
    kernel, bias = model.get_layer("depthwise").get_weights()
    model.get_layer("depthwise").set_weights([kernel, 0 * bias])
    gamma, beta, mean, variance = model.get_layer("depthwise_norm").get_weights()
    model.get_layer("depthwise_norm").set_weights([gamma, 0 * beta, 0 * mean, variance])


@pytest.mark.parametrize(("decoder", "stem_stride"), SHAPES)
def test_removing_nothing_keeps_the_output_bit_for_bit(decoder: str, stem_stride: int, tmp_path: Path) -> None:
    model = small(decoder, stem_stride)
    unchanged = narrow(model, np.ones(len(find_channels(model).groups), bool))
    assert np.array_equal(model(photos(model)), unchanged(photos(model)))
    assert [layer.name for layer in unchanged.layers] == [layer.name for layer in model.layers]


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([*SHAPES, None]), st.lists(st.integers(2, 7), min_size=2, max_size=3), st.data())
def test_the_narrow_model_equals_the_wide_one_with_zeros(
    shape: tuple[str, int] | None, widths: list[int], data: st.DataObject
) -> None:
    model = small(*shape, tuple(widths)) if shape else shake(separable((widths[0], widths[1])))
    channels = find_channels(model)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(channels.groups), max_size=len(channels.groups))))
    for numbers in channels.by_layers().values():
        keep[numbers[0]] = True
    if shape is None:  # else the depthwise convolution and its normalisation would shift the zeros
        remove_shifts(model)
    narrowed = narrow(model, keep)
    for number in np.flatnonzero(~keep):
        for layer, channel in channels.groups[number].producers:
            silence(model, layer, channel)
    np.testing.assert_allclose(narrowed(photos(model)), model(photos(model)), rtol=1e-4, atol=1e-4)
    removed = sum(len(channels.groups[number].producers) for number in np.flatnonzero(~keep))
    producers = ("Conv2D", "Conv2DTranspose", "SeparableConv2D")
    before, after = (sum(c.channels for c in layer_costs(m) if c.kind in producers) for m in (model, narrowed))
    assert before - after == removed


def test_an_addition_ties_both_inputs() -> None:
    groups = find_channels(small("add", 2, (4, 6))).groups
    tied = [group.producers for group in groups if len(group.producers) > 1]
    assert tied == [(("down0_b_conv", i), ("up0_narrow", i)) for i in range(4)]
    assert groups[4].consumers == ("down1_a_conv", "up0_b_conv")


def test_a_concatenation_ties_nothing_and_logits_are_kept() -> None:
    groups = find_channels(small("concatenate", 1, (4, 6))).groups
    assert all(len(group.producers) == 1 for group in groups)
    assert "logits" not in {group.producers[0][0] for group in groups}
    assert len(groups) == 4 * 5 + 6 * 2


def test_a_narrow_model_can_be_saved_and_loaded(tmp_path: Path) -> None:
    model = small("concatenate", 1)
    keep = np.random.default_rng(0).random(len(find_channels(model).groups)) > 0.3
    narrowed = narrow(model, keep)
    narrowed.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(photos(model)), narrowed(photos(model)))
    assert parameters(loaded) < parameters(model)


def gated() -> keras.Model:
    """Squeeze and excitation: each channel is scaled by a small network over all channels' averages."""
    image = keras.Input((32, 32, 3), name="image")
    x = layers.ReLU()(layers.Conv2D(8, 3, strides=4, padding="same", name="features")(image))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="gate")(layers.Conv2D(4, 1, name="squeeze")(gate))
    return shake(keras.Model(image, layers.Conv2D(2, 1, name="logits")(layers.Multiply()([x, gate]))))


def test_a_gate_is_removed_with_its_channel() -> None:
    model = gated()
    channels = find_channels(model)
    assert [tuple(name for name, _ in group.producers) for group in channels.groups] == [
        *[("features", "gate")] * 8,
        *[("squeeze",)] * 4,
    ]
    narrowed = narrow(model, np.arange(len(channels.groups)) != 3)
    silence(model, "features", 3)
    np.testing.assert_allclose(narrowed(photos(model)), model(photos(model)), rtol=1e-4, atol=1e-4)


def test_costs_of_the_full_unet_match_known_values() -> None:
    model = unet((256, 256), 4)
    assert parameters(model) == 31_049_604
    assert sum(cost.parameters for cost in layer_costs(model)) == 31_049_604
    assert mmac(model) == pytest.approx(48_180, abs=1)


def test_costs_by_hand() -> None:
    costs = {cost.name: cost.macs for cost in layer_costs(separable((4, 6)))}
    assert costs["stem_conv"] == 16 * 16 * 9 * 3 * 4
    assert costs["depthwise"] == 8 * 8 * 9 * 8
    assert costs["separable_conv"] == 8 * 8 * (9 * 12 + 12 * 4)
    assert costs["stem_norm"] == 0
    assert {c.name: c.macs for c in layer_costs(small("concatenate", 1))}["up0_transpose"] == 16 * 16 * 4 * 6 * 4


def unsupported(kind: str) -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)
    if kind == "shared":
        twice = layers.Conv2D(4, 3, padding="same", name="twice")
        return keras.Model(image, twice(twice(x)))
    if kind == "two outputs":
        return keras.Model(image, [x, layers.ReLU(name="second")(x)])
    if kind == "groups":
        return keras.Model(image, layers.Conv2D(4, 3, groups=2, name="grouped")(x))
    if kind == "inner model":
        inner = keras.Model(image, x, name="inner")
        outer = keras.Input((8, 8, 3))
        return keras.Model(outer, inner(outer))
    x = layers.Reshape((8, 16, 2), name="mixer")(x)
    return keras.Model(image, layers.Conv2D(2, 1)(x))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("shared", "'twice' is used 2 times"),
        ("two outputs", "2 outputs"),
        ("groups", "'grouped' convolves in 2 groups"),
        ("inner model", "'inner' is a Functional"),
        ("reshape", "'mixer' is a Reshape"),
    ],
)
def test_unsupported_graphs_are_refused_by_name(kind: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_channels(unsupported(kind))


def test_a_softmax_keeps_all_its_channels() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, activation="softmax", name="attention")(image)
    model = keras.Model(image, layers.Conv2D(2, 1)(layers.Conv2D(5, 1, name="free")(x)))
    assert {group.producers[0][0] for group in find_channels(model).groups} == {"free"}


def test_removing_all_channels_of_a_layer_is_refused() -> None:
    model = small("add", 1)
    with pytest.raises(ModelError, match="'down0_a_conv' would be left without any channel"):
        narrow(model, np.zeros(len(find_channels(model).groups), bool))
