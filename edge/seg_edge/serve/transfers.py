"""Uploads and downloads in progress: counted per client, and separately from the work on photos.

On a slow network a photo takes a minute to arrive and its response a minute to leave; the work between takes
milliseconds. So transfers occupy no worker. They do hold memory, which is limited here: if there is not enough for all,
stalled transfers are ended.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from seg_edge.serve.problem import TRY_AGAIN, Problem, UnreadProblem

MAX_TRANSFERS = 192  # below the server's limit of connections, so that health checks get through
MAX_OF_CLIENT = 64  # a class may share one address
MIN_BYTES_S = 20_000  # a slower upload, on average after its first seconds, is ended
STALLED_S = 2.0  # an upload or a download without a byte for this long may be ended for others


class Transfer:
    """One request, from its header to the end of its response.

    Attributes:
        client: The client it comes from.
        held: Bytes of memory that the photo and the response take.
        moved_at: When the last byte was received or sent, by the event loop's clock; None between upload and download.
    """

    def __init__(self, client: str, check: Callable[[Transfer], None]) -> None:
        self.client, self.held, self._check = client, 0, check
        self.moved_at: float | None = asyncio.get_running_loop().time()
        self._limit: asyncio.Timeout | None = None
        self._end: Problem | None = None
        self._abort: Callable[[], object] | None = None

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

    def moved(self) -> None:
        """Records that bytes were received or sent just now."""
        self.moved_at = asyncio.get_running_loop().time()

    def arrived(self, count: int) -> None:
        """Counts bytes that have arrived, which extends the time limit.

        Raises:
            Problem: There is no memory left for them.
        """
        self.moved()
        self.held += count
        self._check(self)
        if self._limit and not self._limit.expired():
            when = self._limit.when()
            assert when is not None
            self._limit.reschedule(when + count / MIN_BYTES_S)

    def end_upload(self) -> None:
        """Records that the upload is complete."""
        self.moved_at = None

    def start_download(self, size: int, abort: Callable[[], object] | None) -> None:
        """Begins the response.

        Args:
            size: Its bytes.
            abort: Closes the connection.
        """
        self.held, self._abort = size, abort or (lambda: None)
        self.moved()

    @property
    def is_download(self) -> bool:
        """Whether the response is being sent."""
        return self._abort is not None

    def end(self, why: Problem, after_s: float = 0) -> None:
        """Ends the request; during the response, the connection is closed."""
        self._end = why
        if self._abort:
            self._abort()
        elif self._limit and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + after_s)


class Transfers:
    """All requests in progress. To be used from one event loop.

    Args:
        max_bytes: Memory that they may hold together; one client may hold as much as it leaves free, so at most half.
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
        own = self._of(client)
        if len(own) >= MAX_OF_CLIENT:
            self._make_room(
                own,
                UnreadProblem(429, f"{len(own)} of your requests are in progress; try again in a second.", TRY_AGAIN),
            )
        elif len(self._all) >= MAX_TRANSFERS:
            full = f"{len(self._all)} requests are in progress; try again in a second."
            self._make_room(self._all, UnreadProblem(503, full, TRY_AGAIN), client)
        transfer = Transfer(client, self._check)
        self._all.add(transfer)
        try:
            yield transfer
        finally:
            self._all.discard(transfer)

    def _of(self, client: str) -> set[Transfer]:
        return {transfer for transfer in self._all if transfer.client == client}

    def _make_room(self, among: set[Transfer], refusal: Problem, client: str | None = None) -> None:
        """Ends the upload or download that has been stalled longest.

        If none is stalled, the stillest one of the client with the most is ended for `client`, provided that `client`
        still has fewer.
        """
        now = asyncio.get_running_loop().time()
        moved = {transfer: transfer.moved_at for transfer in among if transfer.moved_at is not None}
        still = {transfer for transfer in moved if now - moved[transfer] >= STALLED_S}
        if not still and client is not None:
            counts = Counter(transfer.client for transfer in among)
            most = max(counts, key=lambda name: counts[name])
            if counts[most] > counts[client] + 1:
                still = {transfer for transfer in moved if transfer.client == most}
        if not still:
            raise refusal
        stillest = min(still, key=lambda transfer: moved[transfer])
        self._all.discard(stillest)
        stillest.end(Problem(408, "The upload stalled while others waited; send it again.", TRY_AGAIN))

    def _check(self, asking: Transfer) -> None:
        """Lets a client hold as much memory as it leaves free, so that there is always some for another client."""
        while True:
            own = self._of(asking.client)
            free = self._max_bytes - sum(transfer.held for transfer in self._all)
            if sum(transfer.held for transfer in own) <= free:
                return
            if len(own) > 1:
                refusal = "Your photos take too much memory at once; try again in a second."
                self._make_room(own, UnreadProblem(429, refusal, TRY_AGAIN))
            else:
                full = "There is no memory for more photos right now; try again in a second."
                self._make_room(self._all, UnreadProblem(503, full, TRY_AGAIN))

    def close(self, seconds: float) -> None:
        """Shuts down: uploads are ended at once, photos being segmented after `seconds`, downloads continue."""
        self._closing = True
        why = Problem(503, "The server is shutting down.", {"Connection": "close"})
        for transfer in self._all:
            if not transfer.is_download:
                transfer.end(why, seconds if transfer.moved_at is None else 0)
