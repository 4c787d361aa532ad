"""Requirements of HTTP/1.1 that neither uvicorn nor FastAPI fulfils (RFC 9110 and 9112)."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seg_edge.serve.problem import Problem


def with_http_rules(app: ASGIApp) -> ASGIApp:
    """Adds HEAD and absolute request targets to the application, and refuses requests with ambiguous length."""

    async def ruled(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        names = {name for name, _ in scope["headers"]}
        if {b"content-length", b"transfer-encoding"} <= names:  # request smuggling, RFC 9112, 6.3
            problem = Problem(400, "Content-Length and Transfer-Encoding exclude each other.", {"Connection": "close"})
            await problem.response()(scope, receive, send)
            return
        if scope["path"].lower().startswith(("http://", "https://")):
            scope = _relative(scope)
        if scope["method"] != "HEAD":
            await app(scope, receive, send)
            return

        async def headless(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await app({**scope, "method": "GET"}, receive, headless)

    return ruled


def _relative(scope: Scope) -> Scope:
    """The request with path and host taken from its target instead of its Host header (RFC 9112, 3.2.2)."""
    raw = scope.get("raw_path") or scope["path"].encode()
    authority, _, rest = raw.partition(b"://")[2].partition(b"/")
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    path = b"/" + rest
    return {
        **scope,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "headers": [(b"host", authority), *headers],
    }
