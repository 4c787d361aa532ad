"""Where the work and the time of a `.tflite` go, operator by operator.

What is in the file is read through the flatbuffer's schema. What XNNPACK, LiteRT's fast path on a CPU, takes of it is
asked of a loaded interpreter. How long each operator takes, no runtime tells Python, so each is cut out as a model of
its own and timed in turns with the others and with the whole.
"""

from __future__ import annotations

import copy
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from seg_edge.card import strip_card
from seg_edge.errors import ModelError
from seg_edge.interpreter import TensorSpec, find_runtime
from seg_edge.latency import RUNS, random_tensor, time_in_turns
from seg_edge.native_log import without_native_log

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_INTEGERS = {schema.TensorType.INT32, schema.TensorType.INT64}
_CLAMPS = {"RELU", "RELU6", "RELU_N1_TO_1"}
# Which inputs of an operator with multiplications are the activations and the weights. The last is MediaPipe's own.
_INPUTS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "Convolution2DTransposeBias": (0, 1),
}


@dataclass(frozen=True)
class Operator:
    """An operator of a `.tflite`.

    Attributes:
        index: Its place in the order they run.
        kind: `CONV_2D`, ..., or a custom operator's own name.
        name: Its first output tensor's.
        shape: Of that tensor.
        macs: Multiplications with an addition, of convolutions and fully connected layers; 0 for all else.
        parameters: Numbers in its weights and biases.
        parameter_bytes: What they take in the file.
        folded: Works on constants alone (float16 weights made float32), so it runs once, when the model is loaded.
    """

    index: int
    kind: str
    name: str
    shape: tuple[int, ...]
    macs: int
    parameters: int
    parameter_bytes: int
    folded: bool


