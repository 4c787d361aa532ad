"""Scenes made of pictures with soft masks: framed anew, pasted onto each other, and seen through a bad camera.

A few hundred photos hold few rooms and few people, but any of the people may stand in any of the rooms. Everything is
drawn from one NumPy generator a scene, so a scene depends on its number alone, and all of it is a handful of OpenCV's
operations on 8-bit pixels: about a millisecond at 256x256, a fraction of what the network takes to learn from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from seg_edge.errors import UsageError
from train.augment import Augmentation

FAR, NEAR = 0.3, 1.5  # the larger side of somebody who is framed, as a share of the scene's
BEYOND = 0.03  # of the picture: a view goes no further past its edge, where it is mirrored
TRIES = 12  # at finding a part of a picture with nobody in it
FIRM = 3.0  # how much steeper a soft mask becomes before somebody is cut out by it
BEHIND = 0.7  # of the things are behind all people
SEEN = 0.6  # of the people: a thing that would hide more of them is left away
NOBODY = 16  # of 255: a share of person below it doesn't make a picture's part inhabited
CUT_OFF = 0.97  # somebody whose box ends below goes on beyond the picture
GREY_LEVELS = 6  # a picture whose channels differ by no more, on average, is a greyscale one


@dataclass(frozen=True)
class Scenery:
    """How often what is done to a scene; each is a probability.

    Attributes:
        frame: The view is chosen by where the people are, from far away to cropped by the edge.
        paste: People of another picture are pasted in.
        empty: A part of a picture with nobody in it.
        decoys: Things that are nobody, framed boxes and ovals, stand behind or before the people.
        plain: A pasted or empty scene has a wall of smooth colours for its background.
        tint: The people and the background of a greyscale picture get colours, each its own.
        dark: Low light: darker, flatter, and with more noise.
        blur: Out of focus, in motion, or of low resolution.
        jpeg: Compressed with loss.
    """

    frame: float = 0.6
    paste: float = 0.45
    empty: float = 0.07
    decoys: float = 0.0
    plain: float = 0.1
    tint: float = 0.7
    dark: float = 0.15
    blur: float = 0.25
    jpeg: float = 0.25

    def __post_init__(self) -> None:
        for value in fields(self):
            if not 0 <= getattr(self, value.name) <= 1:
                raise UsageError(f"{value.name} is a probability, 0 to 1, got {getattr(self, value.name)}")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and who is in it.

    Attributes:
        image: RGB uint8 (side, side, 3).
        share: How much of each pixel is person, uint8 (side, side), 255 for all.
        box: Left, top, right and bottom of the people as shares of the side; None where nobody is.
        is_grey: It has no colours.
    """

    image: np.ndarray
    share: np.ndarray
    box: tuple[float, float, float, float] | None
    is_grey: bool

    @classmethod
    def of(cls, image: np.ndarray, share: np.ndarray) -> Picture:
        """Looks where the people are, and for colours."""
        is_grey = bool(np.ptp(image[::8, ::8].astype(np.int16), axis=2).mean() <= GREY_LEVELS)
        inside = share > 127
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return cls(image, share, None, is_grey)
        height, width = share.shape
        ends = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
        return cls(image, share, ends, is_grey)


