"""Soft masks mix hand-drawn masks and a teacher's output, for the train part only."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import typer

from convert import soft_labels as script
from convert.distillation.teacher import Teacher
from convert.soft_labels import soft_mask, without_outlines
from seg_edge.evaluation.metrics import IGNORE
from tests.tiny import FOUR_UINT8, SIGMOID_FLOAT32
from tests.train.made_up import make_class
from train.dataset import open_dataset


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """A teacher for which bright is foreground."""
    return Teacher.load(SIGMOID_FLOAT32, ("background", "person"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """The left half is white, the right black."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 255
    cv2.imwrite(str(tmp_path / "photo.png"), pixels)
    return tmp_path / "photo.png"


def test_without_a_mask_the_teacher_decides(teacher: Teacher, photo: Path) -> None:
    soft = soft_mask(teacher, photo, None, 0.3)
    assert soft.shape == (40, 60)
    assert soft[:, :25].min() > 200
    assert soft[:, 35:].max() < 55


def test_masks_and_teacher_are_mixed_and_ignored_pixels_are_the_teachers(teacher: Teacher, photo: Path) -> None:
    teachers = soft_mask(teacher, photo, None, 0.3).astype(float)
    mask = np.zeros((40, 60), np.uint8)
    mask[:20], mask[30:] = 1, IGNORE
    soft = soft_mask(teacher, photo, mask, 0.3).astype(float)
    assert np.abs(soft[:20] - (0.7 * 255 + 0.3 * teachers[:20])).max() <= 1
    assert np.abs(soft[20:30] - 0.3 * teachers[20:30]).max() <= 1
    assert np.abs(soft[30:] - teachers[30:]).max() <= 1


def run(*arguments: object) -> str:
    """The command's exit code as text, empty for 0."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["soft_labels.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            typer.run(script.main)
    return "" if not exited.value.code else str(exited.value.code)


def test_only_the_train_part_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_class(tmp_path / "data", classes=("red",))
    parts = open_dataset(data).parts
    rows = [f"{example.name},{part}" for part, examples in parts.items() for example in examples]
    (data / "index.csv").write_text("\n".join(["name,split", *rows]))  # else similar photos would share a part
    train, twin = parts["train"], parts["test"][0].image
    train[0].image.write_bytes(twin.read_bytes())
    assert run(SIGMOID_FLOAT32, "--data", data, "--out", tmp_path / "soft") == ""
    written = {path.stem for path in (tmp_path / "soft" / "images").iterdir()}
    assert written == {example.name for example in train[1:]}
    assert {path.stem for path in (tmp_path / "soft" / "masks").iterdir()} == written
    assert f"{train[0].name} is skipped: the same photo as {twin.stem}" in capsys.readouterr().out
    assert run(SIGMOID_FLOAT32, "--data", data, "--out", tmp_path / "soft") == "1"  # it isn't empty
    assert "isn't empty" in capsys.readouterr().err


def test_photos_without_masks(tmp_path: Path, photo: Path) -> None:
    assert run(SIGMOID_FLOAT32, "--photos", photo.parent, "--out", tmp_path / "soft") == ""
    assert cv2.imread(str(tmp_path / "soft" / "masks" / "photo.png"), cv2.IMREAD_UNCHANGED).shape == (40, 60)


def test_several_classes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_class(tmp_path / "data")
    assert run(FOUR_UINT8, "--data", data, "--out", tmp_path / "soft") == "1"
    assert "soft masks hold one class, the data has red, green, blue" in capsys.readouterr().err


def test_an_ignored_line_along_an_outline_is_split_and_other_ignored_pixels_are_kept() -> None:
    mask = np.zeros((30, 60), np.uint8)
    mask[:, 20:] = 1
    mask[:, 17:23] = mask[:, 40:] = 255
    result = without_outlines(mask)
    assert (result[:, :20] == 0).all()
    assert (result[:, 20:40] == 1).all()
    assert (result[:, 40:] == 255).all()
