"""A port to answer on: opened or refused in a sentence, and the names under which this machine is asked there."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from seg_edge.errors import OutputError, UsageError


def open_port(host: str, port: int, backlog: int = 32) -> socket.socket:
    """A listening TCP socket.

    Args:
        host: Name or address; empty for all of this machine's.
        port: 0 takes a free one.
        backlog: Connections that may wait to be accepted.

    Raises:
        UsageError: It is no port, or no address of this machine.
        OutputError: The port is taken, or not allowed.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port} is no port; choose one of 1 to 65535, or 0 for any that is free.")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listening = socket.create_server(found[0][4][:2], family=found[0][0], backlog=backlog)
        # Inherited by what is accepted; asyncio sets it only on sockets that were made with a protocol number.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return listening
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is no address of this machine ({error}); try 127.0.0.1.") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host} is no address of this machine; try 127.0.0.1.") from error
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise OutputError(f"can't listen on {host} port {port} ({reason}); choose another with --port N.") from error


class AllowedHosts:
    """The names a server answers to.

    Others may be a web site's own, which it has led here (DNS rebinding) to read our answers in a visitor's browser.

    Args:
        host: What it was told to listen on.
        address: What it listens on, from `getsockname()`.
        others: What else it is called, by a proxy before it.

    Attributes:
        loopback: Whether nobody but this machine can ask.
    """

    def __init__(self, host: str, address: Any, others: Iterable[str] = ()) -> None:
        self.loopback = ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
        self._known = {"localhost", "127.0.0.1", "[::1]", host.lower(), *(name.lower() for name in others)}
        if not self.loopback:
            name = socket.gethostname().lower()
            self._known |= {name, f"{name}.local"}

    def __contains__(self, host: str) -> bool:
        """Whether a Host header is one of them, whatever its port. Off loopback any address is: no web site has one."""
        name = re.sub(r":[0-9]*$", "", host.strip()).lower()
        if name in self._known:
            return True
        with suppress(ValueError):
            return not self.loopback and bool(ipaddress.ip_address(name.strip("[]")))
        return False


def url_of(host: str, port: int) -> str:
    """Where a browser finds it; the machine's name where it listens on all addresses."""
    shown = socket.gethostname() if host in ("", "0.0.0.0", "::") else host
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
