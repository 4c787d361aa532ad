"""Uploads and downloads in progress: counted per client, and separately from the work on photos.

On a slow network a photo takes a minute to arrive and its response a minute to leave; the work between takes
milliseconds. So transfers hold no worker. They do hold memory, and that is limited here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from seg_edge.serve.problem import Problem, UnreadProblem

MAX_TRANSFERS = 192  # below the server's limit of connections, so that health checks get through
MAX_OF_CLIENT = 64  # a class may share one address
MIN_BYTES_S = 20_000  # a slower upload, on average after its first seconds, is ended
STALLED_S = 2.0  # an upload without a byte for this long makes way for others
AGAIN = {"Retry-After": "1"}


class Transfer:
    """One request, from its header to the end of its response.

    Attributes:
        client: The client's address.
        held: Bytes of memory that the photo and the response take.
        moved_at: When the last byte arrived, in the event loop's seconds; None once the upload is complete.
    """

    def __init__(self, client: str, check: Callable[[Transfer], None]) -> None:
        self.client, self.held, self._check = client, 0, check
        self.moved_at: float | None = asyncio.get_running_loop().time()
        self._limit: asyncio.Timeout | None = None
        self._end: Problem | None = None

    @asynccontextmanager
    async def within(self, seconds: float, late: Problem) -> AsyncIterator[None]:
        """Limits the time that the block takes.

        Raises:
            Problem: `late`, or the reason why the request was ended meanwhile.
        """
        if self._end:
            raise self._end
        try:
            async with asyncio.timeout(seconds) as self._limit:
                yield
        except TimeoutError:
            raise self._end or late from None
        finally:
            self._limit = None

    def arrived(self, count: int) -> None:
        """Counts bytes that have arrived, which extends the time limit.

        Raises:
            Problem: There is no memory left for them.
        """
        self.moved_at = asyncio.get_running_loop().time()
        self.hold(count)
        if self._limit and not self._limit.expired():
            when = self._limit.when()
            assert when is not None
            self._limit.reschedule(when + count / MIN_BYTES_S)

    def hold(self, count: int) -> None:
        """Reserves memory.

        Raises:
            Problem: There is none left.
        """
        self.held += count
        self._check(self)

    def end(self, why: Problem, after_s: float = 0) -> None:
        """Ends the request, unless its response is already being sent."""
        self._end = why
        if self._limit and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + after_s)


class Transfers:
    """All requests in progress. To be used from one event loop.

    Args:
        max_bytes: Memory that they may hold together; one client may hold half of it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._all, self._closing = max_bytes, set[Transfer](), False

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def admit(self, client: str) -> Iterator[Transfer]:
        """Admits a request.

        Raises:
            UnreadProblem: 429 or 503: too many requests, none of them stalled; or the server is shutting down.
        """
        if self._closing:
            raise UnreadProblem(503, "The server is shutting down.", {"Connection": "close"})
        own = {transfer for transfer in self._all if transfer.client == client}
        if len(own) >= MAX_OF_CLIENT:
            self._make_room(own, 429, f"{len(own)} of your requests are in progress; try again in a second.")
        elif len(self._all) >= MAX_TRANSFERS:
            self._make_room(self._all, 503, f"{len(self._all)} requests are in progress; try again in a second.")
        transfer = Transfer(client, self._check)
        self._all.add(transfer)
        try:
            yield transfer
        finally:
            self._all.discard(transfer)

    def _make_room(self, among: set[Transfer], status: int, detail: str) -> None:
        """Ends the upload that has been stalled longest."""
        uploads = {transfer: transfer.moved_at for transfer in among if transfer.moved_at is not None}
        stillest = min(uploads, key=lambda transfer: uploads[transfer], default=None)
        if stillest is None or asyncio.get_running_loop().time() - uploads[stillest] < STALLED_S:
            raise UnreadProblem(status, detail, AGAIN)
        self._all.discard(stillest)
        stillest.end(Problem(408, "The upload stalled while others waited; send it again.", AGAIN))

    def _check(self, asking: Transfer) -> None:
        if sum(transfer.held for transfer in self._all) > self._max_bytes:
            raise UnreadProblem(503, "There is no memory for more photos right now; try again in a second.", AGAIN)
        if sum(transfer.held for transfer in self._all if transfer.client == asking.client) > self._max_bytes / 2:
            raise UnreadProblem(429, "Your photos take too much memory at once; try again in a second.", AGAIN)

    def close(self, seconds: float) -> None:
        """Shuts down: uploads are ended at once, photos being segmented after `seconds`."""
        self._closing = True
        for transfer in self._all:
            why = Problem(503, "The server is shutting down.", {"Connection": "close"})
            transfer.end(why, seconds if transfer.moved_at is None else 0)
