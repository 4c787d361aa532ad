"""The window: the picture, its rate and age, the classes' colours, and keys for the settings."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from seg_edge.card import ClassInfo
from seg_edge.errors import OutputError
from seg_edge.sinks.display import prepare_qt, why_no_window
from seg_edge.sinks.legend import TextRenderer, TextSpan, draw_legend, draw_message, draw_text, wrap_text
from seg_edge.sinks.sink import Controls, OutputFrame
from seg_edge.system.board import Machine

LARGEST_WH = (1600, 900)  # a window starts at the picture's size, or at one that fits a usual screen with its title bar
HINT_SECONDS = 6.0
NOTICE_SECONDS = 1.2
READOUT_SECONDS = 0.25  # figures that change with every frame can't be read
IDLE_SHADE = 0.3  # of the last picture's brightness remains while there is no new one
ESCAPE = "\x1b"


class Window:
    """Shows the pictures in a window. It opens with the first picture or message; all calls are from the main thread.

    Keys: `e` next effect, a number chooses an effect, `m` mirror, `s` snapshot, `l` legend, `f` full screen, `h` the
    keys. `q` and Escape quit, as does closing the window.

    Args:
        controls: What the keys change.
        classes: Names and colours for the legend, background first.
        effects: Those that may be chosen, in the order of the number keys: `1` is the first, `9` the last that has one.
        title: The window's title.

    Raises:
        OutputError: No window can be shown here; the message says what to do instead.
    """

    name = "--view window"

    def __init__(
        self, controls: Controls, classes: Sequence[ClassInfo], effects: Sequence[str], title: str = "seg-edge"
    ):
        if why := why_no_window(Machine()):
            raise OutputError(why)
        prepare_qt()
        self._controls, self._classes, self._effects, self._title = controls, tuple(classes), tuple(effects), title
        self._open = self._closed = self._full_screen = self._fitted = False
        self._legend = True
        self._letters = TextRenderer(480)
        self._last: np.ndarray | None = None
        self._readout: Sequence[TextSpan] = ()
        self._areas: Mapping[str, float] = {}
        self._readout_until = self._notice_until = 0.0
        self._hint_until: float | None = None  # counts from the first picture
        self._notice = ""
        self._actions: dict[str, Callable[[], None]] = {
            "e": self._next_effect,
            "m": self._mirror,
            "s": self._snapshot,
            "l": self._toggle_legend,
            "f": self._toggle_full_screen,
            "h": self._toggle_hint,
            "q": controls.stop,
            ESCAPE: controls.stop,
        }

    def publish(self, item: OutputFrame) -> None:
        """Shows one frame and handles keys. Takes about 3 ms at 640x480, 2 of them asleep, waiting for a key."""
        if self._closed:
            return
        now = time.monotonic()
        if now >= self._readout_until:
            self._readout_until = now + READOUT_SECONDS
            self._readout = [(f"{item.fps:.{0 if item.fps >= 10 else 1}f} fps", True), (f"{item.age_ms:.0f} ms", False)]
            self._areas = item.result.areas
        self._last = item.picture
        picture = item.picture.copy()
        self._draw(picture, now)
        self._show(picture)

    def idle(self, message: str) -> None:
        """Keeps the window alive: the last picture, darkened under the message, or unchanged without one."""
        if self._closed:
            return
        if not message and self._last is not None:  # the next frame of a slow camera isn't due yet
            self._handle_keys()
            return
        if self._last is None:
            picture: np.ndarray = np.full((480, 640, 3), 32, np.uint8)
        else:
            picture = cv2.convertScaleAbs(self._last, alpha=IDLE_SHADE)
        self._fit_letters(picture)
        draw_message(picture, self._letters, message)
        self._show(picture)

    def close(self) -> None:
        """Closes the window. May be called twice."""
        self._closed = True
        if self._open:
            self._open = False
            with contextlib.suppress(cv2.error):  # the user has closed it
                cv2.destroyWindow(self._title)
                cv2.pollKey()

    def _draw(self, picture: np.ndarray, now: float) -> None:
        self._fit_letters(picture)
        letters, margin = self._letters, self._letters.size // 2
        lines = [self._readout]
        if now < self._notice_until:
            lines.append([(self._notice, True)])
        draw_text(picture, letters, lines, (margin, margin))
        if self._legend:
            draw_legend(picture, letters, self._classes, self._areas)
        if self._hint_until is None:
            self._hint_until = now + HINT_SECONDS
        if now < self._hint_until:
            hint = wrap_text(letters, self._keys(), picture.shape[1] - 4 * margin)
            draw_text(picture, letters, hint, (margin, picture.shape[0] - len(hint) * letters.line - 2 * margin))

    def _fit_letters(self, picture: np.ndarray) -> None:
        if self._letters.picture_height != picture.shape[0]:
            self._letters = TextRenderer(picture.shape[0])

    def _show(self, picture: np.ndarray) -> None:
        if not self._open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            self._open = True
        if not self._fitted:
            self._fitted = self._last is not None
            height, width = picture.shape[:2]
            scale = min(1.0, LARGEST_WH[0] / width, LARGEST_WH[1] / height)
            cv2.resizeWindow(self._title, round(width * scale), round(height * scale))
        cv2.imshow(self._title, picture)
        self._handle_keys()

    def _handle_keys(self) -> None:
        key = cv2.pollKey()
        if self._was_closed():  # checked before the next imshow, which would reopen it
            self._closed = True
            self._controls.stop()
        elif key != -1:
            self._press(key)

    def _was_closed(self) -> bool:
        """Qt raises or returns 0; GTK always returns -1 for VISIBLE, and for AUTOSIZE once the window is closed."""
        try:
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE)
            return visible == 0 or (visible < 0 and cv2.getWindowProperty(self._title, cv2.WND_PROP_AUTOSIZE) < 0)
        except cv2.error:
            return True

    def _press(self, key: int) -> None:
        letter = chr(key & 0xFF).lower()
        if letter in self._actions:
            self._actions[letter]()
        elif letter in "123456789"[: len(self._effects)]:
            self._choose_effect(self._effects[int(letter) - 1])

    def _keys(self) -> list[Sequence[TextSpan]]:
        keys = [("m", "mirror"), ("s", "snapshot"), ("l", "legend"), ("f", "full screen"), ("h", "keys"), ("q", "quit")]
        if len(self._effects) > 1:
            keys = [(f"e 1-{len(self._effects)}", "effect"), *keys]
        return [[(key, True), (action, False), ("", False)] for key, action in keys]

    def _notify(self, notice: str) -> None:
        self._notice, self._notice_until = notice, time.monotonic() + NOTICE_SECONDS

    def _next_effect(self) -> None:
        if self._effects:
            current = self._controls.effect
            index = self._effects.index(current) + 1 if current in self._effects else 0
            self._choose_effect(self._effects[index % len(self._effects)])

    def _choose_effect(self, effect: str) -> None:
        self._controls.effect = effect
        self._notify(effect)

    def _mirror(self) -> None:
        self._controls.mirror = not self._controls.mirror
        self._notify("mirror on" if self._controls.mirror else "mirror off")

    def _snapshot(self) -> None:
        self._controls.snapshot.set()
        self._notify("snapshot")

    def _toggle_legend(self) -> None:
        self._legend = not self._legend

    def _toggle_full_screen(self) -> None:
        self._full_screen = not self._full_screen
        mode = cv2.WINDOW_FULLSCREEN if self._full_screen else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)

    def _toggle_hint(self) -> None:
        now = time.monotonic()
        self._hint_until = 0.0 if now < (self._hint_until or 0.0) else now + HINT_SECONDS
