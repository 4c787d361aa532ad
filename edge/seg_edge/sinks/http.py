"""The live picture in a browser: an MJPEG page from the standard library's own server, on loopback by default.

Each client has a thread and takes the newest frame; one more thread encodes, once a frame for all of them and only
while somebody watches. `publish` hands a reference over and is done, whatever the clients do.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import logging
import re
import socket
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.sink import Controls, Published

EFFECTS_WITHOUT_BACKGROUND = ("overlay", "mask", "cutout", "blur")
JPEG_QUALITY = 80
MAX_STREAMS = 16
MAX_CONNECTIONS = 64  # a browser keeps a few open beside its stream
MAX_BODY = 1024  # bytes of a POST; ours have 40
CLIENT_TIMEOUT = 5.0  # seconds a client may neither read nor write before its thread ends
REPEAT = 1.0  # seconds after which a picture is sent again, so that clients don't give up, and the vanished are noticed
HEALTHY = 10.0  # seconds without a frame after which /healthz says so
SEND_BUFFER = 128 * 1024  # bytes the kernel holds for a slow reader: a few frames, not the seconds it would grow to
BOUNDARY = "seg-edge-frame"
WAITING = "Waiting for the first picture."
PAGE = Path(__file__).with_name("page.html")
LOG = logging.getLogger(__name__)


class HttpView:
    """A page with the live picture, and its parts for other programs.

    `/` the page; `/stream.mjpg` the pictures, `multipart/x-mixed-replace`; `/snapshot.jpg` the newest;
    `/stats.json` `{"frame", "fps", "age_ms", "size_wh", "message", "effect", "effects", "mirror", "classes":
    [{"name", "colour", "share"}], "watchers"}`, where the first four are null before the first frame;
    `POST /control` takes `{"effect": NAME, "mirror": BOOL}` or either; `/healthz` is 200 while frames come, else 503.

    Args:
        host: Name or address to listen on. On a loopback address only requests for localhost are answered, so that
            no web site can reach the camera through a name of its own (DNS rebinding).
        port: To listen on; 0 takes a free one.
        controls: What the page's buttons change.
        effects: Names the page offers and `/control` takes; without `replace` where there is no background for it.

    Attributes:
        name: `--view http`.
        url: Where the page is.

    Raises:
        UsageError: Nothing can listen there.
    """

    def __init__(
        self, host: str, port: int, controls: Controls, effects: Sequence[str] = EFFECTS_WITHOUT_BACKGROUND
    ) -> None:
        self.name = "--view http"
        self._feed = _Feed()
        self._server = _listen(host, port, _Site(self._feed, controls, tuple(effects), host))
        number = self._server.server_address[1]
        shown = socket.gethostname() if host in ("", "0.0.0.0", "::") else host
        self.url = f"http://[{shown}]:{number}/" if ":" in shown else f"http://{shown}:{number}/"
        self._closed = False
        self._threads = [
            threading.Thread(target=self._feed.encode_for_ever, name="http encoder", daemon=True),
            threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http server", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def publish(self, item: Published) -> None:
        """Hands one frame over.

        Raises:
            OutputError: The last one could not be encoded.
        """
        self._feed.publish(item)

    def idle(self, message: str) -> None:
        """Shows why there is no frame: the page over the last picture, a picture of its own where there was none."""
        self._feed.idle(message)

    def close(self) -> None:
        """Ends every client and thread; waits up to 2 s for them. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._feed.close()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        for thread in self._threads:
            thread.join(1.0)


