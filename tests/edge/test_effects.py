"""Each effect changes what it should and leaves the rest alone, to the pixel."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge import Segmentation, strips
from seg_edge.card import ClassInfo
from seg_edge.commands.options import Effect
from seg_edge.effects import (
    EFFECTS,
    GREEN,
    EffectSettings,
    colour_map,
    cover,
    draw,
    flatten,
    parse_background,
    render,
)
from seg_edge.errors import UsageError
from seg_edge.interpreter import TensorSpec
from seg_edge.matte import Foreground, paste, soft_alpha, soft_pixels, with_alpha
from seg_edge.postprocess import ScoreMap
from tests import tiny

EMPTY = np.zeros((1, 1, 3), np.uint8)
CLASSES = (
    ClassInfo("background", (0, 0, 0)),
    ClassInfo("cat", (200, 100, 0)),
    ClassInfo("dog", (0, 60, 240)),
)
SHAPE = (96, 128)
BACKGROUND = np.full((30, 40, 3), (10, 20, 30), np.uint8)


def two_animals(shape_hw: tuple[int, int] = SHAPE, certainty: float = 40.0) -> Segmentation:
    """A cat in the middle of the left half, a dog in the middle of the right one."""
    logits = np.zeros((12, 16, 3), np.float32)
    logits[..., 0] = certainty / 2
    logits[3:9, 2:7, 1] = certainty
    logits[3:9, 9:14, 2] = certainty
    scores = ScoreMap(logits, TensorSpec("out", (1, 12, 16, 3), np.float32), "logits")
    return Segmentation(scores.labels(shape_hw), CLASSES, scores, EMPTY, {})


def sharp(labels: np.ndarray) -> Segmentation:
    """Scores of the frame's own size, so that the edges are exactly where the labels say."""
    logits = np.where(labels[..., np.newaxis] == np.arange(3), 40, 0).astype(np.float32)
    spec = TensorSpec("out", (1, *logits.shape), np.float32)
    return Segmentation(labels, CLASSES, ScoreMap(logits, spec, "logits"), EMPTY, {})


