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

# Asks for a window as `seg-edge camera --view window` does, and says what became of it.
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
    """This one without any display, and with those variables."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "XDG_", "XAUTHORITY"))}
    return {k: v for k, v in bare.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")} | variables


def open_window(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OPEN], env=environment(**variables), capture_output=True, text=True, timeout=60
    )


@linux_only
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "there is no display"),
        ({"DISPLAY": ":4711"}, "nothing answers at the display :4711"),
        ({"DISPLAY": "localhost:47.0"}, "nothing answers at the display localhost:47.0"),  # an ssh -X that has ended
        ({"DISPLAY": "rubbish"}, "nothing answers at the display rubbish"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "only WAYLAND_DISPLAY is set"),
    ],
)
def test_a_window_without_a_display_is_refused_in_a_sentence(variables: dict[str, str], said: str) -> None:
    if "GUI:                           NONE" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has no windows")
    answer = open_window(**variables)
    assert answer.returncode == 1  # not -6, which is what Qt makes of it
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    for remedy in ("ssh -X", "--view http", "http://127.0.0.1:8000", "ssh -L 8000:127.0.0.1:8000", "--view none"):
        assert remedy in answer.stderr


@pytest.fixture(scope="module")
def locked_display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A display that wants a cookie, and the file that has it."""
    cookies = tmp_path_factory.mktemp("x") / "Xauthority"
    parts = (b"", b"", b"MIT-MAGIC-COOKIE-1", bytes(range(16)))
    packed = b"".join(struct.pack(">H", len(part)) + part for part in parts)
    cookies.write_bytes(struct.pack(">H", 0xFFFF) + packed)  # of any host and any display
    with x_server("-auth", str(cookies)) as display:
        yield display, cookies


def test_a_display_that_needs_its_cookie(locked_display: tuple[str, Path]) -> None:
    display, cookies = locked_display
    answer = open_window(DISPLAY=display, XAUTHORITY=os.devnull)
    assert answer.returncode == 1
    assert f"the display {display} refuses: Authorization required" in answer.stderr
    assert "ssh -X" in answer.stderr
    assert open_window(DISPLAY=display, XAUTHORITY=str(cookies)).returncode == 0


@pytest.mark.parametrize(
    "desktop",
    [
        {},
        {"XDG_SESSION_TYPE": "wayland", "XDG_CURRENT_DESKTOP": "GNOME"},
        {"XDG_SESSION_TYPE": "wayland", "XDG_CURRENT_DESKTOP": "labwc:wlroots"},  # Raspberry Pi OS
        {"XDG_SESSION_TYPE": "wayland", "QT_QPA_PLATFORM": "wayland"},  # Qt of opencv-python aborts over the last
    ],
)
def test_a_window_opens_and_nothing_litters_the_terminal(
    desktop: dict[str, str], locked_display: tuple[str, Path]
) -> None:
    display, cookies = locked_display
    answer = open_window(DISPLAY=display, XAUTHORITY=str(cookies), WAYLAND_DISPLAY="wayland-0", **desktop)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_headless_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
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


def answers(returncode: int, stderr: str = "") -> Any:
    return lambda *args, **kwargs: SimpleNamespace(returncode=returncode, stderr=stderr)


def hangs(command: list[str], **kwargs: Any) -> Any:
    raise subprocess.TimeoutExpired(command, kwargs["timeout"])


@pytest.mark.parametrize(
    ("run", "why_not"),
    [
        (answers(0), ""),
        (answers(3), "nothing answers at the display :0"),
        (answers(3, "Invalid MIT-MAGIC-COOKIE-1 key\n"), "the display :0 refuses: Invalid MIT-MAGIC-COOKIE-1 key"),
        (hangs, "the display :0 doesn't answer"),
        (answers(1, "library: libxkbcommon-x11.so.0: not found\n"), "libxkbcommon-x11.so.0: not found"),
        (answers(-11), ""),  # the question failed, not the display
    ],
)
def test_what_the_x_server_says(run: Any, why_not: str, qt: Path) -> None:
    (qt / "libqxcb.so").touch()
    support = look_for_windows(Machine(environment={"DISPLAY": ":0"}, run=run))
    assert (support.gui, support.display, support.why_not) == ("QT5", ":0", why_not)
    assert bool(support.remedy) == bool(why_not)


def test_a_system_without_libxcb_is_given_the_benefit_of_the_doubt(qt: Path) -> None:
    machine = Machine(environment={"DISPLAY": ":0"}, run=answers(1, "library: libxcb.so.1: not found\n"))
    assert why_no_window(machine) is None


def test_qt_is_left_as_the_user_set_it(qt: Path) -> None:
    variables = {"QT_LOGGING_RULES": "*=true", "QT_QPA_PLATFORM": "wayland"}
    prepare_qt(variables)  # a system's Qt may have Wayland
    assert variables == {"QT_LOGGING_RULES": "*=true", "QT_QPA_PLATFORM": "wayland"}
    (qt / "libqxcb.so").touch()
    prepare_qt(variables)
    assert variables["QT_QPA_PLATFORM"] == "xcb"
    variables = {"QT_QPA_PLATFORM": "xcb:opengl"}
    prepare_qt(variables)
    assert variables["QT_QPA_PLATFORM"] == "xcb:opengl"
