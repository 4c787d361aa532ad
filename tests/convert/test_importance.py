"""Each criterion says what its paper says, and 0 means that a channel can go unnoticed."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import tensorflow as tf

from convert.pruning.channels import find_channels
from convert.pruning.importance import ACROSS_LAYERS, CRITERIA, comparable, l1, taylor
from convert.pruning.narrow import narrow
from seg_edge.errors import DataError, ModelError
from tests.convert.test_channels import SHAPES, photos, separable, shake, silence, small, still
from train.losses import cross_entropy, cross_entropy_dice

Batch = tuple[np.ndarray, np.ndarray]


def batches(count: int = 2) -> list[Batch]:
    random = np.random.default_rng(3)
    return [
        (random.random((2, 32, 32, 3), np.float32), random.integers(0, 3, (2, 32, 32), np.uint8)) for _ in range(count)
    ]


def score_of(scores: np.ndarray, model: keras.Model, layer: str, channel: int) -> float:
    groups = find_channels(model).groups
    return float(next(s for s, g in zip(scores, groups, strict=True) if (layer, channel) in g.producers))


@pytest.mark.parametrize("shape", [*SHAPES, None])
def test_channels_without_importance_leave_unnoticed(shape: tuple[str, int] | None) -> None:
    model = small(*shape) if shape else shake(separable())
    if shape is None:
        still(model)
    channels = find_channels(model)
    silenced = [numbers[i % len(numbers)] for i, numbers in enumerate(channels.by_layers().values())]
    for number in silenced:
        for layer, channel in channels.groups[number].producers:
            silence(model, layer, channel)
    scores = l1(model, channels)
    assert set(np.flatnonzero(scores == 0)) == set(silenced)
    np.testing.assert_allclose(narrow(model, scores > 0)(photos(model)), model(photos(model)), rtol=1e-5, atol=1e-5)


def test_a_channel_of_zeros_that_a_depthwise_convolution_shifts_is_not_unimportant() -> None:
    model = shake(separable())
    silence(model, "stem_conv", 1)
    assert score_of(l1(model, find_channels(model)), model, "stem_conv", 1) > 0


def test_l1_is_that_of_the_folded_filter() -> None:
    model = small("concatenate", 1)
    kernel = model.get_layer("down1_a_conv").get_weights()[0]
    gamma, beta, mean, variance = (w[2] for w in model.get_layer("down1_a_norm").get_weights())
    scale = gamma / np.sqrt(variance + 1e-3)
    expected = np.abs(kernel[..., 2] * scale).sum() + abs(beta - mean * scale)
    scores = l1(model, find_channels(model))
    assert score_of(scores, model, "down1_a_conv", 2) == pytest.approx(expected, rel=1e-5)
    kernel, bias = model.get_layer("up0_transpose").get_weights()
    expected = np.abs(kernel[:, :, 3]).sum() + abs(bias[3])
    assert score_of(scores, model, "up0_transpose", 3) == pytest.approx(expected, rel=1e-5)


def test_the_scale_counts_the_constant_that_the_relu_lets_through() -> None:
    model = small("add", 1)
    norm = model.get_layer("down1_a_norm")
    weights = norm.get_weights()
    weights[0][:3], weights[1][:3] = [-0.5, 0, 0], [-2, 0.7, -0.7]
    norm.set_weights(weights)
    scores = CRITERIA["bn_scale"](model, find_channels(model))
    found = [score_of(scores, model, "down1_a_conv", i) for i in range(3)]
    assert found == pytest.approx([0.5, 0.7, 0.0])


@pytest.mark.parametrize(("maker", "gate"), [("down0_b_conv", "down0_b_norm"), ("up0_transpose", "up0_transpose")])
def test_taylor_is_the_loss_s_slope_when_the_channel_fades(maker: str, gate: str) -> None:
    model = small("concatenate", 1)
    shift = model.get_layer(gate).get_weights()  # beta or bias second: large enough to be missed
    model.get_layer(gate).set_weights([shift[0], shift[1] + 1, *shift[2:]])
    both = keras.Model(model.input, [model.get_layer(gate).output, model.output])
    slopes = []
    for images, masks in batches():
        with tf.GradientTape() as tape:
            channels, logits = both(images, training=False)
            loss = cross_entropy_dice(3)(tf.constant(masks), logits)
        # Of a factor on the channel, at 1: what it is times what the loss makes of it, everywhere.
        slopes.append(float(tf.reduce_sum((channels * tape.gradient(loss, channels))[..., 1])))
    scores = taylor(model, find_channels(model), batches=batches())
    assert score_of(scores, model, maker, 1) == pytest.approx(np.mean(np.square(slopes)), rel=0.01)


def test_taylor_leaves_the_model_as_it_was_and_takes_another_loss() -> None:
    model = small("add", 2)
    before = model.get_weights()
    channels = find_channels(model)
    usual = taylor(model, channels, batches=iter(batches()))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert not np.allclose(usual, taylor(model, channels, batches=batches(), loss=cross_entropy(3)))


def test_taylor_without_photos_and_a_norm_without_gamma_are_refused() -> None:
    with pytest.raises(DataError, match="needs photos"):
        taylor(small("add", 2), find_channels(small("add", 2)))
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(scale=False, name="bare")(keras.layers.Conv2D(4, 1)(image))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(x))
    for name in ("taylor", "bn_scale"):
        with pytest.raises(ModelError, match="'bare' has no gamma"):
            CRITERIA[name](model, find_channels(model), batches=batches())
    assert len(l1(model, find_channels(model))) == 4


def test_the_control_is_the_same_for_the_same_seed_only() -> None:
    model = small("add", 2)
    channels = find_channels(model)
    one, same, other = (CRITERIA["random"](model, channels, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", CRITERIA)
def test_scores_of_layers_are_brought_to_one_scale_where_they_aren_t(name: str) -> None:
    model = small("add", 2)
    channels = find_channels(model)
    scores = CRITERIA[name](model, channels, batches=batches(), seed=0)
    assert scores.shape == (len(channels.groups),)
    means = [comparable(name, scores, channels)[numbers].mean() for numbers in channels.by_layers().values()]
    assert np.allclose(means, 1) == (name not in ACROSS_LAYERS)
