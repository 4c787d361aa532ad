"""The Segmenter as users call it: a frame of any size in, the right classes out."""

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge import Segmentation, Segmenter, timing
from seg_edge import segmenter as segmenter_module
from seg_edge.card import ModelCard, make_classes
from seg_edge.effects import render
from seg_edge.errors import ModelError, SegEdgeError, UsageError
from seg_edge.interpreter import LiteRT, TensorSpec
from tests import tiny

SHAPES = [(1, 1), (1, 500), (500, 1), (480, 640), (10, 4000), (4000, 10), (16, 16), (32, 32)]


@pytest.fixture(scope="module", params=tiny.MODELS, ids=lambda path: path.stem)
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    return Segmenter(request.param, threads=1)


@pytest.fixture(scope="module")
def bright() -> Segmenter:
    return Segmenter(tiny.TWO_UINT8, threads=1)


@pytest.mark.parametrize("shape_hw", SHAPES)
def test_a_frame_of_any_size_gets_a_result_of_that_size(segmenter: Segmenter, shape_hw: tuple[int, int]) -> None:
    frame = tiny.noise(shape_hw)
    result = segmenter(frame)
    classes = len(segmenter.classes)
    assert result.labels.shape == shape_hw
    assert result.labels.dtype == np.uint8
    assert result.labels.max() < classes
    assert result.alpha().shape == shape_hw
    assert result.probabilities().shape == (*shape_hw, classes)
    assert list(result.areas) == [info.name for info in segmenter.classes[1:]]
    assert sum(result.areas.values()) == pytest.approx(np.mean(result.labels > 0))
    np.testing.assert_array_equal(frame, tiny.noise(shape_hw))


