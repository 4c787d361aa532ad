"""How much accuracy a conversion may cost."""

from __future__ import annotations

import numpy as np

from seg_edge.evaluation.scores import Scores

MAX_DICE_DROP = 0.01
MAX_BOUNDARY_DROP = 0.02


def accuracy_drop(before: Scores, after: Scores) -> dict[str, float]:
    """How much mean Dice and boundary F fell; 0 if they rose."""
    return {
        "mean_dice": max(0.0, before.mean_dice - after.mean_dice),
        "boundary_f": max(0.0, before.mean_boundary - after.mean_boundary),
    }


def gate(before: Scores, after: Scores) -> str:
    """Why the converted model is refused for its accuracy; empty if it isn't.

    Mean Dice may fall by 0.01 and boundary F by 0.02.
    """
    limits = {"mean_dice": MAX_DICE_DROP, "boundary_f": MAX_BOUNDARY_DROP}
    texts = {"mean_dice": "mean Dice", "boundary_f": "boundary F"}
    undefined = [name for name, value in (("before", before), ("after", after)) if not np.isfinite(value.mean_dice)]
    if undefined:
        return f"mean Dice is undefined {' and '.join(undefined)}: no mask and no prediction has any class"
    drop = accuracy_drop(before, after)
    too_much = [
        f"{texts[name]} fell by {drop[name]:.4f}, {limit} is allowed"
        for name, limit in limits.items()
        if drop[name] > limit
    ]
    return "; ".join(too_much)