@dataclass(frozen=True)
class OperatorTime:
    """How long an operator took, cut out and run alone; `share` is of the sum over all operators, 0..1."""

    kind: str
    name: str
    macs: int
    ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Times of the operators, and how far to believe them.

    Attributes:
        times: In the order they run, without the folded, and with a clamp that XNNPACK fuses in its maker's time.
        whole_ms: Median of the whole model in the same turns.
        agreement: Median over the turns of the sum of the operators' times, over the whole's: 1 if cutting changed
            nothing. Below 0.75 or above 1.25 the shares are rough.
    """

    times: list[OperatorTime]
    whole_ms: float
    agreement: float


class _Graph:
    """The only subgraph, through the schema's objects."""

    def __init__(self, content: bytes):
        flat = strip_card(content)
        try:
            if not schema.Model.ModelBufferHasIdentifier(flat, 0):
                raise ValueError
            self.root = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(flat, 0))
            self.graph = self.root.subgraphs[0]
        except (ValueError, TypeError, IndexError, struct.error) as error:
            raise ModelError("this is not a .tflite, or a damaged one; convert it again.") from error
        self.tensors = self.graph.tensors
        # A constant is stored, or made of stored ones: float16 weights come with a DEQUANTIZE each.
        self.made_of: dict[int, list[int]] = {
            index: [index] for index, tensor in enumerate(self.tensors) if self._is_stored(tensor)
        }
        self.makers: dict[int, Any] = {}
        self.folded: set[int] = set()
        for position, operator in enumerate(self.graph.operators):
            inputs = _present(operator.inputs)
            if inputs and all(index in self.made_of for index in inputs):
                self.folded.add(position)
                for output in operator.outputs:
                    self.made_of[output] = [stored for index in inputs for stored in self.made_of[index]]
                    self.makers[output] = operator

    def _is_stored(self, tensor: Any) -> bool:
        data = self.root.buffers[tensor.buffer].data
        return data is not None and len(data) > 0

    def kind(self, operator: Any) -> str:
        code = self.root.operatorCodes[operator.opcodeIndex]
        kind = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return code.customCode.decode() if kind == "CUSTOM" else kind

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.tensors[index].shape
        return () if shape is None else tuple(int(side) for side in shape)

    def operator(self, position: int) -> Operator:
        operator = self.graph.operators[position]
        kind, output = self.kind(operator), operator.outputs[0]
        weights = [] if position in self.folded else self._weights(operator, kind)
        return Operator(
            position,
            kind,
            self.tensors[output].name.decode(),
            self.shape(output),
            self._macs(operator, kind),
            sum(math.prod(self.shape(index)) for index in weights),
            sum(len(self.root.buffers[self.tensors[index].buffer].data) for index in weights),
            position in self.folded,
        )

    def _weights(self, operator: Any, kind: str) -> list[int]:
        """Stored tensors that are no sizes or axes."""
        first = 1 if kind in _INPUTS else 0  # a transposed convolution's first input is its output's shape
        stored = [index for used in _present(operator.inputs[first:]) for index in self.made_of.get(used, [])]
        return [index for index in stored if kind in _INPUTS or self.tensors[index].type not in _INTEGERS]

    def _macs(self, operator: Any, kind: str) -> int:
        """Each weight is used once a place: of the output, or of the input where that is spread over the output."""
        if kind not in _INPUTS:
            return 0
        activations, weights = (self.shape(operator.inputs[place]) for place in _INPUTS[kind])
        if kind == "FULLY_CONNECTED":
            return math.prod(activations) * weights[0]
        places = activations if "rans" in kind.lower() else self.shape(operator.outputs[0])
        return math.prod(weights) * math.prod(places[:3])

    def pieces(self) -> list[list[int]]:
        """The operators that run, each alone, but a clamp with its maker where nothing else reads that: XNNPACK fuses.

        Most converters fuse them in the file; MediaPipe's did not.
        """
        readers = Counter(i for operator in self.graph.operators for i in _present(operator.inputs))
        readers.update(_present(self.graph.outputs))
        pieces: list[list[int]] = []
        for position, operator in enumerate(self.graph.operators):
            if position in self.folded:
                continue
            source = operator.inputs[0] if len(operator.inputs) else -1
            last = self.graph.operators[pieces[-1][-1]] if pieces else None
            if self.kind(operator) in _CLAMPS and last and source in last.outputs and readers[source] == 1:
                pieces[-1].append(position)
            else:
                pieces.append([position])
        return pieces

    def cut(self, piece: list[int]) -> bytes:
        """A `.tflite` of these operators alone, activations from elsewhere as inputs, weights as they are."""
        own = [self.graph.operators[position] for position in piece]
        made = {i for operator in own for i in _present(operator.outputs)}
        needed = {i for operator in own for i in _present(operator.inputs)} - made
        makers = {id(self.makers[i]): self.makers[i] for i in sorted(needed) if i in self.makers}
        chosen = [*makers.values(), *own]
        used = sorted({i for one in chosen for i in (*_present(one.inputs), *_present(one.outputs))})
        place = {old: new for new, old in enumerate(used)}
        root, graph = schema.ModelT(), schema.SubGraphT()
        root.version, root.operatorCodes, root.subgraphs = self.root.version, self.root.operatorCodes, [graph]
        root.buffers = [schema.BufferT(), *(self.root.buffers[self.tensors[i].buffer] for i in used)]
        graph.tensors = [copy.copy(self.tensors[i]) for i in used]
        for new, tensor in enumerate(graph.tensors):
            tensor.buffer = new + 1
        graph.operators = [copy.copy(one) for one in chosen]
        for one in graph.operators:
            one.inputs = [place.get(i, -1) for i in one.inputs]
            one.outputs = [place[i] for i in one.outputs]
        graph.inputs = sorted(place[i] for i in needed if i not in self.made_of)
        graph.outputs = [place[i] for i in _present(own[-1].outputs)]
        return _pack(root)


def operators(content: bytes) -> list[Operator]:
    """Lists a `.tflite`'s operators, with or without a card; sizes that are left open count as 1.

    Raises:
        ModelError: It is no `.tflite`.
    """
    graph = _Graph(content)
    return [graph.operator(position) for position in range(len(graph.graph.operators))]


