"""The bundled models, and the path from annotations to a data folder, on real photos; skipped without them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seg_edge import Segmenter
from seg_edge.evaluation.metrics import confusion_matrix, dice
from seg_edge.photo.read import read_photo

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("name", "minimums"), [("person", (0.87, 0.82, 0.65)), ("person-fast", (0.85, 0.80, 0.63))])
def test_the_bundled_models_find_people_in_unseen_photos(
    shared_data: Path, name: str, minimums: tuple[float, float, float]
) -> None:
    """Mean Dice over the `person` test photos of which people fill at least a fifth, at least a tenth, and over all."""
    pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")
    from seg_edge.evaluation.data_folder import assigned_splits, find_examples

    examples = find_examples(shared_data / "person")
    parts = assigned_splits(shared_data / "person", examples) or {}
    segment, scores, shares = Segmenter(name), [], []
    for example in (example for example, part in parts.items() if part == "test"):
        truth = example.load_mask()
        shares.append(np.mean(truth == 1))
        scores.append(dice(confusion_matrix(truth, segment(read_photo(example.image)).labels, 2))[1])
    groups = np.array(shares)[:, np.newaxis] >= (0.2, 0.1, 0.0)
    assert groups.sum(axis=0).tolist() == [42, 63, 103]
    means = [np.mean(np.array(scores)[group]) for group in groups.T]
    assert all(mean >= minimum for mean, minimum in zip(means, minimums, strict=True)), means


def test_an_empty_corner_of_a_classroom_stays_empty(shared_data: Path) -> None:
    frame = read_photo(shared_data / "cohort" / "photos" / "photo_001.jpg")
    result = Segmenter("person")(frame)
    assert 0.1 < result.areas["person"] < 0.6
    assert result.labels[:100, 500:].mean() < 0.02  # the blind at the window


def test_an_annotated_class_becomes_a_split_data_folder(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")
    from train.dataset import open_dataset

    cohort, out = shared_data / "cohort", tmp_path / "class"
    command = [sys.executable, str(ROOT / "train" / "masks.py"), str(cohort / "via_region_data.csv")]
    subprocess.run([*command, "--photos", str(cohort / "photos"), "--out", str(out)], check=True, capture_output=True)
    dataset = open_dataset(out)
    assert dataset.classes == ("background", "grey", "hoodie", "orange")
    assert {part: len(examples) for part, examples in dataset.parts.items()} == {"train": 56, "val": 12, "test": 12}
    for example in dataset.parts["val"]:
        image, mask = example.load((256, 256))
        assert image.shape == (256, 256, 3)
        assert set(np.unique(mask)) <= {0, 1, 2, 3}
        assert 0.1 < np.mean(mask > 0) < 0.6  # one student per photo, near the camera
