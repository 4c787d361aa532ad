"""The score of an answer that never looks at the photo; a model that does no better knows nothing."""

from __future__ import annotations

import numpy as np

BETTER = 0.05  # by how much mean Dice a model must beat the blind answer


def blind_dice(pixels: np.ndarray) -> float:
    """Mean Dice over the foreground classes of the answer "this class everywhere".

    For a class with a share p of all pixels that is 2p / (1 + p).

    Args:
        pixels: Pixel count of each class in the ground truth, background first, int (classes,); without ignored ones.
    """
    shares = pixels[1:] / max(1, int(pixels.sum()))
    present = shares[shares > 0]
    return float(np.mean(2 * present / (1 + present))) if len(present) else 0.0


def knows_nothing(mean_dice: float, pixels: np.ndarray) -> str:
    """Why a model with this mean Dice knows nothing of the classes; empty if it does.

    Args:
        mean_dice: Over the foreground classes on some photos; NaN, if none occurs, gives an empty answer.
        pixels: Pixel counts of these photos, see `blind_dice`.
    """
    blind = blind_dice(pixels)
    if np.isnan(mean_dice) or mean_dice >= blind + BETTER:
        return ""
    return f"its mean Dice is {mean_dice:.2f}, where an answer that never looks at the photo has {blind:.2f}"
