"""Photos in parallel: one single-threaded interpreter for each core, and a limited number of photos.

A small model gains nothing from batches and little from threads, so each photo has a core to itself. The workers are
threads, not processes: OpenCV and LiteRT release Python's lock, and models and metrics are in memory only once.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from seg_edge.segmenter import Segmenter
from seg_edge.serve.problem import Problem

Made = TypeVar("Made")
Models = Mapping[str, Segmenter]


class RequestSlot:
    """Room for one photo, from its arrival until no thread works on it any more."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free: Callable[[], None] | None = free
        self.work: Future | None = None

    def leave(self) -> None:
        """Frees the slot, at once or when its thread has finished: a thread can't be stopped."""
        free, self._free = self._free, None
        if free is None:
            return
        if self.work is None or self.work.cancel() or self.work.done():
            free()
            return
        loop = asyncio.get_running_loop()

        def later(_: Future) -> None:
            with contextlib.suppress(RuntimeError):  # the server has shut down meanwhile
                loop.call_soon_threadsafe(free)

        self.work.add_done_callback(later)


class Workers:
    """Runs tasks on Segmenters, one task at a time on each. To be used from one event loop.

    Args:
        model_sets: The models by name, once for each worker.
        waiting: Photos that may wait for a worker.

    Attributes:
        inside: Photos that hold a slot now.
    """

    def __init__(self, model_sets: list[Models], waiting: int) -> None:
        self._pool = ThreadPoolExecutor(len(model_sets), "segment")
        self._idle: queue.SimpleQueue[Models] = queue.SimpleQueue()
        for models in model_sets:
            self._idle.put(models)
        self.workers, self.slots, self.inside = len(model_sets), len(model_sets) + waiting, 0

    @contextmanager
    def slot(self) -> Iterator[RequestSlot]:
        """Takes a slot.

        Raises:
            Problem: 429, there is none left.
        """
        if self.inside >= self.slots:
            raise Problem(429, f"{self.slots} photos are waiting already; try again in a second.", {"Retry-After": "1"})
        self.inside += 1
        slot = RequestSlot(self._leave)
        try:
            yield slot
        finally:
            slot.leave()

    def _leave(self) -> None:
        self.inside -= 1

    async def run(self, slot: RequestSlot, task: Callable[[Models], Made]) -> Made:
        """Runs the task with a worker's models, once a worker is free; returns its result."""

        def work() -> Made:
            models = self._idle.get()
            try:
                return task(models)
            finally:
                self._idle.put(models)

        slot.work = self._pool.submit(work)
        made = asyncio.wrap_future(slot.work)
        # After the deadline nobody retrieves its exception, which asyncio would report.
        made.add_done_callback(lambda future: future.cancelled() or future.exception())
        # Shielded, as a running thread's future can't be cancelled; `RequestSlot.leave` waits for it.
        return await asyncio.shield(made)

    def close(self) -> None:
        """Starts nothing more; what is running can't be stopped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
