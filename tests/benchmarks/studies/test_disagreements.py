"""How much a model and drawn masks disagree, and the sheet of the worst photos."""

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
    """Ten photos of a bright square that fills a quarter of each; two of the drawn masks are empty."""
    folder = tmp_path / "data"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    frame = bright_square()
    for number in range(10):
        mask = (frame[..., 0] > 0).astype(np.uint8) * (number not in (3, 7))
        cv2.imwrite(str(folder / "masks" / f"p{number}.png"), mask)
        cv2.imwrite(str(folder / "images" / f"p{number}.png"), np.maximum(frame, np.uint8(number)))
    return folder


def test_share_of_pixels_that_differ(data: Path, tmp_path: Path) -> None:
    segmenter = Segmenter(carded(TWO_UINT8, tmp_path, TWO_CARD))
    shares = [disagreement(segmenter, example).share for example in find_examples(data)]
    assert shares[3] == pytest.approx(0.25, abs=0.05)
    assert max(shares[0], shares[1]) < 0.05


def test_the_command_prints_shares_and_shows_the_worst(data: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    model, sheet = carded(TWO_UINT8, tmp_path, TWO_CARD), tmp_path / "sheet.png"
    arguments = [str(model), "--data", str(data), "--classes", "bright", "--out", str(sheet), "--worst", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "of the pixels differ on" in done.output
    assert cv2.imread(str(sheet)) is not None