@dataclass(frozen=True)
class Compositor:
    """Makes scenes.

    Attributes:
        size: Width and height of a scene in pixels.
        variation: Geometry and colours, as `train.augment` has them.
        scenery: The rest.
        draw: Draws a picture.
        draw_someone: Draws one in which somebody can be cut out.
    """

    size: int
    variation: Augmentation
    scenery: Scenery
    draw: Callable[[np.random.Generator], Picture]
    draw_someone: Callable[[np.random.Generator], Picture]

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A scene, RGB uint8 (size, size, 3), and how much of each pixel is person, uint8 (size, size)."""
        image, share = self.scene(rng)
        return self.through_a_camera(image, rng), share

    def twice(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Two pictures of a scene, a camera's next frame beside the first, and the share of both."""
        image, share = self.scene(rng)
        return self.through_a_camera(image, rng), self.next_frame(image, rng), share

    def next_frame(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The same picture up to a fraction of a pixel, a little light, noise and compression."""
        moved = np.array([[1, 0, rng.uniform(-0.5, 0.5)], [0, 1, rng.uniform(-0.5, 0.5)]])
        image = cv2.warpAffine(image, moved, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE)
        image = cv2.convertScaleAbs(image, alpha=rng.uniform(0.97, 1.03), beta=rng.uniform(-3, 3))
        image = noisy(image, self.variation.noise * rng.random(), rng)
        return compressed(image, int(rng.integers(50, 95))) if rng.random() < 0.5 else image

    def scene(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A scene before a camera sees it, as `__call__` returns it."""
        kind = rng.random()
        if kind < self.scenery.empty:
            image, share = self.background(rng)
        elif kind < self.scenery.empty + self.scenery.paste:
            image, share = self.pasted(rng)
        else:
            image, share = self.seen(self.draw(rng), rng)
        if self.scenery.decoys and rng.random() < self.scenery.decoys:
            image, share = self.among_things(image, share, rng)
        return image, share

    def background(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A wall, or a part of a picture with nobody in it; if none is found soon, a picture as it is."""
        if rng.random() < self.scenery.plain:
            return wall(self.size, rng), np.zeros((self.size, self.size), np.uint8)
        picture = self.draw(rng)
        for _ in range(TRIES):
            width, height = np.exp(rng.uniform(math.log(0.25), 0.0, 2))
            left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
            side = len(picture.share)
            x, y = int(left * side), int(top * side)
            part = slice(y, max(y + 2, int((top + height) * side))), slice(x, max(x + 2, int((left + width) * side)))
            if picture.share[part][::2, ::2].max() < NOBODY:
                image = cv2.resize(picture.image[part], (self.size, self.size))
                return self.coloured(mirrored(image, rng), rng), np.zeros((self.size, self.size), np.uint8)
            picture = self.draw(rng)
        return self.seen(picture, rng)

    def pasted(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Somebody before another picture, whose own people stay where they aren't covered."""
        behind, others = self.background(rng) if rng.random() < 0.5 else self.seen(self.draw(rng), rng)
        someone = self.draw_someone(rng)
        image, share = self.seen(someone, rng, alone=True)
        alpha = cv2.LUT(share, FIRMER)
        return blended(image, behind, alpha), cv2.max(share, cv2.multiply(others, 255 - alpha, scale=1 / 255))

    def among_things(
        self, image: np.ndarray, share: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scene with one to three things in it, behind the people or hiding some of them, but never most."""
        people = cv2.countNonZero(cv2.threshold(share, 127, 255, cv2.THRESH_BINARY)[1])
        for _ in range(int(rng.integers(1, 4))):
            surface, inhabited = self.background(rng)
            if inhabited.any():
                surface = cv2.transform(wall(self.size, rng), colour_matrix(0.4, 0.0))
            surface = tinted(surface, rng) if rng.random() < 0.3 else surface
            thing, surface = box_or_oval(surface, rng)
            if rng.random() < BEHIND:
                thing = cv2.multiply(thing, 255 - cv2.LUT(share, FIRMER), scale=1 / 255)
            left = cv2.multiply(share, 255 - thing, scale=1 / 255)
            seen = cv2.countNonZero(cv2.threshold(left, 127, 255, cv2.THRESH_BINARY)[1])
            if seen >= SEEN * people:
                image, share = blended(surface, image, thing), left
        return image, share

    def seen(self, picture: Picture, rng: np.random.Generator, *, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """A view of a picture in other colours; `alone`: of its people, so that nothing is mirrored at its edge."""
        framed = picture.box is not None and (alone or rng.random() < self.scenery.frame)
        if framed:
            matrix = frame_people(picture.box, self.variation, rng, at_edge=alone)
        else:
            matrix = any_view(self.variation, rng)
        side = len(picture.share)
        to_input = np.diag([side, side, 1.0]) @ matrix @ np.diag([1 / self.size, 1 / self.size, 1.0])
        to_input[:2, 2] += to_input[:2, :2].sum(axis=1) * 0.5 - 0.5  # of pixels' centres
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        edge = cv2.BORDER_CONSTANT if alone else cv2.BORDER_REFLECT
        size_wh = (self.size, self.size)
        image = cv2.warpAffine(picture.image, to_input[:2], size_wh, flags=how, borderMode=cv2.BORDER_REFLECT)
        share = cv2.warpAffine(picture.share, to_input[:2], size_wh, flags=how, borderMode=edge)
        if picture.is_grey and rng.random() < self.scenery.tint:
            image = blended(tinted(image, rng), tinted(image, rng), share)
        return self.coloured(image, rng), share

    def coloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Hue, saturation, brightness and contrast, as far as the variation goes."""
        how = self.variation
        saturation = 0.0 if rng.random() < how.grey else 1 + rng.uniform(-1, 1) * how.saturation
        turn = rng.uniform(-1, 1) * how.hue * 2 * math.pi
        image = cv2.transform(image, colour_matrix(saturation, turn))
        contrast, brightness = 1 + rng.uniform(-1, 1) * how.contrast, rng.uniform(-1, 1) * how.brightness
        balance = 1 + rng.uniform(-0.08, 0.08, 3)
        gamma = math.exp(rng.uniform(-0.3, 0.3))
        return cv2.LUT(image, table_of(gamma, contrast * balance, brightness))

    def through_a_camera(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Low light, blur, noise and JPEG."""
        dark = rng.random() < self.scenery.dark
        if dark:
            image = cv2.LUT(image, table_of(rng.uniform(1.0, 1.6), np.full(3, rng.uniform(0.3, 0.8)), around=0.0))
        if rng.random() < self.scenery.blur:
            image = blurred(image, rng)
        if dark or rng.random() < 0.5:
            image = noisy(image, self.variation.noise * (1.5 if dark else 1.0) * rng.random(), rng)
        if rng.random() < self.scenery.jpeg:
            image = compressed(image, int(rng.integers(25, 85)))
        return image


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The picture after JPEG of this quality."""
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: np.ndarray = cv2.imdecode(content, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return decoded


def any_view(how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture, or more than all of it; (3, 3) from the scene to the picture, both of side 1."""
    draw = rng.uniform(-1, 1)
    zoom = math.exp(draw * math.log1p(how.zoom_in if draw > 0 else how.zoom_out))
    reach = max(0.0, (1 - 1 / zoom) / 2)
    centre = 0.5 + rng.uniform(-1, 1) * (how.shift_x + reach), 0.5 + rng.uniform(-1, 1) * (how.shift_y + reach)
    return _view(1 / zoom, centre, how, rng)


def frame_people(
    box: tuple[float, float, float, float] | None, how: Augmentation, rng: np.random.Generator, *, at_edge: bool
) -> np.ndarray:
    """A view of some people; with `at_edge`, who is cut off by the picture's lower edge stays so by the scene's."""
    left, top, right, bottom = box or (0.0, 0.0, 1.0, 1.0)
    wanted = math.exp(rng.uniform(math.log(FAR), math.log(NEAR)))
    span = max(right - left, bottom - top) / wanted  # of the picture that is seen
    if not at_edge:
        span = min(max(span, 1 / (1 + 2 * how.zoom_in)), 1 + how.zoom_out)
    # Somebody larger than the view is moved about in it; somebody smaller, in what is free.
    free_x, free_y = abs(span - (right - left)) / 2, abs(span - (bottom - top)) / 2
    centre_x = (left + right) / 2 + rng.uniform(-1, 1) * (free_x + how.shift_x * span)
    centre_y = (top + bottom) / 2 + rng.uniform(-1, 1) * (free_y + how.shift_y * span)
    if not at_edge:
        centre_x, centre_y = _within(centre_x, span), _within(centre_y, span)
    elif bottom > CUT_OFF:
        centre_y = min(centre_y, bottom - span / 2)
    return _view(span, (centre_x, centre_y), how, rng)


def _within(centre: float, span: float) -> float:
    """The view's centre, moved so that it doesn't leave the picture, or the picture it, by much."""
    nearest, farthest = sorted((span / 2, 1 - span / 2))
    return float(np.clip(centre, nearest - BEYOND, farthest + BEYOND))


def _view(span: float, centre: tuple[float, float], how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """From the scene to the picture: `span` of the picture around `centre`, stretched, turned, perhaps mirrored."""
    stretch = math.exp(rng.uniform(-1, 1) * math.log1p(how.stretch) / 2)
    angle = math.radians(rng.uniform(-1, 1) * how.rotate_degrees)
    flip = -1.0 if rng.random() < how.mirror else 1.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = span * np.diag([flip / stretch, stretch]) @ turn
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.array(centre) - linear @ (0.5, 0.5)
    return matrix


def mirrored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Left and right swapped, every other time."""
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def wall(size: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth colours, RGB uint8 (size, size, 3)."""
    base = rng.uniform(20, 235, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(20, 235))
    points = np.clip(base + rng.normal(0, rng.uniform(3, 40), (3, 3, 3)), 0, 255).astype(np.uint8)
    return cv2.resize(points, (size, size), interpolation=cv2.INTER_CUBIC)


def box_or_oval(surface: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where a thing is, uint8 (h, w), 255 inside; and its surface, some with a frame around it."""
    size = len(surface)
    centre, sides = rng.uniform(-0.05, 1.05, 2) * size, np.exp(rng.uniform(math.log(0.08), math.log(0.7), 2)) * size
    outline = ((float(centre[0]), float(centre[1])), (float(sides[0]), float(sides[1])), float(rng.normal(0, 12)))
    corners = cv2.boxPoints(outline) + rng.normal(0, 0.06, (4, 2)) * sides.min()
    points = corners.round().astype(np.int32)
    thing: Any = np.zeros((size, size), np.uint8)
    if rng.random() < 0.25:
        cv2.ellipse(thing, outline, 255, -1)
    else:
        cv2.fillPoly(thing, [points], 255)
        if rng.random() < 0.5:
            shade = [int(level) for level in np.clip(rng.uniform(0, 160) + rng.normal(0, 12, 3), 0, 255)]
            surface = surface.copy()
            cv2.polylines(surface, [points], True, shade, max(1, round(size * rng.uniform(0.01, 0.12))))
    return cv2.blur(thing, (3, 3)), surface


def tinted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Its brightness in one hue, warm more often than not."""
    warm = np.array([0.9, 1.05, 1.3]) if rng.random() < 0.6 else np.exp(rng.uniform(-0.3, 0.3, 3))
    exponents = warm * np.exp(rng.uniform(-0.15, 0.15, 3))
    levels = np.arange(256)[:, np.newaxis] / 255
    return cv2.LUT(image, np.round(255 * levels**exponents).astype(np.uint8)[np.newaxis])


def colour_matrix(saturation: float, turn: float) -> np.ndarray:
    """(3, 3): RGB to RGB with another saturation and a turned hue, at the same brightness (ITU-R BT.601)."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = saturation * math.cos(turn), saturation * math.sin(turn)
    turned = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.linalg.inv(to_yiq) @ turned @ to_yiq


def table_of(gamma: float, gain: np.ndarray, offset: float = 0.0, around: float = 0.5) -> np.ndarray:
    """uint8 (1, 256, 3) for `cv2.LUT`: gamma, a gain of each channel around a level, an offset; 1 is white."""
    levels = (np.arange(256)[:, np.newaxis] / 255) ** gamma
    values = (levels - around) * gain + around + offset
    return np.clip(255 * values, 0, 255).round().astype(np.uint8)[np.newaxis]


def blended(front: np.ndarray, back: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`front` where alpha, uint8 (h, w), is 255, `back` where it is 0; both uint8 (h, w, 3)."""
    weight = cv2.merge([alpha] * 3)
    shown, hidden = cv2.multiply(front, weight, scale=1 / 255), cv2.multiply(back, 255 - weight, scale=1 / 255)
    return cv2.add(shown, hidden)


def blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, moved, or of low resolution; as far at any size, as a share of it."""
    size = len(image)
    kind = rng.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), max(0.3, rng.uniform(0.0, 0.008) * size))
    if kind == 1:
        length = rng.uniform(0.0, 0.03) * size
        angle = rng.uniform(0, math.pi)
        reach = max(1, math.ceil(length / 2))
        kernel: Any = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        step = (math.cos(angle) * length / 2, math.sin(angle) * length / 2)
        ends = [(round(reach + sign * step[0]), round(reach + sign * step[1])) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    small = max(8, round(size * rng.uniform(0.3, 0.9)))
    return cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size))


def noisy(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """With noise of this standard deviation, as a share of full white, finer or coarser, coloured or not."""
    grain = 2 if rng.random() < 0.3 else 1
    height, width = (-(-side // grain) for side in image.shape[:2])
    top, left = (int(rng.integers(len(NOISE) - side)) for side in (height, width))
    noise: Any = NOISE[top : top + height, left : left + width]
    if grain > 1:
        noise = cv2.resize(noise, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        noise = cv2.merge([noise[..., 0]] * 3)
    return cv2.add(image, noise * np.float32(deviation * 255), dtype=cv2.CV_8U)


NOISE = np.random.default_rng(0).standard_normal((640, 640, 3), np.float32)  # drawing it anew would take longer
FIRMER = np.clip((np.arange(256) - 127.5) * FIRM + 127.5, 0, 255).round().astype(np.uint8)
