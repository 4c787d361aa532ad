"""Scores use the device's pre- and postprocessing; raw counts and pictures are written."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import typer
from typer.testing import CliRunner

from seg_edge.errors import ModelError
from seg_edge.evaluation.scores import PhotoScore, Scores, score
from train.dataset import open_split
from train.evaluate import main
from train.keras_model import keras_segmenter, load_keras

Trained = tuple[Path, Path]
app = typer.Typer()
app.command()(main)


def test_a_trained_model_has_the_score_in_its_run(trained: Trained) -> None:
    data, run = trained
    dataset = open_split(data, run / "split.json")
    scores = score(keras_segmenter(load_keras(run / "model.keras"), dataset.classes), dataset.parts["val"])
    recorded = json.loads((run / "run.json").read_text())["scores"]["val_dice"]
    assert scores.mean_dice == pytest.approx(recorded, abs=0.05)  # recorded at 64x64, scored at 96x72
    assert scores.mean_dice > 0.85
    assert scores.classes == ("background", "red", "green", "blue")


def test_scores_of_known_counts() -> None:
    def photo(name: str, matrix: list[list[int]], boundary: list[float], share: float) -> PhotoScore:
        return PhotoScore(name, np.array(matrix), np.array(boundary), share)

    good = photo("good", [[50, 0], [0, 50]], [np.nan, 1.0], 0.5)
    poor = photo("poor", [[80, 10], [5, 5]], [np.nan, 0.5], 0.1)
    empty = photo("empty", [[100, 0], [0, 0]], [np.nan, np.nan], 0.0)
    scores = Scores(("background", "cat"), (good, poor, empty))
    assert scores.mean_dice == pytest.approx(2 * 55 / (60 + 65))
    assert scores.mean_photo_dice == pytest.approx((1.0 + 2 * 5 / (10 + 15)) / 2)  # `empty` has no Dice
    assert scores.mean_boundary == pytest.approx(0.75)
    assert scores.at_least(0.2).photos == (good,)
    assert scores.summary()["photos"] == 3


def test_the_command_writes_figures_and_pictures(trained: Trained, tmp_path: Path) -> None:
    data, run = trained
    out = tmp_path / "scores"
    done = CliRunner().invoke(app, [str(run / "model.keras"), "--data", str(data), "--part", "test", "--out", str(out)])
    assert done.exit_code == 0, done.output
    for word in ("red", "green", "blue", "boundary F", "mean"):
        assert word in done.output
    document = json.loads((out / "scores.json").read_text())
    total = np.sum([photo["matrix"] for photo in document["photos"]], axis=0)
    dice = [2 * total[i, i] / (total[i].sum() + total[:, i].sum()) for i in range(1, 4)]
    assert document["summary"]["mean_dice"] == pytest.approx(np.mean(dice), abs=1e-4)
    assert cv2.imread(str(out / "worst.jpg")).shape[1] == 960
    assert (out / "confusion.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.keras", "--data", "DATA", "--split", "SPLIT"], "missing.keras: no such file"),
        (["MODEL", "--data", "nowhere"], "nowhere"),
        (["MODEL", "--data", "DATA", "--split", "nothing.json"], "nothing.json: no such file"),
    ],
)
def test_missing_files_are_reported_in_one_line(trained: Trained, arguments: list[str], message: str) -> None:
    data, run = trained
    names = {"DATA": str(data), "MODEL": str(run / "model.keras"), "SPLIT": str(run / "split.json")}
    done = CliRunner().invoke(app, [names.get(argument, argument) for argument in arguments])
    assert done.exit_code == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_model_with_other_classes_is_refused(trained: Trained) -> None:
    _, run = trained
    with pytest.raises(ModelError, match="4 classes, the data 2"):
        keras_segmenter(load_keras(run / "model.keras"), ("background", "cat"))
