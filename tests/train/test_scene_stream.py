"""Scenes depend only on their number, shares follow the people, and held-out photos are refused."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")

import keras

from seg_edge.errors import DataError, UsageError
from tests.train.made_up import make_class
from train.augment import Augmentation
from train.callbacks import Checkpoint
from train.compositing import Compositor, Picture, Scenery, frame_people
from train.dataset import Dataset, open_dataset
from train.recipes import Recipe, person
from train.scene_stream import PictureFolder, SceneTask
from train.training import fit
from train.unet import unet

RED, GREY = (220, 40, 40), (120, 120, 120)
STILL = Augmentation(hue=0.0, saturation=0.0, brightness=0.0, contrast=0.0, noise=0.0)
NO_EFFECTS = Scenery(frame=0.0, paste=0.0, empty=0.0, plain=0.0, tint=0.0, dark=0.0, blur=0.0, jpeg=0.0)


def disc(colour: tuple[int, int, int] = RED, background: tuple[int, int, int] = GREY, centre: int = 48) -> Picture:
    """A round person in front of a wall, 96x96."""
    share = np.zeros((96, 96), np.uint8)
    cv2.circle(share, (centre, centre), 18, 255, -1)
    return Picture.of(np.where(share[..., np.newaxis] > 0, np.uint8(colour), np.uint8(background)), share)


def composer(scenery: Scenery, picture: Picture | None = None) -> Compositor:
    picture = picture or disc()
    return Compositor(64, STILL, scenery, lambda _: picture, lambda _: picture)


def is_red(image: np.ndarray) -> np.ndarray:
    red, green, blue = (image[..., index].astype(int) for index in range(3))
    return red - np.maximum(green, blue) > 40


@pytest.mark.parametrize("scenery", [NO_EFFECTS, replace(NO_EFFECTS, frame=1.0), replace(NO_EFFECTS, paste=1.0)])
def test_shares_follow_the_people(scenery: Scenery) -> None:
    intersection = union = 0
    for number in range(30):
        image, share = composer(scenery)(np.random.default_rng(number))
        assert (image.shape, share.shape) == ((64, 64, 3), (64, 64))
        red, people = is_red(image), share > 127
        intersection += int((red & people).sum())
        union += int((red | people).sum())
    assert union > 30 * 50
    assert intersection / union > 0.95


def test_people_not_covered_by_pasted_ones_stay_labelled() -> None:
    blue_person = disc((40, 40, 220))
    pasted = Compositor(64, STILL, replace(NO_EFFECTS, paste=1.0), lambda _: blue_person, lambda _: disc())
    scenes = [pasted(np.random.default_rng(number)) for number in range(30)]
    blue = sum(int(((image[..., 2] > image[..., 0] + 60) & (share > 127)).sum()) for image, share in scenes)
    assert blue > 30 * 50  # the people in the background are still people


def test_an_empty_scene_shows_no_people() -> None:
    for number in range(20):
        image, share = composer(replace(NO_EFFECTS, empty=1.0), disc(centre=20))(np.random.default_rng(number))
        assert not share.any()
        assert not is_red(image).any()


def test_people_cropped_at_the_lower_edge_stay_there() -> None:
    variation = replace(STILL, rotate_degrees=0.0, stretch=0.0)
    for number in range(50):
        matrix = frame_people((0.3, 0.4, 0.7, 1.0), variation, np.random.default_rng(number), at_edge=True)
        lowest = matrix @ (0.5, 1.0, 1.0)
        assert lowest[1] <= 1 + 1e-9  # the scene ends before the picture does


def test_a_greyscale_picture_gets_colours() -> None:
    grey = disc((90, 90, 90), (200, 200, 200))
    assert grey.is_grey
    assert not disc().is_grey
    image, _ = composer(replace(NO_EFFECTS, tint=1.0), grey)(np.random.default_rng(1))
    assert np.ptp(image.astype(int), axis=2).max() > 10


def test_low_light_blur_noise_and_jpeg_keep_the_shares() -> None:
    clear, degraded = composer(NO_EFFECTS), composer(replace(NO_EFFECTS, dark=1.0, blur=1.0, jpeg=1.0))
    for number in range(10):
        (image, share), (dark, dark_share) = (
            clear(np.random.default_rng(number)),
            degraded(np.random.default_rng(number)),
        )
        assert np.array_equal(share, dark_share)
        assert dark.mean() < image.mean()


def test_an_invalid_probability_is_refused() -> None:
    with pytest.raises(UsageError, match=r"paste is a probability, 0 to 1, got 1\.5"):
        Scenery(paste=1.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_class(tmp_path_factory.mktemp("scenes") / "people", photos=24, classes=("red",))


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return open_dataset(data)


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that aren't in the dataset, with soft masks."""
    folder = make_class(tmp_path_factory.mktemp("soft") / "soft", photos=12, classes=("red",), seed=1)
    for path in (folder / "masks").iterdir():
        cv2.imwrite(str(path), cv2.GaussianBlur(cv2.imread(str(path), 0) * 255, (5, 5), 0))
    return folder


