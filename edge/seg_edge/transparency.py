"""Photos that are transparent in places: nothing is found there, and what is drawn of them stays as transparent."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from seg_edge.effects import EffectSettings, cover, render, with_alpha
from seg_edge.matte import paste
from seg_edge.segmentation import Segmentation

SEEN = 127  # of 255: what is less opaque than this is background


def find_seen(answer: Segmentation, alpha: np.ndarray | None, effect: str) -> Segmentation:
    """The answer, with what is transparent in the photo as background, unless somebody is to be hidden there.

    Args:
        answer: For the photo laid over white.
        alpha: The photo's own, uint8 (height, width); None where it is opaque.
        effect: What is to be drawn.
    """
    if alpha is None or effect == "anonymize":
        return answer
    return replace(answer, labels=np.where(alpha > SEEN, answer.labels, 0).astype(np.uint8))


def render_transparent(
    frame: np.ndarray,
    colour: np.ndarray,
    alpha: np.ndarray | None,
    answer: Segmentation,
    effect: str | EffectSettings,
) -> np.ndarray:
    """Draws an answer as `render` does; a cut-out, and what is put before a new background, is nowhere less transparent
    than the photo.

    Args:
        frame: The photo laid over white, BGR uint8 (height, width, 3).
        colour: The photo before that, BGR uint8 (height, width, 3).
        alpha: Its own, uint8 (height, width); None where it is opaque.
        answer: For the frame.
        effect: An effect's name, or all its settings.

    Returns:
        See `render`.
    """
    settings = EffectSettings(effect) if isinstance(effect, str) else effect
    if alpha is None or not (settings.transparent or settings.effect == "replace"):
        return render(frame, answer, settings)
    cutout = render(colour, answer, settings if settings.transparent else EffectSettings("cutout"))
    alpha = cv2.min(cv2.extractChannel(cutout, 3), alpha)
    colour = cv2.cvtColor(cutout, cv2.COLOR_BGRA2BGR)
    if settings.transparent:
        return with_alpha(colour, alpha)
    if isinstance(settings.background, np.ndarray):
        behind = cover(settings.background, answer.labels.shape).copy()  # type: ignore[arg-type]
    else:
        behind = np.full_like(colour, settings.background[::-1])  # type: ignore[index]
    paste(behind, colour, alpha)
    return behind