@pytest.mark.parametrize("path", tiny.BRIGHTNESS_MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("shape_hw", [(64, 96), (480, 640), (33, 500)])
def test_a_white_square_is_found_where_it_is(path: Path, shape_hw: tuple[int, int]) -> None:
    frame = tiny.bright_square(shape_hw)
    result = Segmenter(path, threads=1)(frame)
    truth = (frame[..., 0] > 0).astype(np.uint8)
    overlap = np.sum((result.labels > 0) & (truth > 0)) / np.sum((result.labels > 0) | (truth > 0))
    assert overlap > 0.93
    assert result.areas["class 1"] == pytest.approx(truth.mean(), abs=0.03)


@pytest.mark.parametrize("path", [*tiny.BRIGHTNESS_MODELS, tiny.RAW_UINT8], ids=lambda p: p.stem)
@pytest.mark.parametrize(("value", "share"), [(0, 0.0), (110, 0.0), (145, 1.0), (255, 1.0)])
def test_a_card_is_not_needed(path: Path, value: int, share: float) -> None:
    result = Segmenter(path, threads=1)(tiny.grey_frame((20, 30), value))
    assert result.areas == {"class 1": share}


@pytest.mark.parametrize(
    ("bgr", "name"),
    [
        ((0, 0, 0), None),
        ((255, 255, 255), None),
        ((0, 0, 255), "red"),
        ((0, 255, 0), "green"),
        ((255, 0, 0), "blue"),
    ],
)
def test_colours_reach_the_model_in_its_own_order(tmp_path: Path, bgr: tuple[int, int, int], name: str | None) -> None:
    path = tiny.carded(tiny.FOUR_UINT8, tmp_path, tiny.FOUR_CARD)
    result = Segmenter(path, threads=1)(np.full((40, 50, 3), bgr, np.uint8))
    assert result.areas == {"red": 0, "green": 0, "blue": 0} | ({name: 1.0} if name else {})


def test_several_classes_in_one_frame(tmp_path: Path) -> None:
    frame = tiny.grey_frame((100, 200))
    frame[:, :100, 2] = 255
    frame[50:, 100:, 0] = 255
    result = Segmenter(tiny.carded(tiny.FOUR_UINT8, tmp_path, tiny.FOUR_CARD), threads=1)(frame)
    assert result.areas == pytest.approx({"red": 0.5, "green": 0, "blue": 0.25}, abs=0.03)
    assert [polygon.label for polygon in result.polygons()] == ["red", "blue"]
    assert result.labels[10, 10] == 1
    assert result.labels[90, 190] == 3
    assert result.labels[10, 190] == 0


def test_names_and_colours_come_from_the_card(tmp_path: Path) -> None:
    segment = Segmenter(tiny.carded(tiny.TWO_UINT8, tmp_path), threads=1)
    assert segment.card == tiny.TWO_CARD
    assert segment.classes == tiny.TWO_CARD.classes
    result = segment(tiny.bright_square())
    assert list(result.areas) == ["bright"]
    assert result.classes == tiny.TWO_CARD.classes


def test_the_cards_normalisation_is_used(tmp_path: Path) -> None:
    """A model trained on negatives: 255 is 0 to it."""
    path = tiny.carded(tiny.SIGMOID_FLOAT32, tmp_path, scale=-1 / 255, offset=1.0, output="probabilities")
    segment = Segmenter(path, threads=1)
    assert segment(tiny.grey_frame((9, 9), 0)).areas == {"bright": 1.0}
    assert segment(tiny.grey_frame((9, 9), 255)).areas == {"bright": 0.0}


@pytest.mark.parametrize(("output", "share"), [("probabilities", 0.0), ("logits", 1.0)])
def test_the_cards_kind_of_output_is_used(tmp_path: Path, output: str, share: float) -> None:
    """The model says 0.37 of this grey: as a probability background, as a logit foreground."""
    segment = Segmenter(tiny.carded(tiny.SIGMOID_FLOAT32, tmp_path, output=output), threads=1)
    assert segment(tiny.grey_frame((9, 9), 119)).areas == {"bright": share}


@pytest.mark.parametrize(
    ("path", "changes", "reason"),
    [
        (tiny.TWO_UINT8, {"input_size_wh": (64, 64)}, r"input \(64, 64\), .*expects \(32, 32\)"),
        (tiny.TWO_UINT8, {"input_size_wh": (32, 31)}, r"input \(32, 31\), .*expects \(32, 32\)"),
        (tiny.TWO_UINT8, {"classes": make_classes("abc")}, "3 classes, .*2 output channels"),
        (tiny.FOUR_UINT8, {}, "2 classes, .*4 output channels"),
        (tiny.SIGMOID_FLOAT32, {"classes": make_classes("abc")}, "3 classes, .*1 output channels"),
    ],
)
def test_a_card_of_another_model_is_refused(tmp_path: Path, path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=f"^carded: its card .*{reason}"):
        Segmenter(tiny.carded(path, tmp_path, **changes))


def test_the_same_frame_gets_the_same_result(segmenter: Segmenter) -> None:
    frame = tiny.noise((50, 70))
    first = segmenter(frame)
    segmenter(tiny.bright_square())
    again = segmenter(frame)
    for segment in (
        lambda f: again,
        Segmenter(segmenter.file.path, threads=1),
        Segmenter(segmenter.file.path, threads=2),
        Segmenter(segmenter.file.path),
    ):
        result = segment(frame)
        np.testing.assert_array_equal(result.labels, first.labels)
        np.testing.assert_array_equal(result.probabilities(), first.probabilities())


def test_a_result_stays_the_same_when_the_next_frame_is_segmented(segmenter: Segmenter) -> None:
    result = segmenter(tiny.bright_square())
    labels, alpha = result.labels.copy(), result.alpha()
    segmenter(tiny.grey_frame((64, 96), 40))
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(result.alpha(), alpha)


@pytest.mark.parametrize("layout", tiny.LAYOUTS.values(), ids=tiny.LAYOUTS)
def test_the_memory_layout_does_not_matter(segmenter: Segmenter, layout: Callable[[np.ndarray], np.ndarray]) -> None:
    frame = layout(tiny.noise((90, 120)))
    expected = segmenter(np.ascontiguousarray(frame))
    np.testing.assert_array_equal(segmenter(frame).labels, expected.labels)


def test_the_stages_are_timed(bright: Segmenter) -> None:
    timing = bright(tiny.bright_square()).timing_ms
    assert list(timing) == ["preprocess", "inference", "postprocess"]
    assert all(isinstance(value, float) and value >= 0 for value in timing.values())


@pytest.mark.parametrize(
    "frame", [None, np.zeros((9, 9, 2), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)]
)
def test_anything_but_a_frame_is_refused(bright: Segmenter, frame: Any) -> None:
    with pytest.raises(TypeError, match="a frame must be "):
        bright(frame)


def test_pictures_of_other_kinds_are_frames_too(bright: Segmenter) -> None:
    frame = tiny.bright_square()
    expected = bright(frame).labels
    transparent = np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])
    pil = pytest.importorskip("PIL.Image")
    image = pil.fromarray(np.ascontiguousarray(frame[..., ::-1]))
    for picture in (transparent, image, image.convert("RGBA")):
        np.testing.assert_array_equal(bright(picture).labels, expected)
    grey = np.full((8, 8), 200, np.uint8)
    np.testing.assert_array_equal(bright(grey).labels, bright(np.dstack([grey] * 3)).labels)
    # Transparent parts are laid over white.
    transparent[..., 3] = 0
    np.testing.assert_array_equal(bright(transparent).labels, bright(np.full_like(frame, 255)).labels)
    image.getexif()[0x0112] = 6
    with pytest.raises(UsageError, match="exif_transpose"):
        bright(image)