def mmac(content: bytes) -> float:
    """Millions of multiplications with an addition in one inference; see `Operator.macs`."""
    return sum(operator.macs for operator in operators(content)) / 1e6


def not_delegated(content: bytes, threads: int = 1) -> list[str]:
    """Kind and name of the operators that XNNPACK leaves to LiteRT's plain kernels, in the order they run.

    The interpreter keeps the original operators and adds one named DELEGATE for each part of the graph that XNNPACK
    took. What runs is what the outputs need, where a DELEGATE makes a tensor rather than the operator it replaced.

    Raises:
        ModelError: LiteRT can't load it.
    """
    interpreter, all_operators = _load(strip_card(content), threads), operators(content)
    makers: dict[int, dict[str, Any]] = {}
    for node in interpreter._get_ops_details():
        for output in node["outputs"]:
            if node["op_name"] == "DELEGATE" or int(output) not in makers:
                makers[int(output)] = node
    left: set[int] = set()
    seen: set[int] = set()
    wanted = [int(detail["index"]) for detail in interpreter.get_output_details()]
    while wanted:
        node = makers.get(wanted.pop())
        if node is None or node["index"] in seen:
            continue
        seen.add(node["index"])
        wanted.extend(_present(node["inputs"]))
        if node["op_name"] != "DELEGATE":
            left.add(node["index"])
    return [f"{one.kind} {one.name}" for one in all_operators if one.index in left and not one.folded]


def operator_times(content: bytes, threads: int = 1, runs: int = RUNS) -> list[OperatorTime]:
    """Time and share of each operator; see `profile`."""
    return profile(content, threads, runs).times


def profile(content: bytes, threads: int = 1, runs: int = RUNS, seconds: float | None = None) -> Profile:
    """Times each operator cut out of the model, in turns with the others and the whole.

    An operator alone finds its input where the other models left the cache, not where its predecessor put it. For
    int8 U-Nets the sum and the whole agree within a tenth; for a float model of a hundred small operators, such as
    MediaPipe's selfie, the sum is 1.3 to 1.7 times the whole, and then the times of the large operators are right
    (as far as differences between models cut off before and after them tell) and the shares too small. On a busy
    machine short calls are interrupted less often than the long one, so the medians add up to less than the whole's
    although `agreement` is near 1: there the shares are the figures to use.

    Args:
        content: The `.tflite`, with or without a card.
        threads: CPU threads.
        runs: Of each operator and of the whole.
        seconds: See `seg_edge.latency.measure`.

    Raises:
        ModelError: LiteRT can't load it.
    """
    graph, listed = _Graph(content), operators(content)
    pieces = graph.pieces()
    contents = [strip_card(content), *(graph.cut(piece) for piece in pieces)]
    actions = {str(place): _invoke(model, threads) for place, model in enumerate(contents)}
    timings = time_in_turns(actions, threads, runs, seconds=seconds)
    whole, *samples = (np.array(timing.samples) for timing in timings.values())
    medians = np.median(samples, axis=1)
    times = [
        OperatorTime(one.kind, one.name, one.macs, float(ms), float(ms / medians.sum()))
        for one, ms in zip((listed[piece[0]] for piece in pieces), medians, strict=True)
    ]
    return Profile(times, float(np.median(whole)), float(np.median(np.sum(samples, axis=0) / whole)))


def _load(content: bytes, threads: int) -> Any:
    try:
        with without_native_log():
            interpreter = find_runtime().interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT can't load the model ({str(error).splitlines()[0]}).") from error
    return interpreter


def _invoke(content: bytes, threads: int) -> Callable[[], object]:
    """The inference alone, on random inputs that are there already."""
    interpreter = _load(content, threads)
    for detail in interpreter.get_input_details():
        spec = TensorSpec(detail["name"], tuple(int(side) for side in detail["shape"]), detail["dtype"])
        interpreter.set_tensor(detail["index"], random_tensor(spec))
    return interpreter.invoke


def _pack(root: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _present(indices: Iterable[int]) -> list[int]:
    return [int(index) for index in indices if index >= 0]
