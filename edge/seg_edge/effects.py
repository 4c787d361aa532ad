"""Pictures of an answer: overlay, mask, cut-out, blurred and replaced background, with edges as soft as the scores."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from seg_edge.errors import UsageError
from seg_edge.postprocess import upsample
from seg_edge.preprocess import check_frame, shrink
from seg_edge.segmentation import Segmentation

Background = np.ndarray | None

OVERLAY_OPACITY = 0.5
BLUR_SHARE = 1 / 40  # standard deviation of the blur, of the frame's longer side: a background, no longer a place
GREEN = (0, 177, 64)  # RGB: chroma key green, which programs that mix pictures look for


def check_background(effect: str, background: object) -> None:
    """Refuses `replace` without a background, and a background without `replace`; None is none.

    Raises:
        UsageError: One of the two is missing.
    """
    if (effect == "replace") != (background is not None):
        raise UsageError("--effect replace and --background FILE go together; give both or neither.")


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
        effect: `overlay` tints each class with its colour, the less the less sure the model is; `mask` is the colours
            alone, hard-edged, so that each pixel tells its class; `cutout` is the foreground on transparency; `blur`
            and `replace` change what is behind it.
        background: BGR uint8 of any size, for `replace`; see `cover`.

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


def flatten(picture: np.ndarray) -> np.ndarray:
    """A picture for views and recordings that hold no transparency: what is transparent shows `GREEN`.

    Args:
        picture: What `render` gives: BGR uint8 (height, width, 3), returned as it is, or BGRA (height, width, 4).

    Returns:
        BGR uint8 (height, width, 3).
    """
    if picture.shape[2] == 3:
        return picture
    bgr = cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
    return blend(np.full_like(bgr, GREEN[::-1]), bgr, cv2.extractChannel(picture, 3))


def cover(picture: np.ndarray, shape_hw: tuple[int, int]) -> np.ndarray:
    """Scales and crops a picture at its centre so that it fills (height, width).

    `render` does it to a background that doesn't fit. Who renders many frames does it once, and gives the result.

    Args:
        picture: BGR uint8 of any size.
        shape_hw: The frame's height and width.

    Returns:
        BGR uint8 (height, width, 3): `picture` itself if it fits.
    """
    height, width = shape_hw
    if picture.shape[:2] == shape_hw:
        return picture
    scale = max(height / picture.shape[0], width / picture.shape[1])
    crop_h, crop_w = max(1, round(height / scale)), max(1, round(width / scale))
    top, left = (picture.shape[0] - crop_h) // 2, (picture.shape[1] - crop_w) // 2
    crop = picture[top : top + crop_h, left : left + crop_w]
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`above` over `below`, both BGR uint8 (h, w, 3), by alpha uint8 (h, w); 255 shows `above` alone.

    Each of the two is weighted and rounded in whole numbers, so that a mixture may be off by 1 in 255.
    """
    window = _window(alpha)
    weight = cv2.cvtColor(alpha[window], cv2.COLOR_GRAY2BGR)
    return _mix(below, window, weight, cv2.multiply(above[window], weight, scale=1 / 255))


def colour_map(segmentation: Segmentation) -> np.ndarray:
    """Each pixel in its class's colour, BGR uint8 (height, width, 3); the background is black."""
    table = np.zeros((256, 1, 3), np.uint8)
    for index, info in enumerate(segmentation.classes):
        table[index] = info.colour[::-1]
    return cv2.applyColorMap(segmentation.labels, table)


def _window(alpha: np.ndarray) -> tuple[slice, slice]:
    """The rectangle outside of which alpha is 0: mostly half of the picture or less, and all that is to be drawn."""
    left, top, width, height = cv2.boundingRect(alpha)
    # One pixel at least, as OpenCV takes no empty arrays.
    return slice(top, top + max(height, 1)), slice(left, left + max(width, 1))


def _mix(below: np.ndarray, window: tuple[slice, slice], weight: np.ndarray, light: np.ndarray) -> np.ndarray:
    """A copy of `below` that in the window loses the share weight / 255, and gets `light` added. Spends `weight`."""
    picture = below.copy(order="C")
    part = picture[window]
    cv2.multiply(part, cv2.bitwise_not(weight, weight), part, 1 / 255)
    cv2.add(part, light, part)
    return picture


def _overlay(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    # Each class adds its colour by its probability. That is the tint of the likeliest class where the model is sure,
    # and fades where it isn't: towards the background, and from one class into another.
    alpha = segmentation.alpha()
    window = _window(alpha)
    opacity = cv2.convertScaleAbs(alpha[window], None, OVERLAY_OPACITY)
    colours = np.array([info.colour[::-1] for info in segmentation.classes], np.float32)
    if len(colours) == 2:  # the plane at hand says it all
        light = cv2.merge([cv2.convertScaleAbs(opacity, None, value / 255) for value in colours[1]])
    else:
        colours[0] = 0
        shares = segmentation.score_map.probabilities(segmentation.score_map.stored.shape[:2])
        tint = cv2.transform(np.ascontiguousarray(shares), OVERLAY_OPACITY * colours.T)
        light = upsample(cv2.convertScaleAbs(tint), frame.shape[:2])[window]
    return _mix(frame, window, cv2.cvtColor(opacity, cv2.COLOR_GRAY2BGR), light)


def _mask(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    return colour_map(segmentation)


def _cutout(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    return cv2.insertChannel(segmentation.alpha(), cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA), 3)


def _blur(frame: np.ndarray, segmentation: Segmentation, _: Background) -> np.ndarray:
    # Blurred at an eighth of the size, where the same blur costs a 4,096th; the foreground is masked out first so
    # that it does not bleed into the background as a halo (normalised convolution, Knutsson and Westin, 1993).
    alpha = segmentation.alpha()
    height, width = frame.shape[:2]
    size_wh = (max(1, width // 8), max(1, height // 8))
    weight = 1 - cv2.resize(alpha, size_wh, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    weight = np.maximum(weight, 1e-3)
    small = shrink(frame, size_wh).astype(np.float32)
    sigma = max(1.0, BLUR_SHARE * max(size_wh))
    total = cv2.GaussianBlur(small * weight[..., np.newaxis], (0, 0), sigma)
    blurred = total / cv2.GaussianBlur(weight, (0, 0), sigma)[..., np.newaxis]
    background = cv2.resize(np.clip(blurred, 0, 255).astype(np.uint8), (width, height))
    return blend(background, frame, alpha)


def _replace(frame: np.ndarray, segmentation: Segmentation, background: Background) -> np.ndarray:
    if background is None:
        raise UsageError("the effect 'replace' needs a background picture; give one with --background.")
    check_frame(background)
    return blend(cover(background, frame.shape[:2]), frame, segmentation.alpha())


EFFECTS: dict[str, Callable[[np.ndarray, Segmentation, Background], np.ndarray]] = {
    "overlay": _overlay,
    "mask": _mask,
    "cutout": _cutout,
    "blur": _blur,
    "replace": _replace,
}
