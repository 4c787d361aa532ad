"""One connection to the server, with the patience that uvicorn has not."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from seg_edge.serve.client import client_of
from seg_edge.serve.problem import Problem
from seg_edge.serve.transfers import MIN_BYTES_S

MAX_CONNECTIONS = 256  # open at once; of those that are more, the client with the most is hung up on
HEAD_S = 5.0  # for a request's head, and for the rest of a body that nobody reads any more
SEND_S = 60.0  # for an answer to be taken, beside the time that it has at `MIN_BYTES_S`
SHUTDOWN_S = 5  # for the server to end


# Not httptools, where it happens to be there: a seventh more requests a second, but a head without an end would fill
# the memory.
class Connection(H11Protocol):
    """A connection; uvicorn lets one stay for ever that says half a request, or takes half an answer."""

    def connection_made(self, transport: Any) -> None:
        """Watches it; hangs up on one where there are too many."""
        super().connection_made(transport)
        self._client = client_of(self.client[0]) if self.client else ""
        self._watched = self.cycle  # a request and its answer
        self._asking = self._sending = self._made = self.loop.time()  # the first two: since when it has kept us waiting
        self._app, self.app = self.app, self._run  # type: ignore[assignment]
        self._watch()
        if len(self.connections) > MAX_CONNECTIONS:
            self._spare().transport.abort()

    def _spare(self) -> Connection:
        """Of the client with the most connections the oldest without a request, else this one."""
        everyone = cast("set[Connection]", self.connections)
        counts = Counter(one._client for one in everyone)
        counts[self._client] += 1  # of clients with as many, this one
        most = max(counts, key=lambda client: counts[client])
        idle = [one for one in everyone if one._client == most and one is not self and not one._is_busy()]
        return min(idle, key=lambda one: one._made, default=self)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, which is told how to hang up, and what of its answer was taken."""

        async def taken(message: Message) -> None:
            await send(message)
            bytes_taken = len(message.get("body", b""))
            self._sending = min(self.loop.time(), self._sending + bytes_taken / MIN_BYTES_S)

        scope["state"]["abort"] = self.transport.abort
        await self._app(scope, receive, taken)

    def _watch(self) -> None:
        now, cycle = self.loop.time(), self.cycle
        if cycle is not self._watched:
            self._watched, self._asking, self._sending = cycle, now, now
        # Between two requests uvicorn counts the seconds itself; within one, the application does.
        between = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if cycle is not None and (between or not cycle.response_complete):
            self._asking = now
        answering = self._is_busy() and cycle.response_started
        if not answering and not self.transport.get_write_buffer_size():
            self._sending = now
        if now - self._asking > HEAD_S or now - self._sending > SEND_S:
            self.transport.abort()
        self._timer = self.loop.call_later(1, self._watch)

    def shutdown(self) -> None:
        """The server ends: whoever doesn't take the answer in time is left."""
        super().shutdown()
        self.loop.call_later(SHUTDOWN_S - 1, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP in the same form as everything else."""
        response = Problem(400, "The request is no valid HTTP/1.1.").response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets it."""
        self._timer.cancel()
        super().connection_lost(exc)
