"""Pictures of a segmentation: overlay, mask, matte, cut-out, background blurred or replaced, people hidden.

To add an effect: write a function with the parameters of `draw` that returns a function drawing some rows, and add it
to `EFFECTS` at the end and to `seg_edge.commands.options.Effect`. If a JPEG would spoil it, add its name to
`seg_edge.apps.image_jobs.SHARP`; to offer it over HTTP, add its name and media type in `seg_edge.serve.answer`.

A drawn row may replace the frame's own row, from the top down, so an effect must read what it needs of other rows
before it draws the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import UsageError
from seg_edge.frame import as_frame
from seg_edge.matte import Foreground, paste, soft_alpha, window_of, with_alpha, with_margin
from seg_edge.preprocess import check_frame, shrink
from seg_edge.privacy import without_people
from seg_edge.segmentation import Segmentation
from seg_edge.strips import Drawing, Rows, stretched

OVERLAY_OPACITY = 0.5  # drawn as halves of frame and colour, as scaling takes OpenCV ten times as long
BLUR_SHARE = 1 / 40  # standard deviation of the blur, as a share of the frame's longer side
BLUR_STRENGTHS = (0.1, 5.0)
GREEN = (0, 177, 64)  # RGB: chroma key green, which video mixers replace
TRANSPARENT = "transparent"
COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "green": GREEN}

Background = np.ndarray | tuple[int, int, int] | str | None


def check_background(effect: str, background: object) -> None:
    """Refuses `replace` without a background, and a background without `replace`.

    Raises:
        UsageError: One of the two is missing.
    """
    if (effect == "replace") != (background is not None):
        raise UsageError("--effect replace and --background FILE go together; give both or neither.")


@dataclass(frozen=True, eq=False)
class EffectSettings:
    """An effect and its options.

    Attributes:
        effect: `overlay` tints each class with its colour; `mask` is the colours alone, hard-edged, so that each pixel
            tells its class; `matte` is white on black; `cutout` is the foreground on transparency; `blur` and `replace`
            change the background; `anonymize` hides the foreground itself, see `seg_edge.privacy`.
        background: For `replace`: a BGR uint8 picture of any size (see `cover`), an RGB colour, or `transparent`.
        blur_strength: For `blur`: a multiple of the standard blur, 0.1 to 5.
        only: `all` regions, or the `largest` alone. These three are applied by `seg_edge.regions.select_regions`.
        min_area: Regions under this share of the picture are dropped, 0..1.
        fill_holes: Background that a region encloses becomes part of it.

    Raises:
        UsageError: A value is out of range, or two contradict each other.
        TypeError: The background picture is not a BGR uint8 array.
    """

    effect: str = "overlay"
    background: Background = None
    blur_strength: float = 1.0
    only: str = "all"
    min_area: float = 0.0
    fill_holes: bool = False

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise UsageError(f"the effect must be one of {', '.join(EFFECTS)}, got {self.effect!r}.")
        if self.effect == "replace" and self.background is None:
            raise UsageError("the effect 'replace' needs a background; give one with --background.")
        if isinstance(self.background, np.ndarray):
            check_frame(self.background)
        elif self.background is not None and self.background != TRANSPARENT and not _is_colour(self.background):
            raise UsageError(
                f"the background must be a picture, an RGB colour or {TRANSPARENT!r}, got {self.background!r}."
            )
        low, high = BLUR_STRENGTHS
        if not low <= self.blur_strength <= high:
            raise UsageError(f"the blur strength must be {low} to {high:.0f}, got {self.blur_strength}.")
        if self.only not in ("all", "largest"):
            raise UsageError(f"only must be all or largest, got {self.only!r}.")
        if not 0 <= self.min_area <= 1:
            raise UsageError(f"the minimum area must be a share of the picture, 0 to 1, got {self.min_area}.")
        if self.effect == "anonymize" and (self.only != "all" or self.min_area):
            raise UsageError("anonymize hides everyone; --only and --min-area would leave people visible.")

    @property
    def transparent(self) -> bool:
        """Whether the picture has an alpha channel, so that it needs a PNG or WebP."""
        return self.effect == "cutout" or (self.effect == "replace" and isinstance(self.background, str))

    def effects(self) -> list[str]:
        """The effects that can be chosen without changing the other settings."""
        selects = self.only != "all" or self.min_area > 0
        left_out = {"replace": self.background is None, "anonymize": selects}
        return [name for name in EFFECTS if not left_out.get(name)]


def _is_colour(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value)


def parse_background(text: str) -> tuple[int, int, int] | str | Path:
    """The value of `--background`: an RGB colour, `transparent`, or else the file of a picture."""
    if text == TRANSPARENT:
        return text
    if re.fullmatch("#([0-9a-fA-F]{3}){1,2}", text):
        red, green, blue = bytes.fromhex(text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:]))
        return red, green, blue
    return COLOURS.get(text) or Path(text)


def draw(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None = None
) -> Drawing:
    """Prepares what `render` returns, without drawing it yet.

    Args:
        frame: BGR uint8 (height, width, 3), the one that was segmented.
        segmentation: Its segmentation.
        settings: How to draw it.
        own_alpha: uint8 (height, width), the frame's own transparency; None if it has none. Cut-outs and replaced
            backgrounds leave the frame out where this is 0.

    Raises:
        TypeError: Not the frame that was segmented.
    """
    if frame.shape[:2] != segmentation.labels.shape:
        raise TypeError(f"the segmentation is of a frame of {segmentation.labels.shape}, got one of {frame.shape[:2]}")
    rows = EFFECTS[settings.effect](frame, segmentation, settings, own_alpha)
    return Drawing((*frame.shape[:2], 4 if settings.transparent else 3), rows)


def render(
    frame: np.ndarray,
    segmentation: Segmentation,
    effect: str | EffectSettings = "overlay",
    background: Background = None,
) -> np.ndarray:
    """Draws a segmentation.

    Args:
        frame: BGR uint8 (height, width, 3), the one that was segmented.
        segmentation: Its segmentation.
        effect: An effect's name, or all its settings.
        background: For the effect `replace`, given by name; see `EffectSettings`.

    Returns:
        BGR uint8 (height, width, 3), or BGRA (height, width, 4) where the settings are `transparent`. A new array.

    Raises:
        TypeError: Not an image, or not the frame that was segmented.
        UsageError: See `EffectSettings`.
    """
    settings = EffectSettings(effect, background) if isinstance(effect, str) else effect
    return draw(as_frame(frame), segmentation, settings).whole()


def flatten(picture: np.ndarray) -> np.ndarray:
    """Makes a picture opaque, for views and recordings: transparent parts become `GREEN`.

    Args:
        picture: From `render`: BGR uint8 (height, width, 3), returned as it is, or BGRA (height, width, 4).

    Returns:
        BGR uint8 (height, width, 3).
    """
    if picture.shape[2] == 3:
        return picture
    bgr = cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
    below = np.full_like(bgr, GREEN[::-1])
    paste(below, bgr, cv2.extractChannel(picture, 3))
    return below


def cover(picture: np.ndarray, shape_hw: tuple[int, int]) -> np.ndarray:
    """Scales and crops a picture at its centre so that it fills (height, width).

    `render` does this to a background of another size; for many frames, do it once and pass the result.

    Args:
        picture: BGR uint8 of any size.
        shape_hw: The frame's height and width.

    Returns:
        BGR uint8 (height, width, 3): `picture` itself if it fits.
    """
    if picture.shape[:2] == shape_hw:
        return picture
    return Drawing((*shape_hw, 3), stretched(_crop(picture, shape_hw), shape_hw)).whole()


def _crop(picture: np.ndarray, shape_hw: tuple[int, int]) -> np.ndarray:
    """The largest part in the middle that has the proportions of (height, width)."""
    height, width = shape_hw
    scale = max(height / picture.shape[0], width / picture.shape[1])
    crop_h, crop_w = max(1, round(height / scale)), max(1, round(width / scale))
    top, left = (picture.shape[0] - crop_h) // 2, (picture.shape[1] - crop_w) // 2
    return picture[top : top + crop_h, left : left + crop_w]


def colour_map(segmentation: Segmentation) -> np.ndarray:
    """Each pixel in its class's colour, BGR uint8 (height, width, 3); the background is black."""
    table = np.zeros((256, 1, 3), np.uint8)
    for index, info in enumerate(segmentation.classes):
        table[index] = info.colour[::-1]
    return cv2.applyColorMap(segmentation.labels, table)


