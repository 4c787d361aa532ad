"""The HTTP server: one thread per client, a limit on their number, and a clean shutdown."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from typing import Any

from seg_edge.system.port import AllowedHosts, open_port

MAX_CONNECTIONS = 64  # a browser keeps a few open besides its stream
LOG = logging.getLogger(__name__)

MakeHandler = Callable[[Any, Any, Any], BaseRequestHandler]


def listen(host: str, port: int, handler: MakeHandler, names: Iterable[str] = ()) -> Server:
    """Opens the port as `open_port` does; `serve_forever` serves it.

    Args:
        host: Name or address; empty for all of this machine's.
        port: 0 chooses a free one.
        handler: Serves one connection in its constructor.
        names: Additional host names to accept.
    """
    return Server(open_port(host, port), host, handler, names)


# Not `HTTPServer`, which queries the DNS for this machine's name: that takes seconds without a network.
class Server(ThreadingMixIn, TCPServer):
    """Keeps track of its connections, to limit and to end them.

    Attributes:
        names: The host names it accepts.
    """

    daemon_threads = True

    def __init__(self, listening: socket.socket, host: str, handler: MakeHandler, names: Iterable[str]) -> None:
        self.address_family = listening.family
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(listening.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.names = AllowedHosts(host, self.server_address, names)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the connection's thread, or refuses the connection if there are too many."""
        with self._changed:
            accepted = len(self._open) < MAX_CONNECTIONS
            if accepted:
                self._open.add(request)
        if accepted:
            super().process_request(request, client_address)
        else:
            with suppress(OSError):
                request.settimeout(0)  # this is the accepting thread, which must not block
                request.send(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection after reading the rest, as unread data would cause a reset."""
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
        """Logs for debugging only: clients disconnect all the time."""
        LOG.debug("a request from %s failed", client_address, exc_info=True)
