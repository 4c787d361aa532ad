"""The only file that touches LiteRT: finds a runtime, runs a model, converts between real numbers and its tensors."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from seg_edge.errors import ModelError, RuntimeMissingError, UsageError
from seg_edge.system.board import Machine, cpu_quota
from seg_edge.system.native_log import without_native_log

# The successor first: it has wheels for current Pythons and is about twice as fast as the last tflite-runtime.
RUNTIMES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter", "ai_edge_litert"),
    ("tflite-runtime", "tflite_runtime.interpreter", "tflite_runtime"),
    ("tensorflow", "tensorflow.lite.python.interpreter", "tensorflow"),
)
DTYPES = (np.uint8, np.int8, np.float32)
DELEGATE = "DELEGATE"  # LiteRT's name for a node that a delegate runs
MAX_DEFAULT_THREADS = 4  # the cores of a Raspberry Pi; small models gain nothing from more


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a model: `real = (stored - zero_point) * scale` where `scale` is not 0 (quantised)."""

    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]
    scale: float = 0.0
    zero_point: int = 0

    def quantise(self, real: np.ndarray) -> np.ndarray:
        """Real numbers to the tensor's dtype, rounded half to even and clipped to its range."""
        if self.dtype == np.float32:
            return np.asarray(real).astype(np.float32)
        bounds = np.iinfo(self.dtype)  # type: ignore[type-var]
        # An integer tensor that is not quantised has scale 0, and holds the numbers themselves.
        stored = np.round(np.asarray(real, np.float64) / (self.scale or 1.0)) + self.zero_point
        return np.clip(stored, bounds.min, bounds.max).astype(self.dtype)

    def dequantise(self, stored: np.ndarray) -> np.ndarray:
        """The tensor's numbers as float32."""
        if not self.scale:
            return stored.astype(np.float32)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)


class Backend(Protocol):
    """What runs a model: one image tensor in, one score tensor out."""

    input: TensorSpec
    output: TensorSpec

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Scores (1, h, w, channels) in the output's dtype, of `tensor` in the input's shape and dtype."""
        ...


@dataclass(frozen=True)
class Runtime:
    """A LiteRT runtime that can be imported."""

    name: str
    version: str
    interpreter: Any


def find_runtime() -> Runtime:
    """The first runtime of `RUNTIMES` that imports.

    Raises:
        RuntimeMissingError: None does; the message says why each failed.
    """
    failures = []
    for name, module, _ in RUNTIMES:
        try:
            interpreter = importlib.import_module(module).Interpreter
            return Runtime(name, _version(name), interpreter)
        except Exception as error:  # built for another NumPy: AttributeError or ValueError; missing libraries: OSError
            failures.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    raise RuntimeMissingError(
        f"no LiteRT runtime works here ({'; '.join(failures)}); run 'pip install ai-edge-litert', "
        "on 32-bit Raspberry Pi OS "
        "'pip install tflite-runtime \"numpy<2\"'."
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def available_cores() -> int:
    """How many cores this process may use, also in a container with a CPU limit; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(Machine())
    return cores if quota is None else max(1, min(cores, int(quota)))


def default_threads() -> int:
    """As many threads as this process may use cores, at most `MAX_DEFAULT_THREADS`."""
    return min(MAX_DEFAULT_THREADS, available_cores())


