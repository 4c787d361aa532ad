"""Gain of removing specks, on photos where it is known."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import typer
from typer.testing import CliRunner

from benchmarks.studies.specks import main
from tests.tiny import TWO_CARD, TWO_UINT8, bright_square, carded


def test_a_bright_speck_costs_until_it_is_removed(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    frame = bright_square((64, 64))
    mask = (frame[..., 0] > 0).astype(np.uint8)
    frame[4:12, 4:12] = 255  # 4x4 pixels of the model's output
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"data/images/p{number}.png"), np.maximum(frame, np.uint8(number)))
        cv2.imwrite(str(tmp_path / f"data/masks/p{number}.png"), mask)
    app = typer.Typer()
    app.command()(main)
    model = carded(TWO_UINT8, tmp_path, TWO_CARD)
    arguments = [str(model), "--data", str(tmp_path / "data"), "--classes", "bright", "--sizes"]
    done = CliRunner().invoke(app, [*arguments, "0,4,25,999"])
    assert done.exit_code == 0, done.output
    kept, four, more, all_gone = (float(cell.split(",")[0]) for cell in done.output.splitlines()[-1].split("|")[3:-1])
    assert kept == four < 0.98 < more == pytest.approx(1, abs=0.005)
    assert all_gone == 0
    refused = CliRunner().invoke(app, [*arguments, "0,x"])
    assert (refused.exit_code, "whole numbers" in refused.output) == (2, True)
