"""The scorecard: groups of photos, places without people, intervals, and the table of two models."""

import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import typer

from benchmarks.studies import scorecard as script
from benchmarks.studies.scorecard import empty_places, groups_of, typology_angle, with_interval
from seg_edge.evaluation.data_folder import find_examples
from tests.tiny import SIGMOID_FLOAT32, TWO_UINT8


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six photos of a white block on an ever brighter ground; it grows until it fills the last one."""
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((240, 240), np.uint8)
        mask[: 40 * (number + 1), : 40 * (number + 1)] = 1
        cv2.imwrite(str(tmp_path / "data" / "masks" / f"photo{number}.png"), mask)
        frame = np.where(mask[..., np.newaxis] > 0, np.uint8(255), np.uint8(10 * number)).repeat(3, axis=2)
        cv2.imwrite(str(tmp_path / "data" / "images" / f"photo{number}.png"), frame)
    return tmp_path / "data"


def test_photos_are_grouped_by_share_and_light(data: Path) -> None:
    groups = {group.name: list(group.photos) for group in groups_of(find_examples(data))}
    assert groups["people fill >= 20%"] == [2, 3, 4, 5]
    assert groups["people fill >= 10%"] == [1, 2, 3, 4, 5]
    assert groups["all photos"] == [0, 1, 2, 3, 4, 5]
    assert groups["dark, >= 10 %"] == [1]
    assert groups["bright, >= 10 %"] == [4, 5]
    assert groups["no skin visible, >= 10 %"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("bgr", "low", "high"), [((180, 205, 240), 41, 90), ((110, 150, 200), 10, 41), ((45, 70, 110), -90, 10)]
)
def test_skin_tone(bgr: tuple[int, int, int], low: float, high: float) -> None:
    frame = np.full((40, 40, 3), (200, 30, 30), np.uint8)
    person = np.zeros((40, 40), bool)
    person[10:30, 10:30] = True
    frame[person] = bgr
    assert low < typology_angle(frame, person) < high
    assert math.isnan(typology_angle(frame, ~person))


def test_empty_places_are_cut_from_photos_of_people(data: Path) -> None:
    examples = find_examples(data)
    places = empty_places(examples)
    assert [place.shape[:2] for place in places] == [(200, 240), (160, 240), (120, 240)]
    assert all(place.max() < 255 for place in places)
    cv2.imwrite(str(data / "masks" / "photo0.png"), np.zeros((240, 240), np.uint8))
    assert empty_places(examples[:1])[0].shape == (240, 240, 3)


def test_intervals_hold_the_mean_and_ignore_nan() -> None:
    mean, _, rest = with_interval(np.array([0.2, 0.4, 0.6, 0.4, math.nan])).partition(" [")
    low, high = map(float, rest.rstrip("]").split(", "))
    assert mean == "0.400"
    assert 0.2 <= low < 0.4 < high <= 0.6
    assert with_interval(np.array([0.2, 0.4])) == "0.300", "too few photos for an interval"


def test_two_models_side_by_side(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Before\n<!-- scorecard: by a command -->\nof last year\n<!-- /scorecard -->\nAfter\n")
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["scorecard.py", SIGMOID_FLOAT32, TWO_UINT8, "--data", data, "--part", "all", "--page", page]
        patch.setattr(sys, "argv", list(map(str, arguments)))
        with pytest.raises(SystemExit) as exited:
            typer.run(script.main)
    assert not exited.value.code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| photos | n | {SIGMOID_FLOAT32.name} | {TWO_UINT8.name} |"
    cells = [cell.strip() for cell in lines[4].split("|")[1:-1]]
    assert cells[:2] == ["all photos", "6"]
    assert float(cells[2].split()[0]) > 0.9
    assert cells[3].count("[") == 2  # its own interval and that of the difference to the first
    assert next(line for line in lines if line.startswith("| places without people")).split("|")[2].strip() == "3"
    table = "\n".join(lines)
    assert page.read_text() == f"# Before\n<!-- scorecard: by a command -->\n{table}\n<!-- /scorecard -->\nAfter\n"


def test_unreadable_files_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["scorecard.py", str(TWO_UINT8), "--data", str(tmp_path)])
        with pytest.raises(SystemExit) as exited:
            typer.run(script.main)
    assert exited.value.code == 1
    assert "a data folder holds images/ and masks/" in capsys.readouterr().err
