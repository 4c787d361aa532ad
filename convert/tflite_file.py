"""The operators in a `.tflite`, read with the flatbuffer's schema, and the check that it is full-integer."""

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

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_INTEGERS = {schema.TensorType.INT32, schema.TensorType.INT64}
_SPREADING = {"TRANSPOSE_CONV", "Convolution2DTransposeBias"}  # each input pixel is spread over the output
# Left by a conversion with a dynamic batch: shape arithmetic at run time, which delegates don't support.
_SHAPE_ARITHMETIC = {"SHAPE", "STRIDED_SLICE", "PACK"}
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}  # of the weights' shape
_BETWEEN_DTYPES = {"QUANTIZE", "DEQUANTIZE"}
_CLAMPS = {"RELU", "RELU6", "RELU_N1_TO_1"}
# The inputs of an operator with multiplications that are its activations and weights. The last is MediaPipe's own.
_INPUTS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "Convolution2DTransposeBias": (0, 1),
}


NO_INT8 = (
    "Replace the layer (other normalisations by BatchNormalization, other activations by ReLU) and train again, or "
    "convert with --kind float16."
)


@dataclass(frozen=True)
class Operator:
    """An operator of a `.tflite`.

    Attributes:
        index: Its position in execution order.
        kind: `CONV_2D`, ..., or a custom operator's own name.
        name: Its first output tensor's name.
        shape: That tensor's shape.
        macs: Multiply-accumulates of convolutions and fully connected layers; 0 for all others.
        parameters: Count of its weights and biases.
        parameter_bytes: Their size in the file.
        folded: Works only on constants (e.g. float16 weights to float32), so it runs once, when the model is loaded.
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
    """The single subgraph of a `.tflite`, as the schema's objects.

    Raises:
        ModelError: It isn't a `.tflite`.
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
        # A constant is stored, or computed from stored ones: float16 weights come with a DEQUANTIZE each.
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
        """A tensor's shape; empty for a scalar."""
        shape = self.tensors[index].shape
        return () if shape is None else tuple(int(side) for side in shape)

    def type(self, index: int) -> str:
        """A tensor's type: `UINT8`, `INT8`, `INT32`, `FLOAT32`, ..."""
        return _TYPES[self.tensors[index].type]

    def operator(self, position: int) -> Operator:
        """The operator at this position in execution order."""
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
        """Stored tensors that aren't sizes or axes."""
        first = 1 if kind in _INPUTS else 0  # a transposed convolution's first input is its output's shape
        stored = [index for used in present(operator.inputs[first:]) for index in self.made_of.get(used, [])]
        return [index for index in stored if kind in _INPUTS or self.tensors[index].type not in _INTEGERS]

    def _macs(self, operator: Any, kind: str) -> int:
        """Each weight is used once per position of the output, or of the input if that is spread over the output."""
        if kind not in _INPUTS:
            return 0
        activations, weights = (self.shape(operator.inputs[index]) for index in _INPUTS[kind])
        if kind == "FULLY_CONNECTED":
            return math.prod(activations) * weights[0]
        positions = activations if kind in _SPREADING else self.shape(operator.outputs[0])
        return math.prod(weights) * math.prod(positions[:3])

    def pieces(self) -> list[list[int]]:
        """The operators that run, one per piece, except that a clamp joins its producer if it is the only reader.

        XNNPACK fuses these. Most converters do so in the file; MediaPipe's did not.
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
        """A `.tflite` of only these operators, with activations from elsewhere as inputs and the same weights."""
        own = [self.graph.operators[position] for position in piece]
        produced = {i for operator in own for i in present(operator.outputs)}
        needed = {i for operator in own for i in present(operator.inputs)} - produced
        makers = {id(self.makers[i]): self.makers[i] for i in sorted(needed) if i in self.makers}
        chosen = [*makers.values(), *own]
        used = sorted({i for operator in chosen for i in (*present(operator.inputs), *present(operator.outputs))})
        new_index = {old: new for new, old in enumerate(used)}
        root, graph = schema.ModelT(), schema.SubGraphT()
        root.version, root.operatorCodes, root.subgraphs = self.root.version, self.root.operatorCodes, [graph]
        root.buffers = [schema.BufferT(), *(self.root.buffers[self.tensors[i].buffer] for i in used)]
        graph.tensors = [copy.copy(self.tensors[i]) for i in used]
        for new, tensor in enumerate(graph.tensors):
            tensor.buffer = new + 1
        graph.operators = [copy.copy(operator) for operator in chosen]
        for operator in graph.operators:
            operator.inputs = [new_index.get(i, -1) for i in operator.inputs]
            operator.outputs = [new_index[i] for i in operator.outputs]
        graph.inputs = sorted(new_index[i] for i in needed if i not in self.made_of)
        graph.outputs = [new_index[i] for i in present(own[-1].outputs)]
        return _pack(root)


def operators(content: bytes) -> list[Operator]:
    """Lists the operators of a `.tflite`, with or without a card; dynamic sizes count as 1.

    Raises:
        ModelError: It isn't a `.tflite`.
    """
    graph = TfliteGraph(content)
    return [graph.operator(position) for position in range(len(graph.graph.operators))]


def total(content: bytes) -> tuple[int, float]:
    """Parameters, and millions of multiply-accumulates per inference; see `Operator`."""
    found = operators(content)
    return sum(operator.parameters for operator in found), sum(operator.macs for operator in found) / 1e6


def _pack(root: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def present(indices: Iterable[int]) -> list[int]:
    """The tensors among an operator's inputs or outputs; a missing optional one is -1."""
    return [int(index) for index in indices if index >= 0]


