"""Pictures of an answer: overlay, mask, cut-out, blurred and replaced background, with edges as soft as the scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seg_edge.errors import UsageError
from seg_edge.preprocess import check_frame

if TYPE_CHECKING:
    from seg_edge.segmenter import Segmentation

Background = np.ndarray | None

OVERLAY_OPACITY = 0.5
BLUR_SHARE = 1 / 40  # standard deviation of the blur, of the frame's longer side: a background, no longer a place


def render(
    frame: np.ndarray,
    segmentation: Segmentation,
    effect: str = "overlay",
    background: np.ndarray | None = None,
) -> np.ndarray:
    """Draws a segmentation.

    Args:
        frame: BGR uint8 (height, width, 3), the one that was segmented.
        segmentation: Its answer.
        effect: `overlay` tints each class with its colour; `mask` is the colours alone; `cutout` is the foreground on
            transparency; `blur` and `replace` change what is behind it.
        background: BGR uint8 of any size, for `replace`; cropped at the centre to the frame's proportions.

    Returns:
        BGR uint8 (height, width, 3), for `cutout` BGRA (height, width, 4). A new array.

    Raises:
        UsageError: Unknown effect, or `replace` without a background.
    """
    if effect not in EFFECTS:
        raise UsageError(f"effect {effect!r} is none of {', '.join(EFFECTS)}.")
    check_frame(frame)
    if frame.shape[:2] != segmentation.labels.shape:
        raise TypeError(f"the answer is for a frame of {segmentation.labels.shape}, got one of {frame.shape[:2]}")
    return EFFECTS[effect](frame, segmentation, background)


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`above` over `below`, both BGR uint8 (h, w, 3), by alpha uint8 (h, w); 255 shows `above` alone."""
    weight = alpha.astype(np.float32) / 255
    return cv2.blendLinear(above, below, weight, 1 - weight)


def colour_map(segmentation: Segmentation) -> np.ndarray:
    """Each pixel in its class's colour, BGR uint8 (height, width, 3); the background is black."""
    table = np.zeros((256, 3), np.uint8)
    for index, info in enumerate(segmentation.classes):
        table[index] = info.colour[::-1]
    # A table of 256 BGR colours applied to the label in all three channels is one pass in OpenCV.
    return cv2.LUT(cv2.cvtColor(segmentation.labels, cv2.COLOR_GRAY2BGR), table[np.newaxis])


def _overlay(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    tinted = cv2.addWeighted(colour_map(segmentation), OVERLAY_OPACITY, frame, 1 - OVERLAY_OPACITY, 0)
    picture = frame.copy()
    cv2.copyTo(tinted, (segmentation.labels > 0).astype(np.uint8), picture)
    return picture


def _mask(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    return colour_map(segmentation)


def _cutout(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    return cv2.merge([*cv2.split(frame), segmentation.alpha()])


def _blur(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    # Blurred at an eighth of the size, where the same blur costs a 4,096th; the foreground is masked out first so
    # that it does not bleed into the background as a halo (normalised convolution, Knutsson and Westin, 1993).
    alpha = segmentation.alpha()
    height, width = frame.shape[:2]
    size_wh = (max(1, width // 8), max(1, height // 8))
    weight = 1 - cv2.resize(alpha, size_wh, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    weight = np.maximum(weight, 1e-3)
    small = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA).astype(np.float32)
    sigma = max(1.0, BLUR_SHARE * max(size_wh))
    total = cv2.GaussianBlur(small * weight[..., np.newaxis], (0, 0), sigma)
    blurred = total / cv2.GaussianBlur(weight, (0, 0), sigma)[..., np.newaxis]
    background = cv2.resize(np.clip(blurred, 0, 255).astype(np.uint8), (width, height))
    return blend(background, frame, alpha)


def _replace(frame: np.ndarray, segmentation: Segmentation, background: Background) -> np.ndarray:
    if background is None:
        raise UsageError("the effect 'replace' needs a background picture; give one with --background.")
    check_frame(background)
    return blend(_cover(background, frame.shape[:2]), frame, segmentation.alpha())


def _cover(picture: np.ndarray, shape_hw: tuple[int, int]) -> np.ndarray:
    """Scales and crops a picture at its centre so that it fills (height, width)."""
    height, width = shape_hw
    scale = max(height / picture.shape[0], width / picture.shape[1])
    crop_h, crop_w = max(1, round(height / scale)), max(1, round(width / scale))
    top, left = (picture.shape[0] - crop_h) // 2, (picture.shape[1] - crop_w) // 2
    crop = picture[top : top + crop_h, left : left + crop_w]
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


EFFECTS: dict[str, Callable[[np.ndarray, Segmentation, Background], np.ndarray]] = {
    "overlay": _overlay,
    "mask": _mask,
    "cutout": _cutout,
    "blur": _blur,
    "replace": _replace,
}