def small(**values: object) -> Recipe:
    recipe = person().replace(size=32, widths=(4, 8), batch=4, steps=3, epochs=2, ema=0.9)
    return recipe.replace(**values)


RECIPE = {"paste": 0.25, "noise": 0.01, "keep": "best"}


@pytest.fixture(scope="module")
def whole(soft: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(dataset, small(**RECIPE), folder, scenes=[PictureFolder(soft, 2.0)])
    return folder


def test_a_scene_depends_only_on_its_number(soft: Path, dataset: Dataset) -> None:
    scenes, again = (SceneTask([PictureFolder(soft)], dataset, small(), (32, 32)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(scenes.views(7), again.views(7), strict=True))
    assert not np.array_equal(scenes.views(7)[0], scenes.views(8)[0])
    (images, shares), (later, _) = next(iter(scenes.training_batches(0))), next(iter(scenes.training_batches(1)))
    assert (images.shape, shares.shape) == ((4, 32, 32, 3), (4, 32, 32, 2))
    assert np.allclose(np.sum(shares, axis=-1), 1)
    assert np.array_equal(later[0], np.float32(scenes.views(4)[0][0]) / 255)


def test_a_heavier_folder_is_drawn_more_often(soft: Path, data: Path, dataset: Dataset, tmp_path: Path) -> None:
    dark = make_class(tmp_path / "dark", photos=4, classes=("red",), seed=2)
    for path in (dark / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)) // 8)
    scenes = SceneTask([PictureFolder(soft), PictureFolder(dark, 3.0)], dataset, small(), (32, 32))
    rng = np.random.default_rng(0)
    drawn = [scenes.compose.draw(rng).image.mean() < 40 for _ in range(400)]
    assert 0.68 < np.mean(drawn) < 0.82


def test_an_interrupted_run_gives_the_same_result(whole: Path, soft: Path, dataset: Dataset, tmp_path: Path) -> None:
    recipe, scenes, resumed = small(**RECIPE), [PictureFolder(soft, 2.0)], tmp_path / "resumed"
    on_epoch_end = Checkpoint.on_epoch_end

    def stop_after_one(self: Checkpoint, epoch: int, logs: dict[str, float] | None = None) -> None:
        on_epoch_end(self, epoch, logs)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            fit(dataset, recipe, resumed, scenes=scenes)
    fit(dataset, recipe, resumed, scenes=scenes, resume=True)
    logs = [(folder / "log.csv").read_text().splitlines() for folder in (whole, resumed)]
    without_seconds = [[line.rpartition(",")[0] for line in log] for log in logs]
    assert without_seconds[0] == without_seconds[1]


def test_keep_last_keeps_the_last_epoch(
    soft: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_epochs(model: keras.Model, *_: Any, callbacks: list[Any], **__: Any) -> None:
        """Replaces `Model.fit`; the second epoch is worse."""
        (checkpoint,) = (callback for callback in callbacks if isinstance(callback, Checkpoint))
        checkpoint.set_model(model)
        checkpoint.set_params({"epochs": 2})
        for epoch, dice in enumerate((0.5, 0.1)):
            model.get_layer("logits").bias.assign([float(epoch)] * 2)
            checkpoint.on_epoch_end(epoch, dict.fromkeys(("loss", "dice", "val_loss", "val_dice"), dice))

    monkeypatch.setattr(keras.Model, "fit", two_epochs)
    trained = fit(dataset, small(keep="last", ema=0.0), tmp_path / "run", scenes=[PictureFolder(soft)])
    assert (trained.run["scores"]["epoch"], trained.run["scores"]["val_dice"]) == (2, 0.1)
    assert trained.model.get_layer("logits").bias.numpy().tolist() == [1, 1]
    with pytest.raises(UsageError, match="keep must be best or last, got 'first'"):
        small(keep="first")


def test_a_photo_of_the_held_out_parts_is_refused(data: Path, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="of the val or test part; leave it out"):
        SceneTask([PictureFolder(data)], dataset, small(), (32, 32))


def test_several_classes_are_refused(soft: Path, tmp_path: Path) -> None:
    several = open_dataset(make_class(tmp_path / "several", photos=24))
    with pytest.raises(DataError, match="scenes teach one class, the data has 3"):
        SceneTask([PictureFolder(soft)], several, small(), (32, 32))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", PictureFolder(Path("a/b"))),
        ("a:2", PictureFolder(Path("a"), 2.0)),
        ("a b:0.5", PictureFolder(Path("a b"), 0.5)),
    ],
)
def test_a_folder_and_its_weight(text: str, expected: PictureFolder) -> None:
    assert PictureFolder.parse(text) == expected


