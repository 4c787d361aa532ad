"""Smoothing: noise in the scores is gone where the picture stands still, and nothing trails where it moves."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge import Segmenter
from seg_edge.errors import UsageError
from seg_edge.evaluation.flicker import FlickerMeter
from seg_edge.evaluation.metrics import confusion_matrix, dice
from seg_edge.interpreter import TensorSpec
from seg_edge.postprocess import ScoreMap
from seg_edge.smooth import DEFAULT_SMOOTH, TemporalSmoother

SIZE = 64  # of the synthetic score maps; the model sees twice that
SETTINGS = [DEFAULT_SMOOTH, 1.0]
KINDS = [(np.uint8, 0.08, 128), (np.int8, 0.08, -3), (np.uint8, 0.0, 0), (np.float32, 0.0, 0)]


def spec_of(channels: int, dtype: Any, scale: float = 0.0, zero_point: int = 0) -> TensorSpec:
    return TensorSpec("scores", (1, SIZE, SIZE, channels), dtype, scale, zero_point)


def scores_of(mask: np.ndarray) -> ScoreMap:
    """A model that is right and sure: two logits of +-4 as uint8."""
    spec = spec_of(2, np.uint8, 0.08, 128)
    return ScoreMap(spec.quantise(np.dstack([np.where(mask, -4, 4), np.where(mask, 4, -4)])), spec, "logits")


def textured(seed: int = 0) -> np.ndarray:
    """A still background with structure, RGB uint8 (2 * SIZE, 2 * SIZE, 3)."""
    coarse = np.random.default_rng(seed).integers(40, 200, (16, 16, 3), np.uint8)
    return cv2.resize(coarse, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC)


def noisy(picture: np.ndarray, generator: np.random.Generator, level: float = 2.0) -> np.ndarray:
    return np.clip(picture + generator.normal(0, level, picture.shape), 0, 255).astype(np.uint8)


def square_at(left: float, top: float = 20.0, side: int = 16) -> np.ndarray:
    grid = np.arange(SIZE)
    across = (grid >= round(left)) & (grid < round(left) + side)
    down = (grid >= round(top)) & (grid < round(top) + side)
    return down[:, np.newaxis] & across


def with_square(background: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = (230, 30, 30)) -> np.ndarray:
    big = cv2.resize(mask.astype(np.uint8), background.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.where(big[..., np.newaxis] > 0, np.array(colour, np.uint8), background)


def labels_of(scores: ScoreMap) -> np.ndarray:
    return scores.labels((SIZE, SIZE)) > 0


@pytest.mark.parametrize("smooth", [-0.1, 1.1, float("nan")])
def test_smooth_is_a_share(smooth: float) -> None:
    with pytest.raises(UsageError, match=r"smooth is .*; it must be from 0 \(off\) to 1"):
        TemporalSmoother(smooth)


def test_zero_changes_nothing() -> None:
    smoother = TemporalSmoother(0)
    for left in (5, 30):
        scores = scores_of(square_at(left))
        assert smoother(scores, textured()) is scores


@pytest.mark.parametrize("channels", [1, 2, 5, 128, 129, 256])
@pytest.mark.parametrize(("dtype", "scale", "zero_point"), KINDS)
def test_every_kind_of_scores_keeps_its_type(channels: int, dtype: Any, scale: float, zero_point: int) -> None:
    generator = np.random.default_rng(1)
    spec = TensorSpec("scores", (1, 12, 20, channels), dtype, scale, zero_point)
    low, high = (-5, 5) if dtype == np.float32 else (np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
    frames = [generator.uniform(low, high, (12, 20, channels)).astype(dtype) for _ in range(4)]
    kept = [frame.copy() for frame in frames]
    picture = generator.integers(0, 256, (32, 32, 3), np.uint8)
    smoother = TemporalSmoother(1)
    results = [smoother(ScoreMap(frame, spec, "logits"), picture) for frame in frames]
    expected = np.mean(np.stack(frames), axis=0, dtype=np.float64)
    np.testing.assert_allclose(results[-1].stored, expected, atol=1e-5 if dtype == np.float32 else 0.51)
    for result, frame, before in zip(results, frames, kept, strict=True):
        assert (result.stored.dtype, result.stored.shape) == (frame.dtype, frame.shape)
        assert result.stored.flags.c_contiguous
        assert (result.spec, result.kind) == (spec, "logits")
        assert result.labels((24, 30)).shape == (24, 30)
        np.testing.assert_array_equal(frame, before)


def test_a_result_stays_the_same_when_the_next_frame_comes() -> None:
    smoother = TemporalSmoother(1)
    results = [smoother(scores_of(square_at(left)), textured()) for left in (5, 5, 30)]
    second = results[1].stored.copy()
    smoother(scores_of(square_at(40)), textured())
    np.testing.assert_array_equal(results[1].stored, second)


@pytest.mark.parametrize(("smooth", "at_most"), [(0.25, 0.7), (DEFAULT_SMOOTH, 0.45), (0.75, 0.33), (1.0, 0.25)])
@pytest.mark.parametrize("level", [0.0, 2.0, 5.0])
def test_noise_in_the_scores_of_a_still_noisy_picture_shrinks(smooth: float, at_most: float, level: float) -> None:
    """After many frames the noise of a mean over `20 ** smooth` frames is left: sqrt(1 / (2 n - 1)) of it."""
    generator = np.random.default_rng(3)
    spec, smoother, background = spec_of(2, np.float32), TemporalSmoother(smooth), textured()
    for _ in range(60):
        stored = generator.normal(0, 1, (SIZE, SIZE, 2)).astype(np.float32)
        result = smoother(ScoreMap(stored, spec, "logits"), noisy(background, generator, level))
    assert result.stored.std() < at_most


def test_changing_exposure_does_not_end_the_memory() -> None:
    generator = np.random.default_rng(4)
    spec, smoother, background = spec_of(1, np.float32), TemporalSmoother(1), textured() // 2
    for frame in range(60):
        stored = generator.normal(0, 1, (SIZE, SIZE, 1)).astype(np.float32)
        result = smoother(ScoreMap(stored, spec, "logits"), noisy(background + np.uint8(frame), generator))
    assert result.stored.std() < 0.35


def moving(speed: float, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The true mask and the picture of a square that moves right by `speed` score pixels a frame."""
    generator, background = np.random.default_rng(5), textured()
    for frame in range(frames):
        mask = square_at(2 + speed * frame)
        yield mask, noisy(with_square(background, mask), generator)


