"""Whether a window can be shown is known before Qt would abort the process."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from seg_edge.sinks.display import look_for_windows, prepare_qt, why_no_window
from seg_edge.system.board import Machine
from tests.edge.sinks.xserver import x_server

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="X11 is asked for on Linux alone")

# Opens a window as `seg-edge camera --view window` does, and prints the error if it can't.
OPEN = """
import sys
from seg_edge.errors import SegEdgeError
from seg_edge.sinks.sink import Controls
from seg_edge.sinks.window import Window
try:
    window = Window(Controls(), (), ())
except SegEdgeError as error:
    sys.exit(str(error))
window.idle("waiting")
window.close()
"""


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without any display, with these variables added."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "XDG_", "XAUTHORITY"))}
    return {k: v for k, v in bare.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")} | variables


def open_window(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OPEN], env=environment(**variables), capture_output=True, text=True, timeout=60
    )


@linux_only
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "there is no display"),
        ({"DISPLAY": ":4711"}, "nothing answers at the display :4711"),
        ({"DISPLAY": "localhost:47.0"}, "nothing answers at the display localhost:47.0"),  # an ssh -X that has ended
        ({"DISPLAY": "rubbish"}, "nothing answers at the display rubbish"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "only WAYLAND_DISPLAY is set"),
    ],
)
def test_a_window_without_a_display_is_refused_in_a_sentence(variables: dict[str, str], message: str) -> None:
    if "GUI:                           NONE" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has no windows")
    done = open_window(**variables)
    assert done.returncode == 1  # not -6, with which Qt would abort
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    for remedy in ("ssh -X", "--view http", "http://127.0.0.1:8000", "ssh -L 8000:127.0.0.1:8000", "--view none"):
        assert remedy in done.stderr


@pytest.fixture(scope="module")
def locked_display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A display that requires a cookie, and the file that contains it."""
    cookies = tmp_path_factory.mktemp("x") / "Xauthority"
    parts = (b"", b"", b"MIT-MAGIC-COOKIE-1", bytes(range(16)))
    packed = b"".join(struct.pack(">H", len(part)) + part for part in parts)
    cookies.write_bytes(struct.pack(">H", 0xFFFF) + packed)  # of any host and any display
    with x_server("-auth", str(cookies)) as display:
        yield display, cookies


def test_a_display_that_needs_its_cookie(locked_display: tuple[str, Path]) -> None:
    display, cookies = locked_display
    done = open_window(DISPLAY=display, XAUTHORITY=os.devnull)
    assert done.returncode == 1
    assert f"the display {display} refuses: Authorization required" in done.stderr
    assert "ssh -X" in done.stderr
    assert open_window(DISPLAY=display, XAUTHORITY=str(cookies)).returncode == 0


@pytest.mark.parametrize(
    "desktop",
    [
        {},
        {"XDG_SESSION_TYPE": "wayland", "XDG_CURRENT_DESKTOP": "GNOME"},
        {"XDG_SESSION_TYPE": "wayland", "XDG_CURRENT_DESKTOP": "labwc:wlroots"},  # Raspberry Pi OS
        {"XDG_SESSION_TYPE": "wayland", "QT_QPA_PLATFORM": "wayland"},  # opencv-python's Qt aborts on the latter
    ],
)
def test_a_window_opens_and_nothing_is_printed(desktop: dict[str, str], locked_display: tuple[str, Path]) -> None:
    display, cookies = locked_display
    done = open_window(DISPLAY=display, XAUTHORITY=str(cookies), WAYLAND_DISPLAY="wayland-0", **desktop)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_headless_opencv_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    why = why_no_window(Machine(environment={"DISPLAY": ":0"}))
    assert why
    assert "built without windows; " in why
    assert "pip install opencv-python" in why
    assert "--view http" in why


@pytest.fixture
def qt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An OpenCV with Qt on Linux, and its folder of plugins."""
    folder = tmp_path / "cv2/qt/plugins/platforms"
    folder.mkdir(parents=True)
    monkeypatch.setattr(cv2, "__file__", str(tmp_path / "cv2/__init__.py"))
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   QT5\n")
    monkeypatch.setattr("sys.platform", "linux")
    return folder


def ends_with(returncode: int, stderr: str = "") -> Any:
    return lambda *args, **kwargs: SimpleNamespace(returncode=returncode, stderr=stderr)


def hangs(command: list[str], **kwargs: Any) -> Any:
    raise subprocess.TimeoutExpired(command, kwargs["timeout"])


@pytest.mark.parametrize(
    ("run", "why_not"),
    [
        (ends_with(0), ""),
        (ends_with(3), "nothing answers at the display :0"),
        (ends_with(3, "Invalid MIT-MAGIC-COOKIE-1 key\n"), "the display :0 refuses: Invalid MIT-MAGIC-COOKIE-1 key"),
        (hangs, "the display :0 doesn't answer"),
        (ends_with(1, "library: libxkbcommon-x11.so.0: not found\n"), "libxkbcommon-x11.so.0: not found"),
        (ends_with(-11), ""),  # the check failed, not the display
    ],
)
def test_why_the_x_server_can_not_be_used(run: Any, why_not: str, qt: Path) -> None:
    (qt / "libqxcb.so").touch()
    support = look_for_windows(Machine(environment={"DISPLAY": ":0"}, run=run))
    assert (support.gui, support.display, support.why_not) == ("QT5", ":0", why_not)
    assert bool(support.remedy) == bool(why_not)


def test_without_libxcb_a_window_is_tried(qt: Path) -> None:
    machine = Machine(environment={"DISPLAY": ":0"}, run=ends_with(1, "library: libxcb.so.1: not found\n"))
    assert why_no_window(machine) is None


def test_the_users_settings_of_qt_are_kept(qt: Path) -> None:
    variables = {"QT_LOGGING_RULES": "*=true", "QT_QPA_PLATFORM": "wayland"}
    prepare_qt(variables)  # a system's Qt may have Wayland
    assert variables == {"QT_LOGGING_RULES": "*=true", "QT_QPA_PLATFORM": "wayland"}
    (qt / "libqxcb.so").touch()
    prepare_qt(variables)
    assert variables["QT_QPA_PLATFORM"] == "xcb"
    variables = {"QT_QPA_PLATFORM": "xcb:opengl"}
    prepare_qt(variables)
    assert variables["QT_QPA_PLATFORM"] == "xcb:opengl"
