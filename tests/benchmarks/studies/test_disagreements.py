"""How often a model and drawn masks disagree, and the sheet of the photos where they do most."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import typer
from typer.testing import CliRunner

from benchmarks.studies.disagreements import disagreement, main
from seg_edge import Segmenter
from seg_edge.evaluation.data_folder import find_examples
from tests.tiny import TWO_CARD, TWO_UINT8, bright_square, carded


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten photos of a bright square; in two the drawn mask is empty, and a quarter of the photo is the square."""
    folder = tmp_path / "data"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    frame = bright_square()
    for number in range(10):
        mask = (frame[..., 0] > 0).astype(np.uint8) * (number not in (3, 7))
        cv2.imwrite(str(folder / "masks" / f"p{number}.png"), mask)
        cv2.imwrite(str(folder / "images" / f"p{number}.png"), np.maximum(frame, np.uint8(number)))
    return folder


def test_pixels_that_differ_are_counted_where_they_count(data: Path, tmp_path: Path) -> None:
    segmenter = Segmenter(carded(TWO_UINT8, tmp_path, TWO_CARD))
    shares = [disagreement(segmenter, one).share for one in find_examples(data)]
    assert shares[3] == pytest.approx(0.25, abs=0.05)
    assert max(shares[0], shares[1]) < 0.05


def test_the_command_says_how_often_and_shows_the_worst(data: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    model, sheet = carded(TWO_UINT8, tmp_path, TWO_CARD), tmp_path / "sheet.png"
    arguments = [str(model), "--data", str(data), "--classes", "bright", "--out", str(sheet), "--worst", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "of the pixels differ on" in done.output
    assert cv2.imread(str(sheet)) is not None
