"""The U-Net family: sizes, parameters and skip connections."""

from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")

import keras  # noqa: E402

from seg_edge.errors import UsageError  # noqa: E402
from train.unet import FULL_WIDTHS, unet  # noqa: E402

WIDTHS = (4, 6, 8)


def test_the_full_model_has_31_million_parameters_in_124_mb() -> None:
    model = unet((256, 256), 2)
    assert FULL_WIDTHS == (64, 128, 256, 512, 1024)
    assert model.count_params() == 31_049_474
    assert 123 <= model.count_params() * 4 / 1e6 <= 125
    assert model.output_shape == (None, 256, 256, 2)


@pytest.mark.parametrize("decoder", ["concatenate", "add"])
@pytest.mark.parametrize("stride", [1, 2])
def test_shapes(decoder: str, stride: int) -> None:
    model = unet((48, 32), 5, WIDTHS, stem_stride=stride, decoder=decoder)
    assert model.input_shape == (None, 32, 48, 3)
    assert model.output_shape == (None, 32 // stride, 48 // stride, 5)
    scores = model(np.random.default_rng(0).random((2, 32, 48, 3), np.float32))
    assert scores.dtype == "float32"
    assert np.isfinite(scores.numpy()).all()
    assert float(tf.reduce_min(scores)) < 0  # logits, not probabilities


def test_the_adding_decoder_is_smaller() -> None:
    sizes = [unet((32, 32), 2, WIDTHS, decoder=d).count_params() for d in ("concatenate", "add")]
    assert sizes[1] < 0.75 * sizes[0]


@pytest.mark.parametrize("decoder", ["concatenate", "add"])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_skip_is_used(decoder: str, stride: int) -> None:
    model = unet((16, 16), 2, WIDTHS, stem_stride=stride, decoder=decoder)
    levels = len(WIDTHS)
    taps = [model.get_layer(f"down{level}_b_relu").output for level in range(levels)]
    values = keras.Model(model.input, taps)(np.random.default_rng(0).random((1, 16, 16, 3), np.float32))
    # Cut at the taps, a level reaches the output only through its skip: the pooling is in the other half.
    decoding = keras.Model(taps, model.output)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(tf.square(decoding(values)))
    for level, gradient in enumerate(tape.gradient(total, values)):
        assert np.abs(gradient.numpy()).max() > 1e-6, f"level {level}"


@pytest.mark.parametrize(("size_wh", "stride", "multiple"), [((50, 32), 1, 4), ((32, 30), 1, 4), ((36, 32), 2, 8)])
def test_sizes_that_do_not_fit_are_refused(size_wh: tuple[int, int], stride: int, multiple: int) -> None:
    with pytest.raises(UsageError, match=rf"{size_wh[0]}x{size_wh[1]}.* multiples of {multiple}$"):
        unet(size_wh, 2, WIDTHS, stem_stride=stride)


def test_other_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 4"):
        unet((0, 32), 2, WIDTHS)
    with pytest.raises(UsageError, match="background and at least one class, got 1"):
        unet((32, 32), 1, WIDTHS)
    with pytest.raises(UsageError, match="'concatenate' or 'add', got 'sum'"):
        unet((32, 32), 2, WIDTHS, decoder="sum")


@pytest.mark.parametrize("values", [{"stem_stride": 0}, {"stem_stride": 3}, {"widths": ()}])
def test_an_invalid_stem_or_widths_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"stem_stride|widths"):
        unet((96, 96), 2, **{"widths": WIDTHS, **values})
