"""Words on a picture: panels that stay legible on anything, the class legend, messages.

All of it draws into the picture given. Sizes follow the picture's height, so a window that scales it scales them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from seg_edge.card import ClassInfo

WHITE, GREY = (255, 255, 255), (200, 200, 200)
PANEL_SHADE = 0.35  # of the picture's brightness is left under a panel: white on it has a contrast of 7 : 1 at least
MOST_CLASSES = 8
WEIGHTS = (400, 600)  # regular, semibold
TextSpan = tuple[str, bool]


class TextRenderer:
    """Text of one size.

    OpenCV 5 draws any language with a font it brings; earlier ones draw ASCII alone, other letters become `?`.

    Args:
        picture_height: Of the pictures it will be drawn on, in pixels.
    """

    def __init__(self, picture_height: int):
        self.picture_height = picture_height
        self.size = max(11, round(picture_height / 30))
        self.line = round(self.size * 1.5)
        # One font an instance, not one font and two weights: changing the weight throws its drawn letters away.
        make: Any = getattr(cv2, "FontFace", None)
        self._fonts = {bold: make("sans") for bold in (False, True)} if make else None

    def width(self, text: str, bold: bool = False) -> int:
        """How far the text reaches, in pixels."""
        if self._fonts:
            return cv2.getTextSize((0, 0), text, (0, 0), self._fonts[bold], self.size, WEIGHTS[bold])[2]
        return cv2.getTextSize(_ascii(text), cv2.FONT_HERSHEY_SIMPLEX, self.size / 30, self._pen(bold))[0][0]

    def write(
        self,
        picture: np.ndarray,
        text: str,
        left_top: tuple[int, int],
        colour: tuple[int, int, int] = WHITE,
        bold: bool = False,
    ) -> None:
        """Draws one line of text, `self.line` pixels high, whose upper left corner is given."""
        left, top = left_top
        baseline = (left, top + round(self.line * 0.5 + self.size * 0.36))
        if self._fonts:
            cv2.putText(picture, text, baseline, colour, self._fonts[bold], self.size, WEIGHTS[bold])
        else:
            font, scale = cv2.FONT_HERSHEY_SIMPLEX, self.size / 30
            cv2.putText(picture, _ascii(text), baseline, font, scale, colour, self._pen(bold), cv2.LINE_AA)

    def _pen(self, bold: bool) -> int:
        return max(1, round(self.size / (11 if bold else 18)))


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def shade(picture: np.ndarray, left_top: tuple[int, int], size_wh: tuple[int, int]) -> None:
    """Darkens a rectangle, as far as it lies on the picture, for text to stand on."""
    left, top = (max(0, value) for value in left_top)
    part = picture[top : top + size_wh[1], left : left + size_wh[0]]
    if part.size:
        part[:] = cv2.convertScaleAbs(part, alpha=PANEL_SHADE)


def draw_text(
    picture: np.ndarray, letters: TextRenderer, lines: Sequence[Sequence[TextSpan]], left_top: tuple[int, int]
) -> None:
    """Lines of words on a panel whose upper left corner is given."""
    pad, gap = letters.size // 2, letters.size // 3
    widths = [sum(letters.width(text, bold) + gap for text, bold in words) - gap for words in lines]
    shade(picture, left_top, (max(widths) + 2 * pad, letters.line * len(lines) + pad))
    for row, words in enumerate(lines):
        left = left_top[0] + pad
        for text, bold in words:
            letters.write(picture, text, (left, left_top[1] + pad // 2 + row * letters.line), WHITE, bold)
            left += letters.width(text, bold) + gap


def wrap_text(letters: TextRenderer, groups: Sequence[Sequence[TextSpan]], width: int) -> list[Sequence[TextSpan]]:
    """Puts groups of words one after the other into lines of at most `width` pixels; a group stays whole."""
    lines: list[list[tuple[str, bool]]] = [[]]
    used, gap = 0, letters.size // 3
    for group in groups:
        needed = sum(letters.width(text, bold) + gap for text, bold in group)
        if lines[-1] and used + needed > width:
            lines.append([])
            used = 0
        lines[-1] += group
        used += needed
    return list(lines)


def draw_legend(
    picture: np.ndarray, letters: TextRenderer, classes: Sequence[ClassInfo], areas: Mapping[str, float]
) -> None:
    """The classes in the upper right corner: colour, name, share of the frame.

    Args:
        picture: BGR uint8 (height, width, 3), drawn into.
        letters: The text's size.
        classes: Background first; it is left out. Of many, those that cover most are shown.
        areas: Share of the frame of each class by name, 0..1.
    """
    shown = list(classes[1:])
    if len(shown) > MOST_CLASSES:
        largest = sorted(shown, key=lambda info: -areas.get(info.name, 0.0))[:MOST_CLASSES]
        shown = [info for info in shown if info in largest]
    if not shown:
        return
    pad, line = letters.size // 2, letters.line
    swatch, share_width = letters.size, letters.width("100 %")
    name_width = min(max(letters.width(info.name) for info in shown), picture.shape[1] // 3)
    width = swatch + name_width + share_width + 4 * pad
    left, top = picture.shape[1] - width - pad, pad
    shade(picture, (left, top), (width, line * len(shown) + pad))
    for row, info in enumerate(shown):
        y = top + pad // 2 + row * line
        corner = (left + pad, y + (line - swatch) // 2)
        opposite = (corner[0] + swatch - 1, corner[1] + swatch - 1)
        red, green, blue = info.colour
        cv2.rectangle(picture, corner, opposite, (blue, green, red), cv2.FILLED)
        cv2.rectangle(picture, corner, opposite, GREY, 1)
        share = f"{areas.get(info.name, 0.0):.0%}".replace("%", " %")
        name_left = left + 2 * pad + swatch
        letters.write(picture[:, : name_left + name_width], info.name, (name_left, y))
        letters.write(picture, share, (left + width - pad - letters.width(share), y))


def draw_message(picture: np.ndarray, letters: TextRenderer, text: str) -> None:
    """A message in the middle, in as many lines as it takes."""
    words: list[Sequence[TextSpan]] = [[(word, False)] for word in text.split()]
    by_width = [wrap_text(letters, words, round(picture.shape[1] * share)) for share in (0.5, 0.6, 0.7, 0.8, 0.9)]
    lines = next(wrapped for wrapped in by_width if len(wrapped) == len(by_width[-1]))  # of even length
    gap = letters.size // 3
    top = (picture.shape[0] - letters.line * len(lines)) // 2
    for row, parts in enumerate(lines):
        line = " ".join(word for word, _ in parts)
        left = (picture.shape[1] - letters.width(line)) // 2
        letters.write(picture, line, (max(gap, left), top + row * letters.line))
