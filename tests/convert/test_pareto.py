"""The Pareto front."""

import pytest

from convert.pareto import pareto_front


@pytest.mark.parametrize(
    ("costs", "scores", "front"),
    [
        ([9, 5, 2, 1], [0.9, 0.6, 0.8, 0.5], [3, 2, 0]),
        ([10, 5, 5, 1], [0.9, 0.9, 0.8, 0.5], [3, 1]),
        ([3, 2, 1], [0.9, 0.8, float("nan")], [1, 0]),
    ],
)
def test_the_front_holds_the_unbeaten_models(costs: list[float], scores: list[float], front: list[int]) -> None:
    assert pareto_front(costs, scores) == front
