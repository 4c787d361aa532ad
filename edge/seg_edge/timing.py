"""Measures the stages of a photo or a frame, in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager


@contextmanager
def timed(timing_ms: MutableMapping[str, float], stage: str) -> Iterator[None]:
    """Adds the milliseconds that the block takes to `timing_ms[stage]`."""
    began = time.perf_counter()
    yield
    timing_ms[stage] = timing_ms.get(stage, 0.0) + (time.perf_counter() - began) * 1000
