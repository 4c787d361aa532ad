"""int8's rounding in a Keras graph: without rounding it equals the model, with it the converted file."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
from keras import layers

from convert.quantisation.converter import convert_with_ranges
from convert.quantisation.fake_quant import (
    IMAGE,
    Range,
    fake_quant_kernel,
    kernel_names,
    range_points,
    strip_fake_quant,
    with_fake_quant,
)
from convert.quantisation.fold import fold_batch_norm
from convert.quantisation.ranges import choose_ranges
from convert.tflite_file import TfliteGraph
from seg_edge.errors import ModelError
from seg_edge.interpreter import LiteRT
from train.unet import unet

IMAGES = [np.random.default_rng(n).integers(0, 256, (1, 32, 32, 3)).astype(np.float32) / 255 for n in range(4)]


def concatenating() -> keras.Model:
    return unet((32, 32), 3, (4, 8, 8), dropout=0.1)


def adding() -> keras.Model:
    return unet((32, 32), 3, (4, 8, 8), stem_stride=2, decoder="add")


def separable() -> keras.Model:
    image = x = keras.Input((32, 32, 3), name="image")
    for level, (kind, options) in enumerate(
        [(layers.Conv2D, {"filters": 6}), (layers.DepthwiseConv2D, {"depth_multiplier": 2})]
    ):
        x = kind(kernel_size=3, strides=2, padding="same", name=f"c{level}", **options)(x)
        x = layers.BatchNormalization(name=f"n{level}", scale=not level, center=bool(level))(x)
        x = layers.ReLU(6.0, name=f"r{level}")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, use_bias=False, name="t")(x)
    x = layers.BatchNormalization(name="nt")(x)
    return keras.Model(image, layers.Conv2D(2, 1, name="logits")(layers.LeakyReLU(name="leaky")(x)))


FAMILY = pytest.mark.parametrize("build", [concatenating, adding, separable])


def as_trained(build: Callable[[], keras.Model]) -> keras.Model:
    """The network with batch normalisations that have an effect, as after training."""
    keras.utils.set_random_seed(0)
    model, random = build(), np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            weights = [random.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()]
            if layer.scale:  # channels of very different size, so that each kernel needs its own scale
                weights[0] *= 2 ** random.uniform(-3, 3, weights[0].shape)
            layer.set_weights(weights)
    return model


@cache
def quantised(build: Callable[[], keras.Model]) -> tuple[keras.Model, keras.Model, dict[str, Range], bytes]:
    """The network, its folded version, its ranges, and the file; read-only."""
    model = as_trained(build)
    folded = fold_batch_norm(model)
    ranges = choose_ranges(folded, IMAGES, "minmax")
    return model, folded, ranges, convert_with_ranges(folded, ranges)


def output_of(model: keras.Model, image: np.ndarray) -> np.ndarray:
    return np.asarray(model(image, training=False))


@FAMILY
def test_folding_keeps_the_function(build: Callable[[], keras.Model]) -> None:
    model = as_trained(build)
    folded = fold_batch_norm(model)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    expected = output_of(model, IMAGES[0])
    np.testing.assert_allclose(output_of(folded, IMAGES[0]), expected, atol=1e-5 * np.abs(expected).max())


def test_a_normalisation_that_cannot_be_folded_is_named() -> None:
    image = keras.Input((8, 8, 3))
    pooled = layers.MaxPooling2D(name="pool")(image)
    model = keras.Model(image, layers.Conv2D(2, 1)(layers.BatchNormalization(name="lonely")(pooled)))
    with pytest.raises(ModelError, match="'lonely' can't be folded: it follows 'pool'"):
        fold_batch_norm(model)


def test_a_kernel_that_cannot_be_rounded_is_named() -> None:
    image = keras.Input((8, 8, 3))
    with pytest.raises(ModelError, match="'both' is a SeparableConv2D"):
        kernel_names(keras.Model(image, layers.SeparableConv2D(2, 3, name="both")(image)))


def test_a_layer_used_twice_is_refused() -> None:
    image, twice = keras.Input((8, 8, 3)), layers.Conv2D(3, 1)
    with pytest.raises(ModelError, match="used once"):
        fold_batch_norm(keras.Model(image, twice(twice(image))))


def test_tensors_are_rounded_where_tensorflow_lite_rounds_them() -> None:
    assert range_points(fold_batch_norm(concatenating()))[:2] == ("down0_a_relu", "down0_b_relu")
    assert "up0_concatenate" in range_points(fold_batch_norm(concatenating()))
    assert "up0_transpose" not in range_points(fold_batch_norm(concatenating()))  # has the concatenation's scale
    points = range_points(fold_batch_norm(adding()))
    assert {"up0_narrow", "up0_add", "logits"} <= set(points)
    assert not {"down0_a_conv", "up0_upsample", "down1_pool"} & set(points)


@pytest.mark.parametrize("axes", [(3,), (2,), (2, 3)])
def test_a_kernel_is_rounded_to_255_steps_per_channel(axes: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32)
    kernel *= np.arange(1, 6) * np.arange(1, 5)[:, np.newaxis]
    rounded = np.asarray(fake_quant_kernel(kernel, axes))
    others = tuple(axis for axis in range(4) if axis not in axes)
    step = np.abs(kernel).max(axis=others, keepdims=True) / 127
    assert np.all(np.abs(rounded - kernel) <= step * 0.5001)
    np.testing.assert_allclose(rounded / step, np.round(rounded / step), atol=1e-3)
    assert np.any(rounded != kernel)


@FAMILY
def test_the_converted_file_matches_the_rounding_graph(build: Callable[[], keras.Model]) -> None:
    model, folded, ranges, content = quantised(build)
    rounding = with_fake_quant(folded, ranges)
    backend = LiteRT(content, 1, "test")
    assert (backend.input.dtype, backend.input.zero_point) == (np.uint8, 0)
    assert backend.input.scale == pytest.approx(1 / 255)
    off_graph, off_float = [], []
    for image in IMAGES:
        logits = backend.output.dequantise(backend.run(np.round(image * 255).astype(np.uint8)))
        off_graph.append(np.abs(logits - output_of(rounding, image)).mean() / backend.output.scale)
        off_float.append(np.abs(logits - output_of(model, image)).mean() / backend.output.scale)
    assert np.mean(off_graph) < 0.8 * np.mean(off_float)
    assert np.mean(off_graph) < 0.5


def test_the_file_has_the_given_ranges() -> None:
    _, folded, ranges, _ = quantised(separable)
    backend = LiteRT(convert_with_ranges(folded, {**ranges, "logits": (-3.0, 4.0)}), 1, "test")
    assert backend.output.scale == pytest.approx(7 / 255, rel=1e-3)
    assert backend.output.zero_point == round(3 / 7 * 255)


def test_a_missing_range_is_refused() -> None:
    _, folded, ranges, _ = quantised(separable)
    assert "r1" in ranges
    with pytest.raises(ModelError, match="not full-integer"):
        convert_with_ranges(folded, {name: range_ for name, range_ in ranges.items() if name != "r1"})


def test_a_concatenation_has_one_scale() -> None:
    graph = TfliteGraph(quantised(concatenating)[3])
    producers = {operator.outputs[0]: graph.kind(operator) for operator in graph.graph.operators}
    joins = [operator for operator in graph.graph.operators if graph.kind(operator) == "CONCATENATION"]
    assert len(joins) == 2
    for join in joins:
        scales = {float(graph.tensors[i].quantization.scale[0]) for i in (*join.inputs, *join.outputs)}
        assert len(scales) == 1
        assert "TRANSPOSE_CONV" in {producers[i] for i in join.inputs}, "there is no rounding in between"


def test_rounding_nothing_changes_nothing() -> None:
    folded = quantised(adding)[1]
    assert np.array_equal(output_of(with_fake_quant(folded, {}, ()), IMAGES[0]), output_of(folded, IMAGES[0]))


def test_rounding_is_in_float32_under_any_policy() -> None:
    """On a GPU, an earlier training in the same process leaves half floats as the default."""
    _, folded, ranges, _ = quantised(separable)
    expected = output_of(with_fake_quant(folded, ranges), IMAGES[0])
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert np.array_equal(output_of(with_fake_quant(folded, ranges), IMAGES[0]), expected)
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_a_graph_is_saved_trained_and_stripped(tmp_path: Path) -> None:
    _, folded, ranges, _ = quantised(separable)
    before = {**ranges, "logits": (ranges["logits"][0] / 2, ranges["logits"][1] / 2)}  # clipped values move the range
    model = with_fake_quant(folded, before)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(np.concatenate(IMAGES), np.zeros((4, 16, 16, 2)), epochs=3, verbose=0)
    model.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", compile=False)
    assert np.array_equal(output_of(loaded, IMAGES[0]), output_of(model, IMAGES[0]))
    plain, after = strip_fake_quant(loaded, folded)
    assert after[IMAGE] == (0.0, 1.0)
    assert after["logits"] != pytest.approx(before["logits"])
    changed = plain.get_layer("logits").get_weights()[0] - folded.get_layer("logits").get_weights()[0]
    assert np.abs(changed).max() > 0
    assert np.array_equal(output_of(with_fake_quant(plain, after), IMAGES[0]), output_of(model, IMAGES[0]))
