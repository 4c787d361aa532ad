"""Numbered pictures as a video: each at its number's time, and missing ones are reported."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.errors import SourceError
from seg_edge.sources.names import numbered as name_of
from seg_edge.sources.numbered import NumberedSource
from seg_edge.sources.open import open_source
from seg_edge.sources.source import SourceRequest
from tests.stand_in_cameras import numbered, read_number

SIZE_WH = (64, 48)


def write(pattern: Path, numbers: list[int]) -> None:
    for number in numbers:
        cv2.imwrite(str(name_of(pattern, number)), numbered(number, SIZE_WH))


def opened(pattern: Path, fps: float | None = 10) -> NumberedSource:
    source = open_source(SourceRequest(str(pattern), (32, 24), fps=fps, live=False))
    assert isinstance(source, NumberedSource)
    return source


def shown(source: NumberedSource) -> list[tuple[int, float | None]]:
    return [(read_number(frame.frame), frame.at_s) for frame in source]


@pytest.mark.parametrize("name", ["f%04d.png", "f%d.png", "50%d of 100%_%03d.png"])
def test_pictures_come_in_order_from_any_first_number(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "100%d"
    folder.mkdir()
    write(folder / name, [7, 8, 9, 10, 11])
    source = opened(folder / name)
    assert source.info.frames == 5
    assert [number for number, _ in shown(source)] == [7, 8, 9, 10, 11]
    assert source.complaint == ""
    with pytest.raises(SourceError, match="no such pictures"):
        opened(folder / "g%04d.png")


def test_a_gap_keeps_its_time_and_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "f%04d.png", [1, 2, 4, 5, 8])
    source = opened(tmp_path / "f%04d.png")
    assert shown(source) == [(1, 0), (2, 0.1), (4, pytest.approx(0.3)), (5, 0.4), (8, 0.7)]
    assert source.complaint == "f0003.png is missing, and so on: 3 pictures"


def test_numbers_that_go_up_by_more_than_one_have_no_gaps(tmp_path: Path) -> None:
    write(tmp_path / "f%04d.png", [0, 25, 50, 75])
    source = opened(tmp_path / "f%04d.png")
    assert shown(source) == [(0, 0), (25, 0.1), (50, 0.2), (75, pytest.approx(0.3))]
    assert source.complaint == ""


def test_damaged_pictures_and_other_sizes_are_left_out_and_reported(tmp_path: Path) -> None:
    write(tmp_path / "f%d.png", [1, 2, 3, 4])
    (tmp_path / "f2.png").write_bytes(b"nothing")
    cv2.imwrite(str(tmp_path / "f3.png"), np.zeros((20, 20, 3), np.uint8))
    source = opened(tmp_path / "f%d.png", fps=None)
    assert [number for number, _ in shown(source)] == [1, 4]
    assert "f2.png" in source.complaint
    assert source.complaint.endswith("and so on: 2 pictures")
    (tmp_path / "f1.png").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"f1\.png"):
        opened(tmp_path / "f%d.png")
