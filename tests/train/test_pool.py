"""Photos with predicted masks train beside drawn ones, and never choose or score."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

from seg_edge.errors import DataError
from tests.train.made_up import make_class
from train.dataset import open_dataset, open_split
from train.folder import find_examples
from train.pool import harden, pool


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    folder = make_class(tmp_path / "drawn", photos=12, classes=("red",))
    open_dataset(folder).save_split(tmp_path / "split.json")
    return folder


def soft_folder(folder: Path, prefix: str) -> Path:
    """Photos of one grey with masks that fall off from left to right."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(5):
        cv2.imwrite(str(folder / "images" / f"{prefix}{index}.jpg"), np.full((40, 256, 3), 90, np.uint8))
        cv2.imwrite(str(folder / "masks" / f"{prefix}{index}.png"), np.tile(np.arange(256, dtype=np.uint8), (40, 1)))
    return folder


def test_a_soft_mask_counts_where_it_is_sure() -> None:
    soft = np.array([[0, 64, 65, 191, 192, 255]], np.uint8)
    assert harden(soft).tolist() == [[0, 0, 255, 255, 1, 1]]


def test_predicted_masks_only_train_and_the_others_stay_where_they_were(drawn: Path, tmp_path: Path) -> None:
    before = open_split(drawn, tmp_path / "split.json")
    soft = find_examples(soft_folder(tmp_path / "soft", "soft"))
    pool(before, list(soft), tmp_path / "pooled")
    after = open_dataset(tmp_path / "pooled")
    names = {part: {example.name for example in examples} for part, examples in after.parts.items()}
    for part in ("val", "test"):
        assert names[part] == {example.name for example in before.parts[part]}
    assert names["train"] == {e.name for e in before.parts["train"]} | {f"soft{i}" for i in range(5)}
    for example in before.parts["val"]:
        pooled = next(e for e in after.parts["val"] if e.name == example.name)
        assert np.array_equal(pooled.load_mask(), example.load_mask())


def test_a_name_in_both_is_refused_and_nothing_is_left(drawn: Path, tmp_path: Path) -> None:
    soft = find_examples(soft_folder(tmp_path / "soft", "photo_00"))
    with pytest.raises(DataError, match="two photos are called 'photo_00"):
        pool(open_split(drawn, tmp_path / "split.json"), list(soft), tmp_path / "pooled")
    assert not list(tmp_path.glob("pooled*"))
