"""Text on a picture: on panels that keep it legible, the class legend, messages.

Everything draws into the given picture. Sizes follow the picture's height, so they scale with a window.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from seg_edge.card import ClassInfo
from seg_edge.system.fonts import font_for, spelled

WHITE, GREY = (255, 255, 255), (200, 200, 200)
PANEL_SHADE = 0.35  # of the picture's brightness remains under a panel; white on it has a contrast of at least 7 : 1
MOST_CLASSES = 8
WEIGHTS = (400, 600)  # regular, semibold
# The scripts that OpenCV 5's font contains and draws in the right order.
SCRIPTS = (
    "LATIN",
    "GREEK",
    "CYRILLIC",
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "IDEOGRAPHIC",
    "COMBINING",
    "MODIFIER",
)
# They join letters, select their forms or change the direction.
INVISIBLE = re.compile("[\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufe00-\\ufe0f\\ufeff]")
TextSpan = tuple[str, bool]


class TextRenderer:
    """Text of one size, in any script.

    OpenCV 5 brings a font for Latin, Greek, Cyrillic, Chinese, Japanese and Korean, earlier ones for ASCII. Pillow
    draws the rest with a font of this machine; if there is none, the letters are spelled out.

    Args:
        picture_height: The height of the pictures to draw on, in pixels.
    """

    def __init__(self, picture_height: int):
        self.picture_height = picture_height
        self.size = max(11, round(picture_height / 30))
        self.line = round(self.size * 1.5)
        # One font for each weight: changing a font's weight discards its cached letters.
        make: Any = getattr(cv2, "FontFace", None)
        self._fonts = {bold: make("sans") for bold in (False, True)} if make else None
        self._drawn: dict[tuple[str, bool], np.ndarray] = {}
        self._baseline = round(self.line * 0.5 + self.size * 0.36)

    def width(self, text: str, bold: bool = False) -> int:
        """The width of the text, in pixels."""
        return sum(
            self._width(part, bold) if known else self._letters(part, bold).shape[1] for part, known in _parts(text)
        )

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
        for part, known in _parts(text):
            if known:
                self._write(picture, part, (left, top + self._baseline), colour, bold)
                left += self._width(part, bold)
            else:
                letters = self._letters(part, bold)
                _blend(picture, letters, (left, top), colour)
                left += letters.shape[1]

    def _width(self, text: str, bold: bool) -> int:
        if self._fonts:
            return cv2.getTextSize((0, 0), text, (0, 0), self._fonts[bold], self.size, WEIGHTS[bold])[2]
        return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, self.size / 30, self._pen(bold))[0][0]

    def _write(
        self, picture: np.ndarray, text: str, baseline: tuple[int, int], colour: tuple[int, int, int], bold: bool
    ) -> None:
        if self._fonts:
            cv2.putText(picture, text, baseline, colour, self._fonts[bold], self.size, WEIGHTS[bold])
        else:
            font, scale = cv2.FONT_HERSHEY_SIMPLEX, self.size / 30
            cv2.putText(picture, text, baseline, font, scale, colour, self._pen(bold), cv2.LINE_AA)

    def _letters(self, text: str, bold: bool) -> np.ndarray:
        """The text drawn by Pillow: the coverage of each pixel, uint8 (line, width)."""
        if (text, bold) not in self._drawn:
            self._drawn[text, bold] = self._draw(text, bold)
        return self._drawn[text, bold]

    def _draw(self, text: str, bold: bool) -> np.ndarray:
        from PIL import Image, ImageDraw, ImageFont

        font_file = font_for(text)
        if font_file is None:
            ascii_text = spelled(text)
            plane = np.zeros((self.line, self._width(ascii_text, bold), 3), np.uint8)
            self._write(plane, ascii_text, (0, self._baseline), WHITE, bold)
            return plane[..., 0]
        # With Raqm, which shapes letters and handles right-to-left text.
        font = ImageFont.truetype(font_file, self.size)
        _, top, _, bottom = font.getbbox(text, anchor="ls")
        room = min((self._baseline - 1) / max(1, -top), (self.line - self._baseline - 1) / max(1, bottom))
        if room < 1:  # marks on marks, as in Thai
            font = font.font_variant(size=int(self.size * room))
        drawn = Image.new("L", (max(1, round(font.getlength(text))), self.line))
        ImageDraw.Draw(drawn).text((0, self._baseline), text, 255, font, "ls", stroke_width=0.5 if bold else 0)
        return np.asarray(drawn)

    def _pen(self, bold: bool) -> int:
        return max(1, round(self.size / (11 if bold else 18)))


def _parts(text: str) -> list[tuple[str, bool]]:
    """The text in parts, each with whether OpenCV can draw it."""
    kinds = "".join(map(_kind, text))
    parts, end = [], 0
    for found in re.finditer(
        r"x(?:[xm ]*x)?m*", kinds
    ):  # letters between two unknown ones stay with them, in the order of their script
        parts += [(text[end : found.start()], True), (text[found.start() : found.end()], False)]
        end = found.end()
    parts = [(INVISIBLE.sub("", part) if known else part, known) for part, known in (*parts, (text[end:], True))]
    return [part for part in parts if part[0]]


@cache
def _kind(letter: str) -> str:
    """`x` if OpenCV can't draw it; a space if it may stand between such letters, `m` if also after them; else `.`."""
    if letter.isspace() or INVISIBLE.match(letter):
        return " "
    if not _is_known(letter):
        return "x"
    category = unicodedata.category(letter)
    if category[0] == "M" or category == "Pe":  # accents, closing brackets
        return "m"
    return " " if category[0] == "P" else "."


