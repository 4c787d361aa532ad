"""What is in a `.tflite`: its operators, read through the flatbuffer's schema, and what XNNPACK runs of it."""

from __future__ import annotations

import copy
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from seg_edge.card import strip_card
from seg_edge.errors import ModelError
from seg_edge.interpreter import DELEGATE, find_runtime, running_operators
from seg_edge.system.native_log import without_native_log

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_INTEGERS = {schema.TensorType.INT32, schema.TensorType.INT64}
_SPREADING = {"TRANSPOSE_CONV", "Convolution2DTransposeBias"}  # each input is spread over the output
# Left in the file when a model was converted with an open batch: shape arithmetic at run time that delegates refuse.
_SHAPE_ARITHMETIC = {"SHAPE", "STRIDED_SLICE", "PACK"}
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}  # of the weights' shape
_BETWEEN_DTYPES = {"QUANTIZE", "DEQUANTIZE"}
_CLAMPS = {"RELU", "RELU6", "RELU_N1_TO_1"}
# Which inputs of an operator with multiplications are the activations and the weights. The last is MediaPipe's own.
_INPUTS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "Convolution2DTransposeBias": (0, 1),
}


NO_INT8 = (
    "Put another layer there (BatchNormalization for another normalisation, ReLU for another activation) and train it "
    "again, or convert with --kind float16."
)


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


class TfliteGraph:
    """The only subgraph of a `.tflite`, through the schema's objects.

    Raises:
        ModelError: It is no `.tflite`.
    """

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
            inputs = present(operator.inputs)
            if inputs and all(index in self.made_of for index in inputs):
                self.folded.add(position)
                for output in operator.outputs:
                    self.made_of[output] = [stored for index in inputs for stored in self.made_of[index]]
                    self.makers[output] = operator

    def _is_stored(self, tensor: Any) -> bool:
        data = self.root.buffers[tensor.buffer].data
        return data is not None and len(data) > 0

    def kind(self, operator: Any) -> str:
        """`CONV_2D`, ..., or a custom operator's own name."""
        code = self.root.operatorCodes[operator.opcodeIndex]
        kind = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return code.customCode.decode() if kind == "CUSTOM" else kind

    def shape(self, index: int) -> tuple[int, ...]:
        """Of a tensor; empty for a scalar."""
        shape = self.tensors[index].shape
        return () if shape is None else tuple(int(side) for side in shape)

    def type(self, index: int) -> str:
        """Of a tensor: `UINT8`, `INT8`, `INT32`, `FLOAT32`, ..."""
        return _TYPES[self.tensors[index].type]

    def operator(self, position: int) -> Operator:
        """The operator at this place in the order they run."""
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
        stored = [index for used in present(operator.inputs[first:]) for index in self.made_of.get(used, [])]
        return [index for index in stored if kind in _INPUTS or self.tensors[index].type not in _INTEGERS]

    def _macs(self, operator: Any, kind: str) -> int:
        """Each weight is used once for each position of the output, or of the input where that is spread out."""
        if kind not in _INPUTS:
            return 0
        activations, weights = (self.shape(operator.inputs[place]) for place in _INPUTS[kind])
        if kind == "FULLY_CONNECTED":
            return math.prod(activations) * weights[0]
        places = activations if kind in _SPREADING else self.shape(operator.outputs[0])
        return math.prod(weights) * math.prod(places[:3])

    def pieces(self) -> list[list[int]]:
        """The operators that run, each alone, but a clamp with its maker where nothing else reads that: XNNPACK fuses.

        Most converters fuse them in the file; MediaPipe's did not.
        """
        readers = Counter(i for operator in self.graph.operators for i in present(operator.inputs))
        readers.update(present(self.graph.outputs))
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
        made = {i for operator in own for i in present(operator.outputs)}
        needed = {i for operator in own for i in present(operator.inputs)} - made
        makers = {id(self.makers[i]): self.makers[i] for i in sorted(needed) if i in self.makers}
        chosen = [*makers.values(), *own]
        used = sorted({i for one in chosen for i in (*present(one.inputs), *present(one.outputs))})
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
        graph.outputs = [place[i] for i in present(own[-1].outputs)]
        return _pack(root)


def operators(content: bytes) -> list[Operator]:
    """Lists a `.tflite`'s operators, with or without a card; sizes that are left open count as 1.

    Raises:
        ModelError: It is no `.tflite`.
    """
    graph = TfliteGraph(content)
    return [graph.operator(position) for position in range(len(graph.graph.operators))]


