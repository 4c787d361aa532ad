"""Photos of a class: one every half second, only if something changed, as the camera gave them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seg_edge.errors import OutputError
from seg_edge.photo.read import read_photo
from seg_edge.sinks import collect
from seg_edge.sinks.collect import Collect
from seg_edge.sinks.sink import OutputFrame
from tests.edge.sinks.output_frames import make_output_frame


def at(seconds: float, value: int) -> OutputFrame:
    """A frame of one grey, whose picture with the effect is white."""
    item = make_output_frame(1, value=value)
    return replace(item, captured=seconds, frame=np.full_like(item.frame, value), picture=np.full_like(item.frame, 255))


def collect_greys(sink: Collect, *items: OutputFrame) -> list[int]:
    """Publishes the frames; returns the greys of the files."""
    for item in items:
        sink.publish(item)
        sink._finish()
    sink.close()
    return [round(float(np.mean(read_photo(path)))) for path in sorted(sink.folder.iterdir())]


def test_a_photo_every_half_second_if_something_changed(tmp_path: Path) -> None:
    log: list[str] = []
    items = [at(0, 50), at(0.3, 90), at(0.6, 52), at(1.2, 90), at(1.8, 90), at(2.4, 130)]
    assert collect_greys(Collect(tmp_path / "photos" / "cat", log.append), *items) == [50, 90, 130]
    names = sorted(path.name for path in (tmp_path / "photos").iterdir())
    assert all(re.fullmatch(r"cat-\d{8}-\d{6}_00[123]\.jpg", name) for name in names)
    assert len({re.search("(.+)_", name)[1] for name in names}) == 1  # type: ignore[index]
    assert log == [f"photos to annotate: 3 in {tmp_path / 'photos'}, from {names[0]} on"]


def test_without_a_folder_they_go_into_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert collect_greys(Collect(Path("cat"), print), at(0, 50)) == [50]
    assert len(list((tmp_path / "photos").glob("cat-*_001.jpg"))) == 1


def test_existing_files_are_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect.time, "strftime", lambda *_: "-now")
    (tmp_path / "cat-now_001.jpg").write_bytes(b"precious")
    sink = Collect(tmp_path / "cat", print)
    sink.publish(at(0, 50))
    with pytest.raises(OutputError, match="cat-now_001.jpg: can't be written"):
        sink.close()
    assert (tmp_path / "cat-now_001.jpg").read_bytes() == b"precious"


def test_a_folder_that_can_t_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: can't be created|file/below: can't be created"):
        Collect(tmp_path / "file" / "below" / "cat", print)
