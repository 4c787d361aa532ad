"""A student keeps what the large model's later rows have learnt, and its front learns to answer like the first ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import typer
from typer.testing import CliRunner, Result

from convert.student import LAYERS, StudentConfig, main, make_student
from seg_edge.errors import ModelError, UsageError
from tests.convert.test_channels import shake
from tests.train.made_up import make_class
from train.dataset import Dataset, open_dataset
from train.keras_model import TrainedModel, load_keras
from train.lite0 import ROWS, dense_front_unet, lite0_unet

ALL = (144, 240, 240, 480, 480, 480, 672, 672)  # channels that rows 3 to 5 have
BLOCKS = range(3, 11)
app = typer.Typer()
app.command()(main)

Large = tuple[Path, Dataset]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Large:
    folder = tmp_path_factory.mktemp("large")
    data = open_dataset(make_class(folder / "class", photos=12, classes=("red",)), holdout=0.2)
    (folder / "run").mkdir()
    shake(lite0_unet((64, 64), 2, (8, 8, 8), rows=5, pretrained=False)).save(folder / "run" / "model.keras")
    data.save_split(folder / "run" / "split.json")
    return folder, data


def run(large: Large, *more: str) -> Result:
    folder, _ = large
    return CliRunner().invoke(app, [str(folder / "run" / "model.keras"), "--data", str(folder / "class"), *more])


def test_with_all_channels_the_rows_behind_the_front_answer_as_before(large: Large, tmp_path: Path) -> None:
    folder, data = large
    whole = TrainedModel.load(folder / "run" / "model.keras")
    config = StudentConfig(size=64, expansions=ALL, steps=1, batch=2)
    student = make_student(whole, data, (), tmp_path / "run", config)
    features = np.random.default_rng(0).normal(size=(1, 16, 16, ROWS[1].width)).astype(np.float32)

    def behind(model: keras.Model, front: str) -> np.ndarray:
        return np.asarray(keras.Model(model.get_layer(front).output, model.get_layer("block10_add").output)(features))

    np.testing.assert_allclose(behind(student, "front2_norm"), behind(whole.model, "block2_add"), rtol=1e-3, atol=1e-3)


def test_the_command_writes_what_a_training_starts_from(large: Large, tmp_path: Path) -> None:
    folder, _ = large
    made = run(
        large,
        "--size",
        "32",
        "--steps",
        "25",
        "--batch",
        "4",
        "--unlabelled",
        str(folder / "class" / "images"),
        "--out",
        str(tmp_path / "run"),
    )
    assert made.exit_code == 1
    assert "val or test part" in made.output
    made = run(large, "--size", "32", "--steps", "25", "--batch", "4", "--out", str(tmp_path / "run"))
    assert made.exit_code == 0, made.output
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["student"]["unexplained"] < 0.9  # of features that a front that knows nothing explains nothing of
    student, whole = load_keras(tmp_path / "run" / "model.keras"), load_keras(folder / "run" / "model.keras")
    for block, count in zip(BLOCKS, StudentConfig().expansions, strict=True):
        kernel = student.get_layer(f"block{block}_expand_conv").get_weights()[0][0, 0]
        before = whole.get_layer(f"block{block}_expand_conv").get_weights()[0][0, 0]
        kept = [int(np.flatnonzero((before == column[:, np.newaxis]).all(axis=0))[0]) for column in kernel.T]
        assert len(kept) == count
        assert kept == sorted(set(kept))
        assert {len(student.get_layer(f"block{block}_{name}").get_weights()) for name in LAYERS} == {1, 4}
    assert run(large, "--size", "32", "--out", str(tmp_path / "run")).exit_code == 1  # it isn't empty


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--expansions", "8,8"), "8 numbers"),
        (("--expansions", ",".join(["700"] * 8)), "block 3 of the large model has 144 channels"),
        (("--widths", "8,8"), "three numbers"),
        (("--size", "40"), "multiples of 16"),
    ],
)
def test_what_does_not_fit_is_said(large: Large, tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    size = () if "--size" in options else ("--size", "32")
    made = run(large, *size, *options, "--out", str(tmp_path / "run"))
    assert made.exit_code == (1 if "700" in options[1] else 2)
    assert reason in " ".join(made.output.split())
    assert not (tmp_path / "run").exists()


def test_another_network_is_refused(large: Large, tmp_path: Path) -> None:
    folder, data = large
    plain = shutil.copytree(folder / "run", tmp_path / "plain")
    dense_front_unet((32, 32), 2, (8, 8, 8), front=(8, 8), expansions=[8] * 8).save(plain / "model.keras")
    with pytest.raises(ModelError, match="EfficientNet-Lite0"):
        make_student(TrainedModel.load(plain / "model.keras"), data, (), tmp_path / "run", StudentConfig(size=32))


def test_a_front_of_one_channel_is_a_network_and_of_none_isn_t() -> None:
    model = dense_front_unet((32, 64), 3, (4, 4, 4), front=(1, 1), expansions=[1] * 8)
    assert model.output_shape == (None, 32, 16, 3)
    with pytest.raises(UsageError, match="above 0"):
        dense_front_unet((32, 32), 3, (4, 4, 4), front=(0, 1), expansions=[1] * 8)
