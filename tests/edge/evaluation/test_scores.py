"""Intervals of scores, and raw counts from which the scores can be restored."""

import json

import numpy as np
import pytest

from seg_edge.evaluation.metrics import dice, mean_foreground
from seg_edge.evaluation.scores import ENOUGH, PhotoScore, Scores, score_photo

CLASSES = ("background", "person")
SCORES = ("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f")


def photo(name: str, hit: int, missed: int, boundary: float = 0.5) -> PhotoScore:
    return PhotoScore(name, np.array([[1000, 0], [missed, hit]]), np.array([np.nan, boundary]), 0.3)


def some(photos: int, seed: int = 0) -> Scores:
    random = np.random.default_rng(seed)
    hits = random.integers(100, 900, photos)
    return Scores(CLASSES, tuple(photo(str(i), hit, 1000 - hit, float(random.random())) for i, hit in enumerate(hits)))


def test_the_interval_holds_the_score_and_narrows_with_the_photos() -> None:
    few, many = some(10), some(1000)
    for scores in (few, many):
        intervals = scores.intervals()
        for value, (low, high) in (
            (scores.mean_dice, intervals["mean_dice"]),
            (scores.mean_dice, intervals["dice"]["person"]),  # the only class
            (scores.mean_photo_dice, intervals["mean_photo_dice"]),
            (scores.mean_iou, intervals["mean_iou"]),
            (scores.mean_boundary, intervals["boundary_f"]),
        ):
            assert low < value < high
    widths = [np.subtract(*scores.intervals()["mean_dice"][::-1]) for scores in (few, many)]  # type: ignore[index]
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.5)  # the standard error goes with 1 / sqrt(photos)


def test_the_interval_contains_the_truth_about_as_often_as_it_says() -> None:
    """Of 100 draws of 40 photos from one population, about 95 intervals must contain the score of all."""
    population = some(2000, seed=1)
    truth, random, held = population.mean_dice, np.random.default_rng(2), 0
    for _ in range(100):
        drawn = Scores(CLASSES, tuple(population.photos[i] for i in random.integers(0, 2000, 40)))
        low, high = drawn.intervals(resamples=300)["mean_dice"]  # type: ignore[misc]
        held += low <= truth <= high
    assert 87 <= held <= 99


def test_equal_photos_have_an_interval_of_one_value() -> None:
    scores = Scores(CLASSES, tuple(photo(str(i), 500, 500) for i in range(5)))
    value = round(scores.mean_dice, 4)
    assert scores.intervals()["mean_dice"] == (value, value)


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = some(20)
    assert scores.intervals() == scores.intervals() != scores.intervals(seed=1)


def test_an_absent_class_has_no_interval() -> None:
    nothing = PhotoScore("empty", np.array([[100, 0], [0, 0]]), np.array([np.nan, np.nan]), 0.0)
    scores = Scores(CLASSES, (nothing,) * 9)
    assert scores.intervals() == {**dict.fromkeys(SCORES), "dice": {"person": None}}
    assert np.isnan(scores.mean_photo_dice)


def test_too_few_photos_have_no_interval() -> None:
    assert some(ENOUGH - 1).intervals() == {**dict.fromkeys(SCORES), "dice": {"person": None}}
    assert some(ENOUGH).intervals()["mean_dice"] is not None


def test_raw_counts_restore_the_scores() -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 3, (2, 40, 50), np.uint8)
    truth[:5] = 255
    scored = score_photo("one", truth, predicted, 3)
    again = PhotoScore.from_json(json.loads(json.dumps(scored.to_json())))
    assert np.array_equal(again.matrix, scored.matrix)
    assert again.matrix.sum() == 35 * 50
    assert again.dice == scored.dice == mean_foreground(dice(scored.matrix))
    assert np.allclose(again.boundary, scored.boundary, atol=1e-4, equal_nan=True)
    assert again.share == pytest.approx(scored.share, abs=1e-4)
