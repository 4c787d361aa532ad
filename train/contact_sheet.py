"""The contact sheet: thumbnails with their masks over them, to check that they fit."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from seg_edge.card import class_colour
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.sinks.legend import TextRenderer

SHEET_PHOTOS = 64
_COLUMNS = 8
_CELL_WH, _TEXT_PX, LEGEND_PX = (216, 184), 18, 40
_INK, _PAPER, _IGNORED = (40, 40, 40), 255, (150, 150, 150)
_SMALL, _LARGE = TextRenderer(360), TextRenderer(510)


def shown_on_sheet(photos: int) -> set[int]:
    """Indices of the photos on a sheet: all, or SHEET_PHOTOS spread from first to last."""
    return {round(n) for n in np.linspace(0, photos - 1, min(photos, SHEET_PHOTOS))}


def sheet_cell(photo: str, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A thumbnail with the mask over it, translucent and outlined, and the name below."""
    width, height = _CELL_WH[0] - 8, _CELL_WH[1] - _TEXT_PX - 8
    scale = min(width / image.shape[1], height / image.shape[0])
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    thumb = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    small = cv2.resize(mask, size_wh, interpolation=cv2.INTER_NEAREST)
    for label in np.unique(small[small > 0]):
        inside = small == label
        thumb[inside] = (0.6 * thumb[inside] + 0.4 * np.array(_colour(label))).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(thumb, outlines, -1, _colour(label), 2, cv2.LINE_AA)
    cell = np.full((_CELL_WH[1], _CELL_WH[0], 3), _PAPER, np.uint8)
    top, left = (height - size_wh[1]) // 2 + 4, (width - size_wh[0]) // 2 + 4
    cell[top : top + size_wh[1], left : left + size_wh[0]] = thumb
    _text(cell, photo, (4, _CELL_WH[1] - 4 - _SMALL.line), width, _SMALL)
    return cell


def contact_sheet(cells: Sequence[np.ndarray], labels: Sequence[str], title: str) -> np.ndarray:
    """The legend, and below it the cells in rows.

    Args:
        cells: At least one, by `sheet_cell`.
        labels: Class names by label; labels[0] is the background.
        title: Text before the legend.

    Returns:
        BGR uint8 (height, width, 3).
    """
    columns = min(_COLUMNS, len(cells))
    width, height = _CELL_WH
    sheet = np.full((-(-len(cells) // columns) * height, columns * width, 3), _PAPER, np.uint8)
    for number, cell in enumerate(cells):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = cell
    return np.vstack([_legend(title, labels, columns * width), sheet])


def _legend(title: str, labels: Sequence[str], width: int) -> np.ndarray:
    """A title, then a coloured square and a name for each class, on as many lines as needed."""
    positions, x, line = [], 12 + _LARGE.width(title) + 24, 0
    for name in labels[1:]:
        needed = 26 + min(_LARGE.width(name), width - 50) + 22
        if x + needed > width and x > 12:
            x, line = 12, line + 1
        positions.append((x, line))
        x += needed
    legend = np.full(((line + 1) * LEGEND_PX, width, 3), _PAPER, np.uint8)
    _text(legend, title, (12, 7), width - 12, _LARGE)
    for label, (name, (x, line)) in enumerate(zip(labels[1:], positions, strict=True), start=1):
        y = line * LEGEND_PX
        cv2.rectangle(legend, (x, y + 11), (x + 18, y + 29), _colour(label), cv2.FILLED)
        _text(legend, name, (x + 26, y + 7), width - x - 26, _LARGE)
    return legend


def _colour(label: int) -> tuple[int, int, int]:
    """BGR, the colour in which the model will draw this class; grey for ignored pixels."""
    if label == IGNORE:
        return _IGNORED
    red, green, blue = class_colour(label)
    return blue, green, red


def _text(image: np.ndarray, text: str, at_xy: tuple[int, int], width: int, renderer: TextRenderer) -> None:
    """Writes one line with its upper left corner at `at_xy`, shortened in the middle to `width` pixels."""
    keep = len(text)
    while renderer.width(text) > width and keep > 4:
        keep -= 1
        text = f"{text[: keep // 2]}..{text[-(keep // 2) :]}"
    renderer.write(image, text, at_xy, _INK)
