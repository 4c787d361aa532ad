"""The window: with a fake GUI for what each key does, and on a real X server for the rest."""

import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge.card import ClassInfo, make_classes
from seg_edge.effects import EFFECTS
from seg_edge.errors import OutputError
from seg_edge.sinks import window as module
from seg_edge.sinks.legend import TextRenderer, draw_legend, draw_message, draw_text, wrap_text
from seg_edge.sinks.sink import Controls
from seg_edge.sinks.window import Window
from tests.edge.sinks.output_frames import CLASSES, make_output_frame
from tests.edge.sinks.xserver import click_on_the_x, x_server, xdotool

GUI = ("namedWindow", "resizeWindow", "imshow", "pollKey", "getWindowProperty", "setWindowProperty", "destroyWindow")


class FakeGui:
    """OpenCV's windows, whose keys a test presses; pictures are collected in `shown`."""

    def __init__(self) -> None:
        self.windows: dict[str, int] = {}
        self.sizes_wh: list[tuple[int, int]] = []
        self.shown: list[np.ndarray] = []
        self.keys: list[int] = []
        self.full_screen: list[float] = []

    def namedWindow(self, winname: str, flags: int = 0) -> None:
        self.windows[winname] = flags

    def resizeWindow(self, winname: str, width: int, height: int) -> None:
        assert winname in self.windows
        self.sizes_wh.append((width, height))

    def imshow(self, winname: str, mat: np.ndarray) -> None:
        assert winname in self.windows, "a closed window would open again"
        self.shown.append(mat.copy())

    def pollKey(self) -> int:
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, winname: str, prop_id: int) -> float:
        if winname not in self.windows:
            raise cv2.error("NULL guiReceiver (please create a window)")
        return 1.0

    def setWindowProperty(self, winname: str, prop_id: int, prop_value: float) -> None:
        assert prop_id == cv2.WND_PROP_FULLSCREEN
        self.full_screen.append(prop_value)

    def destroyWindow(self, winname: str) -> None:
        if winname not in self.windows:
            raise cv2.error("NULL guiReceiver (please create a window)")
        del self.windows[winname]


def install_gui(monkeypatch: pytest.MonkeyPatch) -> FakeGui:
    """Replaces OpenCV's windows by the fake."""
    fake = FakeGui()
    for name in GUI:
        monkeypatch.setattr(cv2, name, getattr(fake, name))
    monkeypatch.setattr(module, "why_no_window", lambda machine: None)
    monkeypatch.setattr(module, "prepare_qt", lambda: None)
    return fake


@pytest.fixture
def gui(monkeypatch: pytest.MonkeyPatch) -> FakeGui:
    return install_gui(monkeypatch)


@pytest.mark.parametrize("name", GUI)
def test_the_fake_has_opencvs_parameters(name: str) -> None:
    documented = re.match(rf"{name}\((.*?)\) ->", getattr(cv2, name).__doc__)
    assert documented
    names = re.findall(r"\w+", documented[1])
    parameters = list(inspect.signature(getattr(FakeGui, name)).parameters)
    assert parameters[1:] == names


def make_window(controls: Controls | None = None, effects: tuple[str, ...] = tuple(EFFECTS)) -> Window:
    return Window(controls or Controls(), CLASSES, effects)


def press(window: Window, gui: FakeGui, *keys: str) -> None:
    for key in keys:
        gui.keys.append(ord(key))
        window.publish(make_output_frame(shape_hw=(480, 640), value=128))


def test_keys_change_the_controls(gui: FakeGui) -> None:
    controls = Controls(effect="blur")
    window = make_window(controls)
    press(window, gui, "m")
    assert controls.mirror
    press(window, gui, "M")  # with caps lock
    assert not controls.mirror
    press(window, gui, "s")
    assert controls.snapshot.is_set()
    press(window, gui, "e")
    assert controls.effect == "replace"
    press(window, gui, "e")
    assert controls.effect == "anonymize"
    press(window, gui, "e")
    assert controls.effect == "overlay"  # wraps around
    press(window, gui, "2")
    assert controls.effect == "mask"
    press(window, gui, "x", "0", "9", "l", "h", "f")
    assert (controls.effect, controls.mirror, controls.stopped.is_set()) == ("mask", False, False)


def test_only_effects_that_can_be_drawn_are_chosen(gui: FakeGui) -> None:
    controls = Controls(effect="replace")
    window = make_window(controls, ("overlay", "blur"))
    press(window, gui, "3", "5")
    assert controls.effect == "replace"
    press(window, gui, "2")
    assert controls.effect == "blur"
    press(window, gui, "e")
    assert controls.effect == "overlay"
    press(make_window(controls, ()), gui, "e", "1")
    assert controls.effect == "overlay"


@pytest.mark.parametrize("key", ["q", "Q", "\x1b"])
def test_quit(key: str, gui: FakeGui) -> None:
    controls = Controls()
    press(make_window(controls), gui, key)
    assert controls.stopped.is_set()
    assert controls.reason == ""


