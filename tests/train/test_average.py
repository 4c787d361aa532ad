"""The mean of two trainings' weights."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras

from seg_edge.errors import DataError, OutputError
from train.average import average
from train.unet import unet


def make_run(folder: Path, size: int, widths: tuple[int, ...], value: float) -> Path:
    model = unet((size, size), 2, widths)
    model.set_weights([np.full_like(weight, value) for weight in model.get_weights()])
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "run.json").write_text(json.dumps({"recipe": {"size": size}, "scores": {"val_dice": value}}))
    (folder / "split.json").write_text(f'"{folder.name}"')
    return folder


def test_the_mean_keeps_the_second_runs_size_and_record(tmp_path: Path) -> None:
    small, large = make_run(tmp_path / "small", 32, (4, 8), 1.0), make_run(tmp_path / "large", 64, (4, 8), 2.0)
    average(small, large, tmp_path / "mean", 0.25)
    model = keras.models.load_model(tmp_path / "mean" / "model.keras", compile=False)
    assert model.input_shape == (None, 64, 64, 3)
    assert all(np.allclose(weight, 1.25) for weight in model.get_weights())
    run = json.loads((tmp_path / "mean" / "run.json").read_text())
    assert run["recipe"] == {"size": 64}
    assert [parent["scores"]["val_dice"] for parent in run["averaged"]] == [1.0, 2.0]
    assert "scores" not in run
    assert (tmp_path / "mean" / "split.json").read_text() == '"large"'
    with pytest.raises(OutputError, match="isn't empty"):
        average(small, large, tmp_path / "mean", 0.5)


def test_different_networks_are_refused(tmp_path: Path) -> None:
    runs = make_run(tmp_path / "narrow", 32, (4, 8), 1.0), make_run(tmp_path / "wide", 32, (4, 12), 1.0)
    with pytest.raises(DataError, match="different networks"):
        average(*runs, tmp_path / "mean", 0.5)
    assert not (tmp_path / "mean").exists()
