"""The one file that touches LiteRT: numbers into tensors and back, and models that don't fit are refused."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_edge import interpreter
from seg_edge.errors import ModelError, RuntimeMissingError
from seg_edge.interpreter import (
    RUNTIMES,
    LiteRT,
    Runtime,
    TensorSpec,
    default_threads,
    find_runtime,
)
from tests import tiny


def spec(dtype: type[np.generic], scale: float = 0.0, zero_point: int = 0) -> TensorSpec:
    return TensorSpec("t", (1, 32, 32, 3), dtype, scale, zero_point)


def load(path: Path) -> LiteRT:
    return LiteRT(path.read_bytes(), 1, path.name)


@pytest.mark.parametrize(
    ("dtype", "zero_point", "real", "stored"),
    [
        (np.uint8, 10, [0.0, 0.5, 1.0, -0.5], [10, 11, 12, 9]),
        (np.uint8, 10, [0.25, 0.75, 1.25, -0.25, -0.75], [10, 12, 12, 10, 8]),  # half to even
        (np.uint8, 10, [0.24, 0.26, 0.74, -0.24, -0.26], [10, 11, 11, 10, 9]),
        (np.uint8, 10, [-5.0, -5.5, -1e9, 122.5, 123.0, 1e9], [0, 0, 0, 255, 255, 255]),
        (np.int8, -128, [0.0, 0.5, 127.5, 128.0, -1.0], [-128, -127, 127, 127, -128]),
        (np.int8, 3, [0.0, -65.5, -66.0, 62.0, 62.5], [3, -128, -128, 127, 127]),
    ],
)
def test_quantise_rounds_half_to_even_and_clips(
    dtype: type[np.generic], zero_point: int, real: list[float], stored: list[int]
) -> None:
    result = spec(dtype, 0.5, zero_point).quantise(np.array(real))
    assert result.dtype == dtype
    assert result.tolist() == stored


@pytest.mark.parametrize(
    ("dtype", "zero_point", "stored", "real"),
    [
        (np.uint8, 10, [0, 10, 255], [-5.0, 0.0, 122.5]),
        (np.int8, -128, [-128, 0, 127], [0.0, 64.0, 127.5]),
    ],
)
def test_dequantise(dtype: type[np.generic], zero_point: int, stored: list[int], real: list[float]) -> None:
    result = spec(dtype, 0.5, zero_point).dequantise(np.array(stored, dtype))
    assert result.dtype == np.float32
    assert result.tolist() == real


@given(st.sampled_from([np.uint8, np.int8]), st.floats(1e-4, 1e3), st.data())
def test_every_stored_number_survives_the_round_trip(
    dtype: type[np.generic], scale: float, data: st.DataObject
) -> None:
    bounds = np.iinfo(dtype)
    every = np.arange(bounds.min, bounds.max + 1).astype(dtype)
    tensor = spec(dtype, scale, data.draw(st.integers(int(bounds.min), int(bounds.max))))
    np.testing.assert_array_equal(tensor.quantise(tensor.dequantise(every)), every)


def test_floats_pass_through() -> None:
    real = np.array([-1.5, 0.1, 1e6])
    tensor = spec(np.float32)
    assert tensor.quantise(real).dtype == np.float32
    np.testing.assert_array_equal(tensor.quantise(real), real.astype(np.float32))
    np.testing.assert_array_equal(tensor.dequantise(real.astype(np.float32)), np.float32(real))


def test_a_uint8_tensor_that_is_not_quantised_is_rounded_and_clipped_too() -> None:
    stored = spec(np.uint8).quantise(np.array([-3.0, 0.4, 0.6, 254.9, 300.0]))
    assert stored.tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize(
    ("path", "dtype", "scale", "zero_point", "channels"),
    [
        (tiny.TWO_UINT8, np.uint8, 1 / 255, 0, 2),
        (tiny.TWO_INT8, np.int8, 1 / 255, -128, 2),
        (tiny.FOUR_UINT8, np.uint8, 1 / 255, 0, 4),
        (tiny.SIGMOID_FLOAT32, np.float32, 0.0, 0, 1),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else None,
)
def test_the_tensors_are_read_from_the_file(
    path: Path, dtype: type[np.generic], scale: float, zero_point: int, channels: int
) -> None:
    model = load(path)
    assert model.input.shape == (1, 32, 32, 3)
    assert model.output.shape == (1, 16, 16, channels)
    assert model.input.dtype is dtype
    assert model.output.dtype is dtype
    assert model.input.scale == pytest.approx(scale, rel=1e-5)
    assert model.input.zero_point == zero_point
    assert model.runtime.name in {name for name, _, _ in RUNTIMES}


@pytest.mark.parametrize("path", [tiny.TWO_UINT8, tiny.TWO_INT8])
@pytest.mark.parametrize(("brightness", "logit"), [(0.0, -4.0), (0.25, -2.0), (0.5, 0), (1.0, 4.0)])
def test_it_runs_what_the_model_computes(path: Path, brightness: float, logit: float) -> None:
    model = load(path)
    scores = model.run(model.input.quantise(np.full(model.input.shape, brightness)))
    assert scores.dtype == model.output.dtype
    assert scores.shape == (1, 16, 16, 2)
    step = model.output.scale
    real = model.output.dequantise(scores)
    np.testing.assert_allclose(real[..., 0], -logit, atol=1.5 * step)
    np.testing.assert_allclose(real[..., 1], logit, atol=1.5 * step)


def test_a_result_is_not_overwritten_by_the_next() -> None:
    model = load(tiny.TWO_UINT8)
    first = model.run(np.zeros((1, 32, 32, 3), np.uint8))
    before = first.copy()
    second = model.run(np.full((1, 32, 32, 3), 255, np.uint8))
    np.testing.assert_array_equal(first, before)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((32, 32, 3), np.uint8),
        ((1, 32, 31, 3), np.uint8),
        ((2, 32, 32, 3), np.uint8),
        ((1, 3, 32, 32), np.uint8),
        ((1, 32, 32, 3), np.int8),
        ((1, 32, 32, 3), np.float32),
    ],
)
def test_a_wrong_tensor_is_refused_with_got_and_expected(shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    with pytest.raises(TypeError) as refusal:
        load(tiny.TWO_UINT8).run(np.zeros(shape, dtype))
    message = str(refusal.value)
    assert "takes uint8 (1, 32, 32, 3)" in message
    assert f"got {np.dtype(dtype)} {shape}" in message


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (tiny.TWO_OUTPUTS, "one output was expected, got 2"),
        (tiny.GREY, r"\(1, height, width, 3\) was expected as input, got \(1, 32, 32, 1\)"),
    ],
    ids=["two outputs", "grey"],
)
def test_models_of_another_kind_are_refused(path: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=f"^{path.name}: .*{reason}"):
        load(path)


def test_a_model_without_a_fixed_size_is_refused() -> None:
    """LiteRT gives it 1x1, and every frame would get one pixel."""
    with pytest.raises(ModelError, match=r"^tiny_any_size\.tflite: .*size"):
        load(tiny.ANY_SIZE)


def tensor(shape: tuple[int, ...] = (1, 8, 8, 3), dtype: Any = np.uint8, **more: Any) -> dict:
    return {
        "name": "t",
        "index": 0,
        "shape": np.array(shape, np.int32),
        "shape_signature": np.array(shape, np.int32),
        "dtype": dtype,
        "quantization": (0.5, 0),
    } | more


def with_tensors(monkeypatch: pytest.MonkeyPatch, inputs: list[dict], outputs: list[dict]) -> LiteRT:
    class Fake:
        def __init__(self, model_content: bytes, num_threads: int) -> None: ...
        def allocate_tensors(self) -> None: ...
        def get_input_details(self) -> list[dict]:
            return inputs

        def get_output_details(self) -> list[dict]:
            return outputs

    monkeypatch.setattr(interpreter, "find_runtime", lambda: Runtime("fake", "1", Fake))
    return LiteRT(b"", 1, "m.tflite")


def test_the_stand_in_for_the_next_test_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_tensors(monkeypatch, [tensor()], [tensor((1, 4, 4, 2))])
    assert model.input == TensorSpec("t", (1, 8, 8, 3), np.uint8, 0.5, 0)


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([tensor(), tensor()], [tensor()], "one input was expected, got 2"),
        ([], [tensor()], "one input was expected, got 0"),
        ([tensor()], [], "one output was expected, got 0"),
        ([tensor((1, 192))], [tensor()], r"its input .*got \(1, 192\)"),
        ([tensor((4, 8, 8, 3))], [tensor()], r"its input .*got \(4, 8, 8, 3\)"),
        ([tensor()], [tensor((1, 1000))], r"its output .*got \(1, 1000\)"),
        ([tensor()], [tensor((1, 0, 0, 2))], r"its output .*got \(1, 0, 0, 2\)"),
        ([tensor(dtype=np.int32)], [tensor()], "its input was expected as uint8.*got int32"),
        ([tensor()], [tensor(dtype=np.int64)], "its output was expected as uint8.*got int64"),
        ([tensor((1, 3, 8, 8))], [tensor()], r"got \(1, 3, 8, 8\)"),
    ],
)
def test_tensors_of_other_tasks_are_refused(
    monkeypatch: pytest.MonkeyPatch, inputs: list[dict], outputs: list[dict], reason: str
) -> None:
    with pytest.raises(ModelError, match=rf"^m\.tflite: .*{reason}"):
        with_tensors(monkeypatch, inputs, outputs)


class Importer:
    """Stands in for `importlib.import_module`: knows the given modules, and fails with the given error for others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], error: Exception):
        self.found, self.error, self.asked = found, error, []
        monkeypatch.setattr(importlib, "import_module", self)

    def __call__(self, module: str) -> Any:
        self.asked.append(module)
        if module not in self.found:
            raise self.error
        return SimpleNamespace(Interpreter=self.found[module])


