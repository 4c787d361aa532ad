"""Training scenes composed of pictures with soft masks: reframed, pasted together, degraded like a bad camera's.

A few hundred photos show few rooms and few people, but any person can be placed in any room. Each scene has its own
NumPy generator, so it depends only on its number, and takes a handful of OpenCV operations on 8-bit pixels: about a
millisecond at 256x256, a fraction of a training step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np

from seg_edge.errors import UsageError
from train.augment import Augmentation
from train.pixel_effects import (
    blended,
    blurred,
    box_or_oval,
    colour_matrix,
    compressed,
    mirrored,
    noisy,
    table_of,
    tinted,
    wall,
)

FAR, NEAR = 0.3, 1.5  # the longer side of the framed people, as a share of the scene's side
BEYOND = 0.03  # share of the picture by which a view may reach past its edge, where it is mirrored
TRIES = 12  # attempts to find a part of a picture without people
FIRM = 3.0  # how much steeper a soft mask is made before people are cut out with it
FIRMER = np.clip((np.arange(256) - 127.5) * FIRM + 127.5, 0, 255).round().astype(np.uint8)
BEHIND = 0.7  # share of objects that are behind all people
SEEN = 0.6  # share of the people that stays visible: an object that would hide more is dropped
EMPTY_BELOW = 16  # of 255; a part of a picture whose person share is below this counts as empty
CUT_OFF = 0.97  # people whose box ends below this are cropped by the picture's lower edge
GREY_LEVELS = 6  # a picture whose channels differ by no more than this on average is greyscale


@dataclass(frozen=True)
class Scenery:
    """Probabilities of the steps that make a scene.

    Attributes:
        frame: The view is chosen around the people, from far away to cropped by the edge.
        paste: People from another picture are pasted in.
        empty: A part of a picture without people.
        decoys: Objects that aren't people, framed boxes and ovals, are put behind or in front of the people.
        plain: A pasted or empty scene gets a wall of smooth colours as its background.
        tint: The people and the background of a greyscale picture are each given a colour.
        dark: Low light: darker, lower contrast, and more noise.
        blur: Out of focus, motion blur, or low resolution.
        jpeg: JPEG compression.
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
    """A picture and the people in it.

    Attributes:
        image: RGB uint8 (side, side, 3).
        share: How much of each pixel is person, uint8 (side, side), 255 for all.
        box: Left, top, right and bottom of the people as shares of the side; None without people.
        is_grey: Whether it is greyscale.
    """

    image: np.ndarray
    share: np.ndarray
    box: tuple[float, float, float, float] | None
    is_grey: bool

    @classmethod
    def of(cls, image: np.ndarray, share: np.ndarray) -> Picture:
        """Finds the people's box, and whether the picture has colours."""
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
    """Composes scenes.

    Attributes:
        size: Width and height of a scene in pixels.
        variation: Geometry and colours, as in `train.augment`.
        scenery: Everything else.
        draw: Draws a random picture.
        draw_person: Draws a random picture with people that can be cut out.
    """

    size: int
    variation: Augmentation
    scenery: Scenery
    draw: Callable[[np.random.Generator], Picture]
    draw_person: Callable[[np.random.Generator], Picture]

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A scene, RGB uint8 (size, size, 3), and how much of each pixel is person, uint8 (size, size)."""
        image, share = self.scene(rng)
        return self.through_a_camera(image, rng), share

    def twice(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Two views of a scene, like consecutive frames of a camera, and their common share."""
        image, share = self.scene(rng)
        return self.through_a_camera(image, rng), self.next_frame(image, rng), share

    def next_frame(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The picture moved by a fraction of a pixel, with slightly different light, noise and compression."""
        shift = np.array([[1, 0, rng.uniform(-0.5, 0.5)], [0, 1, rng.uniform(-0.5, 0.5)]])
        image = cv2.warpAffine(image, shift, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE)
        image = cv2.convertScaleAbs(image, alpha=rng.uniform(0.97, 1.03), beta=rng.uniform(-3, 3))
        image = noisy(image, self.variation.noise * rng.random(), rng)
        return compressed(image, int(rng.integers(50, 95))) if rng.random() < 0.5 else image

    def scene(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A scene as `__call__` returns it, before the camera's degradations."""
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
        """A wall, or a part of a picture without people; after `TRIES` attempts without success, a whole picture."""
        if rng.random() < self.scenery.plain:
            return wall(self.size, rng), np.zeros((self.size, self.size), np.uint8)
        picture = self.draw(rng)
        for _ in range(TRIES):
            width, height = np.exp(rng.uniform(math.log(0.25), 0.0, 2))
            left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
            side = len(picture.share)
            x, y = int(left * side), int(top * side)
            part = slice(y, max(y + 2, int((top + height) * side))), slice(x, max(x + 2, int((left + width) * side)))
            if picture.share[part][::2, ::2].max() < EMPTY_BELOW:
                image = cv2.resize(picture.image[part], (self.size, self.size))
                return self.coloured(mirrored(image, rng), rng), np.zeros((self.size, self.size), np.uint8)
            picture = self.draw(rng)
        return self.seen(picture, rng)

    def pasted(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """People in front of another picture, whose own people stay where they aren't covered."""
        behind, others = self.background(rng) if rng.random() < 0.5 else self.seen(self.draw(rng), rng)
        image, share = self.seen(self.draw_person(rng), rng, alone=True)
        alpha = cv2.LUT(share, FIRMER)
        return blended(image, behind, alpha), cv2.max(share, cv2.multiply(others, 255 - alpha, scale=1 / 255))

    def among_things(
        self, image: np.ndarray, share: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scene with one to three objects, behind the people or hiding a part of them."""
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
        """A view of a picture with varied colours; with `alone`, of its people only, without mirroring at the edge."""
        framed = picture.box is not None and (alone or rng.random() < self.scenery.frame)
        if framed:
            matrix = frame_people(picture.box, self.variation, rng, at_edge=alone)
        else:
            matrix = any_view(self.variation, rng)
        side = len(picture.share)
        to_input = np.diag([side, side, 1.0]) @ matrix @ np.diag([1 / self.size, 1 / self.size, 1.0])
        to_input[:2, 2] += to_input[:2, :2].sum(axis=1) * 0.5 - 0.5  # pixel centres
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        edge = cv2.BORDER_CONSTANT if alone else cv2.BORDER_REFLECT
        size_wh = (self.size, self.size)
        image = cv2.warpAffine(picture.image, to_input[:2], size_wh, flags=flags, borderMode=cv2.BORDER_REFLECT)
        share = cv2.warpAffine(picture.share, to_input[:2], size_wh, flags=flags, borderMode=edge)
        if picture.is_grey and rng.random() < self.scenery.tint:
            image = blended(tinted(image, rng), tinted(image, rng), share)
        return self.coloured(image, rng), share

    def coloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Varies hue, saturation, brightness and contrast."""
        variation = self.variation
        saturation = 0.0 if rng.random() < variation.grey else 1 + rng.uniform(-1, 1) * variation.saturation
        turn = rng.uniform(-1, 1) * variation.hue * 2 * math.pi
        image = cv2.transform(image, colour_matrix(saturation, turn))
        contrast = 1 + rng.uniform(-1, 1) * variation.contrast
        brightness = rng.uniform(-1, 1) * variation.brightness
        balance = 1 + rng.uniform(-0.08, 0.08, 3)
        gamma = math.exp(rng.uniform(-0.3, 0.3))
        return cv2.LUT(image, table_of(gamma, contrast * balance, brightness))

    def through_a_camera(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Adds low light, blur, noise and JPEG artefacts."""
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


def any_view(variation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A random view that may reach past the picture's edge; (3, 3) from the scene to the picture, both of side 1."""
    draw = rng.uniform(-1, 1)
    zoom = math.exp(draw * math.log1p(variation.zoom_in if draw > 0 else variation.zoom_out))
    reach = max(0.0, (1 - 1 / zoom) / 2)
    centre = (
        0.5 + rng.uniform(-1, 1) * (variation.shift_x + reach),
        0.5 + rng.uniform(-1, 1) * (variation.shift_y + reach),
    )
    return _view(1 / zoom, centre, variation, rng)


def frame_people(
    box: tuple[float, float, float, float] | None, variation: Augmentation, rng: np.random.Generator, *, at_edge: bool
) -> np.ndarray:
    """A view of the people; with `at_edge`, people cut off by the picture's lower edge stay at the scene's."""
    left, top, right, bottom = box or (0.0, 0.0, 1.0, 1.0)
    size = math.exp(rng.uniform(math.log(FAR), math.log(NEAR)))  # of the people in the scene
    span = max(right - left, bottom - top) / size  # share of the picture in view
    if not at_edge:
        span = min(max(span, 1 / (1 + 2 * variation.zoom_in)), 1 + variation.zoom_out)
    # People larger than the view are shifted within it; smaller ones within the free space.
    free_x, free_y = abs(span - (right - left)) / 2, abs(span - (bottom - top)) / 2
    centre_x = (left + right) / 2 + rng.uniform(-1, 1) * (free_x + variation.shift_x * span)
    centre_y = (top + bottom) / 2 + rng.uniform(-1, 1) * (free_y + variation.shift_y * span)
    if not at_edge:
        centre_x, centre_y = _within(centre_x, span), _within(centre_y, span)
    elif bottom > CUT_OFF:
        centre_y = min(centre_y, bottom - span / 2)
    return _view(span, (centre_x, centre_y), variation, rng)


def _within(centre: float, span: float) -> float:
    """The view's centre, moved so that view and picture cover each other as far as possible."""
    nearest, farthest = sorted((span / 2, 1 - span / 2))
    return float(np.clip(centre, nearest - BEYOND, farthest + BEYOND))


def _view(span: float, centre: tuple[float, float], variation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """From the scene to the picture: `span` of the picture around `centre`, stretched, turned, perhaps mirrored."""
    stretch = math.exp(rng.uniform(-1, 1) * math.log1p(variation.stretch) / 2)
    angle = math.radians(rng.uniform(-1, 1) * variation.rotate_degrees)
    flip = -1.0 if rng.random() < variation.mirror else 1.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = span * np.diag([flip / stretch, stretch]) @ turn
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.array(centre) - linear @ (0.5, 0.5)
    return matrix
