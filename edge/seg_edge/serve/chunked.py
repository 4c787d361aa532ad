"""Responses sent in chunks, so that a client that doesn't read holds one chunk in memory, not the whole response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

CHUNK_BYTES = 32_768


class ChunkedResponse(Response):
    """A response whose content is sent as fast as the client reads it.

    Args:
        content: All of it.
        moved: Called after each chunk that the client has received.
        done: Called when everything was sent, or the client has disconnected.
        others: See `Response`.
    """

    def __init__(
        self,
        content: bytes,
        moved: Callable[[], object] = lambda: None,
        done: Callable[[], object] = lambda: None,
        **others: Any,
    ) -> None:
        super().__init__(content, **others)
        self._moved, self._done = moved, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        content = bytes(self.body)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for at in range(0, len(content) or 1, CHUNK_BYTES):
                rest = at + CHUNK_BYTES < len(content)
                await send({"type": "http.response.body", "body": content[at : at + CHUNK_BYTES], "more_body": rest})
                self._moved()
        finally:
            self._done()
