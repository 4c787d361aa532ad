"""Lookahead: future frames smooth a mask as past ones do, and nothing moves that should not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seg_edge import Segmenter, timing
from seg_edge.errors import UsageError
from seg_edge.lookahead import Lookahead
from seg_edge.postprocess import ScoreMap
from seg_edge.segmentation import Segmentation
from seg_edge.smooth import DEFAULT_SMOOTH, TemporalSmoother
from tests.edge.test_smooth import SIZE, labels_of, noisy, scores_of, square_at, textured, with_square
from tests.tiny import TWO_CARD, TWO_UINT8, bright_square, carded

AHEAD = 4


def result_of(scores: ScoreMap, pixels: np.ndarray) -> Segmentation:
    timing = {"preprocess": 0.0, "inference": 1.0, "postprocess": 0.0}
    return Segmentation(scores.labels((SIZE, SIZE)), TWO_CARD.classes, scores, pixels, timing)


def look_ahead(results: list[Segmentation], smooth: float = DEFAULT_SMOOTH) -> list[Segmentation]:
    lookahead = Lookahead(AHEAD, smooth)
    smoothed_results = [smoothed for result in results if (smoothed := lookahead.add(result)) is not None]
    assert len(smoothed_results) == max(0, len(results) - AHEAD)
    return [*smoothed_results, *lookahead.rest()]


def unsure(mask: np.ndarray, generator: np.random.Generator) -> ScoreMap:
    """A model that is right on average and errs in one pixel of five."""
    sure = scores_of(mask)
    wrong = generator.random(mask.shape) < 0.2
    return replace(sure, stored=np.where(wrong[..., np.newaxis], sure.stored[..., ::-1], sure.stored))


@pytest.mark.parametrize("frames", [1, 3, 12])
def test_every_result_comes_once_in_order_and_for_its_own_frame(tmp_path: Path, frames: int) -> None:
    segment = Segmenter(carded(TWO_UINT8, tmp_path))
    results = [segment(np.roll(bright_square((64, 96)), 3 * number, axis=1)) for number in range(frames)]
    smoothed_results = look_ahead(results)
    for smoothed, result in zip(smoothed_results, results, strict=True):
        assert smoothed.pixels is result.pixels
        assert smoothed.labels.shape == result.labels.shape
        assert smoothed.score_map.stored.dtype == result.score_map.stored.dtype
        assert (smoothed.labels != result.labels).mean() < 0.02


def test_it_is_more_accurate_than_smoothing_with_the_past_alone() -> None:
    generator = np.random.default_rng(1)
    mask, background = square_at(20), textured()
    results = [result_of(unsure(mask, generator), noisy(background, generator)) for _ in range(20)]
    smoother = TemporalSmoother()
    past = [labels_of(smoother(result.score_map, result.pixels)) for result in results]
    both = [smoothed.labels > 0 for smoothed in look_ahead(results)]
    errors = [np.mean([(labels != mask).mean() for labels in run[:-AHEAD]]) for run in (past, both)]
    assert errors[1] < 0.5 * errors[0]
    assert (both[0] != mask).mean() < 0.5 * (past[0] != mask).mean(), "the first frame has nothing but a future"


def test_masks_of_moving_objects_neither_trail_nor_run_ahead() -> None:
    background = textured()
    masks = [square_at(8 + 3 * number) for number in range(14)]
    results = [result_of(scores_of(mask), with_square(background, mask)) for mask in masks]
    for smoothed, mask in zip(look_ahead(results), masks, strict=True):
        assert ((smoothed.labels > 0) != mask).mean() < 0.01


def test_adding_and_smoothing_a_result_count_as_its_postprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    results = [result_of(scores_of(square_at(20)), textured()) for _ in range(AHEAD + 2)]
    assert [smoothed.timing_ms["postprocess"] for smoothed in look_ahead(results)] == [2000.0] * len(results)
    assert results[0].timing_ms["postprocess"] == 0


def test_values_out_of_range_are_refused() -> None:
    for frames, smooth in ((0, 0.5), (16, 0.5), (4, 1.5)):
        with pytest.raises(UsageError, match="lookahead must be 1 to 15"):
            Lookahead(frames, smooth)