@pytest.mark.parametrize("threads", [0, -1, "2", 2.0])
def test_threads_are_a_whole_number(threads: Any) -> None:
    with pytest.raises(UsageError, match="whole number of 1 or more"):
        Segmenter(threads=threads)


def test_threads_may_share_one(bright: Segmenter) -> None:
    frames = [np.roll(tiny.bright_square(), shift, axis=1) for shift in (0, 20, 40, 60)]
    expected = [bright(frame).labels for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: bright(frames[number % 4]).labels, range(100)))
    assert all(np.array_equal(result, expected[number % 4]) for number, result in enumerate(results))


def test_polygons_leave_out_less_than_a_two_thousandth(bright: Segmenter) -> None:
    result = bright(tiny.bright_square())
    labels = np.zeros((100, 200), np.uint8)  # a two thousandth is 10 pixels
    labels[10:60, 10:60] = 1
    labels[80:83, 100:103] = 1
    labels[80:84, 150:153] = 1
    areas = [polygon.area for polygon in replace(result, labels=labels).polygons()]
    assert areas == [2500, 12]


def test_a_result_is_drawn_with_each_effect(bright: Segmenter) -> None:
    frame = tiny.bright_square()
    result = bright(frame)
    assert render(frame, result).shape == (64, 96, 3)
    assert render(frame, result, "cutout").shape == (64, 96, 4)
    assert render(frame, result, "replace", tiny.noise((5, 5))).shape == (64, 96, 3)


class Oracle:
    """Another backend: foreground where the tensor is above 100."""

    def __init__(self, channels: int = 1):
        self.input = TensorSpec("in", (1, 8, 16, 3), np.uint8, 1 / 255, 0)
        self.output = TensorSpec("out", (1, 8, 16, channels), np.float32)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        plane = tensor[..., :1].astype(np.float32) - 100
        return np.repeat(plane, self.output.shape[3], axis=3)


def test_from_backend_accepts_any_backend() -> None:
    card = ModelCard("oracle", make_classes(["background", "thing"]), (16, 8))
    segment = Segmenter.from_backend(Oracle(), card)
    frame = tiny.grey_frame((32, 64))
    frame[:, 32:] = 255
    result = segment(frame)
    assert isinstance(result, Segmentation)
    assert result.areas == {"thing": pytest.approx(0.5, abs=0.05)}
    with pytest.raises(ModelError, match=r"^oracle: its card says input"):
        Segmenter.from_backend(Oracle(), replace(card, input_size_wh=(8, 16)))


class Fickle(Oracle):
    """Sure of the whole picture at first, then less sure of the opposite."""

    scores = (100, -10, -10, -10)

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def run(self, tensor: np.ndarray) -> np.ndarray:
        self.calls += 1
        return np.full((1, 8, 16, 1), self.scores[(self.calls - 1) % 4], np.float32)


def test_still_parts_are_smoothed_until_reset() -> None:
    card = ModelCard("oracle", make_classes(["background", "thing"]), (16, 8))
    frame = tiny.noise((32, 64))
    plain, steady = Segmenter.from_backend(Fickle(), card), Segmenter.from_backend(Fickle(), card, smooth=1)
    assert [plain(frame).areas["thing"] for _ in range(4)] == [1, 0, 0, 0]
    results = [steady(frame) for _ in range(4)]
    assert [result.areas["thing"] for result in results] == [1, 1, 1, 1]
    assert [result.alpha().min() > 127 for result in results] == [True, True, True, True]
    steady.reset()
    assert steady(frame).areas["thing"] == 1
    steady.reset()
    assert steady(frame).areas["thing"] == 0


