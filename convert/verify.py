"""What a converted model must be before it is written: full-integer inside, and as accurate as its parent.

The flatbuffer is read through its schema, not through an interpreter, so what is checked is what is in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from seg_edge.card import strip_card
from seg_edge.errors import ModelError
from seg_edge.evaluation.scores import Scores

MAX_DICE_DROP = 0.01
MAX_BOUNDARY_DROP = 0.02
# Left over when a model was converted with an open batch: shape arithmetic at run time that delegates refuse.
LEFTOVERS = {"SHAPE", "STRIDED_SLICE", "PACK"}
WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}

_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


@dataclass(frozen=True)
class Contents:
    """What is in a `.tflite`.

    Attributes:
        operators: Names in the order they run.
        tensors: Name and type (`UINT8`, `INT8`, `INT32`, `FLOAT32`, ...) of each.
        inputs: Types of the input tensors.
        outputs: Types of the output tensors.
        weight_scales: For each weighted operator, its output channels and the number of scales of its weights.
    """

    operators: tuple[str, ...]
    tensors: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_scales: tuple[tuple[str, int, int], ...]


def read_contents(model: bytes) -> Contents:
    """Lists operators and tensors of a `.tflite`'s only subgraph, with or without a card."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(strip_card(model), 0))
    graph = root.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in root.operatorCodes]
    operators, weights = [], []
    for operator in graph.operators:
        kind = _OPERATORS[codes[operator.opcodeIndex]]
        operators.append(kind)
        if kind in WEIGHTED:
            weight = graph.tensors[operator.inputs[1]]
            axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
            scales = weight.quantization.scale if weight.quantization else None
            weights.append(
                (
                    names[operator.inputs[1]],
                    int(weight.shape[axis]),
                    0 if scales is None else len(scales),
                )
            )
    return Contents(
        tuple(operators),
        tuple((name, _TYPES[tensor.type]) for name, tensor in zip(names, graph.tensors, strict=True)),
        tuple(_TYPES[graph.tensors[index].type] for index in graph.inputs),
        tuple(_TYPES[graph.tensors[index].type] for index in graph.outputs),
        tuple(weights),
    )


def check_full_integer(model: bytes) -> None:
    """uint8 in and out, integers inside, weights with one scale a channel, nothing left of an open batch.

    Raises:
        ModelError: With everything that is otherwise.
    """
    contents = read_contents(model)
    problems = []
    for what, types in (("input", contents.inputs), ("output", contents.outputs)):
        if types != ("UINT8",):
            problems.append(f"its {what} is {', '.join(types)} instead of one UINT8")
    floats = [name for name, kind in contents.tensors if kind.startswith(("FLOAT", "BFLOAT"))]
    if floats:
        problems.append(f"{len(floats)} tensors are float, first {floats[0]!r}")
    left = LEFTOVERS.intersection(contents.operators)
    if left:
        problems.append(f"it computes shapes at run time ({', '.join(sorted(left))})")
    coarse = [name for name, channels, scales in contents.weight_scales if scales != channels]
    if coarse:
        problems.append(f"{len(coarse)} weights don't have one scale a channel, first {coarse[0]!r}")
    if problems:
        raise ModelError(f"the converted model is not full-integer: {'; '.join(problems)}.")


def accuracy_drop(before: Scores, after: Scores) -> dict[str, float]:
    """How much mean Dice and boundary F fell, 0 where they rose."""
    return {
        "mean_dice": max(0.0, before.mean_dice - after.mean_dice),
        "boundary_f": max(0.0, before.mean_boundary - after.mean_boundary),
    }


def gate(before: Scores, after: Scores) -> str:
    """Why the converted model is refused for its accuracy; empty when it isn't.

    Mean Dice may fall by 0.01 and boundary F by 0.02.
    """
    limits = {"mean_dice": MAX_DICE_DROP, "boundary_f": MAX_BOUNDARY_DROP}
    words = {"mean_dice": "mean Dice", "boundary_f": "boundary F"}
    unknown = [name for name, value in (("before", before), ("after", after)) if not np.isfinite(value.mean_dice)]
    if unknown:
        return f"mean Dice is no number {' and '.join(unknown)}: no class is in any photo's mask or answer"
    drop = accuracy_drop(before, after)
    too_much = [
        f"{words[name]} fell by {drop[name]:.4f}, {limit} is allowed"
        for name, limit in limits.items()
        if drop[name] > limit
    ]
    return "; ".join(too_much)
