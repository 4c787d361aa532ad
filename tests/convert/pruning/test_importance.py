"""Each criterion scores as defined in its paper."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import tensorflow as tf

from convert.pruning.channels import find_channels
from convert.pruning.importance import CRITERIA, taylor
from seg_edge.errors import DataError, ModelError
from tests.convert.pruning.test_channels import small
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


@pytest.mark.parametrize(("producer", "gate"), [("down0_b_conv", "down0_b_norm"), ("up0_transpose", "up0_transpose")])
def test_taylor_is_the_losss_derivative_by_a_factor_on_the_channel(producer: str, gate: str) -> None:
    model = small("concatenate", 1)
    shift = model.get_layer(gate).get_weights()  # beta or bias is second: large enough to matter
    model.get_layer(gate).set_weights([shift[0], shift[1] + 1, *shift[2:]])
    both = keras.Model(model.input, [model.get_layer(gate).output, model.output])
    slopes = []
    for images, masks in batches():
        with tf.GradientTape() as tape:
            channels, logits = both(images, training=False)
            loss = cross_entropy_dice(3)(tf.constant(masks), logits)
        # The derivative by a factor on the channel, at 1: its value times its gradient, summed over all positions.
        slopes.append(float(tf.reduce_sum((channels * tape.gradient(loss, channels))[..., 1])))
    scores = taylor(model, find_channels(model), batches=batches())
    assert score_of(scores, model, producer, 1) == pytest.approx(np.mean(np.square(slopes)), rel=0.01)


def test_taylor_keeps_the_model_and_accepts_another_loss() -> None:
    model = small("add", 2)
    before = model.get_weights()
    channels = find_channels(model)
    default = taylor(model, channels, batches=iter(batches()))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert not np.allclose(default, taylor(model, channels, batches=batches(), loss=cross_entropy(3)))


def test_taylor_without_photos_and_a_norm_without_gamma_are_refused() -> None:
    with pytest.raises(DataError, match="needs photos"):
        taylor(small("add", 2), find_channels(small("add", 2)))
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(scale=False, name="bare")(keras.layers.Conv2D(4, 1)(image))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(x))
    with pytest.raises(ModelError, match="'bare' has no gamma"):
        taylor(model, find_channels(model), batches=batches())


def test_random_scores_depend_on_the_seed() -> None:
    model = small("add", 2)
    channels = find_channels(model)
    first, same, different = (CRITERIA["random"](model, channels, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, different)
