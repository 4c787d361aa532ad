"""The port: a thread a client, not too many of them, and an end to them all."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from typing import Any

from seg_edge.errors import OutputError, UsageError

MAX_CONNECTIONS = 64  # a browser keeps a few open beside its stream
LOG = logging.getLogger(__name__)

MakeHandler = Callable[[Any, Any, Any], BaseRequestHandler]


def listen(host: str, port: int, handler: MakeHandler) -> Server:
    """Opens the port; `serve_forever` answers.

    Args:
        host: Name or address; empty for all of this machine's.
        port: 0 takes a free one.
        handler: Serves one connection, and is done when it is made.

    Raises:
        UsageError: It is no port, or no address of this machine.
        OutputError: The port is taken, or not allowed.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port} is no port; choose one of 1 to 65535, or 0 for any that is free.")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return Server(found[0][0], found[0][4], host, handler)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is no address of this machine ({error}); try 127.0.0.1.") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host} is no address of this machine; try 127.0.0.1.") from error
        reason = error.strerror or error
        raise OutputError(f"can't listen on {host} port {port} ({reason}); choose another with --port N.") from error


# Not `HTTPServer`, which asks the DNS for this machine's name: that takes seconds where there is no network.
class Server(ThreadingMixIn, TCPServer):
    """Knows its connections, to limit and to end them.

    Attributes:
        names: Host names it answers to, lower case. Off loopback any address beside, as no web site has one for a name.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, family: socket.AddressFamily, address: Any, host: str, handler: MakeHandler) -> None:
        self.address_family = family
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, handler)
        loopback = ipaddress.ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback
        self.names = {"localhost", "127.0.0.1", "[::1]", host.lower()}
        self._any_address = not loopback
        if not loopback:
            name = socket.gethostname().lower()
            self.names |= {name, f"{name}.local"}

    def answers_to(self, host: str) -> bool:
        """Whether a Host header, without its port, is one of this machine's names.

        Others may be a web site's own, which it has led here (DNS rebinding) to read the camera in a visitor's browser.
        """
        if host.lower() in self.names:
            return True
        with suppress(ValueError):
            return self._any_address and bool(ipaddress.ip_address(host.strip("[]")))
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the connection's thread, or refuses it where there are too many."""
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
        """Ends a connection so that the client gets the answer: closed with something unread it would be reset."""
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
        """Ends every connection, and waits up to 2 s for their threads."""
        with self._changed:
            for request in self._open:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, 2.0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keeps quiet: clients vanish all the time."""
        LOG.debug("a request of %s failed", client_address, exc_info=True)