FRAME = tiny.noise(SHAPE)
SEGMENTATION = two_animals()
SHARP = sharp(SEGMENTATION.labels)
SOLID, CLEAR = SHARP.alpha() == 255, SHARP.alpha() == 0


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 500), (500, 1), (7, 5), (480, 640), (10, 4000)])
@pytest.mark.parametrize("background_hw", [(30, 40), (1, 1), (600, 8), (8, 600)])
def test_shape_and_dtype_at_any_size(effect: str, shape_hw: tuple[int, int], background_hw: tuple[int, int]) -> None:
    frame, background = tiny.noise(shape_hw), tiny.noise(background_hw, seed=1)
    picture = render(frame, two_animals(shape_hw), effect, background)
    assert picture.shape == (*shape_hw, 4 if effect == "cutout" else 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(frame, tiny.noise(shape_hw))
    np.testing.assert_array_equal(background, tiny.noise(background_hw, seed=1))
    assert not np.shares_memory(picture, frame)


def test_the_effects_are_those_of_the_commands() -> None:
    assert list(EFFECTS) == [effect.value for effect in Effect]


@pytest.mark.parametrize("effect", ["", "Overlay", "sepia"])
def test_an_unknown_effect_is_refused_with_the_known_ones(effect: str) -> None:
    with pytest.raises(UsageError) as refusal:
        render(FRAME, SEGMENTATION, effect)
    assert repr(effect) in str(refusal.value)
    assert "overlay, mask, matte, cutout, blur, replace, anonymize" in str(refusal.value)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("layout", tiny.LAYOUTS.values(), ids=tiny.LAYOUTS)
def test_the_memory_layout_does_not_matter(effect: str, layout: Callable[[np.ndarray], np.ndarray]) -> None:
    frame = layout(tiny.noise((90, 120)))
    segmentation = two_animals(frame.shape[:2])
    expected = render(np.ascontiguousarray(frame), segmentation, effect, BACKGROUND)
    np.testing.assert_array_equal(render(frame, segmentation, effect, BACKGROUND), expected)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("shape_hw", [(48, 64), (96, 127), (128, 96)])
def test_a_frame_of_another_size_is_refused_with_got_and_expected(effect: str, shape_hw: tuple[int, int]) -> None:
    with pytest.raises((TypeError, ValueError, UsageError)) as refusal:
        render(tiny.noise(shape_hw), SEGMENTATION, effect, BACKGROUND)
    for side in (*shape_hw, *SHAPE):
        assert str(side) in str(refusal.value)


@pytest.mark.parametrize(
    "background",
    [
        np.zeros((30, 40), np.uint8),
        np.zeros((30, 40, 4), np.uint8),
        np.zeros((30, 40, 3), np.float32),
        np.zeros((0, 40, 3), np.uint8),
    ],
    ids=lambda value: f"{value.dtype} {value.shape}",
)
def test_an_invalid_background_is_refused_with_got_and_expected(
    background: np.ndarray,
) -> None:
    with pytest.raises((TypeError, UsageError)) as refusal:
        render(FRAME, SEGMENTATION, "replace", background)
    assert str(background.shape) in str(refusal.value)


def one_class(labels: np.ndarray) -> Segmentation:
    """`sharp` of a model with one foreground class."""
    logits = np.where(labels[..., np.newaxis] == np.arange(2), 40, 0).astype(np.float32)
    scores = ScoreMap(logits, TensorSpec("out", (1, *logits.shape), np.float32), "logits")
    return Segmentation(labels, CLASSES[:2], scores, EMPTY, {})


@pytest.mark.parametrize("segmentation", [SHARP, one_class((SHARP.labels == 1).astype(np.uint8))], ids=["two", "one"])
def test_overlay_tints_only_the_classes(segmentation: Segmentation) -> None:
    picture = render(FRAME, segmentation)
    np.testing.assert_array_equal(picture, render(FRAME, segmentation, "overlay"))
    alpha = segmentation.alpha()
    outside = alpha == 0
    np.testing.assert_array_equal(picture[outside], FRAME[outside])
    for label, bgr in enumerate([(0, 100, 200), (240, 60, 0)][: len(segmentation.classes) - 1], 1):
        there = (segmentation.labels == label) & (alpha == 255)
        assert there.any()
        expected = FRAME[there] / 2 + np.array(bgr) / 2
        np.testing.assert_allclose(picture[there], expected, atol=1.51)  # three roundings


@pytest.mark.parametrize("classes", [2, 3])
def test_an_overlay_is_as_strong_where_the_model_is_unsure(classes: int) -> None:
    """Black under a class that is three quarters sure: half its colour, as everywhere."""
    logits = np.zeros((12, 16, classes), np.float32)
    logits[..., 1] = np.log(3)
    logits[..., 2:] = -40
    scores = ScoreMap(logits, TensorSpec("out", (1, *logits.shape), np.float32), "logits")
    segmentation = Segmentation(scores.labels(SHAPE), CLASSES[:classes], scores, EMPTY, {})
    picture = render(tiny.grey_frame(SHAPE), segmentation)
    np.testing.assert_allclose(picture, np.broadcast_to([0, 50, 100], picture.shape), atol=1)


def test_an_overlay_has_soft_edges_without_a_dark_line() -> None:
    """On white, no pixel is darker than the tint and the frame it lies between."""
    picture = render(tiny.grey_frame(SHAPE, 255), SEGMENTATION).astype(int)
    row = picture[48, 8:64]  # across the cat
    assert np.unique(row[:, 0]).size == 4  # the frame, the tint, two steps between
    assert (row[:, 2] >= (255 + 200) // 2 - 2).all()


def test_mask_is_the_colours_alone() -> None:
    picture = render(FRAME, SEGMENTATION, "mask")
    np.testing.assert_array_equal(picture, colour_map(SEGMENTATION))
    for label, bgr in ((0, (0, 0, 0)), (1, (0, 100, 200)), (2, (240, 60, 0))):
        assert (picture[SEGMENTATION.labels == label] == bgr).all()


def test_a_cutout_keeps_the_pixels_inside_and_has_no_colour_outside() -> None:
    picture = render(FRAME, SEGMENTATION, "cutout")
    alpha = picture[..., 3]
    np.testing.assert_array_equal(alpha, SEGMENTATION.alpha())
    np.testing.assert_array_equal(picture[alpha == 255][:, :3], FRAME[alpha == 255])
    assert not picture[alpha == 0].any()
    assert picture[48, 36, 3] == picture[48, 92, 3] == 255
    assert picture[0, 0, 3] == picture[48, 64, 3] == 0


def test_alpha_is_solid_inside_and_soft_over_three_pixels() -> None:
    labels = np.zeros((9, 12), np.uint8)
    labels[:, 4:8] = 2
    assert soft_alpha(labels)[4].tolist() == [0, 0, 0, 85, 170, 255, 255, 170, 85, 0, 0, 0]
    assert soft_alpha(np.ones((3, 4), np.uint8)).min() == 255
    np.testing.assert_array_equal(labels[:, 4:8], 2)


def test_transparency_hides_the_colours() -> None:
    alpha = np.zeros(SHAPE, np.uint8)
    alpha[10:90, 20:30] = tiny.noise((80, 10), 8)[..., 0]
    picture = with_alpha(FRAME, alpha)
    seen = alpha > 0
    np.testing.assert_array_equal(picture[..., 3], alpha)
    np.testing.assert_array_equal(picture[seen][:, :3], FRAME[seen])
    assert not picture[~seen].any()


@pytest.mark.parametrize("shape_hw", [(60, 80), (1500, 2000)])
def test_the_edge_has_the_foreground_s_colour(shape_hw: tuple[int, int]) -> None:
    """A dark disc on white, mixed at its edge as a camera does: the edge comes out dark."""
    labels = cv2.circle(np.zeros(shape_hw, np.uint8), (shape_hw[1] // 2, shape_hw[0] // 2), shape_hw[0] // 3, 1, -1)
    alpha = soft_alpha(labels)
    photo = np.round(255 - alpha[..., np.newaxis] * (215 / 255)).astype(np.uint8).repeat(3, axis=2)
    soft = soft_pixels(alpha)
    assert photo.reshape(-1, 3)[soft].max() > 150
    colours, same = Foreground(photo, labels).rows(slice(0, shape_hw[0]))
    np.testing.assert_array_equal(same, alpha)
    np.testing.assert_array_equal(colours.reshape(-1, 3)[soft], 40)
    picture = render(photo, one_class(labels), "cutout")
    assert (picture[picture[..., 3] > 0][:, :3] == 40).all()
    assert (render(photo, one_class(labels), "replace", (40, 40, 40)) == 40).all()


def test_an_edge_without_sure_foreground_keeps_its_colours() -> None:
    frame, labels = tiny.noise((5, 5)), np.zeros((5, 5), np.uint8)
    labels[2] = 1  # one row: nowhere are 3x3 pixels foreground
    colours, alpha = Foreground(frame, labels).rows(slice(0, 5))
    assert 0 < alpha.max() < 255
    np.testing.assert_array_equal(colours, frame)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("background_hw", [(300, 200), (700, 900)])
def test_strips_leave_no_seams_and_may_overwrite_the_frame(
    effect: str, background_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, segmentation = tiny.noise((400, 300), seed=4), two_animals((400, 300))
    settings = EffectSettings(effect, tiny.noise(background_hw, 5) if effect == "replace" else None)
    monkeypatch.setattr(strips, "STRIP_PIXELS", 400 * 300)
    at_once = render(frame, segmentation, settings)
    for pixels in (1, 300 * 7, 300 * 64):
        monkeypatch.setattr(strips, "STRIP_PIXELS", pixels)
        np.testing.assert_array_equal(render(frame, segmentation, settings), at_once)
    if not settings.transparent:
        drawing = draw(frame, segmentation, settings)
        assert drawing.whole(frame) is frame
        np.testing.assert_array_equal(frame, at_once)


def test_transparent_parts_of_a_frame_stay_hidden() -> None:
    own = np.zeros(SHAPE, np.uint8)
    own[40:60] = 100
    cutout = draw(FRAME, SHARP, EffectSettings("cutout"), own).whole()
    np.testing.assert_array_equal(cutout[..., 3], np.minimum(SHARP.alpha(), own))
    assert not cutout[cutout[..., 3] == 0].any()
    replaced = draw(FRAME, SHARP, EffectSettings("replace", (200, 100, 0)), own).whole()
    assert (replaced[own == 0] == (0, 100, 200)).all()
    seen = SOLID & (own > 0)
    mixed = FRAME[seen] * (100 / 255) + np.array([0, 100, 200]) * (155 / 255)
    np.testing.assert_allclose(replaced[seen], mixed, atol=0.51)


def test_a_matte_is_white_on_black() -> None:
    np.testing.assert_array_equal(render(FRAME, SEGMENTATION, "matte"), np.dstack([SEGMENTATION.alpha()] * 3))


def test_a_background_of_one_colour_is_rgb() -> None:
    assert (render(FRAME, SHARP, "replace", (200, 100, 0))[0, 0] == (0, 100, 200)).all()


def test_a_transparent_background_is_the_cutout() -> None:
    np.testing.assert_array_equal(
        render(FRAME, SEGMENTATION, "replace", "transparent"), render(FRAME, SEGMENTATION, "cutout")
    )
    assert EffectSettings("replace", "transparent").transparent
    assert not EffectSettings("overlay", "transparent").transparent


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("white", (255, 255, 255)),
        ("black", (0, 0, 0)),
        ("#FF8000", (255, 128, 0)),
        ("#f80", (255, 136, 0)),
        ("transparent", "transparent"),
        ("beach.jpg", Path("beach.jpg")),
        ("#ff80", Path("#ff80")),
        ("./white", Path("white")),
    ],
)
def test_how_a_background_option_is_read(text: str, meant: object) -> None:
    assert parse_background(text) == meant


@pytest.mark.parametrize(
    "values",
    [
        {"effect": "replace"},
        {"effect": "replace", "background": "pink"},
        {"effect": "replace", "background": (0, 0, 256)},
        {"effect": "replace", "background": (0, 0)},
        {"effect": "blur", "blur_strength": 0.0},
        {"effect": "blur", "blur_strength": float("nan")},
        {"effect": "blur", "blur_strength": 6.0},
        {"only": "nearest"},
        {"min_area": 1.1},
        {"min_area": float("nan")},
        {"effect": "anonymize", "only": "largest"},
        {"effect": "anonymize", "min_area": 0.1},
    ],
    ids=str,
)
def test_contradictory_settings_are_refused(values: dict) -> None:
    with pytest.raises(UsageError):
        EffectSettings(**values)


def test_which_effects_can_be_chosen_later() -> None:
    every = list(EFFECTS)
    assert EffectSettings("replace", (0, 0, 0)).effects() == every
    assert EffectSettings().effects() == [name for name in every if name != "replace"]
    assert "anonymize" not in EffectSettings(only="largest").effects()


def test_a_stronger_blur_leaves_less() -> None:
    left = [render(FRAME, SHARP, EffectSettings("blur", blur_strength=s))[CLEAR].std() for s in (0.1, 0.5, 1, 5)]
    assert left == sorted(left, reverse=True)
    assert left[0] > 2 * left[2]


def test_replace_needs_a_background() -> None:
    with pytest.raises(UsageError, match="--background"):
        render(FRAME, SEGMENTATION, "replace")


def test_replace_changes_what_is_behind_and_not_what_is_in_front() -> None:
    picture = render(FRAME, SHARP, "replace", BACKGROUND)
    np.testing.assert_array_equal(picture[SOLID], FRAME[SOLID])
    assert (picture[CLEAR] == (10, 20, 30)).all()


@pytest.mark.parametrize(
    ("size_hw", "kept"),
    [((20, 40), (slice(None), slice(10, 30))), ((60, 20), (slice(20, 40), slice(None)))],
    ids=["wide", "tall"],
)
def test_a_background_is_cropped_at_its_centre_and_not_squeezed(
    size_hw: tuple[int, int], kept: tuple[slice, slice]
) -> None:
    background = np.full((*size_hw, 3), 255, np.uint8)
    background[kept] = 50
    nothing = sharp(np.zeros((100, 100), np.uint8))
    picture = render(tiny.noise((100, 100)), nothing, "replace", background)
    assert (picture == 50).all()


def test_a_background_is_not_turned_or_mirrored() -> None:
    background = tiny.noise((3, 4), seed=5)
    enlarged = cv2.resize(background, (40, 30), interpolation=cv2.INTER_NEAREST)
    nothing = sharp(np.zeros((30, 40), np.uint8))
    picture = render(tiny.noise((30, 40)), nothing, "replace", enlarged)
    np.testing.assert_array_equal(picture, enlarged)


def test_blur_leaves_the_foreground_and_blurs_the_rest() -> None:
    picture = render(FRAME, SHARP, "blur")
    np.testing.assert_array_equal(picture[SOLID], FRAME[SOLID])
    assert picture[CLEAR].std() < FRAME[CLEAR].std() / 4
    assert picture[CLEAR].mean() == pytest.approx(FRAME[CLEAR].mean(), abs=4)


def test_blur_keeps_the_middle_of_a_soft_foreground() -> None:
    middle = (slice(36, 60), slice(28, 44))
    picture = render(FRAME, SEGMENTATION, "blur")
    np.testing.assert_array_equal(picture[middle], FRAME[middle])


def test_blur_draws_no_halo_around_the_foreground() -> None:
    """A white cat before a black wall: the wall stays black next to it."""
    frame = tiny.grey_frame(SHAPE)
    frame[SOLID] = 255
    assert render(frame, SHARP, "blur")[CLEAR].max() <= 8


@pytest.mark.parametrize("value", [0, 1, 128, 255])
@pytest.mark.parametrize("effect", ["blur", "replace"])
def test_one_colour_stays_that_colour(effect: str, value: int) -> None:
    frame = tiny.grey_frame(SHAPE, value)
    picture = render(frame, SEGMENTATION, effect, frame)
    assert np.abs(picture.astype(int) - value).max() <= 1


@pytest.mark.parametrize("everything", [0, 1])
def test_blur_with_nothing_or_everything_in_front(everything: int) -> None:
    picture = render(FRAME, sharp(np.full(SHAPE, everything, np.uint8)), "blur")
    assert np.array_equal(picture, FRAME) == bool(everything)


def test_paste_worked_out_by_hand() -> None:
    below, above = tiny.grey_frame((1, 4), 10), tiny.grey_frame((1, 4), 210)
    alpha = np.array([[0, 51, 204, 255]], np.uint8)
    paste(picture := below.copy(), above, alpha)
    assert picture[0, :, 0].tolist() == [10, 50, 170, 210]
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    same = np.dstack([every] * 3)
    paste(black := np.zeros_like(same), same, np.full_like(every, 255))
    np.testing.assert_array_equal(black, same)
    paste(kept := same.copy(), np.zeros_like(same), np.zeros_like(every))
    np.testing.assert_array_equal(kept, same)


def test_paste_is_the_mixture() -> None:
    below, above = tiny.noise(SHAPE, 3), tiny.noise(SHAPE, 4)
    alpha = np.zeros(SHAPE, np.uint8)
    alpha[20:70, 30:90] = tiny.noise((50, 60), 5)[..., 0]
    weight = alpha[..., np.newaxis] / 255
    paste(picture := below.copy(), above, alpha)
    np.testing.assert_allclose(picture, above * weight + below * (1 - weight), atol=0.51)


def test_a_flattened_cutout_is_shown_over_green() -> None:
    cutout = render(FRAME, SHARP, "cutout")
    picture = flatten(cutout)
    assert (picture.shape, picture.dtype) == (FRAME.shape, np.uint8)
    np.testing.assert_array_equal(picture[SOLID], FRAME[SOLID])
    assert (picture[CLEAR] == GREEN[::-1]).all()
    assert GREEN == (0, 177, 64)
    half = np.dstack([tiny.grey_frame((2, 2), 100), np.full((2, 2), 51, np.uint8)])
    np.testing.assert_allclose(flatten(half)[0, 0], np.array(GREEN[::-1]) * 0.8 + 20, atol=1.01)


@pytest.mark.parametrize("effect", [name for name in EFFECTS if name != "cutout"])
def test_opaque_pictures_are_flat_already(effect: str) -> None:
    picture = render(FRAME, SEGMENTATION, effect, BACKGROUND)
    assert flatten(picture) is picture


@pytest.mark.parametrize("size_hw", [(20, 40), (60, 20), (300, 500), SHAPE])
def test_a_background_covered_once_serves_every_frame(size_hw: tuple[int, int]) -> None:
    background = tiny.noise(size_hw, seed=9)
    covered = cover(background, SHAPE)
    assert covered.shape == (*SHAPE, 3)
    assert cover(covered, SHAPE) is covered
    kept = covered.copy()
    picture = render(FRAME, SEGMENTATION, "replace", covered)
    np.testing.assert_array_equal(picture, render(FRAME, SEGMENTATION, "replace", background))
    np.testing.assert_array_equal(covered, kept)
