"""What an answer scores that never looks at the photo: a model that does no better knows nothing."""

from __future__ import annotations

import numpy as np

BETTER = 0.05  # of mean Dice: a model must beat the blind answer by this much


def blind_dice(pixels: np.ndarray) -> float:
    """Mean Dice over the classes of the answer "this class everywhere".

    With a share p of all pixels that is 2p / (1 + p).

    Args:
        pixels: Of each class in the truth, background first, int (classes,); those that don't count left out.
    """
    shares = pixels[1:] / max(1, int(pixels.sum()))
    present = shares[shares > 0]
    return float(np.mean(2 * present / (1 + present))) if len(present) else 0.0


def knows_nothing(mean_dice: float, pixels: np.ndarray) -> str:
    """Why a model of this mean Dice knows nothing of the classes; empty where it does.

    Args:
        mean_dice: Over the classes without background, on some photos; NaN where none is there says nothing.
        pixels: Of each class in these photos, see `blind_dice`.
    """
    blind = blind_dice(pixels)
    if np.isnan(mean_dice) or mean_dice >= blind + BETTER:
        return ""
    return f"its mean Dice is {mean_dice:.2f}, where an answer that never looks at the photo has {blind:.2f}"
