"""A drawn person who sways, waves and now and then walks out: for demos, tests and benchmarks without a camera.

Coordinates below are in pixels of a picture 480 high, x from the person's middle, and are scaled to the requested
height. The parts that never change (the room, the head, the torso) are painted once; the arms, which bend, are drawn
for every frame.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from seg_edge.errors import SourceError
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest
from seg_edge.sources.synthetic_paint import SHIRT, SKIN, Sprite, paint_head, paint_room, paint_sign, paint_torso

DEFAULT_SIZE_WH = (640, 480)
DEFAULT_FPS = 30.0
SIDES = (64, 4096)  # smallest and largest side of the picture
MAX_FPS = 1000.0
TOUR_S = 24.0  # seconds after which the movement repeats
# Where the person stands during the tour: (seconds, x as a share of the picture's width).
WAY = (
    (0, 0.5),
    (7, 0.5),
    (9, 0.4),
    (13, 0.57),
    (16, 0.5),
    (18.5, 1.6),
    (19.5, 1.6),
    (20, -0.6),
    (22.5, 0.5),
    (24, 0.5),
)

NOISE = 8  # the sensor noise adds 0 to this many levels
FINE = 4  # bits of OpenCV's fixed-point coordinates

Point = tuple[float, float]


@dataclass(frozen=True)
class _Stroke:
    """A thick line with round ends, in pixels of a picture 480 high."""

    start: Point
    end: Point
    width: float
    bgr: tuple[int, int, int]


class SyntheticSource:
    """A person moving in front of a still room, endlessly. The lower left corner says "synthetic".

    Args:
        request: `size_wh` is 640x480 unless given, `fps` 30. If `live`, frames follow an absolute clock, and those
            that are not read in time are skipped, as with a camera.

    Raises:
        SourceError: The size or rate is out of range.
    """

    def __init__(self, request: SourceRequest):
        width, height = request.size_wh or DEFAULT_SIZE_WH
        self._fps = DEFAULT_FPS if request.fps is None else request.fps
        if not all(SIDES[0] <= side <= SIDES[1] for side in (width, height)):
            raise SourceError(
                f"synthetic: a picture of {width}x{height} can't be drawn; give each side {SIDES[0]} to {SIDES[1]}."
            )
        if not 0 < self._fps <= MAX_FPS:
            raise SourceError(f"synthetic: {self._fps:g} frames a second is not possible; give up to {MAX_FPS:g}.")
        self._live, self._closed = request.live, threading.Event()
        self._unit = height / 480
        self._room = paint_room(width, height)
        self._parts = (paint_torso(self._unit), paint_head(self._unit))
        # One field of noise, read at another offset for every frame, costs a tenth of generating new noise.
        self._noise = np.random.default_rng(1).integers(0, NOISE + 1, (height + 64, width + 64, 3), np.uint8)
        self._sign = paint_sign(self._unit)
        description = f"synthetic moving person (drawn, no camera), {width}x{height} at {self._fps:g} fps"
        self.info = SourceInfo(description, (width, height), self._fps)

    def __iter__(self) -> Iterator[SourceFrame]:
        """Frames until `close`."""
        began, index = time.monotonic(), 0
        while not self._closed.is_set():
            frame = self.frame(index)
            if self._live and self._closed.wait(max(0.0, began + index / self._fps - time.monotonic())):
                return
            yield SourceFrame(frame, None, time.monotonic())
            index += 1
            if self._live:  # one frame may be late, but there is no burst after it
                index = max(index, math.floor((time.monotonic() - began) * self._fps))

    def frame(self, index: int) -> np.ndarray:
        """Frame `index`, the same at every call: BGR uint8 (height, width, 3)."""
        picture = self._room.copy()
        strokes, parts, y = self._pose(index)
        for stroke in strokes:
            self._draw(picture, stroke, stroke.bgr)
        for part, x in parts:
            _place(picture, part, x, y)
        sign = picture[-self._sign.shape[0] :, : self._sign.shape[1]]
        cv2.add(sign, self._sign[: sign.shape[0], : sign.shape[1]], sign)
        # Offsets that look random and need no state.
        top, left = index * 37 % 64, index * 23 % 64
        return cv2.add(picture, self._noise[top : top + picture.shape[0], left : left + picture.shape[1]])

    def truth(self, index: int) -> np.ndarray:
        """Where the person is in frame `index`: uint8 (height, width), 1 is person."""
        labels = np.zeros((*self._room.shape[:2], 3), np.uint8)
        strokes, parts, y = self._pose(index)
        for stroke in strokes:
            self._draw(labels, stroke, (255, 255, 255))
        for part, x in parts:
            _place(labels, replace(part, colour=cv2.bitwise_not(part.rest)), x, y)
        return (labels[..., 0] > 127).view(np.uint8)

    def close(self) -> None:
        """Ends the iteration."""
        self._closed.set()

    def _draw(self, picture: np.ndarray, stroke: _Stroke, bgr: tuple[int, int, int]) -> None:
        start, end = ([round(v * self._unit * 2**FINE) for v in point] for point in (stroke.start, stroke.end))
        cv2.line(picture, start, end, bgr, max(1, round(stroke.width * self._unit)), cv2.LINE_AA, FINE)

    def _pose(self, index: int) -> tuple[list[_Stroke], list[tuple[Sprite, int]], int]:
        """The strokes of the arms, the painted parts with their x, and the parts' y; x and y in pixels."""
        seconds = index / self._fps % TOUR_S
        times, shares = zip(*WAY, strict=True)
        share = float(np.interp(seconds, times, shares))
        # Whole pixels for everything, so that the arms stay at the shoulders.
        left = round(share * self._room.shape[1] + 12 * self._unit * _swing(seconds, 4))
        top = round(3 * self._unit * _swing(seconds, 2))
        x, y = left / self._unit, top / self._unit
        raised = (1 - _swing(seconds + 2, 8)) / 2
        waving = 25 * _swing(seconds, 1.2) * raised
        swinging = 4 * _swing(seconds, 3)
        strokes = _arm((x + 100, y + 318), 78 - 45 * raised, 80 - 170 * raised + waving, 1)
        strokes += _arm((x - 100, y + 318), 80 + swinging, 72 + swinging, -1)
        torso, head = self._parts
        return strokes, [(torso, left), (head, left + round(5 * self._unit * _swing(seconds, 3)))], top


