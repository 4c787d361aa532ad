"""Photos in parallel: one single-threaded interpreter for each core, and a limited number of photos.

A small model gains nothing from batches and little from threads, so each photo has a core to itself. The workers are
threads, not processes: OpenCV and LiteRT release Python's lock, and models and metrics are in memory only once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from seg_edge.segmenter import Segmenter
from seg_edge.serve.answer import PhotoResponse
from seg_edge.serve.problem import TRY_AGAIN, Problem
from seg_edge.serve.turns import Turns

Models = Mapping[str, Segmenter]
BYTES_S = 500_000  # a photo overtakes those of its client that are larger by this for each second that they have waited


@dataclass(frozen=True, eq=False)
class _Job:
    task: Callable[[Models], PhotoResponse]
    future: Future[PhotoResponse]


class Workers:
    """Runs tasks on Segmenters, one task at a time on each. To be used from one event loop.

    Args:
        model_sets: The models by name, once for each worker.
        waiting: Photos that may wait for a worker.
    """

    def __init__(self, model_sets: list[Models], waiting: int) -> None:
        self._pool = ThreadPoolExecutor(len(model_sets), "segment")
        self._lock, self._idle, self._turns = Lock(), list(model_sets), Turns[_Job]()
        self.workers, self.slots = len(model_sets), len(model_sets) + waiting

    @property
    def inside(self) -> int:
        """Photos waiting or being segmented, also those without a client, as a thread can't be stopped."""
        with self._lock:
            return self._count()

    def _count(self) -> int:
        return self.workers - len(self._idle) + len(self._turns)

    async def run(self, client: str, size: int, task: Callable[[Models], PhotoResponse]) -> PhotoResponse:
        """Runs a task with a worker's models once it is its turn; returns its result.

        Args:
            client: Clients take turns.
            size: Of the photo, in bytes; of one client's photos that arrive together the smallest is next.
            task: What to do.

        Raises:
            Problem: 429 if too many wait, and this client has its share of them.
        """
        job = _Job(task, Future())
        with self._lock:
            if self._count() >= self.slots:
                self._make_room(client)
            self._turns.put(client, time.monotonic() + size / BYTES_S, job)
        self._pool.submit(self._work)
        result = asyncio.wrap_future(job.future)
        # After the deadline its exception isn't retrieved, which asyncio would report.
        result.add_done_callback(lambda future: future.cancelled() or future.exception())
        try:
            return await asyncio.shield(result)  # a running thread's future can't be cancelled
        finally:
            with self._lock:
                self._turns.discard(client, job)
            job.future.cancel()

    def _make_room(self, client: str) -> None:
        full = Problem(429, f"{self.slots} photos are waiting already; try again in a second.", TRY_AGAIN)
        last = self._turns.make_room_for(client)
        if last is None:
            raise full
        last.future.set_exception(full)

    def _work(self) -> None:
        with self._lock:
            if not self._turns:  # its client has disconnected
                return
            job, models = self._turns.take(), self._idle.pop()
            job.future.set_running_or_notify_cancel()
        try:
            result: PhotoResponse | BaseException = job.task(models)
        except BaseException as error:
            result = error  # raised where it is awaited
        with self._lock:
            self._idle.append(models)
        if isinstance(result, BaseException):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    def close(self) -> None:
        """Starts nothing more; what is running can't be stopped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
