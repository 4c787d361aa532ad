"""Serves the page's files as `make web` built them: gzipped, with hashes in their names."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from seg_edge.serve.chunked import CHUNK_BYTES

FOLDER = Path(__file__).with_name("page")
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
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
    """Whether the page was built."""
    return (FOLDER / "index.html.gz").is_file()


def routes() -> list[Route]:
    """A route for every file of the page; without a page, one route that explains how to build it."""
    if not is_built():
        return [Route("/", lambda request: Response(NOT_BUILT, media_type=MEDIA_TYPES[".html"]))]
    packed = {FOLDER / "wasm.json", FOLDER / "wasm.xz"}
    paths = [path for path in FOLDER.rglob("*") if path.is_file() and path not in packed]
    return [_route(path.relative_to(FOLDER).as_posix()) for path in paths] + _packed_routes()


def _packed_routes() -> list[Route]:
    """Routes for the engine's builds, which are compressed together in `wasm.xz`, as they share most of their content.

    A build is unpacked on its first request, then kept gzipped: 2.9 MB each, and 17 MB more while unpacking.
    """
    index, lock = FOLDER / "wasm.json", threading.Lock()
    sizes: dict[str, int] = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    zipped: dict[str, bytes] = {}

    def unpack(name: str) -> bytes:
        with lock:
            if name not in zipped:
                offset = sum(sizes[before] for before in list(sizes)[: list(sizes).index(name)])
                left, held = sizes[name], io.BytesIO()
                with lzma.open(FOLDER / "wasm.xz") as archive, gzip.GzipFile("", "wb", 6, held, 0) as out:
                    archive.seek(offset)
                    while left:
                        left -= out.write(archive.read(min(CHUNK_BYTES, left)))
                zipped[name] = held.getvalue()
            return zipped[name]

    def route(name: str) -> Route:
        headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        media_type = MEDIA_TYPES[Path(name).suffix]

        def send(request: Request) -> Response:
            content = unpack(name)
            if not _accepts_gzip(request.headers.get("accept-encoding", "")):
                return _send(lambda: gzip.open(io.BytesIO(content)), headers, media_type)
            encoding = {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
            return _send(lambda: io.BytesIO(content), headers | encoding, media_type)

        return Route(f"/{name}", send)

    return [route(name) for name in sizes]


def _route(name: str) -> Route:
    plain, file = name.removesuffix(".gz"), FOLDER / name
    path = "/" if plain == "index.html" else f"/{plain}"
    headers = {"Cache-Control": FOR_EVER if plain.startswith("assets/") else "no-cache"}
    media_type = MEDIA_TYPES.get(Path(plain).suffix, "application/octet-stream")
    length = {"Content-Length": str(file.stat().st_size)}
    if plain == name:
        return Route(path, lambda request: _send(lambda: open(file, "rb"), headers | length, media_type))
    headers["Vary"] = "Accept-Encoding"
    zipped = headers | length | {"Content-Encoding": "gzip"}

    def send(request: Request) -> Response:
        if _accepts_gzip(request.headers.get("accept-encoding", "")):
            return _send(lambda: open(file, "rb"), zipped, media_type)
        return _send(lambda: gzip.open(file), headers, media_type)

    return Route(path, send)


def _send(opened: Callable[[], BinaryIO | gzip.GzipFile], headers: dict[str, str], media_type: str) -> Response:
    """A file in chunks, each read once the client has received the previous one."""

    def pieces() -> Iterator[bytes]:
        with opened() as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece

    return StreamingResponse(pieces(), headers=headers, media_type=media_type)


def _accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header allows it."""
    found = re.search(r"(?:^|[,\s])gzip\s*(?:;\s*q=([0-9.]+))?\s*(?:,|$)", accepted.lower())
    return bool(found and (found[1] or "1").strip("0."))