class LiteRT:
    """A `.tflite` model ready to run on this CPU, by one thread at a time, as a `Segmenter` ensures.

    Args:
        content: The file's bytes.
        threads: CPU threads for one inference.
        where: The file's name, for messages.

    Attributes:
        input: Spec of the one input, shape (1, height, width, 3).
        output: Spec of the one output, shape (1, height, width, channels).
        runtime: Which runtime runs it.
        threads: As given.

    Raises:
        ModelError: It can't be loaded, or it isn't a model from one image to one score map.
    """

    def __init__(self, content: bytes, threads: int, where: str):
        if not isinstance(threads, int) or threads < 1:
            raise UsageError(f"threads is {threads!r}; it must be a whole number of 1 or more.")
        self.runtime, self.threads = find_runtime(), threads
        self._interpreter = load(self.runtime, content, threads, where)
        inputs, outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        self.input, self.output = _only(inputs, "input", where), _only(outputs, "output", where)
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        if self.input.shape[3] != 3:
            raise ModelError(
                f"{where}: a colour image (1, height, width, 3) was expected as input, got {self.input.shape}."
            )

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Runs the model; see `Backend.run`.

        Raises:
            TypeError: The tensor's shape or dtype is not the input's.
        """
        if tensor.shape != self.input.shape or tensor.dtype != self.input.dtype:
            raise TypeError(
                f"the model takes {np.dtype(self.input.dtype)} {self.input.shape}, got {tensor.dtype} {tensor.shape}"
            )
        self._interpreter.set_tensor(self._input_index, tensor)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output_index)

    def delegation(self) -> tuple[bool, list[str]] | None:
        """Whether XNNPACK runs part of the model, and the names of the operators it doesn't run; None if unknown."""
        running = running_operators(self._interpreter)
        if running is None:
            return None
        left = [kind for kind in running.values() if kind != DELEGATE]
        return len(left) < len(running), left


def load(runtime: Runtime, content: bytes, threads: int, where: str) -> Any:
    """An interpreter of any `.tflite`, with its tensors allocated; for arguments and errors see `LiteRT`."""
    try:
        with without_native_log():
            interpreter = runtime.interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{where}: {runtime.name} {runtime.version} can't load it ({_first_line(error)}); "
            "the file is damaged or needs another runtime."
        ) from error
    return interpreter


def inference(interpreter: Any, make_input: Callable[[TensorSpec], np.ndarray]) -> Callable[[], object]:
    """Sets the inputs of any interpreter, and returns what runs it, for timing."""
    for detail in interpreter.get_input_details():
        spec = TensorSpec(str(detail["name"]), tuple(int(side) for side in detail["shape"]), detail["dtype"])
        interpreter.set_tensor(detail["index"], make_input(spec))
    run: Callable[[], object] = interpreter.invoke
    return run


def running_operators(interpreter: Any) -> dict[int, str] | None:
    """What an interpreter runs, in order: the kind of each operator by its index, `DELEGATE` for what XNNPACK runs.

    None where the runtime doesn't say.
    """
    # Private, in ai-edge-litert and tflite-runtime alike: no public call gives it.
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return None
    # Operators that a delegate took over stay listed, and its own nodes follow them. So the last node to produce
    # a tensor is the one that runs, and walking back from the outputs meets only nodes that run.
    producer = {int(tensor): node for node in details() for tensor in node["outputs"]}
    running: dict[int, str] = {}
    tensors = [int(detail["index"]) for detail in interpreter.get_output_details()]
    while tensors:
        node = producer.get(tensors.pop())
        if node and node["index"] not in running:
            running[node["index"]] = str(node["op_name"])
            tensors += [int(tensor) for tensor in node["inputs"]]
    return dict(sorted(running.items()))


def slow_operators(kinds: Iterable[str]) -> Counter[str]:
    """How many operators of each kind XNNPACK could run but doesn't.

    QUANTIZE isn't counted: every model with uint8 input and output begins and ends with a conversion from or to int8,
    which XNNPACK doesn't have.
    """
    counts = Counter(kinds)
    del counts["QUANTIZE"]
    return counts


def _only(details: Sequence[dict[str, Any]], what: str, where: str) -> TensorSpec:
    if len(details) != 1:
        raise ModelError(f"{where}: one {what} was expected, got {len(details)}; it is not a segmentation model.")
    detail = details[0]
    shape = tuple(int(side) for side in detail["shape"])
    if len(shape) == 4 and -1 in detail["shape_signature"][1:]:  # LiteRT would load it as 1 x 1
        raise ModelError(f"{where}: its {what} has no fixed size; convert it with one.")
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise ModelError(f"{where}: its {what} was expected as (1, height, width, channels), got {shape}.")
    if detail["dtype"] not in DTYPES:
        kind = np.dtype(detail["dtype"])
        raise ModelError(f"{where}: its {what} was expected as uint8, int8 or float32, got {kind}.")
    scale, zero_point = detail["quantization"]
    return TensorSpec(str(detail["name"]), shape, detail["dtype"], float(scale), int(zero_point))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
