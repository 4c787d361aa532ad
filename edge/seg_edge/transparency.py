"""Photos that are transparent in places: nothing is found there, and what is drawn of them stays as transparent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seg_edge.effects import EffectSettings, draw
from seg_edge.segmentation import Segmentation
from seg_edge.strips import Drawing

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


def shows_alpha(settings: EffectSettings) -> bool:
    """Whether the effect shows a photo's own transparency, instead of the photo laid over white."""
    return settings.transparent or settings.effect == "replace"


def draw_transparent(
    frame: np.ndarray,
    colour: np.ndarray,
    alpha: np.ndarray | None,
    answer: Segmentation,
    effect: str | EffectSettings,
) -> Drawing:
    """Draws an answer as `draw` does; a cut-out, and what is put before a new background, is nowhere less transparent
    than the photo.

    Args:
        frame: The photo laid over white, BGR uint8 (height, width, 3).
        colour: The photo before that, BGR uint8 (height, width, 3).
        alpha: Its own, uint8 (height, width); None where it is opaque.
        answer: For the frame.
        effect: An effect's name, or all its settings.
    """
    settings = EffectSettings(effect) if isinstance(effect, str) else effect
    if shows_alpha(settings):
        return draw(colour, answer, settings, alpha)
    return draw(frame, answer, settings)
