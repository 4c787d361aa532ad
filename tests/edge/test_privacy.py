"""Hidden people stay hidden: nothing of their pixels is left but a few coarse colours."""

import numpy as np
import pytest

from seg_edge import Segmentation, Segmenter
from seg_edge.card import make_classes
from seg_edge.effects import render
from seg_edge.interpreter import TensorSpec
from seg_edge.photo.read import read_photo
from seg_edge.postprocess import ScoreMap
from seg_edge.privacy import CELLS, LEVELS, MIN_CELL_PX, hidden_part
from tests import tiny


def one_person(shape_hw: tuple[int, int], share: float = 0.9) -> Segmentation:
    """A person of probability `share` in the middle of 40x40 scores."""
    logit = np.full((40, 40, 1), -8, np.float32)
    logit[10:30, 15:25] = np.log(share / (1 - share))
    scores = ScoreMap(logit, TensorSpec("out", (1, 40, 40, 1), np.float32), "logits")
    return Segmentation(scores.labels(shape_hw), make_classes(("background", "person")), scores, logit, {})


@pytest.mark.parametrize("shape_hw", [(400, 400), (333, 500), (40, 40), (9, 5), (1, 1)])
def test_few_coarse_colours_are_left_of_a_person(shape_hw: tuple[int, int]) -> None:
    frame = tiny.noise(shape_hw)
    kept = frame.copy()
    segmentation = one_person(shape_hw)
    picture = render(frame, segmentation, "anonymize")
    np.testing.assert_array_equal(frame, kept)
    inside = segmentation.labels > 0
    colours = np.unique(picture[inside], axis=0)
    assert len(colours) <= CELLS * CELLS
    assert set(colours.ravel() % (256 // LEVELS)) <= {256 // LEVELS // 2}


def test_the_mask_is_grown_and_the_rest_is_left_alone() -> None:
    frame = tiny.noise((400, 400))
    picture = render(frame, one_person((400, 400)), "anonymize")
    changed = (picture != frame).any(axis=2)
    assert changed[92:308, 142:258].mean() > 0.99  # the person is 100:300, 150:250; the margin 2 % of 400
    assert not changed[:70].any()
    assert not changed[:, :120].any()


def test_possible_people_are_hidden_too() -> None:
    unsure = one_person((400, 400), share=0.3)
    assert not unsure.labels.any()
    assert hidden_part(unsure.score_map)[10:30, 15:25].all()
    assert not hidden_part(one_person((400, 400), share=0.1).score_map).any()


def test_a_hole_in_a_person_is_hidden() -> None:
    whole = one_person((400, 400))
    whole.score_map.stored[17:23, 18:22] = -8  # of a pullover that the model doesn't know
    assert hidden_part(whole.score_map)[10:30, 15:25].all()


def test_no_two_faces_give_different_pictures_but_for_coarse_colours() -> None:
    """Pixels shuffled within each cell, which destroys any face, change nothing but a rounding."""
    segmentation = one_person((400, 400))
    frame = tiny.grey_frame((400, 400), 100)
    face = frame.copy()
    face[150:250:2, 160:240] = 140
    face[151:250:2, 160:240] = 60
    np.testing.assert_array_equal(render(face, segmentation, "anonymize"), render(frame, segmentation, "anonymize"))


def test_without_people_the_frame_is_unchanged() -> None:
    frame = tiny.noise((50, 60))
    picture = render(frame, one_person((50, 60), share=0.001), "anonymize")
    np.testing.assert_array_equal(picture, frame)
    assert picture is not frame


def test_a_real_face_is_gone() -> None:
    frame = read_photo(tiny.GRACE_HOPPER)
    picture = render(frame, Segmenter("person", 1)(frame), "anonymize")
    face = (slice(120, 320), slice(170, 350))
    assert len(np.unique(picture[face].reshape(-1, 3), axis=0)) <= CELLS * CELLS


@pytest.mark.parametrize("shape_hw", [(40, 40), (24, 24), (9, 5)])
def test_a_tiny_person_is_one_colour_and_not_a_few_pixels(shape_hw: tuple[int, int]) -> None:
    """A person of 20x10 pixels, or fewer, has room for 2x1 cells: 4x4 would show half of its pixels."""
    frame, segmentation = tiny.noise(shape_hw), one_person(shape_hw)
    inside = segmentation.labels > 0
    high, wide = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    colours = np.unique(render(frame, segmentation, "anonymize")[inside], axis=0)
    grown_hw = (high + 4, wide + 4)  # the margin, and what bilinear stretching adds
    assert len(colours) <= np.prod([-(-side // MIN_CELL_PX) for side in grown_hw])


def test_a_cell_s_colour_is_the_mean_rounded_to_a_level() -> None:
    frame = tiny.grey_frame((24, 24), 100)
    frame[::2] = 61  # a mean of about 80, in the level 64 to 95
    assert (render(frame, one_person((24, 24)), "anonymize")[12, 12] == 64 + 256 // LEVELS // 2).all()
