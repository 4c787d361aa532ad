"""The Pareto front: the models that no other beats."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices of the models that no other beats in both cost and score, cheapest first; without those scored NaN."""
    front: list[int] = []
    scored = [index for index, score in enumerate(scores) if not math.isnan(score)]
    for index in sorted(scored, key=lambda index: (costs[index], -scores[index])):
        if not front or scores[index] > scores[front[-1]]:
            front.append(index)
    return front