def _is_known(letter: str) -> bool:
    if letter.isascii() or not hasattr(cv2, "FontFace"):
        return letter.isascii()
    is_letter = unicodedata.category(letter)[0] in "LM"
    if is_letter and not unicodedata.name(letter, "").startswith(SCRIPTS):
        return False
    return unicodedata.bidirectional(letter) != "AN" and not np.array_equal(_glyph(letter), _glyph("?"))


@cache
def _glyph(letter: str) -> np.ndarray:
    """The letter as OpenCV draws it, which is a question mark if its font lacks it."""
    picture = np.zeros((32, 48), np.uint8)
    cv2.putText(picture, letter, (8, 24), WHITE, cv2.FontFace("sans"), 20, WEIGHTS[False])
    return picture


def _blend(picture: np.ndarray, letters: np.ndarray, left_top: tuple[int, int], colour: tuple[int, int, int]) -> None:
    left, top = left_top
    part = picture[max(0, top) : top + letters.shape[0], max(0, left) : left + letters.shape[1]]
    share = letters[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1], np.newaxis] / 255.0
    part[:] = np.rint(part * (1 - share) + np.array(colour) * share)


def shade(picture: np.ndarray, left_top: tuple[int, int], size_wh: tuple[int, int]) -> None:
    """Darkens a rectangle, as far as it lies on the picture, for text to stand on."""
    left, top = (max(0, value) for value in left_top)
    part = picture[top : top + size_wh[1], left : left + size_wh[0]]
    if part.size:
        part[:] = cv2.convertScaleAbs(part, alpha=PANEL_SHADE)


def draw_text(
    picture: np.ndarray, letters: TextRenderer, lines: Sequence[Sequence[TextSpan]], left_top: tuple[int, int]
) -> None:
    """Draws lines of words on a panel whose upper left corner is given."""
    pad, gap = letters.size // 2, letters.size // 3
    widths = [sum(letters.width(text, bold) + gap for text, bold in words) - gap for words in lines]
    shade(picture, left_top, (max(widths) + 2 * pad, letters.line * len(lines) + pad))
    for row, words in enumerate(lines):
        left = left_top[0] + pad
        for text, bold in words:
            letters.write(picture, text, (left, left_top[1] + pad // 2 + row * letters.line), WHITE, bold)
            left += letters.width(text, bold) + gap


def wrap_text(letters: TextRenderer, groups: Sequence[Sequence[TextSpan]], width: int) -> list[Sequence[TextSpan]]:
    """Wraps groups of words into lines of at most `width` pixels; a group is never split."""
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
    """Draws the classes in the upper right corner: colour, name, share of the frame.

    Args:
        picture: BGR uint8 (height, width, 3), drawn into.
        letters: Draws the text.
        classes: Background first; it is left out. If there are many, those with the largest areas are shown.
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
    """Draws a message in the middle, in as many lines as it takes."""
    words: list[Sequence[TextSpan]] = [[(word, False)] for word in text.split()]
    by_width = [wrap_text(letters, words, round(picture.shape[1] * share)) for share in (0.5, 0.6, 0.7, 0.8, 0.9)]
    lines = next(wrapped for wrapped in by_width if len(wrapped) == len(by_width[-1]))  # of even length
    gap = letters.size // 3
    top = (picture.shape[0] - letters.line * len(lines)) // 2
    for row, parts in enumerate(lines):
        line = " ".join(word for word, _ in parts)
        left = (picture.shape[1] - letters.width(line)) // 2
        letters.write(picture, line, (max(gap, left), top + row * letters.line))
