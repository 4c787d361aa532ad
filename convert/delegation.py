"""Loads a `.tflite` in LiteRT, and finds the operators that XNNPACK doesn't run."""

from __future__ import annotations

from typing import Any

from convert.tflite_file import operators
from seg_edge.card import strip_card
from seg_edge.errors import ModelError
from seg_edge.interpreter import DELEGATE, find_runtime, running_operators
from seg_edge.system.native_log import without_native_log


def not_delegated(content: bytes, threads: int = 1) -> list[str]:
    """Kind and name of the operators that XNNPACK leaves to LiteRT's plain kernels, in execution order.

    Raises:
        ModelError: LiteRT can't load the model, or doesn't tell.
    """
    running = running_operators(load_interpreter(strip_card(content), threads))
    if running is None:
        raise ModelError("this LiteRT doesn't tell what XNNPACK runs; run 'pip install -U ai-edge-litert'.")
    left = {index for index, kind in running.items() if kind != DELEGATE}
    return [f"{op.kind} {op.name}" for op in operators(content) if op.index in left and not op.folded]


def load_interpreter(content: bytes, threads: int) -> Any:
    """An interpreter for any `.tflite` without a card.

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
