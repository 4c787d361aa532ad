"""Opens a port to listen on, and lists the host names and URLs of this machine."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from seg_edge.errors import OutputError, UsageError

EVERYWHERE = ("", "0.0.0.0", "::")


def open_port(host: str, port: int, backlog: int = 32) -> socket.socket:
    """A listening TCP socket.

    Args:
        host: Name or address; empty for all of this machine's.
        port: 0 picks a free one.
        backlog: Connections that may wait to be accepted.

    Raises:
        UsageError: It is not a port, or not an address of this machine.
        OutputError: The port is in use, or not allowed.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port} is not a port; choose 1 to 65535, or 0 for any free one.")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # Otherwise IPv4, which phones use, would be excluded.
        dualstack = found[0][4][0] == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(found[0][4][:2], family=found[0][0], backlog=backlog, dualstack_ipv6=dualstack)
        # Inherited by accepted connections; asyncio sets it only on sockets that were made with a protocol number.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        return listening
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is not an address of this machine ({error}); try 127.0.0.1.") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"--host {host} is not an address of this machine; try 127.0.0.1.") from error
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise OutputError(f"can't listen on {host} port {port} ({reason}); choose another with --port N.") from error


class AllowedHosts:
    """The host names a server answers to.

    A web site could point its own name here (DNS rebinding) to read the server's responses in a visitor's browser.

    Args:
        host: The address it was asked to listen on.
        address: The address it listens on, from `getsockname()`.
        others: Further host names, used by a proxy in front of it.

    Attributes:
        loopback: Whether only this machine can connect.
    """

    def __init__(self, host: str, address: Any, others: Iterable[str] = ()) -> None:
        self.loopback = ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
        self._known = {"localhost", "127.0.0.1", "[::1]", host.lower(), *(name.lower() for name in others)}
        if not self.loopback:
            name = socket.gethostname().lower()
            self._known |= {name, f"{name.partition('.')[0]}.local"}

    def __contains__(self, host: str) -> bool:
        """Whether a Host header is one of them; the port is ignored. Off loopback every IP address is."""
        name = re.sub(r":[0-9]*$", "", host.strip()).lower()
        if name in self._known:
            return True
        with suppress(ValueError):
            return not self.loopback and bool(ipaddress.ip_address(name.strip("[]")))
        return False


def urls_of(host: str, listening: socket.socket) -> list[str]:
    """The server's URLs; if it listens on all addresses, those for other machines, the most reliable first."""
    port, hosts = listening.getsockname()[1], [host]
    if host in EVERYWHERE:
        name = f"{socket.gethostname().partition('.')[0]}.local"
        hosts = [*_own_addresses(), *([name] if _answers_mdns(name) else [])] or ["localhost"]
    return [f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/" for host in hosts]


def _own_addresses() -> list[str]:
    """This machine's addresses towards its network. Nothing is sent: a datagram socket only picks its route."""
    found = []
    # Addresses for documentation (RFC 5737 and RFC 3849), so their route is the default one.
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            found.append(probe.getsockname()[0])
    return found[:1]


def _answers_mdns(name: str) -> bool:
    """Whether Avahi, which answers for `.local` on Linux, knows a name."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as avahi:
        avahi.settimeout(1)
        avahi.connect("/run/avahi-daemon/socket")
        avahi.sendall(f"RESOLVE-HOSTNAME {name}\n".encode())
        return avahi.recv(1024).startswith(b"+")
    return False
