"""Rounded kernels shift the output over a whole smooth area; corrected biases compensate for it."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
from keras import layers

from convert.quantisation.bias_correction import with_corrected_biases
from convert.quantisation.fake_quant import with_fake_quant


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_rounded_network_is_right_on_average(use_bias: bool) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, activation="relu", use_bias=use_bias, name="dense")(image)
    x = layers.DepthwiseConv2D(3, use_bias=use_bias)(x)
    x = layers.Conv2DTranspose(6, 2, strides=2, activation="relu", use_bias=use_bias)(x)
    folded = keras.Model(image, layers.Conv2D(4, 1, use_bias=use_bias)(x))
    # Bright and smooth, as most of a photo: the errors of a kernel's weights add up.
    images = [np.random.default_rng(i).uniform(0.7, 0.9, (1, 16, 16, 3)).astype(np.float32) for i in range(4)]
    weights = folded.get_weights()

    def mean_error(model: keras.Model) -> np.ndarray:
        rounded = with_fake_quant(model, {})
        return np.mean([np.asarray(rounded(image) - folded(image)).mean((0, 1, 2)) for image in images], axis=0)

    corrected = with_corrected_biases(folded, images)
    assert np.abs(mean_error(corrected)).max() < np.abs(mean_error(folded)).max() / 4
    for before, after in zip(weights, folded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