def total(content: bytes) -> tuple[int, float]:
    """Parameters, and millions of multiplications with an addition in one inference; see `Operator`."""
    listed = operators(content)
    return sum(one.parameters for one in listed), sum(one.macs for one in listed) / 1e6


def _pack(root: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def present(indices: Iterable[int]) -> list[int]:
    """The tensors among an operator's inputs or outputs; an optional one that isn't given is -1."""
    return [int(index) for index in indices if index >= 0]


def check_full_integer(content: bytes) -> None:
    """uint8 in and out, integers inside, weights with one scale a channel, nothing left of an open batch.

    Raises:
        ModelError: It is no `.tflite`, or not full-integer; lists everything that is wrong.
    """
    graph = TfliteGraph(content)
    problems = []
    for what, indices in (("input", graph.graph.inputs), ("output", graph.graph.outputs)):
        types = [graph.type(index) for index in indices]
        if types != ["UINT8"]:
            problems.append(f"its {what} is {', '.join(types)} instead of one UINT8")
    floats = [t.name.decode() for i, t in enumerate(graph.tensors) if _is_float(graph, i)]
    if floats:
        at = list(dict.fromkeys(_float_operators(graph)))
        where = ", ".join(at[:3]) + (f" and {len(at) - 3} more" if len(at) > 3 else "")
        problems.append(f"{where} computed in float" if at else f"{len(floats)} tensors are float, first {floats[0]!r}")
    kinds = [graph.kind(operator) for operator in graph.graph.operators]
    # A slice of the picture itself, such as a Cropping2D, is no arithmetic with shapes, which are INT32.
    shape_arithmetic = {
        kind
        for kind, operator in zip(kinds, graph.graph.operators, strict=True)
        if kind in _SHAPE_ARITHMETIC and (kind == "SHAPE" or graph.type(operator.inputs[0]) in ("INT32", "INT64"))
    }
    if shape_arithmetic:
        problems.append(f"it computes shapes at run time ({', '.join(sorted(shape_arithmetic))})")
    coarse = []
    for kind, operator in zip(kinds, graph.graph.operators, strict=True):
        if kind in _CHANNEL_AXIS:
            weights = graph.tensors[operator.inputs[1]]
            scales = weights.quantization.scale if weights.quantization else None
            if (0 if scales is None else len(scales)) != weights.shape[_CHANNEL_AXIS[kind]]:
                coarse.append(weights.name.decode())
    if coarse and not floats:
        problems.append(f"{len(coarse)} weights don't have one scale a channel, first {coarse[0]!r}")
    if problems:
        cure = f" {NO_INT8}" if floats else ""
        raise ModelError(f"the converted model is not full-integer: {'; '.join(problems)}.{cure}")


def _is_float(graph: TfliteGraph, index: int) -> bool:
    return graph.type(index).startswith(("FLOAT", "BFLOAT"))


def _float_operators(graph: TfliteGraph) -> Iterator[str]:
    """Kind and layer of the operators that have no int8 form, in the order they run."""
    for position, operator in enumerate(graph.graph.operators):
        made = graph.operator(position)
        if made.kind not in _BETWEEN_DTYPES and not made.folded and _is_float(graph, operator.outputs[0]):
            yield f"{made.kind} in the layer {layer_of(made.name)!r}"


def layer_of(name: str) -> str:
    """The Keras layer in the name of a tensor, `outer model/model/layer_1/...`, whose 1 counts the layer's uses.

    Returns:
        The whole name where it isn't of this form.
    """
    parts = name.split(";")[0].split("/")
    return re.sub(r"_\d+$", "", parts[2]) if len(parts) > 2 else name


def not_delegated(content: bytes, threads: int = 1) -> list[str]:
    """Kind and name of the operators that XNNPACK leaves to LiteRT's plain kernels, in the order they run.

    Raises:
        ModelError: LiteRT can't load it, or doesn't say.
    """
    running = running_operators(load_interpreter(strip_card(content), threads))
    if running is None:
        raise ModelError("this LiteRT doesn't say what XNNPACK took; run 'pip install -U ai-edge-litert'.")
    left = {index for index, kind in running.items() if kind != DELEGATE}
    return [f"{one.kind} {one.name}" for one in operators(content) if one.index in left and not one.folded]


def load_interpreter(content: bytes, threads: int) -> Any:
    """An interpreter of any `.tflite`, without a card.

    Raises:
        ModelError: LiteRT can't load it.
    """
    try:
        with without_native_log():
            interpreter = find_runtime().interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT can't load the model ({str(error).splitlines()[0]}).") from error
    return interpreter