MODULES = [module for _, module, _ in RUNTIMES]


@pytest.mark.parametrize("index", range(3))
def test_the_first_runtime_that_imports_is_used(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    found = {module: module for module in MODULES[index:]}
    importer = Importer(monkeypatch, found, ImportError("no"))
    runtime = find_runtime()
    assert runtime.name == ["ai-edge-litert", "tflite-runtime", "tensorflow"][index]
    assert runtime.interpreter == MODULES[index]
    assert runtime.version
    assert importer.asked == MODULES[: index + 1]


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'x'"),
        AttributeError("_ARRAY_API not found"),
        OSError("libstdc++.so.6: version `GLIBCXX_3.4.32' not found"),
        ValueError("numpy.dtype size changed, may indicate binary incompatibility"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_runtime_that_does_not_import_is_skipped(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    Importer(monkeypatch, {MODULES[1]: object}, error)
    assert find_runtime().name == "tflite-runtime"


@pytest.mark.parametrize("text", ["built for\nanother NumPy", ""])
def test_without_any_runtime_the_message_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    Importer(monkeypatch, {}, ImportError(text))
    with pytest.raises(RuntimeMissingError) as refusal:
        find_runtime()
    message = str(refusal.value)
    assert "\n" not in message
    reason = "built for" if text else "ImportError"
    for name, _, _ in RUNTIMES:
        assert f"{name}: {reason}" in message
    assert "pip install ai-edge-litert" in message


def test_threads_are_the_cores_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= default_threads() <= 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert default_threads() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert default_threads() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_threads() == 1


def test_stderr_works_again_after_loading(capfd: pytest.CaptureFixture[str]) -> None:
    load(tiny.TWO_UINT8)
    with pytest.raises(ModelError):
        LiteRT(tiny.TWO_UINT8.read_bytes()[:64], 1, "m")
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


LOAD = (
    "import sys, pathlib; from seg_edge.interpreter import LiteRT;"
    "print(LiteRT(pathlib.Path(sys.argv[1]).read_bytes(), 1, 'm').output.shape)"
)


@pytest.mark.parametrize("redirection", ["", "2>&-"], ids=["open", "closed"])
def test_a_fresh_process_prints_nothing_on_stderr(redirection: str) -> None:
    """LiteRT's "INFO: Created TensorFlow Lite XNNPACK delegate" comes once a process; services close stderr."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" "$2" {redirection}', sys.executable, LOAD, tiny.TWO_UINT8],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 16, 16, 2)\n", "")