@pytest.mark.parametrize("text", ["a:0", "a:-1", "a:x", "a:inf"])
def test_an_invalid_weight_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a weight above 0, got 'a:"):
        PictureFolder.parse(text)


def test_the_run_records_scenes_recipe_and_best_epoch(whole: Path) -> None:
    run = json.loads((whole / "run.json").read_text())
    assert run["recipe"]["scenery"]["paste"] == 0.25
    assert run["recipe"]["augmentation"]["noise"] == 0.01
    assert [(scenes["folder"], scenes["weight"], scenes["pictures"]) for scenes in run["scenes"]] == [("soft", 2.0, 12)]
    with (whole / "log.csv").open(newline="") as stream:
        best = max(csv.DictReader(stream), key=lambda row: float(row["val_dice"]))
    assert run["scores"]["epoch"] == int(best["epoch"])


def test_objects_are_background_and_hide_people_only_partly() -> None:
    plain, with_objects = composer(NO_EFFECTS), composer(replace(NO_EFFECTS, decoys=1.0))
    changed = hidden = 0
    for number in range(40):
        (image, share), (image_with_objects, visible) = (
            plain(np.random.default_rng(number)),
            with_objects(np.random.default_rng(number)),
        )
        changed += not np.array_equal(image, image_with_objects)
        assert (visible <= share).all()
        assert (visible > 127).sum() >= 0.2 * (share > 127).sum()  # up to three objects, each hides at most 40 %
        hidden += int((visible > 127).sum() < (share > 127).sum())
    assert changed > 30
    assert 5 < hidden < 40


def test_two_views_of_a_scene_differ_slightly(soft: Path, dataset: Dataset) -> None:
    scenes = SceneTask([PictureFolder(soft)], dataset, small(consistency=1.0), (32, 32))
    images, shares = scenes.views(3)
    assert images.shape == (2, 32, 32, 3)
    assert np.array_equal(shares[0], shares[1])
    assert 0 < np.abs(images[0].astype(int) - images[1]).mean() < 25
    (batch, target), (later, _) = next(iter(scenes.training_batches(0))), next(iter(scenes.training_batches(1)))
    assert batch.shape == (4, 32, 32, 3)
    assert np.array_equal(target[0], target[1])
    assert np.array_equal(later[0], np.float32(scenes.views(2)[0][0]) / 255)  # two scenes per batch


def test_consistency_costs_nothing_if_the_views_agree(soft: Path, dataset: Dataset) -> None:
    scenes = SceneTask([PictureFolder(soft)], dataset, small(consistency=1.0), (32, 32))
    model = scenes.training_model(unet((32, 32), 2, (4, 8), stem_stride=2))
    model.compile(loss=small().make_loss(2))
    target = np.full((2, 16, 16, 2), 0.5, np.float32)
    sure, unsure = np.float32([[[[0, 4]]]]), np.float32([[[[0, 0]]]])
    agreeing, differing = (
        np.concatenate(pair) * np.ones((2, 16, 16, 2), np.float32) for pair in ((sure, sure), (sure, unsure))
    )
    probability = 1 / (1 + np.exp(-4))
    for logits, extra in ((agreeing, 0.0), (differing, 2 * (probability - 0.5) ** 2)):
        training = model.compute_loss(None, target, logits, training=True)
        validation = model.compute_loss(None, target, logits, training=False)
        assert float(training - validation) == pytest.approx(extra, abs=1e-5)


def test_places_are_scenes_without_people(soft: Path, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "room.png"), np.full((48, 64, 3), (10, 200, 30), np.uint8))
    recipe = small(paste=0.0, empty=0.0)
    scenes = SceneTask([PictureFolder(soft)], dataset, recipe, (32, 32), [PictureFolder(tmp_path, 3.0)])
    green = [number for number in range(60) if scenes.views(number)[0][..., 1].mean() > 150]
    assert 30 < len(green) < 55
    assert not any(scenes.views(number)[1].any() for number in green)
    assert [folder["pictures"] for folder in scenes.about["scenes"]] == [12, 1]


def test_consistency_needs_an_even_batch() -> None:
    with pytest.raises(UsageError, match="with it batch even, got 1.0 and 3"):
        small(consistency=1.0, batch=3)
