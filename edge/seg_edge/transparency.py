"""Partly transparent photos: nothing is found in transparent parts, and cut-outs keep them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seg_edge.effects import EffectSettings, draw
from seg_edge.segmentation import Segmentation
from seg_edge.strips import Drawing

SEEN = 127  # of 255: anything less opaque is background


def find_seen(segmentation: Segmentation, alpha: np.ndarray | None, effect: str) -> Segmentation:
    """The segmentation with transparent parts as background, except to anonymize: people there must be hidden too.

    Args:
        segmentation: Of the photo laid over white.
        alpha: The photo's own, uint8 (height, width); None if it is opaque.
        effect: The effect to be drawn.
    """
    if alpha is None or effect == "anonymize":
        return segmentation
    return replace(segmentation, labels=np.where(alpha > SEEN, segmentation.labels, 0).astype(np.uint8))


def shows_alpha(settings: EffectSettings) -> bool:
    """Whether the effect shows a photo's own transparency, instead of the photo laid over white."""
    return settings.transparent or settings.effect == "replace"


def draw_transparent(
    frame: np.ndarray,
    colour: np.ndarray,
    alpha: np.ndarray | None,
    segmentation: Segmentation,
    effect: str | EffectSettings,
) -> Drawing:
    """Draws a segmentation as `draw` does; cut-outs and foregrounds on a new background keep the photo's transparency.

    Args:
        frame: The photo laid over white, BGR uint8 (height, width, 3).
        colour: The photo's own colours, BGR uint8 (height, width, 3).
        alpha: Its own, uint8 (height, width); None if it is opaque.
        segmentation: Of the frame.
        effect: An effect's name, or all its settings.
    """
    settings = EffectSettings(effect) if isinstance(effect, str) else effect
    if shows_alpha(settings):
        return draw(colour, segmentation, settings, alpha)
    return draw(frame, segmentation, settings)