def test_closing_the_window_stops_and_it_does_not_come_back(gui: FakeGui, monkeypatch: pytest.MonkeyPatch) -> None:
    controls = Controls()
    window = make_window(controls)
    press(window, gui, "l")
    assert not controls.stopped.is_set()
    monkeypatch.setattr(cv2, "pollKey", lambda: gui.windows.clear() or -1)  # it handles the events
    window.publish(make_output_frame())
    assert controls.stopped.is_set()
    shown = len(gui.shown)
    window.publish(make_output_frame())
    window.idle("waiting")
    window.close()
    assert (len(gui.shown), gui.windows) == (shown, {})


@pytest.mark.parametrize(
    ("visible", "autosize", "closed"),
    [(1.0, 0.0, False), (0.0, 0.0, True), (-1.0, 0.0, False), (-1.0, -1.0, True)],
    ids=["qt open", "hidden", "gtk open", "gtk closed"],
)
def test_what_each_toolkit_reports_for_a_closed_window(
    visible: float, autosize: float, closed: bool, gui: FakeGui, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = {cv2.WND_PROP_VISIBLE: visible, cv2.WND_PROP_AUTOSIZE: autosize}
    monkeypatch.setattr(cv2, "getWindowProperty", lambda winname, prop_id: properties[prop_id])
    controls = Controls()
    make_window(controls).publish(make_output_frame())
    assert controls.stopped.is_set() == closed


def test_it_opens_at_the_pictures_size_and_no_larger_than_a_screen(gui: FakeGui) -> None:
    window = make_window()
    assert gui.windows == {}
    window.idle("the camera starts")
    window.publish(make_output_frame(shape_hw=(600, 512)))
    window.publish(make_output_frame(shape_hw=(480, 640)))  # the user may have resized it by now
    window.idle("the camera is gone")
    assert gui.sizes_wh == [(640, 480), (512, 600)]
    assert gui.windows["seg-edge"] & cv2.WINDOW_GUI_NORMAL
    assert not gui.windows["seg-edge"] & (cv2.WINDOW_AUTOSIZE | cv2.WINDOW_FREERATIO)
    make_window().publish(make_output_frame(shape_hw=(1800, 3200)))
    assert gui.sizes_wh[-1] == (1600, 900)


def test_full_screen_and_back(gui: FakeGui) -> None:
    press(make_window(), gui, "f", "f")
    assert gui.full_screen == [cv2.WINDOW_FULLSCREEN, cv2.WINDOW_NORMAL]


def corner(picture: np.ndarray, where: str) -> np.ndarray:
    """A corner of 480 x 640, where each panel would be."""
    return {"readout": picture[:60, :200], "legend": picture[:100, 440:], "hint": picture[400:, :500]}[where]


def is_drawn(picture: np.ndarray, where: str) -> bool:
    return bool((corner(picture, where) != 128).any())


def test_when_each_panel_is_drawn(gui: FakeGui, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    window = make_window()
    item = make_output_frame(shape_hw=(480, 640), value=128)

    def show(key: str = "") -> np.ndarray:
        gui.keys += [ord(key)] if key else []
        window.publish(item)
        return gui.shown[-1]

    assert all(is_drawn(show(), where) for where in ("readout", "legend", "hint"))
    assert (item.picture == 128).all()  # sinks share it
    now += 60
    assert not is_drawn(show(), "hint")
    assert is_drawn(show(), "readout")
    show("h")
    assert is_drawn(show(), "hint")
    show("h")
    assert not is_drawn(show(), "hint")
    show("l")
    assert not is_drawn(show(), "legend")
    now += 60
    before = show()
    show("m")
    assert (show() != before).any()  # says what the key did
    now += 60
    assert (show() == before).all()


def test_the_legend_shows_colours_and_shares(gui: FakeGui) -> None:
    make_window().publish(make_output_frame(shape_hw=(480, 640), value=128))
    legend = corner(gui.shown[-1], "legend").reshape(-1, 3)
    for info in CLASSES[1:]:
        assert (legend == info.colour[::-1]).all(axis=1).sum() > 50
    assert not (legend == CLASSES[0].colour[::-1]).all(axis=1).any()


def test_idle_darkens_the_last_picture_and_shows_the_message(gui: FakeGui) -> None:
    window = make_window()
    window.idle("opening /dev/video0")
    plain = gui.shown[-1]
    assert plain.max() == 255  # the message, on a dark ground
    assert np.median(plain) < 50
    window.publish(make_output_frame(shape_hw=(480, 640), value=200))
    gui.keys = [ord("q")]
    window.idle("the camera is gone; looking for it again")
    assert 40 < np.median(gui.shown[-1]) < 80
    assert (gui.shown[-1][200:280] == 255).any()
    assert window._controls.stopped.is_set()


def test_without_a_display_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "why_no_window", lambda machine: "no window can be shown: no display; do this.")
    with pytest.raises(OutputError, match="do this"):
        make_window()


NAMES = ["background", "Müller", "人物", "Человек", "a name that goes on and on and on and on and on", "", "50 %"]


@pytest.mark.parametrize("truetype", [True, False])
@pytest.mark.parametrize("shape_hw", [(12, 12), (16, 9), (48, 64), (480, 640), (1080, 1920), (2000, 30)])
def test_any_text_on_any_picture(shape_hw: tuple[int, int], truetype: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not truetype:
        monkeypatch.delattr(cv2, "FontFace", raising=False)  # OpenCV 4
    picture, letters = np.full((*shape_hw, 3), 255, np.uint8), TextRenderer(shape_hw[0])
    draw_legend(picture, letters, make_classes(NAMES + [f"class {i}" for i in range(90)]), {"人物": 0.5})
    draw_text(picture, letters, wrap_text(letters, [[(name, True)] for name in NAMES], shape_hw[1]), (3, 3))
    for text in (*NAMES, "Ä" * 300):
        draw_message(picture, letters, text)
    assert picture.min() < 255


def test_of_many_classes_the_largest_are_shown() -> None:
    classes = [ClassInfo(f"class {i}", (i, 0, 255)) for i in range(12)]
    picture = np.full((480, 640, 3), 255, np.uint8)
    draw_legend(picture, TextRenderer(480), classes, {f"class {i}": i / 100 for i in range(12)})
    colours = set(map(tuple, picture.reshape(-1, 3).tolist()))
    assert {i for i in range(12) if (255, 0, i) in colours} == set(range(4, 12))


SHOW = """
import json, sys, time
from seg_edge.sinks.sink import Controls
from seg_edge.sinks.window import Window
from tests.edge.sinks.output_frames import CLASSES, make_output_frame

controls, printed, number = Controls(), None, 0
window = Window(controls, CLASSES, ("overlay", "mask", "blur"), "seg-edge test")
until = time.monotonic() + 60
while time.monotonic() < until and not controls.stopped.is_set():
    number += 1
    if "idle" in sys.argv:
        window.idle("no camera")
    else:
        window.publish(make_output_frame(number, (480, 640), value=128))
    state = [controls.effect, controls.mirror, controls.snapshot.is_set()]
    if state != printed:
        print(json.dumps(state), flush=True)
        printed = state
    time.sleep(0.02)
window.close()
print("closed" if controls.stopped.is_set() else "left alone", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_server() as name:
        xdotool(name, "version")
        yield name


@contextmanager
def shown_window(display: str, *arguments: str) -> Iterator[tuple[Any, str]]:
    """A process with a window that has printed its first line, and the window's X11 number. It ends after 60 s."""
    child = subprocess.Popen(
        [sys.executable, "-c", SHOW, *arguments],
        env=os.environ | {"DISPLAY": display},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert json.loads(child.stdout.readline()) == ["overlay", False, False]  # type: ignore[union-attr]
        yield child, find_window(display)
    finally:
        child.kill()
        child.communicate()


def find_window(display: str) -> str:
    until = time.monotonic() + 60
    while not (found := xdotool(display, "search", "--onlyvisible", "--name", "^seg-edge test$")):
        assert time.monotonic() < until, "no window appeared"
        time.sleep(0.05)
    return found.splitlines()[-1]


def type_key(display: str, window: str, key: str) -> None:
    xdotool(display, "windowfocus", "--sync", window, "key", key)


def test_keys_typed_at_a_real_window(display: str) -> None:
    with shown_window(display) as (child, window):
        assert "640x480" in xdotool(display, "getwindowgeometry", window)
        for key, state in (
            ("e", ["mask", False, False]),
            ("3", ["blur", False, False]),
            ("m", ["blur", True, False]),
            ("s", ["blur", True, True]),
        ):
            type_key(display, window, key)
            assert json.loads(child.stdout.readline()) == state
        type_key(display, window, "q")
        assert child.stdout.readline() == "closed\n"
        # The process is still running, the window is closed.
        assert xdotool(display, "search", "--onlyvisible", "--name", "^seg-edge test$") == ""
        _, stderr = child.communicate("", timeout=60)
        assert (child.returncode, stderr) == (0, "")


@pytest.mark.parametrize("arguments", [(), ("idle",)])
def test_closing_a_real_window(display: str, arguments: tuple[str, ...]) -> None:
    with shown_window(display, *arguments) as (child, window):
        click_on_the_x(display, window)
        assert child.stdout.readline() == "closed\n"
        _, stderr = child.communicate("", timeout=60)
        assert (child.returncode, stderr) == (0, "")


def test_escape_while_there_is_no_camera(display: str) -> None:
    with shown_window(display, "idle") as (child, window):
        type_key(display, window, "Escape")
        assert child.stdout.readline() == "closed\n"