def check_full_integer(content: bytes) -> None:
    """Checks for uint8 in and out, integers inside, weights with a scale per channel, and no dynamic batch.

    Raises:
        ModelError: It isn't a `.tflite`, or isn't full-integer; lists all problems.
    """
    graph = TfliteGraph(content)
    problems = []
    for side, indices in (("input", graph.graph.inputs), ("output", graph.graph.outputs)):
        types = [graph.type(index) for index in indices]
        if types != ["UINT8"]:
            problems.append(f"its {side} is {', '.join(types)} instead of one UINT8")
    tensors = [t.name.decode() for i, t in enumerate(graph.tensors) if _is_float(graph, i)]
    if tensors:
        found = list(dict.fromkeys(_float_operators(graph)))
        listed = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        problems.append(
            f"{listed} computed in float" if found else f"{len(tensors)} tensors are float: {tensors[0]!r} ..."
        )
    kinds = [graph.kind(operator) for operator in graph.graph.operators]
    # Slicing the picture itself, as Cropping2D does, isn't shape arithmetic: shapes are INT32.
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
    if coarse and not tensors:
        problems.append(f"{len(coarse)} weights don't have a scale per channel, first {coarse[0]!r}")
    if problems:
        advice = f" {NO_INT8}" if tensors else ""
        raise ModelError(f"the converted model is not full-integer: {'; '.join(problems)}.{advice}")


def _is_float(graph: TfliteGraph, index: int) -> bool:
    return graph.type(index).startswith(("FLOAT", "BFLOAT"))


def _float_operators(graph: TfliteGraph) -> Iterator[str]:
    """Kind and layer of the operators that have no int8 form, in execution order."""
    for position, stored in enumerate(graph.graph.operators):
        operator = graph.operator(position)
        if operator.kind not in _BETWEEN_DTYPES and not operator.folded and _is_float(graph, stored.outputs[0]):
            yield f"{operator.kind} in the layer {layer_of(operator.name)!r}"


def layer_of(name: str) -> str:
    """The Keras layer in a tensor's name, `outer model/model/layer_1/...`, where 1 counts the layer's uses.

    Returns:
        The whole name if it has another form.
    """
    parts = name.split(";")[0].split("/")
    return re.sub(r"_\d+$", "", parts[2]) if len(parts) > 2 else name
