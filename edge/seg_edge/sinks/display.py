"""Checks whether a window can be shown here, before one is opened: if it can't, Qt aborts the process.

Nothing here opens a window. The checks, in order: this OpenCV was built with windows, there is a display that its Qt
can use, and that display accepts connections. For the last, the library that Qt will use connects to the X server in a
process of its own, as no variable shows that an `ssh -X` has ended or that a cookie is missing.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from seg_edge.system.board import Machine

RESPONSE_SECONDS = 5.0  # an X server over a slow ssh takes one; one that hangs takes forever

# Exits with 0 if the X server accepts the connection. The library is Qt's own plugin if OpenCV brings one (it loads its
# libxcb and everything else that it needs), else the system's libxcb.
PROBE = """
import ctypes, sys
try:
    xcb = ctypes.CDLL(sys.argv[1])
except OSError as error:
    sys.exit(f"library: {error}")
xcb.xcb_connect.restype = ctypes.c_void_p
xcb.xcb_connection_has_error.argtypes = [ctypes.c_void_p]
sys.exit(xcb.xcb_connection_has_error(xcb.xcb_connect(None, None)) and 3)
"""


@dataclass(frozen=True)
class WindowSupport:
    """Whether and with what a window can be shown.

    Attributes:
        gui: The toolkit of this OpenCV's windows, such as `QT5`; `NONE` if it has none.
        display: The display of the window, as in the environment; empty without X11 and Wayland.
        why_not: Why no window can be shown, such as `no display`; empty if one can.
        remedy: What to do to get a window; empty if one can be shown.
    """

    gui: str
    display: str
    why_not: str = ""
    remedy: str = ""


def why_no_window(machine: Machine) -> str | None:
    """The sentence for the user that no window can be shown; None if one can. Takes about 40 ms.

    Raises:
        ImportError: OpenCV itself doesn't load.
    """
    support = look_for_windows(machine)
    if not support.why_not:
        return None
    here = f"{machine.environment.get('USER') or 'pi'}@{platform.node() or 'raspberrypi'}"
    return (
        f"no window can be shown: {support.why_not}; {support.remedy}, or use --view http (a page on "
        f"http://127.0.0.1:8000, from another computer through 'ssh -L 8000:127.0.0.1:8000 {here}'), "
        "or --view none --record FILE."
    )


def look_for_windows(machine: Machine) -> WindowSupport:
    """Checks whether a window can be shown; opens none.

    Raises:
        ImportError: OpenCV itself doesn't load.
    """
    import cv2

    match = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    gui = match[1] if match else "NONE"
    if gui in ("NONE", "NO"):
        headless = [
            name for name in ("opencv-python-headless", "opencv-contrib-python-headless") if _is_installed(name)
        ]
        remedy = "".join(f"pip uninstall -y {name} && " for name in headless) + "pip install opencv-python"
        return WindowSupport("NONE", "", "this OpenCV was built without windows", remedy)
    if sys.platform != "linux":
        return WindowSupport(gui, "")
    x11, wayland = (machine.environment.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    only_x11 = _qt_has_only_x11()
    display = x11 or ("" if only_x11 else wayland)
    remedy = "run it on the desktop or over 'ssh -X', so that DISPLAY is set"
    if not display:
        missing = "only WAYLAND_DISPLAY is set and OpenCV's windows need X11" if wayland else "there is no display"
        return WindowSupport(gui, "", missing, remedy)
    if wayland and not only_x11:  # a Qt or GTK with both uses whichever works
        return WindowSupport(gui, display)
    why_not = _why_x11_refuses(machine, only_x11)
    if why_not.startswith("library: "):
        return WindowSupport(gui, display, why_not.removeprefix("library: "), "install that library with apt")
    if why_not:
        remedy = "run it in a terminal on the desktop, or log in again with 'ssh -X', as the desktop's own user"
    return WindowSupport(gui, display, why_not, remedy if why_not else "")


def prepare_qt(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets up Qt before the first window; the user's own settings stay, unless they would make Qt abort.

    Its warnings (no font folder, no XDG_RUNTIME_DIR, a Wayland session) don't matter here and would fill the terminal.
    """
    environment.setdefault("QT_LOGGING_RULES", "default.warning=false;default.info=false")
    if "xcb" not in environment.get("QT_QPA_PLATFORM", "") and _qt_has_only_x11():
        environment["QT_QPA_PLATFORM"] = "xcb"  # Wayland desktops ask for a plugin that OpenCV's Qt lacks


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _qt_plugins() -> list[Path]:
    import cv2

    return sorted(Path(cv2.__file__).parent.glob("qt/plugins/platforms/*.so"))


def _qt_has_only_x11() -> bool:
    """opencv-python's wheels bring only Qt's X11 plugin; a system's Qt brings Wayland's too."""
    return [path.name for path in _qt_plugins()] == ["libqxcb.so"]


def _why_x11_refuses(machine: Machine, only_x11: bool) -> str:
    """Why the X server can't be used; empty if it can, or if there is no way to check."""
    library = str(_qt_plugins()[0]) if only_x11 else "libxcb.so.1"
    command = [sys.executable, "-I", "-S", "-c", PROBE, library]
    display = f"the display {machine.environment['DISPLAY']}"
    try:
        done = machine.run(
            command, capture_output=True, text=True, timeout=RESPONSE_SECONDS, env=dict(machine.environment)
        )
    except subprocess.TimeoutExpired:
        return f"{display} doesn't answer"
    except OSError:
        return ""
    message = " ".join(done.stderr.split())
    if done.returncode == 3:
        return f"{display} refuses: {message}" if message else f"nothing answers at {display}"
    # Qt can't work without its plugin; a missing system libxcb only means that the check wasn't possible.
    return message if only_x11 and message.startswith("library: ") else ""
