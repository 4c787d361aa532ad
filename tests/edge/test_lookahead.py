"""A look ahead: frames that follow steady a mask as those before it do, and nothing moves that should not."""

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


def answer_of(scores: ScoreMap, pixels: np.ndarray) -> Segmentation:
    timing = {"preprocess": 0.0, "inference": 1.0, "postprocess": 0.0}
    return Segmentation(scores.labels((SIZE, SIZE)), TWO_CARD.classes, scores, pixels, timing)


def look_ahead(answers: list[Segmentation], smooth: float = DEFAULT_SMOOTH) -> list[Segmentation]:
    lookahead = Lookahead(AHEAD, smooth)
    steady = [one for answer in answers if (one := lookahead.add(answer)) is not None]
    assert len(steady) == max(0, len(answers) - AHEAD)
    return [*steady, *lookahead.rest()]


def unsure(mask: np.ndarray, generator: np.random.Generator) -> ScoreMap:
    """A model that is right on average and errs in one pixel of five."""
    sure = scores_of(mask)
    wrong = generator.random(mask.shape) < 0.2
    return replace(sure, stored=np.where(wrong[..., np.newaxis], sure.stored[..., ::-1], sure.stored))


@pytest.mark.parametrize("frames", [1, 3, 12])
def test_every_answer_comes_once_in_order_and_of_its_own_frame(tmp_path: Path, frames: int) -> None:
    segment = Segmenter(carded(TWO_UINT8, tmp_path))
    answers = [segment(np.roll(bright_square((64, 96)), 3 * number, axis=1)) for number in range(frames)]
    steady = look_ahead(answers)
    assert [one.pixels is answer.pixels for one, answer in zip(steady, answers, strict=True)] == [True] * frames
    for one, answer in zip(steady, answers, strict=True):
        assert one.labels.shape == answer.labels.shape
        assert one.score_map.stored.dtype == answer.score_map.stored.dtype
        assert (one.labels != answer.labels).mean() < 0.02


def test_it_errs_less_than_smoothing_from_the_past_alone() -> None:
    generator = np.random.default_rng(1)
    mask, background = square_at(20), textured()
    answers = [answer_of(unsure(mask, generator), noisy(background, generator)) for _ in range(20)]
    smoother = TemporalSmoother()
    past = [labels_of(smoother(answer.score_map, answer.pixels)) for answer in answers]
    both = [one.labels > 0 for one in look_ahead(answers)]
    errors = [np.mean([(labels != mask).mean() for labels in run[:-AHEAD]]) for run in (past, both)]
    assert errors[1] < 0.5 * errors[0]
    assert (both[0] != mask).mean() < 0.5 * (past[0] != mask).mean(), "the first frame has nothing but a future"


def test_nothing_trails_or_runs_ahead_where_something_moves() -> None:
    background = textured()
    masks = [square_at(8 + 3 * number) for number in range(14)]
    answers = [answer_of(scores_of(mask), with_square(background, mask)) for mask in masks]
    for one, mask in zip(look_ahead(answers), masks, strict=True):
        assert ((one.labels > 0) != mask).mean() < 0.01


def test_taking_an_answer_and_steadying_it_count_as_its_postprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    answers = [answer_of(scores_of(square_at(20)), textured()) for _ in range(AHEAD + 2)]
    assert [one.timing_ms["postprocess"] for one in look_ahead(answers)] == [2000.0] * len(answers)
    assert answers[0].timing_ms["postprocess"] == 0


def test_what_is_out_of_range_is_refused() -> None:
    for frames, smooth in ((0, 0.5), (16, 0.5), (4, 1.5)):
        with pytest.raises(UsageError, match="lookahead must be 1 to 15"):
            Lookahead(frames, smooth)
