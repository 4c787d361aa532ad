"""The site over HTTP: every request is checked, then served or refused."""

from __future__ import annotations

import json
import re
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from seg_edge.sinks.http.server import Server
from seg_edge.sinks.http.site import Site

MAX_STREAMS = 16
MAX_BODY = 1024  # bytes of a POST; the page's have 40
CLIENT_TIMEOUT = 5.0  # seconds a client may neither read nor write before its thread ends
# Bytes the kernel buffers for a slow reader: a few frames, not the seconds' worth it would grow to.
SEND_BUFFER = 128 * 1024
BOUNDARY = "seg-edge-frame"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = CLIENT_TIMEOUT
    disable_nagle_algorithm = True
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s: %(explain)s\n"
    server: Server

    def __init__(self, site: Site, request: Any, client_address: Any, server: Server) -> None:
        self.site = site
        super().__init__(request, client_address, server)

    def do_GET(self) -> None:
        """Handles a GET."""
        if not self._trusted():
            return
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # a GET's body is ignored; unread, it would look like the next request
        match self.path.partition("?")[0]:
            case "/":
                self._respond(200, "text/html; charset=utf-8", self.site.page)
            case "/stream.mjpg":
                self._stream()
            case "/snapshot.jpg":
                self._snapshot()
            case "/stats.json":
                self._respond_json(200, self.site.stats())
            case "/healthz":
                alive = self.site.feed.alive()
                self._respond_json(200 if alive else 503, {"ok": alive, "message": self.site.feed.message})
            case _:
                self.send_error(404)

    def do_POST(self) -> None:
        """Handles a POST, which changes a setting."""
        if not self._trusted():
            return
        length = self.headers.get("Content-Length", "")
        origin = self.headers.get("Origin")
        if self.path.partition("?")[0] != "/control":
            self.send_error(404)
        elif origin is not None and origin.partition("://")[2].lower() != self.headers["Host"].strip().lower():
            self.send_error(403, explain="only this page may change something")
        elif self.headers.get_content_type() != "application/json":
            self.send_error(415, explain="application/json was expected")
        elif not length:
            self.send_error(411)
        elif not re.fullmatch("[0-9]{1,9}", length):
            self.send_error(400, explain="Content-Length is not a number")
        elif int(length) > MAX_BODY:
            self.send_error(413)
        elif wrong := self.site.control(self.rfile.read(int(length))):
            self.send_error(400, explain=wrong)
        else:
            self._respond_json(200, {"effect": self.site.controls.effect, "mirror": self.site.controls.mirror})

    def _trusted(self) -> bool:
        """Whether the Host header names this server; if not, an error is sent."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1:
            self.send_error(400, explain="one Host was expected")
            return False
        if hosts[0] not in self.server.names:
            self.send_error(403, explain="this is not a name of the camera's machine; use its address")
            return False
        return True

    def _stream(self) -> None:
        feed = self.site.feed
        if feed.watchers >= MAX_STREAMS:
            self.send_error(503, explain=f"{MAX_STREAMS} clients are already watching")
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
                # The boundary is sent at once: browsers show a picture when the next one begins.
                self.wfile.write(head.encode() + jpeg + f"\r\n--{BOUNDARY}\r\n".encode())

    def _snapshot(self) -> None:
        shown = self.site.feed.fresh()
        if shown is None:
            self.send_error(503)
        else:
            self._respond(200, "image/jpeg", shown[1])

    def _respond_json(self, status: int, document: dict[str, Any]) -> None:
        self._respond(status, "application/json", json.dumps(document).encode())

    def _respond(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begins a response with the common headers."""
        super().send_response(code, message)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.site.policy)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, POST")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Sends a line of text and closes the connection: what follows may be the rest of a bad request."""
        if code == HTTPStatus.NOT_IMPLEMENTED:  # the base class's response to an unknown method
            code = HTTPStatus.METHOD_NOT_ALLOWED
        # The base class treats garbage as HTTP/0.9, to which it responds without a status line.
        if self.request_version == "HTTP/0.9":
            self.request_version = "HTTP/1.0"
        super().send_error(code, None, explain)  # not `message`, which may quote the request

    def version_string(self) -> str:
        """The program's name, without Python's version."""
        return "seg-edge"

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: only the command line prints."""
