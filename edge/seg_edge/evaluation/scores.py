"""Scores of a model over photos with masks: each photo's raw counts, and the scores computed from them.

A score over a few photos says little about similar photos. So it can be given with an interval: the percentile
bootstrap over photos (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), which repeatedly draws
the same number of photos, with replacement, and takes the middle 95 % of the scores. Near-duplicate photos make it
narrower than it should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.metrics import boundary_f, confusion_matrix, dice, iou, mean_foreground
from seg_edge.segmenter import Segmenter

RESAMPLES = 2000
CONFIDENCE = 0.95
# Scores are also given for the photos whose foreground covers at least these shares, as small people are harder.
FOREGROUND_SHARES = (0.0, 0.1, 0.2)
ENOUGH = 5  # photos needed for an interval


@dataclass(frozen=True, eq=False)
class PhotoScore:
    """One photo's raw counts.

    Attributes:
        name: The photo's name.
        matrix: Confusion matrix, int64 (classes, classes); rows are the truth.
        boundary: Boundary F of each class, float64 (classes,); NaN for an absent one.
        share: The share of the photo that is foreground in the truth.
    """

    name: str
    matrix: np.ndarray
    boundary: np.ndarray
    share: float

    @property
    def dice(self) -> float:
        """Mean Dice over the classes in this photo's truth or prediction; NaN if there are none."""
        return mean_foreground(dice(self.matrix))

    def to_json(self) -> dict[str, Any]:
        """The raw counts, from which every score can be computed."""
        return {
            "name": self.name,
            "matrix": self.matrix.tolist(),
            "boundary_f": [rounded(value) for value in self.boundary],
            "share": round(self.share, 4),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PhotoScore:
        """The inverse of `to_json`; the boundary F stays rounded."""
        boundary = np.array([np.nan if value is None else value for value in document["boundary_f"]])
        return cls(document["name"], np.array(document["matrix"], np.int64), boundary, float(document["share"]))


@dataclass(frozen=True)
class Scores:
    """Scores over some photos; NaN for a class that is in none of them."""

    classes: tuple[str, ...]
    photos: tuple[PhotoScore, ...]

    @property
    def matrix(self) -> np.ndarray:
        """Sum of the photos' confusion matrices."""
        return np.sum([photo.matrix for photo in self.photos], axis=0)

    @property
    def mean_dice(self) -> float:
        """Mean over the foreground classes of the Dice of all photos' pixels pooled."""
        return mean_foreground(dice(self.matrix))

    @property
    def mean_photo_dice(self) -> float:
        """Mean over the photos of each photo's own Dice; photos with no class in truth or prediction are left out."""
        known = [photo.dice for photo in self.photos if not np.isnan(photo.dice)]
        return float(np.mean(known)) if known else float("nan")

    @property
    def boundary(self) -> np.ndarray:
        """Boundary F of each class, the mean over the photos that contain it, float64 (classes,)."""
        stacked = np.array([photo.boundary for photo in self.photos])
        known = ~np.isnan(stacked)
        with np.errstate(invalid="ignore"):
            return np.nansum(stacked, axis=0) / known.sum(axis=0)

    @property
    def mean_boundary(self) -> float:
        """Mean of `boundary` over the foreground classes."""
        return mean_foreground(self.boundary)

    def at_least(self, share: float) -> Scores:
        """The scores over the photos whose foreground covers at least `share`."""
        return Scores(self.classes, tuple(photo for photo in self.photos if photo.share >= share))

    @property
    def mean_iou(self) -> float:
        """Mean over the foreground classes of the IoU of all photos' pixels pooled."""
        return mean_foreground(iou(self.matrix))

    def intervals(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
        """The middle 95 % of each score over resampled photos, the same for the same seed.

        Returns:
            Lower and upper bounds of `mean_dice`, `mean_photo_dice`, `mean_iou` and `boundary_f`, and of `dice` by
            class; None if the score is NaN or there are fewer than `ENOUGH` photos, too few for a meaningful interval.
        """
        photos, names = len(self.photos), self.classes[1:]
        if photos < ENOUGH:
            return {
                **dict.fromkeys(("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f")),
                "dice": dict.fromkeys(names),
            }
        draws = _draw(photos, resamples, seed)
        matrices = np.tensordot(draws, np.array([photo.matrix for photo in self.photos]), axes=1)
        boundary = _weighted_mean(np.array([photo.boundary for photo in self.photos]), draws)
        by_class = np.array([dice(matrix) for matrix in matrices])
        return {
            "mean_dice": _middle([mean_foreground(values) for values in by_class]),
            "mean_photo_dice": mean_interval(np.array([photo.dice for photo in self.photos]), resamples, seed),
            "mean_iou": _middle([mean_foreground(iou(matrix)) for matrix in matrices]),
            "boundary_f": _middle([mean_foreground(values) for values in boundary]),
            "dice": {name: _middle(by_class[:, index]) for index, name in enumerate(names, 1)},
        }

    def summary(self) -> dict[str, Any]:
        """The figures for a model's card."""
        per_class = zip(self.classes[1:], dice(self.matrix)[1:], strict=True)
        return {
            "photos": len(self.photos),
            "mean_dice": rounded(self.mean_dice),
            "mean_photo_dice": rounded(self.mean_photo_dice),
            "boundary_f": rounded(self.mean_boundary),
            "dice": {name: rounded(value) for name, value in per_class},
        }


def score_photo(name: str, truth: np.ndarray, predicted: np.ndarray, classes: int) -> PhotoScore:
    """Counts one photo's pixels.

    Args:
        name: The photo's name.
        truth: uint8 (height, width); 255 marks pixels that don't count.
        predicted: uint8 (height, width).
        classes: The number of classes, including the background.

    Raises:
        ValueError: The shapes differ, or a label is not one of the classes.
    """
    matrix = confusion_matrix(truth, predicted, classes)
    share = float(matrix[1:].sum() / truth.size)
    return PhotoScore(name, matrix, boundary_f(truth, predicted, classes), share)


def score(segmenter: Segmenter, examples: Iterable[Example]) -> Scores:
    """Segments every photo at its own size and scores it.

    Raises:
        DataError: A mask's size differs from its photo's.
    """
    names = segmenter.card.class_names
    photos = []
    for example in examples:
        frame, truth = example.load_pair()
        photos.append(score_photo(example.name, truth, segmenter(frame).labels, len(names)))
    return Scores(names, tuple(photos))


def rounded(value: float) -> float | None:
    """Rounded to four digits for JSON; None for NaN, which JSON lacks."""
    return None if np.isnan(value) else round(float(value), 4)


def mean_interval(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float] | None:
    """The middle 95 % of a figure's mean over resampled photos, the same ones for the same seed and number of photos.

    Args:
        values: One for each photo, float64 (photos,); NaN is ignored.
        resamples: The number of resamples.
        seed: The seed of the draws.

    Returns:
        Lower and upper bound; None if there are fewer than `ENOUGH` photos, or only NaN.
    """
    if len(values) < ENOUGH:
        return None
    return _middle(_weighted_mean(values[:, np.newaxis], _draw(len(values), resamples, seed))[:, 0])


def _draw(photos: int, resamples: int, seed: int) -> np.ndarray:
    """How often each photo is in each resample, int64 (resamples, photos)."""
    return np.random.default_rng(seed).multinomial(photos, np.full(photos, 1 / photos), resamples)


def _weighted_mean(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Means over the photos for each draw, float64 (draws, columns), of values (photos, columns); NaN is ignored."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return draws @ np.where(known, values, 0) / (draws @ known)


def _middle(values: Iterable[float]) -> tuple[float, float] | None:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return round(float(low), 4), round(float(high), 4)
