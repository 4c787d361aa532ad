"""The parts that `synthetic.py` paints once: the room, the head, the torso and the word in the corner.

Coordinates are in pixels of a picture 480 high. A part's `origin` is the point in it that lies on the body's middle
line at the top of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SKIN, SHIRT, HAIR, SHADOW = (132, 166, 216), (128, 84, 50), (30, 40, 56), (50, 70, 110)  # BGR
SIGN = "synthetic"


@dataclass(frozen=True)
class Sprite:
    """A painted part, to be laid over a picture.

    Attributes:
        colour: BGR uint8 (h, w, 3), premultiplied by its opacity.
        rest: How much of the picture it lets through, uint8 (h, w, 3), 255 is all.
        left: From the body's middle, in pixels.
        top: From the picture's top, in pixels.
    """

    colour: np.ndarray
    rest: np.ndarray
    left: int
    top: int


class _Canvas:
    """A sheet twice as fine as a picture 480 high, painted in layers from the back to the front."""

    def __init__(self, width: int, height: int):
        self._bgr = np.zeros((2 * height, 2 * width, 3), np.float32)
        self._opacity = np.zeros((2 * height, 2 * width, 1), np.float32)

    def mask(self) -> np.ndarray:
        """An empty outline to draw into, uint8."""
        return np.zeros(self._bgr.shape[:2], np.uint8)

    def polygon(self, points: Sequence[tuple[float, float]], rounding: float = 0) -> np.ndarray:
        """The outline of a polygon, its corners rounded by about `rounding` pixels."""
        mask = cv2.fillPoly(self.mask(), [(np.array(points) * 2).astype(np.int32)], 255)
        if rounding:
            mask = cv2.GaussianBlur(mask, (0, 0), 2 * rounding, borderType=cv2.BORDER_REPLICATE)
            mask = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]
        return mask

    def ellipse(self, x: float, y: float, across: float, down: float) -> np.ndarray:
        """The outline of an ellipse around (x, y) with these half axes."""
        axes = round(2 * across), round(2 * down)
        return cv2.ellipse(self.mask(), (round(2 * x), round(2 * y)), axes, 0, 0, 360, 255, -1)

    def lay(
        self,
        mask: np.ndarray,
        bgr: tuple[int, int, int],
        depth: float = 0,
        strength: float = 1.0,
        soft: float = 0.6,
        grain: float = 0.05,
    ) -> None:
        """Lays a colour over what was painted before.

        Args:
            mask: The area to paint.
            bgr: The colour in full light.
            depth: How far from the outline it gets darker, as round things do.
            strength: Its opacity.
            soft: How blurred the outline is.
            grain: How uneven the colour is.
        """
        margin = 3 + int(8 * soft)  # within which the blur fades out
        left, top, width, height = cv2.boundingRect(mask)
        window = np.s_[max(top - margin, 0) : top + height + margin, max(left - margin, 0) : left + width + margin]
        mask = mask[window]
        light = np.linspace(1.05, 0.88, mask.shape[1], dtype=np.float32) * _clouds(mask.shape, grain)
        if depth:
            distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5) / (2 * depth)
            light *= 0.62 + 0.38 * np.sqrt(np.clip(distance, 0, 1))
        share = strength * (cv2.GaussianBlur(mask, (0, 0), 2 * soft) / np.float32(255))[..., np.newaxis]
        if strength < 1:  # a shade only covers what was painted before
            share *= self._opacity[window]
        self._bgr[window] += share * (np.array(bgr, np.float32) * light[..., np.newaxis] - self._bgr[window])
        self._opacity[window] += share * (1 - self._opacity[window])

    def sprite(self, unit: float, origin: tuple[float, float]) -> Sprite:
        """What was painted, scaled by `unit`."""
        height, width = (max(1, round(side / 2 * unit)) for side in self._bgr.shape[:2])
        both = np.dstack([self._bgr, 255 * (1 - self._opacity)])
        both = np.clip(np.round(cv2.resize(both, (width, height), interpolation=cv2.INTER_AREA)), 0, 255)
        colour, rest = both[..., :3].astype(np.uint8), both[..., 3].astype(np.uint8)
        return Sprite(colour, cv2.merge([rest] * 3), round(-origin[0] * unit), round(-origin[1] * unit))


def _clouds(shape_hw: tuple[int, ...], strength: float, cells: int = 9) -> np.ndarray:
    """Soft folds and a fine grain, values around 1, float32 of `shape_hw`."""
    random = np.random.default_rng(shape_hw[0] * 31 + cells)
    folds = cv2.resize(random.standard_normal((cells, cells)).astype(np.float32), shape_hw[1::-1], interpolation=2)
    grain = random.standard_normal(shape_hw[:2]).astype(np.float32)
    return 1 + strength * (folds + 0.35 * cv2.GaussianBlur(grain, (0, 0), 1) * 3)


def paint_torso(unit: float) -> Sprite:
    """Shoulders and chest in a shirt, and the neck, reaching below the picture so that they can sway."""
    canvas = _Canvas(320, 290)
    shirt = [(118, 52), (70, 72), (34, 92), (24, 130), (36, 190), (46, 289), (274, 289), (284, 190), (296, 130)]
    shirt += [(286, 92), (250, 72), (202, 52)]
    canvas.lay(canvas.polygon(shirt, 9), SHIRT, depth=42, grain=0.06)
    canvas.lay(canvas.polygon([(126, 0), (194, 0), (194, 60), (160, 104), (126, 60)], 4), SKIN, depth=30)
    canvas.lay(canvas.polygon([(128, 20), (192, 20), (192, 40), (160, 62), (128, 40)]), SHADOW, strength=0.5, soft=4)
    for side in (-1, 1):
        collar = [(160 + side * 36, 44), (160 + side * 46, 56), (160 + side * 26, 96), (160, 106)]
        canvas.lay(canvas.polygon(collar, 1), SHIRT, depth=6)
        fold = [(160 + side * 60, 200), (160 + side * 96, 150), (160 + side * 70, 289)]
        canvas.lay(canvas.polygon(fold), (60, 38, 22), strength=0.25, soft=6)
    canvas.lay(canvas.polygon([(159, 106), (161, 106), (161, 289), (159, 289)]), (40, 26, 14), strength=0.6)
    for y in (135, 185, 235):
        canvas.lay(canvas.ellipse(160, y, 3, 3), (210, 205, 200))
    return canvas.sprite(unit, (160, -202))


def paint_head(unit: float) -> Sprite:
    """A head with hair, ears and a face that looks ahead."""
    canvas = _Canvas(170, 200)
    canvas.lay(canvas.ellipse(85, 82, 64, 72), HAIR, depth=22, grain=0.2)
    for x in (26, 144):
        canvas.lay(canvas.ellipse(x, 108, 9, 16), SKIN, depth=7)
    face = cv2.bitwise_or(canvas.ellipse(85, 100, 55, 62), canvas.ellipse(85, 128, 42, 58))
    canvas.lay(face, SKIN, depth=34)
    fringe = [(28, 84), (40, 44), (85, 26), (130, 44), (142, 84), (128, 66), (100, 54), (70, 60), (46, 68)]
    canvas.lay(canvas.polygon(fringe, 3), HAIR, depth=14, grain=0.2)
    for side in (-1, 1):
        x = 85 + side * 23
        canvas.lay(canvas.ellipse(x, 100, 15, 11), (84, 112, 160), strength=0.45, soft=3)  # the eye's hollow
        canvas.lay(canvas.ellipse(x, 101, 10, 5), (225, 228, 232), soft=0.5)
        canvas.lay(canvas.ellipse(x, 101, 4.5, 4.5), (40, 54, 70), soft=0.5)
        canvas.lay(canvas.polygon([(x - 14, 88), (x, 82), (x + 14, 87), (x, 87)]), HAIR, strength=0.9, soft=1)
        canvas.lay(canvas.ellipse(85 + side * 30, 130, 12, 9), (120, 140, 226), strength=0.3, soft=5)  # cheeks
    canvas.lay(canvas.polygon([(88, 100), (97, 132), (85, 136)]), (84, 112, 160), strength=0.5, soft=2)
    canvas.lay(canvas.ellipse(85, 136, 10, 3), (70, 92, 140), strength=0.6, soft=1.5)
    canvas.lay(canvas.ellipse(85, 156, 20, 5), (92, 96, 176), strength=0.9, soft=1)
    canvas.lay(canvas.ellipse(85, 155, 18, 1), (50, 50, 100), strength=0.9, soft=0.6)
    canvas.lay(canvas.ellipse(85, 168, 14, 3), (84, 112, 160), strength=0.4, soft=2)
    return canvas.sprite(unit, (85, -54))


def paint_room(width: int, height: int) -> np.ndarray:
    """A wall with a window and a shelf of books, a little out of focus: BGR uint8 (height, width, 3)."""
    random = np.random.default_rng(3)
    room = np.empty((480, 640, 3), np.float32)
    room[:] = np.array((168, 182, 190), np.float32) * np.linspace(1.0, 0.78, 640, dtype=np.float32)[:, np.newaxis]
    room *= np.linspace(1.02, 0.86, 480, dtype=np.float32)[:, np.newaxis, np.newaxis]
    # The window: frame, sky, a line of trees, crossbars.
    room[40:300, 30:190] = (205, 210, 212)
    room[52:288, 42:178] = np.linspace((240, 222, 200), (244, 240, 234), 236, dtype=np.float32)[:, np.newaxis]
    trees = 205 + np.cumsum(random.integers(-4, 5, 136))
    for column, edge in enumerate(trees):
        room[int(edge) : 288, 42 + column] = (96, 128, 112)
    room[52:288, 106:114] = room[166:174, 42:178] = (200, 206, 208)
    room[300:312, 20:200] = (190, 196, 200)
    # The shelf.
    room[60:480, 470:640] = (104, 124, 144)
    for top in range(72, 480, 104):
        room[top : top + 92, 480:640] = (84, 98, 112)
        x = 482
        while x < 632:
            thick, tall = int(random.integers(9, 20)), int(random.integers(60, 86))
            room[top + 92 - tall : top + 92, x : x + thick] = np.array((118, 130, 142)) + random.uniform(-26, 26, 3)
            x += thick + 1
    room = cv2.GaussianBlur(room, (0, 0), 2.6) * _clouds(room.shape, 0.015)[..., np.newaxis]
    room = cv2.resize(np.clip(room, 0, 255), (width, height), interpolation=cv2.INTER_LINEAR)
    return room.round().astype(np.uint8)


def paint_sign(unit: float) -> np.ndarray:
    """The word that says what this is, to be added to a picture's corner: uint8 (h, w, 3)."""
    scale = max(0.4, 0.45 * unit)
    (width, height), below = cv2.getTextSize(SIGN, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    sign = np.zeros((height + below + 8, width + 12, 3), np.uint8)
    return cv2.putText(sign, SIGN, (6, height + 4), cv2.FONT_HERSHEY_SIMPLEX, scale, (90, 90, 90), 1, cv2.LINE_AA)
