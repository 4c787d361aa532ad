"""Why a request is refused, in the form of RFC 9457."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
TRY_AGAIN = {"Retry-After": "1"}  # in a second


class Problem(Exception):
    """A request that is refused.

    Attributes:
        status: The HTTP status.
        detail: What was wrong and what to do, in a sentence.
        headers: Additional response headers.
    """

    unread = False

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def response(self) -> Response:
        """The problem as a response; it closes the connection if the request was not read to its end."""
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        headers = {"Connection": "close", **self.headers} if self.unread or self.status == 408 else self.headers
        return Response(json.dumps(body), self.status, headers, MEDIA_TYPE)


class UnreadProblem(Problem):
    """A problem found before the request's body was read."""

    unread = True