@pytest.mark.parametrize("smooth", SETTINGS)
@pytest.mark.parametrize("speed", [0.25, 0.5, 1, 2, 5, 11])
def test_the_mask_of_a_moving_object_does_not_trail(smooth: float, speed: float) -> None:
    smoother = TemporalSmoother(smooth)
    for mask, picture in moving(speed, round(44 / speed)):
        np.testing.assert_array_equal(labels_of(smoother(scores_of(mask), picture)), mask)


@pytest.mark.parametrize("smooth", SETTINGS)
def test_a_mask_slightly_wider_than_the_moving_object_does_not_trail_either(smooth: float) -> None:
    smoother, wider = TemporalSmoother(smooth), np.ones((3, 3), np.uint8)
    for mask, picture in moving(1, 40):
        wide = cv2.dilate(mask.astype(np.uint8), wider) > 0
        np.testing.assert_array_equal(labels_of(smoother(scores_of(wide), picture)), wide)


@pytest.mark.parametrize("smooth", SETTINGS)
def test_a_change_of_hue_alone_counts_as_motion(smooth: float) -> None:
    """Red on a green of the same grey."""
    background = np.full((2 * SIZE, 2 * SIZE, 3), (40, 121, 40), np.uint8)
    smoother = TemporalSmoother(smooth)
    for left in [5] * 30 + [30]:
        mask = square_at(left)
        result = smoother(scores_of(mask), with_square(background, mask, (200, 40, 40)))
    np.testing.assert_array_equal(labels_of(result), mask)


@pytest.mark.parametrize("smooth", SETTINGS)
def test_an_object_that_stops_stays_and_one_that_leaves_is_gone(smooth: float) -> None:
    generator, background, smoother = np.random.default_rng(6), textured(), TemporalSmoother(smooth)
    for left in [5, 12, 19, 26, *[30] * 40]:
        mask = square_at(left)
        result = smoother(scores_of(mask), noisy(with_square(background, mask), generator))
        np.testing.assert_array_equal(labels_of(result), mask)
    for _ in range(3):
        result = smoother(scores_of(np.zeros_like(mask)), noisy(background, generator))
        assert not labels_of(result).any()


def test_the_first_frame_of_an_uncovered_spot_weighs_no_more_than_the_next() -> None:
    """A model that is still wrong where a fast hand has just been is corrected by the next two frames."""
    background, smoother = textured(), TemporalSmoother(1)
    uncovered = square_at(10)
    for _ in range(30):
        smoother(scores_of(uncovered), with_square(background, uncovered))
    wrong = smoother(scores_of(uncovered), background)  # uncovered, not yet noticed
    assert labels_of(wrong)[uncovered].all()
    for _ in range(2):
        result = smoother(scores_of(np.zeros_like(uncovered)), background)
    assert not labels_of(result).any()


