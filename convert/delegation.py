"""What XNNPACK, LiteRT's fast path on a CPU, takes of a `.tflite`: asked of a loaded interpreter."""

from __future__ import annotations

from typing import Any

from convert.operators import operators, present
from seg_edge.card import strip_card
from seg_edge.errors import ModelError
from seg_edge.interpreter import find_runtime
from seg_edge.system.native_log import without_native_log


def not_delegated(content: bytes, threads: int = 1) -> list[str]:
    """Kind and name of the operators that XNNPACK leaves to LiteRT's plain kernels, in the order they run.

    The interpreter keeps the original operators and adds one named DELEGATE for each part of the graph that XNNPACK
    took. What runs is what the outputs need, where a DELEGATE makes a tensor rather than the operator it replaced.

    Raises:
        ModelError: LiteRT can't load it.
    """
    interpreter, all_operators = load(strip_card(content), threads), operators(content)
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
        wanted.extend(present(node["inputs"]))
        if node["op_name"] != "DELEGATE":
            left.add(node["index"])
    return [f"{one.kind} {one.name}" for one in all_operators if one.index in left and not one.folded]


def load(content: bytes, threads: int) -> Any:
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
