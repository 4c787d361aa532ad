"""A data folder is checked, split reproducibly, and streamed so that training can resume."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from seg_edge.errors import DataError, PhotoError, SegEdgeError, UsageError

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'seg-edge[train]'")

from seg_edge.evaluation.data_folder import PARTS, find_examples  # noqa: E402
from tests.train.made_up import make_class  # noqa: E402
from train.augment import Augmentation  # noqa: E402
from train.dataset import (  # noqa: E402
    Dataset,
    fixed_stream,
    open_dataset,
    open_split,
    training_stream,
)

SIZE_WH = (24, 18)


@pytest.fixture(scope="module")
def readonly_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that tests only read."""
    return make_class(tmp_path_factory.mktemp("made") / "data")


@pytest.fixture
def folder(readonly_folder: Path, tmp_path: Path) -> Path:
    """A copy that tests may change."""
    return Path(shutil.copytree(readonly_folder, tmp_path / "data"))


def names(dataset: Dataset) -> dict[str, list[str]]:
    return {part: [example.name for example in dataset.parts[part]] for part in PARTS}


def read_mask(folder: Path, name: str) -> np.ndarray:
    mask = cv2.imread(str(folder / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    return mask


def write_mask(folder: Path, name: str, mask: np.ndarray) -> None:
    assert cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)


def test_the_split_depends_on_the_seed(readonly_folder: Path) -> None:
    first, repeated, different = (open_dataset(readonly_folder, seed=seed) for seed in (0, 0, 1))
    assert names(first) == names(repeated)
    assert first.fingerprint == repeated.fingerprint
    assert names(first) != names(different)
    assert first.fingerprint != different.fingerprint
    assert first.classes == ("background", "red", "green", "blue")


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_disjoint_complete_and_hold_every_class(readonly_folder: Path, seed: int) -> None:
    dataset = open_dataset(readonly_folder, seed=seed)
    split = names(dataset)
    together = sorted(itertools.chain(*split.values()))
    assert together == [f"photo_{number:03}" for number in range(24)]
    assert 3 <= len(split["val"]) <= 6
    assert 3 <= len(split["test"]) <= 6
    for examples in dataset.parts.values():
        shown = set(np.unique(np.concatenate([e.load_mask().ravel() for e in examples])))
        assert shown == {0, 1, 2, 3}


def name_by_clip(folder: Path, photos_per_clip: int) -> None:
    for path in [*folder.glob("images/*"), *folder.glob("masks/*")]:
        clip = int(path.stem[-3:]) // photos_per_clip
        path.rename(path.with_name(f"clip{clip}_{path.name}"))


def test_groups_by_regular_expression_stay_whole(folder: Path) -> None:
    name_by_clip(folder, 3)
    clips = {
        part: {name.split("_")[0] for name in found}
        for part, found in names(open_dataset(folder, group=r"(clip\d+)_")).items()
    }
    assert sum(len(found) for found in clips.values()) == len(set.union(*clips.values())) == 8
    for expression in ("clip", r"(nothing)_", "("):
        with pytest.raises(DataError, match="regular expression"):
            open_dataset(folder, group=expression)


def test_a_split_with_every_class_in_every_part_is_found_if_possible(folder: Path) -> None:
    name_by_clip(folder, 2)
    for seed in range(4):
        open_dataset(folder, group=r"(clip\d+)_", seed=seed)


def test_a_few_long_clips_are_held_out_whole_for_each_class(folder: Path) -> None:
    """Three clips per class: any two clips, more than 15 % of the photos, lack a class."""
    for path in [*folder.glob("images/*"), *folder.glob("masks/*")]:
        number = int(path.stem[-3:])
        path.rename(path.with_name(f"clip{number % 3}{number // 9}_{path.name}"))
    dataset = open_dataset(folder, group=r"(clip\d+)_")
    for found in names(dataset).values():
        assert sorted(clip[4] for clip in {name.split("_")[0] for name in found}) == ["0", "1", "2"]


def test_other_photos_need_not_match_the_group(folder: Path) -> None:
    name_by_clip(folder, 3)
    for number in range(3):
        shutil.copy(folder / "images" / "clip0_photo_000.jpg", folder / "images" / f"other_{number}.jpg")
        write_mask(folder, f"other_{number}", np.zeros((72, 96), np.uint8))
    dataset = open_dataset(folder, group=r"(clip\d+)_")
    assert sum(name.startswith("other_") for name in itertools.chain(*names(dataset).values())) == 3


@pytest.mark.parametrize("photos", [9, 12, 18])
def test_three_photos_per_class_are_enough_to_split(tmp_path: Path, photos: int) -> None:
    dataset = open_dataset(make_class(tmp_path / "data", photos=photos))
    assert all(len(examples) >= 3 for examples in dataset.parts.values())


def test_bursts_of_similar_photos_stay_whole(folder: Path) -> None:
    """Each photo three times: unchanged, and twice brighter with noise."""
    random = np.random.default_rng(0)
    for path in sorted(folder.glob("images/*")):
        image = cv2.imread(str(path))
        assert image is not None
        for number in (1, 2):
            noise = random.normal(5 * number, 2, image.shape)
            varied = np.clip(image + noise, 0, 255).astype(np.uint8)
            name = f"{path.stem}_again{number}"
            cv2.imwrite(str(path.with_name(f"{name}.jpg")), varied)
            write_mask(folder, name, read_mask(folder, path.stem))
    scattered = bursts_by_part(open_dataset(folder, group="none"))
    assert sum(len(found) for found in scattered.values()) > 24
    together = bursts_by_part(open_dataset(folder, group="similar"))
    assert sum(len(found) for found in together.values()) == 24


def bursts_by_part(dataset: Dataset) -> dict[str, set[str]]:
    return {part: {name[:9] for name in found} for part, found in names(dataset).items()}


def write_index(folder: Path, part_of: Callable[[int], str]) -> None:
    rows = [f"photo_{number:03},{part_of(number)}" for number in range(24)]
    (folder / "index.csv").write_text("\n".join(["name,split", *rows]) + "\n")


def test_index_csv_assigns_the_parts(folder: Path) -> None:
    write_index(folder, lambda n: "val" if n < 3 else "test" if n < 7 else "train")
    split = names(open_dataset(folder))
    assert split["val"] == [f"photo_{n:03}" for n in range(3)]
    assert split["test"] == [f"photo_{n:03}" for n in range(3, 7)]
    assert len(split["train"]) == 17


def test_val_of_an_index_without_test_becomes_the_test_part(folder: Path) -> None:
    write_index(folder, lambda n: "val" if n < 3 else "train")
    split = names(open_dataset(folder))
    assert split["test"] == [f"photo_{n:03}" for n in range(3)]
    assert len(split["val"]) >= 3
    assert len(split["val"]) + len(split["train"]) == 21


def test_an_index_that_leaves_photos_out_is_refused(folder: Path) -> None:
    write_index(folder, lambda n: "train" if n < 22 else "later")
    refuse(folder, r"index.csv: 2 photos have no split of train, val or test there, first 'photo_0")


def test_the_fingerprint_covers_every_pixel_and_part(folder: Path) -> None:
    before = open_dataset(folder).fingerprint
    mask = read_mask(folder, "photo_003")
    mask[0, 0] = 255
    write_mask(folder, "photo_003", mask)
    assert open_dataset(folder).fingerprint != before
    mask[0, 0] = 0
    write_mask(folder, "photo_003", mask)
    assert open_dataset(folder).fingerprint == before
    write_index(folder, lambda n: ("train", "val", "test")[n // 8])
    assert open_dataset(folder).fingerprint != before


def test_a_saved_split_is_reopened_and_changed_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    dataset, saved = open_dataset(folder, seed=4, group="similar", names="photo"), tmp_path / "split.json"
    dataset.save_split(saved)
    assert open_split(folder, saved) == dataset
    with pytest.raises(DataError, match="no such file"):
        open_split(folder, tmp_path / "none.json")
    earlier = json.loads(saved.read_text())
    assert (earlier.pop("group"), earlier.pop("names")) == ("similar", "photo")
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    assert open_split(folder, tmp_path / "earlier.json") == dataclasses.replace(dataset, group="none", names="")
    wrong: list[tuple[str, object]] = [("parts", ["a"]), ("parts", {"train": "a"}), ("classes", "red"), ("seed", None)]
    documents = [{**earlier, key: value} for key, value in [*wrong, ("fingerprint", 3)]]
    documents.append({key: value for key, value in earlier.items() if key != "fingerprint"})
    for text in ("{", "[]", "3", "{}", '{"parts": 3}', *map(json.dumps, documents)):
        (tmp_path / "junk.json").write_text(text)
        with pytest.raises(DataError, match="not a split written by train/fit.py"):
            open_split(folder, tmp_path / "junk.json")
    mask = read_mask(folder, "photo_003")
    write_mask(folder, "photo_003", mask[:, ::-1].copy())
    with pytest.raises(DataError, match="have changed since"):
        open_split(folder, saved)
    (folder / "images/photo_003.jpg").unlink()
    with pytest.raises(DataError, match="1 photos of the split .* are missing, first 'photo_003'"):
        open_split(folder, saved)


def refuse(folder: Path, match: str, error: type[SegEdgeError] = DataError, **options: Any) -> None:
    with pytest.raises(error, match=match) as caught:
        open_dataset(folder, **options)
    assert "\n" not in str(caught.value)


def test_folders_without_photos_or_masks_are_refused(folder: Path, tmp_path: Path) -> None:
    refuse(tmp_path / "none", "a data folder holds images/ and masks/")
    (folder / "masks/photo_007.png").unlink()
    refuse(folder, r"1 of 24 photos have no mask, first 'photo_007.jpg'")
    shutil.rmtree(folder / "masks")
    refuse(folder, "a data folder holds images/ and masks/")
    (folder / "masks").mkdir()
    refuse(folder, "24 of 24 photos have no mask")
    shutil.rmtree(folder / "images")
    (folder / "images").mkdir()
    refuse(folder, "no photos in it")


def test_mask_suffixes_may_be_in_any_case(folder: Path) -> None:
    path = folder / "masks" / "photo_003.png"
    path.rename(path.with_suffix(".PNG"))
    assert [example.mask.name for example in find_examples(folder)][3] == "photo_003.PNG"


def test_masks_that_do_not_fit_are_reported(folder: Path) -> None:
    mask = read_mask(folder, "photo_002")
    write_mask(folder, "photo_002", cv2.resize(mask, (48, 36), interpolation=cv2.INTER_NEAREST))
    refuse(folder, r"photo_002.png is 48x36, its upright photo 96x72\.$")
    mask[5, 5] = 4
    write_mask(folder, "photo_002", mask)
    refuse(folder, r"class numbers 0 to 3 .*photo_002.png holds the value 4\.$")
    for number in range(7):
        write_mask(folder, f"photo_{number:03}", mask)
    refuse(folder, r"photo_004.png holds the value 4; and 2 more\.$")


@pytest.mark.parametrize("kind", ["colours", "palette", "16 bits", "junk", "empty"])
def test_masks_of_other_kinds_are_reported(folder: Path, kind: str) -> None:
    mask, path = read_mask(folder, "photo_002"), folder / "masks/photo_002.png"
    if kind == "colours":
        write_mask(folder, "photo_002", cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR))
    elif kind == "palette":
        image = pytest.importorskip("PIL.Image", reason="writing a palette needs Pillow")
        picture = image.fromarray(mask, "P")
        picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
        picture.save(path)
    elif kind == "16 bits":
        write_mask(folder, "photo_002", mask.astype(np.uint16))
    else:
        path.write_bytes(b"junk" if kind == "junk" else b"")
    refuse(folder, r"photo_002.png: a mask is an 8-bit PNG with one channel")


def test_two_photos_with_one_name_are_refused(folder: Path) -> None:
    shutil.copy(folder / "images/photo_002.jpg", folder / "images/photo_002.jpeg")
    refuse(folder, "two photos are called 'photo_002'")


def test_a_damaged_photo_is_reported(folder: Path) -> None:
    (folder / "images/photo_002.jpg").write_bytes(b"junk")
    refuse(folder, r"photo_002\.jpg", PhotoError)


def test_a_class_missing_in_a_part_is_reported(folder: Path) -> None:
    for number in range(24):
        if number not in (1, 4):
            mask = read_mask(folder, f"photo_{number:03}")
            mask[mask == 2] = 0
            write_mask(folder, f"photo_{number:03}", mask)
    refuse(folder, "no photo of green in the .* part; a class needs at least three photos")


def test_too_few_photos_are_refused(tmp_path: Path) -> None:
    refuse(make_class(tmp_path / "data", photos=5), "can't be split")


@pytest.mark.parametrize("holdout", [0, 0.5, -0.1, float("nan")])
def test_an_invalid_holdout_is_refused(readonly_folder: Path, holdout: float) -> None:
    refuse(readonly_folder, "--holdout must be above 0 and below 0.5", UsageError, holdout=holdout)


def test_holdout_is_the_share_of_val_and_again_of_test(readonly_folder: Path) -> None:
    assert [len(open_dataset(readonly_folder, holdout=0.25).parts[part]) for part in ("val", "test")] == [6, 6]


def test_class_names(folder: Path) -> None:
    assert open_dataset(folder, classes=("red", "green", "blue")).classes[1] == "red"
    refuse(folder, "names red, green, blue, but --classes says a, b", classes=("a", "b"))
    for text in ("red\ngreen\nblue\n", "background\n", "background\nred\nred\n", ""):
        (folder / "labels.txt").write_text(text)
        refuse(folder, "'background' was expected in the first line")
    path = folder / "labels.txt"
    path.write_bytes("\ufeffbackground\r\nred\r\ngreen\r\nblue\r\n".encode())
    assert open_dataset(folder).classes == ("background", "red", "green", "blue")
    path.write_bytes("background\nréd\n".encode("latin-1"))
    refuse(folder, "labels.txt: not UTF-8 text")
    for name in ("re\u200bd", "re\x85d", "re\rd"):
        path.write_text(f"background\n{name}\ngreen\nblue\n", encoding="utf-8", newline="")
        refuse(folder, "can't be printed")
    path.unlink()
    refuse(folder, "no labels.txt")
    for names in ((), ("background", "a", "b"), ("a", "a", "b")):
        refuse(folder, "--classes: different names without 'background'", classes=names)
    refuse(folder, "--classes: the class name .* can't be printed", classes=("a", "b\u202e", "c"))
    assert open_dataset(folder, classes=("a", "b", "c")).classes == ("background", "a", "b", "c")


def stream(dataset: Dataset, count: int, **options: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first `count` batches as a new process would see them."""
    tf.keras.utils.set_random_seed(options.get("seed", 0))
    values = {
        "size_wh": SIZE_WH,
        "cache_size_wh": SIZE_WH,
        "batch": 4,
        "settings": Augmentation(),
        "seed": 0,
        **options,
    }
    found = training_stream(dataset.parts["train"], **values)
    return [(image.numpy(), mask.numpy()) for image, mask in found.take(count)]


def test_batches(readonly_folder: Path) -> None:
    dataset = open_dataset(readonly_folder)
    for image, mask in stream(dataset, 5, cache_size_wh=(36, 27)):
        assert (image.shape, image.dtype) == ((4, 18, 24, 3), np.float32)
        assert (mask.shape, mask.dtype) == ((4, 18, 24), np.uint8)
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(np.unique(mask)) <= {0, 1, 2, 3}


@pytest.mark.parametrize("skip", [1, 3, 4, 5, 9, 13])
def test_skipping_batches_leaves_the_rest_unchanged(readonly_folder: Path, skip: int) -> None:
    dataset = open_dataset(readonly_folder)
    assert len(dataset.parts["train"]) % 4  # so that batches span epochs
    whole, rest = stream(dataset, 16), stream(dataset, 16 - skip, skip_batches=skip)
    for expected, actual in zip(whole[skip:], rest, strict=True):
        np.testing.assert_array_equal(expected[0], actual[0])
        np.testing.assert_array_equal(expected[1], actual[1])


def test_the_seed_sets_order_and_augmentation(readonly_folder: Path) -> None:
    dataset = open_dataset(readonly_folder)
    first, repeated, different = (stream(dataset, 2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[1][0], repeated[1][0])
    assert not np.array_equal(first[1][0], different[1][0])


def test_each_epoch_has_every_photo_once_in_a_new_order(readonly_folder: Path) -> None:
    dataset = open_dataset(readonly_folder)
    train = dataset.parts["train"]
    no_augmentation = Augmentation(*[0.0] * 13)
    known = {image.numpy().tobytes(): number for number, (image, _) in enumerate(fixed_stream(train, SIZE_WH, 1))}
    assert len(known) == len(train)
    batches = stream(dataset, 3 * len(train), batch=1, settings=no_augmentation)
    order = [known[image.tobytes()] for image, _ in batches]
    epochs = [order[start : start + len(train)] for start in range(0, len(order), len(train))]
    for epoch in epochs:
        assert sorted(epoch) == list(range(len(train)))
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_fixed_stream_gives_photos_as_the_runtime_sees_them(readonly_folder: Path) -> None:
    examples = open_dataset(readonly_folder).parts["val"]
    batches = list(fixed_stream(examples, SIZE_WH, 2))
    assert [len(image) for image, _ in batches][:-1] == [2] * (len(batches) - 1)
    images = np.concatenate([image.numpy() for image, _ in batches])
    masks = np.concatenate([mask.numpy() for _, mask in batches])
    for image, mask, example in zip(images, masks, examples, strict=True):
        expected_image, expected_mask = example.load(SIZE_WH)
        np.testing.assert_allclose(image, expected_image / np.float32(255), atol=1e-6)
        np.testing.assert_array_equal(mask, expected_mask)


def test_a_split_file_is_plain_json(readonly_folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(readonly_folder)
    dataset.save_split(tmp_path / "split.json")
    saved = json.loads((tmp_path / "split.json").read_text())
    assert saved["parts"] == names(dataset)
    assert (saved["seed"], saved["fingerprint"]) == (0, dataset.fingerprint)
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]
