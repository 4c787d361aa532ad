"""Accuracy on photos with masks: every model on every photo, with intervals and the agreement with the full model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from seg_edge.apps.bench.candidates import Candidate
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.metrics import IGNORE, confusion_matrix, dice, mean_foreground
from seg_edge.evaluation.scores import FOREGROUND_SHARES, PhotoScore, Scores, rounded, score_photo


def measure_accuracy(
    name: str,
    candidates: Sequence[Candidate],
    examples: Sequence[Example],
    classes: Sequence[str],
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Scores all candidates, and compares each with the first whose role is `full`.

    Args:
        name: Of the photos, for the results.
        candidates: What to score; their classes are those of the masks.
        examples: Photos with masks that none of the models has seen.
        classes: Names, background first.
        threads: Of every model.
        progress: Receives the number of photos done and of all photos, after each one.

    Returns:
        `data`, `photos`, `fingerprint` (of photos and masks), `classes`, and `models` by name: `summary`, `intervals`,
        the same by the `share` that the foreground fills, every photo's raw counts, and `agreement` with the full one.

    Raises:
        DataError: A mask doesn't have its photo's size.
        ModelError: A model can't be loaded.
    """
    segmenters = {candidate.name: candidate.open(threads) for candidate in candidates}
    full = next((candidate.name for candidate in candidates if candidate.role == "full"), None)
    counts: dict[str, list[PhotoScore]] = {model: [] for model in segmenters}
    agreements: dict[str, list[np.ndarray]] = {model: [] for model in segmenters}
    fingerprint = hashlib.sha256()
    for done, example in enumerate(examples, 1):
        frame, truth = example.load_pair()
        fingerprint.update(example.image.read_bytes() + truth.tobytes())
        labels = {model: segmenter(frame).labels for model, segmenter in segmenters.items()}
        for model, predicted in labels.items():
            counts[model].append(score_photo(example.name, truth, predicted, len(classes)))
            if full:
                agreed = np.where(truth == IGNORE, IGNORE, labels[full])
                agreements[model].append(confusion_matrix(agreed, predicted, len(classes)))
        progress(done, len(examples))
    return {
        "data": name,
        "photos": len(examples),
        "fingerprint": fingerprint.hexdigest(),
        "classes": list(classes),
        "full": full,
        "models": {
            model: _figures(Scores(tuple(classes), tuple(counts[model])), agreements[model]) for model in segmenters
        },
    }


def figures_of(scores: Scores) -> dict[str, Any]:
    """Scores with their intervals."""
    summary = {**scores.summary(), "mean_iou": rounded(scores.mean_iou)}
    return {**summary, "intervals": scores.intervals()}


def _figures(scores: Scores, agreements: list[np.ndarray]) -> dict[str, Any]:
    by_share = {str(share): scores.at_least(share) for share in FOREGROUND_SHARES}
    document: dict[str, Any] = {
        **figures_of(scores),
        "by_foreground_share": {share: figures_of(part) for share, part in by_share.items() if part.photos},
        "per_photo": [photo.to_json() for photo in scores.photos],
    }
    if agreements:
        total = np.sum(agreements, axis=0)
        document["agreement"] = {
            "same_pixels": rounded(float(np.trace(total) / total.sum())),
            "mean_dice": rounded(mean_foreground(dice(total))),
            "per_photo": [matrix.tolist() for matrix in agreements],
        }
    return document