class _Feed:
    """The newest frame, and its JPEG while anybody watches."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._wanted, self._ready = threading.Condition(lock), threading.Condition(lock)
        self.item: Published | None = None
        self.message = WAITING
        self.watchers = 0
        self._jpeg, self._encoded = b"", 0  # and the number of the frame it shows
        self._serial = 0  # counts what there was to show
        self._published = float("-inf")
        self._failure = ""
        self._closed = False

    def publish(self, item: Published) -> None:
        with self._wanted:
            if self._failure:
                raise OutputError(self._failure)
            self.item, self.message, self._published = item, "", time.monotonic()
            if self.watchers:
                self._wanted.notify()

    def idle(self, message: str) -> None:
        with self._ready:
            if not message and self.item is None:
                message = WAITING
            if message != self.message:
                self.message = message
                self._serial += 1
                self._ready.notify_all()

    def alive(self) -> bool:
        """Whether a frame came of late."""
        return time.monotonic() - self._published < HEALTHY

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While inside, frames are encoded."""
        with self._wanted:
            self.watchers += 1
            self._wanted.notify()
        try:
            yield
        finally:
            with self._wanted:
                self.watchers -= 1
                if not self.watchers:  # so that the next to watch doesn't get a picture from before
                    self._jpeg, self._encoded = b"", 0

    def newer(self, than: int) -> tuple[int, bytes] | None:
        """What to show after `than`, with its own number; the same again after a while. None: closed."""
        with self._ready:
            self._ready.wait_for(
                lambda: self._closed or (self._serial != than and (self._jpeg or self.item is None)), REPEAT
            )
            if self._closed:
                return None
            serial, jpeg, message = self._serial, self._jpeg, self.message
        return serial, jpeg or _placeholder(message)

    def encode_for_ever(self) -> None:
        """The encoder's thread: always the newest, those it has no time for are skipped."""
        while (item := self._next_to_encode()) is not None:
            try:
                jpeg = _encode(item.picture)
            except OutputError as error:
                with self._wanted:
                    self._failure = str(error)
                return
            with self._ready:
                self._jpeg, self._encoded = jpeg, item.number
                self._serial += 1
                self._ready.notify_all()

    def _next_to_encode(self) -> Published | None:
        with self._wanted:
            self._wanted.wait_for(
                lambda: self._closed or (self.watchers and self.item and self.item.number != self._encoded)
            )
            return None if self._closed else self.item

    def close(self) -> None:
        with self._wanted:
            self._closed = True
            self._wanted.notify_all()
            self._ready.notify_all()


