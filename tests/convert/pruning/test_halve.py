"""A U-Net without its finest level keeps all its other weights."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras

from convert.pruning.channels import find_channels
from convert.pruning.cost import mmac
from convert.pruning.halve import carry_scores, halve
from convert.pruning.narrow import narrow
from seg_edge.errors import ModelError
from train.unet import unet


def whole(decoder: str = "concatenate") -> keras.Model:
    keras.utils.set_random_seed(1)
    return unet((32, 32), 3, (4, 6, 8), decoder=decoder)


@pytest.mark.parametrize("decoder", ["concatenate", "add"])
def test_the_output_has_half_the_size_and_other_weights_are_kept(decoder: str) -> None:
    model = whole(decoder)
    halved = halve(model)
    assert halved.input_shape == (None, 32, 32, 3)
    assert halved.output_shape == (None, 16, 16, 3)
    assert mmac(halved) < 0.8 * mmac(model)
    names = {layer.name for layer in halved.layers}
    assert not any(name.startswith(("up0_", "down0_b_")) for name in names)
    for layer in halved.layers:
        if layer.name != "logits":
            for ours, theirs in zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(halved.get_layer("logits").bias, model.get_layer("logits").bias)


def test_the_first_convolution_gives_every_second_pixel() -> None:
    model = whole()
    halved, image = halve(model), np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)

    def features(net: keras.Model) -> np.ndarray:
        return keras.Model(net.input, net.get_layer("down0_a_relu").output)(image).numpy()

    # With "same" padding a stride of 2 is centred on the odd pixels.
    np.testing.assert_allclose(features(halved)[:, :-1, :-1], features(model)[:, 1:-1:2, 1:-1:2], atol=1e-5)


def test_the_last_layer_depends_on_the_seed() -> None:
    model = whole()
    first, same, different = (halve(model, seed).get_layer("logits").kernel.numpy() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, different)


def test_it_can_be_saved_and_pruned_further(tmp_path) -> None:
    halved = halve(whole())
    halved.save(tmp_path / "halved.keras")
    again = keras.saving.load_model(tmp_path / "halved.keras")
    image = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(image), halved(image))
    channels = find_channels(halved)
    keep = np.arange(len(channels.groups)) % 2 == 0
    assert narrow(halved, keep, channels)(image).shape == (1, 16, 16, 3)


@pytest.mark.parametrize("decoder", ["concatenate", "add"])
def test_remaining_channels_keep_their_scores(decoder: str) -> None:
    model = whole(decoder)
    before, after = find_channels(model), find_channels(halve(model))
    scores = np.arange(len(before.groups), dtype=float)
    carried = carry_scores(scores, before, after)
    for group, score in zip(after.groups, carried, strict=True):
        assert set(group.producers) <= set(before.groups[int(score)].producers)


def test_models_without_a_finest_level_are_refused() -> None:
    with pytest.raises(ModelError, match="already starts at half resolution"):
        halve(unet((32, 32), 3, (4, 6, 8), stem_stride=2))
    with pytest.raises(ModelError, match="three or more levels"):
        halve(unet((32, 32), 3, (4, 6)))
    image = keras.Input((32, 32, 3))
    with pytest.raises(ModelError, match=r"isn't a U-Net of train/fit\.py"):
        halve(keras.Model(image, keras.layers.Conv2D(2, 1)(image)))
