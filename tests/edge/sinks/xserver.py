"""A real X server without a screen, and a simulated user."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def x_server(*arguments: str) -> Iterator[str]:
    """Starts Xvfb on a free display; yields its name, such as `:1`. Skips the test without Xvfb."""
    if not shutil.which("Xvfb"):
        pytest.skip("needs Xvfb (apt install xvfb)")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24", "-nolisten", "tcp", *arguments]
    server = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as numbers:
            number = numbers.readline().strip()  # written once it accepts connections
        if not number:
            pytest.skip("Xvfb does not start here")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(timeout=60)


def xdotool(display: str, *arguments: str) -> str:
    """The output of xdotool; skips the test without it."""
    if not shutil.which("xdotool"):
        pytest.skip("needs xdotool (apt install xdotool)")
    environment = os.environ | {"DISPLAY": display}
    return subprocess.run(
        ["xdotool", *arguments], env=environment, capture_output=True, text=True, timeout=60
    ).stdout.strip()


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib.h, padded to an XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),
    )


def click_on_the_x(display: str, window: str) -> None:
    """Sends the event of a window manager when a window's close button is clicked (a bare Xvfb has none)."""
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        pytest.skip("needs libX11")
    pointer = ctypes.c_void_p
    x11.XOpenDisplay.restype, x11.XInternAtom.restype = pointer, ctypes.c_ulong
    x11.XInternAtom.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int]
    x11.XSendEvent.argtypes = [pointer, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, pointer]
    x11.XCloseDisplay.argtypes = [pointer]
    connection = x11.XOpenDisplay(display.encode())
    protocols, delete = (x11.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
    event = _ClientMessage(type=33, window=int(window), message_type=protocols, format=32)
    event.data[0] = delete
    assert x11.XSendEvent(connection, int(window), 0, 0, ctypes.byref(event))
    x11.XCloseDisplay(connection)  # which flushes its queue
