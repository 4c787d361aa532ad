"""The operators in a .tflite, those that XNNPACK doesn't run, and timing them one by one."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

from convert import delegation
from convert import operator_times as operator_times_module
from convert.delegation import not_delegated
from convert.operator_times import operator_times, profile
from convert.tflite_file import TfliteGraph, check_full_integer, operators, total
from seg_edge.card import strip_card
from seg_edge.errors import ModelError
from seg_edge.evaluation.latency import Timing
from seg_edge.interpreter import Runtime, find_runtime, load
from seg_edge.models import open_model
from seg_edge.system.native_log import without_native_log
from tests.tiny import SIGMOID_FLOAT32, TWO_INT8, TWO_UINT8

PERSON = open_model("person").content


def convert(model: keras.Model, half: bool = False) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    with without_native_log():
        content: bytes = converter.convert()
    return content


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """An operator of each counted kind, one that XNNPACK doesn't run, and two clamps that the converter can't fuse."""
    x = inputs = keras.Input((32, 32, 3), batch_size=1)
    bias = {"bias_initializer": "ones"}  # the converter drops a bias of zeros
    x = layers.Conv2D(4, 3, strides=2, padding="same", **bias)(x)
    skip = layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.UpSampling2D(interpolation="bilinear")(layers.MaxPooling2D()(layers.ReLU()(skip))))
    x = layers.Add()([x, skip])
    x = keras.ops.image.resize(layers.Conv2D(8, 3, strides=2, padding="same", **bias)(x), (16, 16), "nearest")
    x = layers.Conv2DTranspose(2, 2, strides=2, **bias)(layers.Concatenate()([x, skip]))
    return keras.Model(inputs, layers.Dense(5, **bias)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def content(model: keras.Model) -> bytes:
    return convert(model)


@pytest.fixture(scope="module")
def half(model: keras.Model) -> bytes:
    return convert(model, half=True)


def by_kind(content: bytes) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for operator in operators(content):
        if not operator.folded:
            found.setdefault(operator.kind, []).append(operator)
    return found


def test_macs_match_values_by_hand(content: bytes) -> None:
    found = by_kind(content)
    assert [op.macs for op in found["CONV_2D"]] == [16 * 16 * 4 * 9 * 3, 8 * 8 * 8 * 9 * 4]
    assert [op.macs for op in found["DEPTHWISE_CONV_2D"]] == [16 * 16 * 4 * 25]
    # Each of the 16x16 inputs is spread over 2x2 outputs.
    assert [op.macs for op in found["TRANSPOSE_CONV"]] == [16 * 16 * 12 * 2 * 4]
    assert [op.macs for op in found["FULLY_CONNECTED"]] == [2 * 5]
    counted = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"}
    assert all(op.macs == 0 for kind in found.keys() - counted for op in found[kind])
    assert total(content)[1] == pytest.approx(sum(op.macs for op in operators(content)) / 1e6)


def test_parameters_match_the_models(model: keras.Model, content: bytes) -> None:
    listed = operators(content)
    # The converter adds a bias of zeros to the depthwise convolution.
    assert model.count_params() <= sum(op.parameters for op in listed) <= model.count_params() + 4
    assert all(op.parameter_bytes == 4 * op.parameters for op in listed)
    assert next(op for op in listed if op.kind == "TRANSPOSE_CONV").shape == (1, 32, 32, 2)


def test_float16_weights_count_for_the_operator_that_reads_them(content: bytes, half: bytes) -> None:
    listed = [op for op in operators(half) if not op.folded]
    assert "DEQUANTIZE" not in {op.kind for op in listed}
    assert all(op.parameters == 0 for op in operators(half) if op.folded)
    plain = operators(content)
    assert [(op.kind, op.macs, op.parameters) for op in listed] == [(op.kind, op.macs, op.parameters) for op in plain]
    weighted = next(op for op in listed if op.kind == "CONV_2D")
    assert weighted.parameter_bytes == 2 * weighted.parameters


def test_int8_weights_take_a_byte_and_biases_four() -> None:
    first = next(op for op in operators(PERSON) if op.kind == "CONV_2D")
    channels = first.shape[3]
    assert first.parameters == channels * (27 + 1)
    assert first.parameter_bytes == channels * (27 + 4)
    assert first.macs == np.prod(first.shape) * 27


def test_operators_without_xnnpack_are_listed(content: bytes, half: bytes) -> None:
    for model in (content, half):
        assert [operator.split()[0] for operator in not_delegated(model)] == ["RESIZE_NEAREST_NEIGHBOR"]


def test_only_dtype_conversions_of_an_int8_unet_are_not_delegated() -> None:
    assert [operator.split()[0] for operator in not_delegated(PERSON, threads=2)] == ["QUANTIZE", "QUANTIZE"]
    assert not_delegated(TWO_INT8.read_bytes()) == []


def test_without_xnnpack_nothing_is_delegated(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = partial(Interpreter, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    monkeypatch.setattr(delegation, "find_runtime", lambda: Runtime("plain", "", plain))
    assert not_delegated(content) == [f"{op.kind} {op.name}" for op in operators(content)]


def run(content: bytes, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    interpreter = load(find_runtime(), content, 1, "the model")
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], tensors[detail["name"]])
    interpreter.invoke()
    return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()}


@pytest.mark.parametrize("name", ["content", "half", "int8"])
def test_the_pieces_in_order_equal_the_model(name: str, request: pytest.FixtureRequest) -> None:
    content = PERSON if name == "int8" else request.getfixturevalue(name)
    graph = TfliteGraph(content)
    first = graph.tensors[graph.graph.inputs[0]]
    random = np.random.default_rng(0).random(tuple(first.shape), np.float32)
    tensors = {first.name.decode(): (random * 255).astype(np.uint8) if name == "int8" else random}
    whole = run(strip_card(content), tensors)
    for piece in graph.pieces():
        tensors |= run(graph.cut(piece), tensors)
    for output, expected in whole.items():
        assert expected.std() > 0
        np.testing.assert_allclose(tensors[output], expected, rtol=1e-5, atol=1e-6)


def test_each_piece_has_its_time_and_share(content: bytes) -> None:
    times = operator_times(content, runs=5)
    kinds = [time.kind for time in times]
    assert kinds.count("CONV_2D") == 2
    assert kinds.count("RELU") == 1, "the other is timed with its producer, of which it is the only reader"
    assert sum(time.share for time in times) == pytest.approx(1)
    assert all(time.ms > 0 for time in times)
    assert sum(time.macs for time in times) == total(content)[1] * 1e6


def test_shares_and_agreement_follow_from_the_times(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole model, first of the actions, takes 10 ms; its operators 1, 2, 3, ..."""

    def timed(actions: dict[str, object], threads: int, *_: object, **__: object) -> dict[str, Timing]:
        return {name: Timing((float(name) or 10.0,) * 3, threads) for name in actions}

    monkeypatch.setattr(operator_times_module, "time_in_turns", timed)
    found = profile(content)
    total_ms = sum(range(1, len(found.times) + 1))
    assert [time.share for time in found.times] == pytest.approx([time.ms / total_ms for time in found.times])
    assert [time.ms for time in found.times] == list(range(1, len(found.times) + 1))
    assert (found.whole_ms, found.agreement) == (10, pytest.approx(total_ms / 10))


@pytest.mark.parametrize("content", [b"", b"no model", TWO_UINT8.read_bytes()[:100]])
def test_invalid_files_are_refused(content: bytes) -> None:
    for function in (operators, total, check_full_integer, not_delegated, operator_times):
        with pytest.raises(ModelError):
            function(content)


@pytest.mark.parametrize(("model", "message"), [(TWO_INT8, "INT8 instead of"), (SIGMOID_FLOAT32, "computed in float")])
def test_files_that_are_not_full_integer_are_refused(model: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_full_integer(model.read_bytes())