@pytest.mark.parametrize("smooth", SETTINGS)
def test_a_slow_fade_is_followed(smooth: float) -> None:
    """A square fades into view over 50 frames; the model finds it from half way on, and the result follows soon."""
    background, smoother = textured(), TemporalSmoother(smooth)
    mask = square_at(20)
    full = with_square(background, mask)
    late = 0
    for share in np.linspace(0, 1, 51):
        picture = cv2.addWeighted(full, share, background, 1 - share, 0)
        truth = mask & (share >= 0.5)
        late += int((labels_of(smoother(scores_of(truth), picture)) != truth).sum() > 0.1 * mask.sum())
    assert late <= 5


@pytest.mark.parametrize("smooth", SETTINGS)
def test_a_cut_resets_the_smoothing(smooth: float) -> None:
    smoother = TemporalSmoother(smooth)
    for _ in range(30):
        smoother(scores_of(square_at(5)), textured(1))
    after = scores_of(square_at(40))
    cut = smoother(after, textured(2))
    assert np.mean(labels_of(cut) != labels_of(after)) < 0.002


@pytest.mark.parametrize("change", ["reset", "channels", "size"])
def test_another_stream_resets_the_smoothing(change: str) -> None:
    smoother, picture = TemporalSmoother(1), textured()
    for _ in range(10):
        smoother(scores_of(square_at(5)), picture)
    after = scores_of(square_at(40))
    if change == "reset":
        smoother.reset()
    elif change == "channels":
        after = replace(after, stored=np.ascontiguousarray(after.stored[..., :1]))
    else:
        after = replace(after, stored=np.ascontiguousarray(after.stored[:40]))
    np.testing.assert_array_equal(smoother(after, picture).stored, after.stored)


def test_a_nan_does_not_stay() -> None:
    spec, smoother, picture = spec_of(1, np.float32), TemporalSmoother(1), textured()
    for value in [1, np.nan, np.inf, *[1] * 60]:
        stored = np.full((SIZE, SIZE, 1), value, np.float32)
        result = smoother(ScoreMap(stored, spec, "logits"), picture)
    np.testing.assert_allclose(result.stored, 1, atol=0.1)


def moved_of_late(frames: list[np.ndarray]) -> np.ndarray:
    """Bool (height, width): within 15 pixels of where the picture changed over the frames, BGR uint8."""
    blurred = [cv2.blur(frame, (5, 5)) for frame in frames]
    changes = [cv2.absdiff(one, other).max(axis=2) > 10 for one, other in itertools.pairwise(blurred)]
    opened = cv2.morphologyEx(np.any(changes, axis=0).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return cv2.dilate(opened, np.ones((31, 31), np.uint8)) > 0


def read_clip(path: Path, frames: int) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    return [frame for _ in range(frames) if (frame := capture.read()[1]) is not None]


def mirrored_mean(segment: Segmenter, frame: np.ndarray) -> np.ndarray:
    """Labels by the model's mean opinion on the frame and its mirror image: a better guess than either."""
    straight, mirrored = segment(frame).probabilities(), segment(frame[:, ::-1]).probabilities()
    return (straight + mirrored[:, ::-1])[..., 1] > 1


@pytest.mark.parametrize("clip", ["no", "please", "school"])
def test_on_webcam_clips_flicker_halves_and_moving_arms_are_kept(shared_data: Path, clip: str) -> None:
    frames = read_clip(shared_data / "video" / f"{clip}.mkv", 60)
    assert len(frames) == 60
    plain, steady = Segmenter(), Segmenter(smooth=DEFAULT_SMOOTH)
    meters = FlickerMeter(), FlickerMeter()
    matrices = np.zeros((2, 2, 2), np.int64)
    for index, frame in enumerate(frames):
        results = plain(frame), steady(frame)
        for meter, result in zip(meters, results, strict=True):
            meter.add(result)
        if index % 3 == 2:  # the reference costs two more inferences
            moved = moved_of_late(frames[max(0, index - 6) : index + 1])
            truth = mirrored_mean(plain, frame).astype(np.uint8)
            for matrix, result in zip(matrices, results, strict=True):
                matrix += confusion_matrix(truth[moved], result.labels[moved], 2)
    before, after = (meter.score for meter in meters)
    assert before is not None
    assert after is not None
    assert 0 < after <= before / 2
    without, with_smoothing = (dice(matrix)[1] for matrix in matrices)
    assert with_smoothing >= without - 0.01