def _swing(seconds: float, period: float) -> float:
    return math.sin(seconds * math.tau / period)


def _arm(shoulder: Point, upper: float, lower: float, side: int) -> list[_Stroke]:
    """Hand, forearm and sleeve; angles in degrees from the horizontal, positive downwards; side is 1 or -1."""

    def along(start: Point, angle: float, length: float) -> Point:
        turn = math.radians(angle)
        return start[0] + side * length * math.cos(turn), start[1] + length * math.sin(turn)

    elbow = along(shoulder, upper, 108)
    wrist = along(elbow, lower, 92)
    palm, knuckles, cuff = along(wrist, lower, 20), along(wrist, lower, 34), along(elbow, lower, 18)
    strokes = []
    for spread, length in ((-22, 24), (-8, 33), (6, 35), (20, 28), (58, 24)):
        root = palm if spread > 40 else knuckles  # the thumb's is lower
        strokes.append(_Stroke(palm, along(root, lower + spread, length), 11, _lit(SKIN, 0.88)))
    # Narrower and lighter strokes on top of one another make a limb look round.
    for start, end, width, bgr in (
        (palm, knuckles, 36, SKIN),
        (elbow, wrist, 38, SKIN),
        (shoulder, elbow, 64, SHIRT),
        (elbow, cuff, 56, SHIRT),
    ):
        strokes += [_Stroke(start, end, width * (1 - step / 8), _lit(bgr, 0.76 + 0.05 * step)) for step in range(6)]
    return strokes


def _lit(bgr: tuple[int, int, int], light: float) -> tuple[int, int, int]:
    return tuple(round(v * light) for v in bgr)  # type: ignore[return-value]


def _place(picture: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    """Lays a sprite over a picture, in place; what extends beyond the border is cut off."""
    height, width = sprite.colour.shape[:2]
    left, top = x + sprite.left, y + sprite.top
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, picture.shape[1]), min(top + height, picture.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    region = picture[y0:y1, x0:x1]
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    cv2.multiply(region, sprite.rest[part], region, 1 / 255)
    cv2.add(region, sprite.colour[part], region)
