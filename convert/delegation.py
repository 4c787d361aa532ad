"""The operators of a `.tflite` that XNNPACK doesn't run."""

from __future__ import annotations

from convert.tflite_file import operators
from seg_edge.card import strip_card
from seg_edge.errors import ModelError
from seg_edge.interpreter import DELEGATE, find_runtime, load, running_operators


def not_delegated(content: bytes, threads: int = 1) -> list[str]:
    """Kind and name of the operators that XNNPACK leaves to LiteRT's plain kernels, in execution order.

    Raises:
        ModelError: LiteRT can't load the model, or doesn't report what runs.
    """
    running = running_operators(load(find_runtime(), strip_card(content), threads, "the model"))
    if running is None:
        raise ModelError("this LiteRT doesn't report what XNNPACK runs; run 'pip install -U ai-edge-litert'.")
    left = {index for index, kind in running.items() if kind != DELEGATE}
    return [f"{op.kind} {op.name}" for op in operators(content) if op.index in left and not op.folded]
