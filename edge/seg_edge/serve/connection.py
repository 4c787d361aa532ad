"""A connection to the server, with timeouts that uvicorn lacks."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from seg_edge.serve.client import client_of
from seg_edge.serve.problem import Problem
from seg_edge.serve.transfers import MIN_BYTES_S

MAX_CONNECTIONS = 256  # open at once; beyond that, the client with the most loses one
HEAD_S = 5.0  # for a request's head, and for the rest of a body that is no longer read
SEND_S = 60.0  # for a response to be received, in addition to its time at `MIN_BYTES_S`
SHUTDOWN_S = 5  # for the server to shut down


# Not httptools, even if installed: it handles a seventh more requests a second, but an endless head would fill the
# memory.
class Connection(H11Protocol):
    """A connection; uvicorn itself never closes a half-sent request or a half-received response."""

    def connection_made(self, transport: Any) -> None:
        """Starts its timeouts; closes a connection if there are too many."""
        super().connection_made(transport)
        self._client = client_of(self.client[0]) if self.client else ""
        self._watched = self.cycle  # a request and its response
        self._opened = self.loop.time()
        self._receiving_since = self._sending_since = self._opened  # since when the server waits for the client
        self._app, self.app = self.app, self._run  # type: ignore[assignment]
        self._watch()
        if len(self.connections) > MAX_CONNECTIONS:
            self._least_needed().transport.abort()

    def _least_needed(self) -> Connection:
        """The oldest idle connection of the client with the most connections; this one if none is idle."""
        connections = cast("set[Connection]", self.connections)
        counts = Counter(connection._client for connection in connections)
        counts[self._client] += 1  # of several clients with the most, this one
        most = max(counts, key=lambda client: counts[client])
        others = [connection for connection in connections if connection._client == most and connection is not self]
        idle = [connection for connection in others if not connection._is_busy()]
        return min(idle, key=lambda connection: connection._opened, default=self)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application, which may abort the connection; what the client receives extends its time."""

        async def counted(message: Message) -> None:
            await send(message)
            received = len(message.get("body", b""))
            self._sending_since = min(self.loop.time(), self._sending_since + received / MIN_BYTES_S)

        scope["state"]["abort"] = self.transport.abort
        await self._app(scope, receive, counted)

    def _watch(self) -> None:
        now, cycle = self.loop.time(), self.cycle
        if cycle is not self._watched:
            self._watched, self._receiving_since, self._sending_since = cycle, now, now
        # Between two requests uvicorn has a timeout; within one, the application does.
        between = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if cycle is not None and (between or not cycle.response_complete):
            self._receiving_since = now
        is_sending = self._is_busy() and cycle.response_started
        if not is_sending and not self.transport.get_write_buffer_size():
            self._sending_since = now
        if now - self._receiving_since > HEAD_S or now - self._sending_since > SEND_S:
            self.transport.abort()
        self._timer = self.loop.call_later(1, self._watch)

    def shutdown(self) -> None:
        """Shuts down: a client that doesn't receive its response in time is disconnected."""
        super().shutdown()
        self.loop.call_later(SHUTDOWN_S - 1, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Refuses invalid HTTP in the same form as everything else."""
        response = Problem(400, "The request is not valid HTTP/1.1.").response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops its timeouts."""
        self._timer.cancel()
        super().connection_lost(exc)
