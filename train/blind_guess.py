"""The score of a guess that ignores the photo; a model that does no better has learnt nothing."""

from __future__ import annotations

import numpy as np

BETTER = 0.05  # by how much mean Dice a model must beat the guess


def blind_dice(pixels: np.ndarray) -> float:
    """Mean Dice over the foreground classes of labelling everything as that class.

    For a class with a share p of all pixels that is 2p / (1 + p).

    Args:
        pixels: Pixel count of each class in the ground truth, background first, int (classes,); without ignored ones.
    """
    shares = pixels[1:] / max(1, int(pixels.sum()))
    present = shares[shares > 0]
    return float(np.mean(2 * present / (1 + present))) if len(present) else 0.0


def no_better_than_guessing(mean_dice: float, blind: float) -> str:
    """A sentence, without its full stop, on a model that is no better than guessing; empty if it is better.

    Args:
        mean_dice: Over the foreground classes, on the val part; NaN, if none occurs, gives an empty text.
        blind: The `blind_dice` of these photos.
    """
    if np.isnan(mean_dice) or mean_dice >= blind + BETTER:
        return ""
    return (
        f"the model is no better than guessing on the validation photos: Dice {mean_dice:.2f}, where labelling "
        f"everything as one class scores {blind:.2f}"
    )
