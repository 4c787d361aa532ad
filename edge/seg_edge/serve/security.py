"""Access control and security headers, around the whole application."""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seg_edge.serve.problem import Problem
from seg_edge.system.port import AllowedHosts

# Available without the token: the page itself, which asks for it, and the health check.
PROTECTED = ("/v1/", "/metrics", "/openapi.json")
# `wasm-unsafe-eval` allows compiling WebAssembly and nothing else; the user's pictures are blobs.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # These two isolate the page; browsers require that for WebAssembly threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SecurityMiddleware:
    """Refuses requests for other host names, from other sites and without the token; adds `HEADERS` to every response.

    Args:
        app: The application to protect.
        names: The server's own host names.
        token: The token that requests must send as `Authorization: Bearer`, or empty.
    """

    def __init__(self, app: ASGIApp, names: AllowedHosts, token: str) -> None:
        self._app, self._names, self._token = app, names, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
        except Problem as problem:
            await problem.response()(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            raise Problem(400, "One Host header was expected.")
        if hosts[0] not in self._names:
            raise Problem(403, "The server doesn't answer to this host name; use its address.")
        origin = headers.get("origin")
        is_own = origin is None or origin.partition("://")[2].lower() == hosts[0].strip().lower()
        if method not in ("GET", "HEAD") and not is_own:
            raise Problem(403, "Only the server's own page and programs may send photos.")
        if self._token and path.startswith(PROTECTED):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), self._token.encode()):
                raise Problem(
                    401,
                    "The server requires its token, in the header 'Authorization: Bearer TOKEN'.",
                    {"WWW-Authenticate": "Bearer"},
                )
