"""Pixel operations for composing scenes: walls, objects, blending, colour, light, blur, noise and JPEG.

Pictures are RGB uint8 (h, w, 3); masks and shares uint8 (h, w), 255 for all.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

NOISE = np.random.default_rng(0).standard_normal((640, 640, 3), np.float32)  # drawing new noise would take longer


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The picture after JPEG compression at this quality."""
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: np.ndarray = cv2.imdecode(content, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return decoded


def mirrored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored left to right, half of the time."""
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def wall(size: int, rng: np.random.Generator) -> np.ndarray:
    """A wall of smooth colours, RGB uint8 (size, size, 3)."""
    base = rng.uniform(20, 235, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(20, 235))
    points = np.clip(base + rng.normal(0, rng.uniform(3, 40), (3, 3, 3)), 0, 255).astype(np.uint8)
    return cv2.resize(points, (size, size), interpolation=cv2.INTER_CUBIC)


def box_or_oval(surface: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An object's mask, uint8 (h, w), 255 inside, and its surface, sometimes with a frame around it."""
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
    """The picture's brightness in a single hue, usually a warm one."""
    warm = np.array([0.9, 1.05, 1.3]) if rng.random() < 0.6 else np.exp(rng.uniform(-0.3, 0.3, 3))
    exponents = warm * np.exp(rng.uniform(-0.15, 0.15, 3))
    levels = np.arange(256)[:, np.newaxis] / 255
    return cv2.LUT(image, np.round(255 * levels**exponents).astype(np.uint8)[np.newaxis])


def colour_matrix(saturation: float, turn: float) -> np.ndarray:
    """(3, 3): RGB to RGB with scaled saturation and rotated hue, at the same brightness (ITU-R BT.601)."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = saturation * math.cos(turn), saturation * math.sin(turn)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.linalg.inv(to_yiq) @ rotation @ to_yiq


def table_of(gamma: float, gain: np.ndarray, offset: float = 0.0, around: float = 0.5) -> np.ndarray:
    """uint8 (1, 256, 3) for `cv2.LUT`: gamma, a gain per channel around a level, an offset; 1 is white."""
    levels = (np.arange(256)[:, np.newaxis] / 255) ** gamma
    values = (levels - around) * gain + around + offset
    return np.clip(255 * values, 0, 255).round().astype(np.uint8)[np.newaxis]


def blended(front: np.ndarray, back: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`front` where alpha, uint8 (h, w), is 255, `back` where it is 0; both uint8 (h, w, 3)."""
    weight = cv2.merge([alpha] * 3)
    shown, hidden = cv2.multiply(front, weight, scale=1 / 255), cv2.multiply(back, 255 - weight, scale=1 / 255)
    return cv2.add(shown, hidden)


def blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Defocused, motion-blurred, or low-resolution, in proportion to the picture's size."""
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
    """Adds noise of this standard deviation, as a share of full white; fine or coarse, coloured or grey."""
    grain = 2 if rng.random() < 0.3 else 1
    height, width = (-(-side // grain) for side in image.shape[:2])
    top, left = (int(rng.integers(len(NOISE) - side)) for side in (height, width))
    noise: Any = NOISE[top : top + height, left : left + width]
    if grain > 1:
        noise = cv2.resize(noise, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        noise = cv2.merge([noise[..., 0]] * 3)
    return cv2.add(image, noise * np.float32(deviation * 255), dtype=cv2.CV_8U)