def test_smooth_forgets_where_the_picture_changes(tmp_path: Path) -> None:
    segment = Segmenter(tiny.carded(tiny.TWO_UINT8, tmp_path), threads=1, smooth=1)
    for _ in range(10):
        segment(tiny.grey_frame((64, 96), 40))
    square = tiny.bright_square()
    np.testing.assert_array_equal(segment(square).labels, Segmenter(segment.file.path, threads=1)(square).labels)


@pytest.mark.parametrize("smooth", [-0.01, 1.01])
def test_smooth_outside_its_range_is_refused(smooth: float) -> None:
    with pytest.raises(UsageError, match="smooth is"):
        Segmenter(tiny.TWO_UINT8, smooth=smooth)


@pytest.mark.parametrize(("channels", "fits"), [(256, True), (257, False)])
def test_a_model_without_a_card_has_at_most_256_classes(
    monkeypatch: pytest.MonkeyPatch, channels: int, fits: bool
) -> None:
    monkeypatch.setattr("seg_edge.segmenter.LiteRT", lambda *_: Oracle(channels))
    if fits:
        assert len(Segmenter(tiny.TWO_UINT8).classes) == 256
    else:
        with pytest.raises(ModelError, match="257 output channels"):
            Segmenter(tiny.TWO_UINT8)


def test_threads_below_one_are_not_blamed_on_the_file() -> None:
    with pytest.raises((ValueError, SegEdgeError), match="threads") as refusal:
        Segmenter(tiny.TWO_UINT8, threads=-1)
    assert "damaged" not in str(refusal.value)


def centre_of_the_face(picture: np.ndarray) -> tuple[int, int]:
    """Row and column in `grace_hopper.jpg`."""
    return picture.shape[0] * 38 // 100, picture.shape[1] * 50 // 100


def check_portrait(result: Segmentation, picture: np.ndarray) -> None:
    assert 0.3 < sum(result.areas.values()) < 0.8
    assert result.labels[centre_of_the_face(picture)] == 1
    assert result.alpha()[centre_of_the_face(picture)] > 200
    assert result.labels[5, -5] == 0
    assert max(result.polygons(), key=lambda polygon: polygon.area).area > 0.3 * result.labels.size


def test_the_person_model_finds_the_person() -> None:
    picture = cv2.imread(str(tiny.GRACE_HOPPER))
    segment = Segmenter("person")
    assert [info.name for info in segment.classes] == ["background", "person"]
    check_portrait(segment(picture), picture)


def mediapipe_selfie() -> Path:
    """MediaPipe's model from its installed package; the package itself isn't imported."""
    found = importlib.util.find_spec("mediapipe")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mediapipe is not installed: pip install mediapipe==0.10.21")
    for folder in found.submodule_search_locations:
        path = Path(folder, "modules", "selfie_segmentation", "selfie_segmentation.tflite")
        if path.is_file():
            return path
    pytest.skip("mediapipe is installed without selfie_segmentation.tflite: try 0.10.21")


def test_a_model_without_a_card_runs() -> None:
    picture = cv2.imread(str(tiny.GRACE_HOPPER))
    segment = Segmenter(mediapipe_selfie())
    assert segment.file.card is None
    assert segment.card.output == "probabilities"
    check_portrait(segment(picture), picture)


@pytest.mark.parametrize(("run_s", "chosen"), [(0.15, "person-fine"), (0.25, "person")])
def test_photos_get_the_more_accurate_model_if_the_machine_is_fast_enough(
    monkeypatch: pytest.MonkeyPatch, run_s: float, chosen: str
) -> None:
    """A stub clock: only the second run counts, as the first allocates."""
    backend = LiteRT(tiny.TWO_UINT8.read_bytes(), 1, "two")
    clock, runs = [0.0], iter((9.0, run_s))
    monkeypatch.setattr(backend, "run", lambda tensor: clock.__setitem__(0, clock[0] + next(runs)))
    monkeypatch.setattr(segmenter_module, "Segmenter", lambda model, threads: SimpleNamespace(backend=backend))
    monkeypatch.setattr(segmenter_module, "bundled_models", lambda: {"person": "", "person-fine": ""})
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    lines: list[str] = []
    assert segmenter_module.default_photo_model(1, lines.append) == chosen
    assert len(lines) == (chosen == "person")
    assert all("250 ms" in line and "--model person-fine" in line for line in lines)


def test_photos_get_person_if_the_more_accurate_model_is_not_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter_module, "bundled_models", lambda: {"person": ""})
    assert segmenter_module.default_photo_model(1, pytest.fail) == "person"