class _Site:
    """What is on the page, and what may be changed from it."""

    def __init__(self, feed: _Feed, controls: Controls, effects: tuple[str, ...], host: str):
        self.feed, self.controls, self.effects, self.host = feed, controls, effects, host.lower()
        self.page = PAGE.read_bytes()
        # The page's one style and one script, by their hashes, and nothing else: no text can become code.
        self.policy = (
            "default-src 'none'; img-src 'self' data:; connect-src 'self' data:; "
            f"style-src {_hashes(self.page, b'style')}; script-src {_hashes(self.page, b'script')}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def stats(self) -> dict[str, Any]:
        item, controls = self.feed.item, self.controls
        stats: dict[str, Any] = {"frame": None, "fps": None, "age_ms": None, "size_wh": None, "classes": []}
        if item is not None:
            areas = item.answer.areas
            stats = {
                "frame": item.number,
                "fps": round(item.fps, 2),
                "age_ms": round(item.age_ms, 1),
                "size_wh": [item.picture.shape[1], item.picture.shape[0]],
                "classes": [
                    {"name": info.name, "colour": "#" + bytes(info.colour).hex(), "share": round(areas[info.name], 6)}
                    for info in item.answer.classes[1:]
                ],
            }
        return stats | {
            "message": self.feed.message,
            "effect": controls.effect,
            "effects": list(self.effects),
            "mirror": controls.mirror,
            "watchers": self.feed.watchers,
        }

    def control(self, body: bytes) -> str:
        """Does what a POST asks for; answers with what is wrong about it, or nothing."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return "the body is no JSON"
        if not isinstance(asked, dict) or not asked or asked.keys() - {"effect", "mirror"}:
            return 'an object with "effect", "mirror" or both was expected'
        effect, mirror = asked.get("effect", self.controls.effect), asked.get("mirror", self.controls.mirror)
        if effect not in self.effects and "effect" in asked:
            return f"the effect is none of {', '.join(self.effects)}"
        if not isinstance(mirror, bool):
            return "mirror is true or false"
        self.controls.effect, self.controls.mirror = effect, mirror
        return ""


class _Server(ThreadingHTTPServer):
    """Knows its connections, to limit and to end them."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, family: socket.AddressFamily, address: Any, site: _Site):
        self.address_family, self.site = family, site
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)
        self.loopback = ipaddress.ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback

    def server_bind(self) -> None:
        # HTTPServer's own asks the DNS for this machine's name, which takes seconds where there is no network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.site.host, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            accepted = len(self._open) < MAX_CONNECTIONS
            if accepted:
                self._open.add(request)
        if accepted:
            super().process_request(request, client_address)
        else:
            with suppress(OSError):
                request.settimeout(0)  # this is the thread that accepts: it waits for nobody
                request.send(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        # A socket closed with something unread in it is reset, and the client never sees the answer.
        with suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(0.2)
            until = time.monotonic() + 1
            while time.monotonic() < until and request.recv(65536):
                pass
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def hang_up(self) -> None:
        """Ends every connection, and waits a moment for their threads."""
        with self._changed:
            for request in self._open:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, 2.0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.debug("a request of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = CLIENT_TIMEOUT
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if not self._trusted():
            return
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # a GET's body is nothing to us; unread, it would look like the next request
        pages: dict[str, Callable[[], None]] = {
            "/": lambda: self._answer(200, "text/html; charset=utf-8", self.server.site.page),
            "/stream.mjpg": self._stream,
            "/snapshot.jpg": self._snapshot,
            "/stats.json": lambda: self._json(200, self.server.site.stats()),
            "/healthz": self._health,
        }
        page = pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404)
        else:
            page()

    def do_POST(self) -> None:
        if not self._trusted():
            return
        length = self.headers.get("Content-Length", "")
        origin = self.headers.get("Origin")
        if self.path.partition("?")[0] != "/control":
            self.send_error(404)
        elif origin is not None and _netloc(origin) != self.headers["Host"].lower():
            self.send_error(403, explain="only this page may change something")
        elif self.headers.get_content_type() != "application/json":
            self.send_error(415, explain="application/json was expected")
        elif not length:
            self.send_error(411)
        elif not re.fullmatch("[0-9]{1,9}", length):
            self.send_error(400, explain="Content-Length is no number")
        elif int(length) > MAX_BODY:
            self.send_error(413)
        elif wrong := self.server.site.control(self.rfile.read(int(length))):
            self.send_error(400, explain=wrong)
        else:
            self._json(200, {"effect": self.server.site.controls.effect, "mirror": self.server.site.controls.mirror})

    def _trusted(self) -> bool:
        """Whether the request names this machine; else it is answered with an error."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1:
            self.send_error(400, explain="one Host was expected")
            return False
        name = re.sub(r":[0-9]*$", "", hosts[0].strip().lower())
        if self.server.loopback and name not in ("localhost", "127.0.0.1", "[::1]", self.server.site.host):
            self.send_error(403, explain="the camera is open to this machine alone; ask for localhost")
            return False
        return True

    def _stream(self) -> None:
        feed = self.server.site.feed
        if feed.watchers >= MAX_STREAMS:
            self.send_error(503, explain=f"{MAX_STREAMS} watch already")
            return
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        with feed.watching():
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(f"--{BOUNDARY}\r\n".encode())
            serial = -1
            while (shown := feed.newer(serial)) is not None:
                serial, jpeg = shown
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                # The boundary goes along at once: browsers show a picture when they see the next one begin.
                self.wfile.write(head.encode() + jpeg + f"\r\n--{BOUNDARY}\r\n".encode())

    def _snapshot(self) -> None:
        feed = self.server.site.feed
        with feed.watching():
            shown = feed.newer(-1)
        if shown is None:
            self.send_error(503)
        else:
            self._answer(200, "image/jpeg", shown[1])

    def _health(self) -> None:
        alive = self.server.site.feed.alive()
        self._json(200 if alive else 503, {"ok": alive, "message": self.server.site.feed.message})

    def _json(self, status: int, document: dict[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(document).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.server.site.policy)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers with a line of text, and ends the connection: what follows may be the rest of a bad request."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # what the base class says to methods it doesn't find
            code = HTTPStatus.METHOD_NOT_ALLOWED
        if self.request_version == "HTTP/0.9":  # as garbage is taken for; it would be answered without a status
            self.request_version = "HTTP/1.0"
        status = HTTPStatus(code)
        self.close_connection = True
        body = f"{status.value} {status.phrase}{f': {explain}' if explain else ''}\n".encode()
        self.send_response(status.value, status.phrase)  # not `message`, which may quote the request
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, POST")
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "seg-edge"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: only the command line prints."""


def _listen(host: str, port: int, site: _Site) -> _Server:
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port} is no port; choose one of 1 to 65535, or 0 for any that is free.")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _Server(found[0][0], found[0][4], site)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is no address of this machine ({error}); try 127.0.0.1.") from error
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"can't listen on {host} port {port} ({reason}); choose another with --port N.") from error


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _hashes(page: bytes, tag: bytes) -> str:
    found = re.findall(rb"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found)


def _encode(picture: np.ndarray) -> bytes:
    try:
        done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    except cv2.error as error:
        raise OutputError(f"--view http: the picture can't be encoded ({error.err}); make --size smaller.") from error
    if not done:
        raise OutputError("--view http: the picture can't be encoded; make --size smaller.")
    return content.tobytes()


@lru_cache(maxsize=4)
def _placeholder(message: str) -> bytes:
    """A JPEG that says the message, for where there is no picture yet. OpenCV's font has ASCII alone."""
    picture = np.full((480, 640, 3), 32, np.uint8)
    for row, line in enumerate(textwrap.wrap(message, 44)[:8]):
        place = (40, 220 + 32 * row)
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (220, 220, 220), 1, cv2.LINE_AA)
    return _encode(picture)
