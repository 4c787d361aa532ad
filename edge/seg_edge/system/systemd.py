"""Notifies systemd when the camera runs, that it is still alive, and when it ends (sd_notify(3)).

Does nothing elsewhere, or under a unit without `Type=notify`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class ServiceManager:
    """The service manager that started this process, if one did.

    Args:
        environment: Holds `NOTIFY_SOCKET` and, with `WatchdogSec=`, `WATCHDOG_USEC`.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ):
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ means the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        limit_us = environment.get("WATCHDOG_USEC", "")
        # Half the limit is what sd_watchdog_enabled(3) recommends.
        self._interval_s = int(limit_us) / 2e6 if limit_us.isdigit() else None
        self._notified_at = float("-inf")

    def ready(self) -> None:
        """The camera delivers frames."""
        self._notify("READY=1")

    def alive(self, status: str) -> None:
        """Call it often while frames are processed: notifies the watchdog in time, updates `systemctl status`."""
        now = time.monotonic()
        if now - self._notified_at >= (self._interval_s or 1.0):
            self._notified_at = now
            self._notify(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._notify("STOPPING=1")

    def _notify(self, state: str) -> None:
        if not self._address:
            return
        # The camera goes on without its service manager.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), self._address)