def _overlay(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None
) -> Rows:
    labels = segmentation.labels
    tints = [[(part + 1) // 2 for part in info.colour[::-1]] for info in segmentation.classes[1:]]

    def rows(rows: slice) -> np.ndarray:
        alpha, strip = soft_alpha(labels, rows), frame[rows]
        picture, tinted = strip.copy(order="C"), np.empty(strip.shape, np.uint8)
        window = window_of(alpha)
        classes = labels[rows]
        if len(tints) > 1:
            # The outer half of a soft edge is background; it gets the tint of the class next to it.
            part, inner = with_margin(labels, rows)
            classes = cv2.copyTo(classes, classes, cv2.dilate(part, np.ones((3, 3), np.uint8))[inner].copy())
        half = np.right_shift(strip[window], 1, out=tinted[window])
        for label, tint in enumerate(tints, 1):
            mask = cv2.inRange(classes[window], label, label) if len(tints) > 1 else None  # type: ignore[call-overload]
            cv2.add(half, (*tint, 0), half, mask=mask)  # type: ignore[call-overload]
        paste(picture, tinted, alpha)
        return picture

    return rows


def _mask(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None
) -> Rows:
    return lambda rows: colour_map(replace(segmentation, labels=segmentation.labels[rows]))


def _matte(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None
) -> Rows:
    return lambda rows: cv2.cvtColor(soft_alpha(segmentation.labels, rows), cv2.COLOR_GRAY2BGR)


def _cutout(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None
) -> Rows:
    foreground = Foreground(frame, segmentation.labels, own_alpha)
    return lambda rows: with_alpha(*foreground.rows(rows))


def _blur(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None
) -> Rows:
    # Blurred at up to an eighth of the size, where the same blur costs a 4,096th; the foreground is masked out first
    # so that it does not bleed into the background as a halo (normalised convolution, Knutsson and Westin, 1993).
    height, width = frame.shape[:2]
    sigma = BLUR_SHARE * settings.blur_strength * max(height, width)
    scale = min(8, max(1, int(sigma / 2)))
    size_wh = (max(1, width // scale), max(1, height // scale))
    alpha = cv2.resize(segmentation.alpha(), size_wh, interpolation=cv2.INTER_AREA)
    weight = np.maximum(1 - alpha.astype(np.float32) / 255, 1e-3)
    small = (frame if scale == 1 else shrink(frame, size_wh)).astype(np.float32)
    sigma = max(0.5, sigma / scale)
    total = cv2.GaussianBlur(small * weight[..., np.newaxis], (0, 0), sigma)
    blurred = total / cv2.GaussianBlur(weight, (0, 0), sigma)[..., np.newaxis]
    background = stretched(np.clip(blurred, 0, 255).astype(np.uint8), (height, width))

    def rows(rows: slice) -> np.ndarray:
        picture = background(rows)
        paste(picture, frame[rows], soft_alpha(segmentation.labels, rows))
        return picture

    return rows


def _replace(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None
) -> Rows:
    if isinstance(settings.background, str):
        return _cutout(frame, segmentation, settings, own_alpha)
    if isinstance(settings.background, tuple):
        line = np.full(frame.shape[1:], settings.background[::-1], np.uint8)
        background: Rows = lambda rows: np.broadcast_to(line, frame[rows].shape).copy()  # noqa: E731
    else:
        background = stretched(_crop(np.asarray(settings.background), frame.shape[:2]), frame.shape[:2])
    foreground = Foreground(frame, segmentation.labels, own_alpha)

    def rows(rows: slice) -> np.ndarray:
        picture = background(rows)
        foreground.over(picture, rows)
        return picture

    return rows


def _anonymize(
    frame: np.ndarray, segmentation: Segmentation, settings: EffectSettings, own_alpha: np.ndarray | None
) -> Rows:
    return without_people(frame, segmentation.score_map)


EFFECTS: dict[str, Callable[[np.ndarray, Segmentation, EffectSettings, np.ndarray | None], Rows]] = {
    "overlay": _overlay,
    "mask": _mask,
    "matte": _matte,
    "cutout": _cutout,
    "blur": _blur,
    "replace": _replace,
    "anonymize": _anonymize,
}
