"""The page's files, as `make web` left them: gzipped, with names that hold their hashes, served as they lie there."""

from __future__ import annotations

import gzip
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).with_name("page")
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
FOR_EVER = "public, max-age=31536000, immutable"
NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>seg-edge</title>
<h1>The API is here, the page is not</h1>
<p>This seg-edge was installed from its sources, and the page was not built. In their folder, with Node.js 20 or
newer:</p>
<pre>make web</pre>
<p>Then start <code>seg-edge serve</code> again. A released wheel has the page in it.</p>
<p>Programs need no page: <a href="openapi.json">the API's description</a>, <a href="v1/models">the models</a>.</p>
</html>
"""


def is_built() -> bool:
    """Whether there is a page."""
    return (FOLDER / "index.html.gz").is_file()


def routes() -> list[Route]:
    """A route for every file there is; where there are none, one to a page that says how to get them."""
    if not is_built():
        return [Route("/", lambda request: Response(NOT_BUILT, media_type=MEDIA_TYPES[".html"]))]
    return [_route(path.relative_to(FOLDER).as_posix()) for path in FOLDER.rglob("*") if path.is_file()]


def _route(name: str) -> Route:
    plain = name.removesuffix(".gz")
    path = "/" if plain == "index.html" else f"/{plain}"
    headers = {"Cache-Control": FOR_EVER if plain.startswith("assets/") else "no-cache"}

    def send(request: Request) -> Response:
        content = (FOLDER / name).read_bytes()
        extra = {}
        if plain != name:
            extra["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                extra["Content-Encoding"] = "gzip"
            else:
                content = gzip.decompress(content)
        return Response(content, headers=headers | extra, media_type=MEDIA_TYPES[Path(plain).suffix])

    return Route(path, send)
