"""The promises of every kind of source, checked for each that can be opened here."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.sources.open import open_source
from seg_edge.sources.source import Source, SourceFrame, SourceRequest
from tests.stand_in_cameras import HttpCamera, fake_webcam, numbered, rtsp_camera, write_clip

INPUT_WH = (32, 24)
TAKEN = 6
Prepare = Callable[[contextlib.ExitStack, Path, pytest.MonkeyPatch], str]


def photos(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"photo{number}.png"), numbered(number, (64 + 2 * number, 48)))
    return folder


def numbered_pictures(folder: Path) -> str:
    folder.mkdir()
    for number in range(20):
        cv2.imwrite(str(folder / f"f{number:03d}.png"), numbered(number, (64, 48)))
    return str(folder / "f%03d.png")


KINDS: dict[str, Prepare] = {
    "file": lambda stack, path, monkeypatch: str(write_clip(path / "clip.avi")),
    "http": lambda stack, path, monkeypatch: stack.enter_context(HttpCamera(fps=60)).url,
    "polled": lambda stack, path, monkeypatch: stack.enter_context(HttpCamera()).url.replace("cam.mjpg", "snap.jpg"),
    "rtsp": lambda stack, path, monkeypatch: stack.enter_context(rtsp_camera()),
    "photo": lambda stack, path, monkeypatch: str(photos(path / "photos") / "photo1.png"),
    "folder": lambda stack, path, monkeypatch: str(photos(path / "photos")),
    "numbered": lambda stack, path, monkeypatch: numbered_pictures(path / "numbered"),
    "synthetic": lambda stack, path, monkeypatch: "synthetic",
    "v4l2": lambda stack, path, monkeypatch: fake_webcam(monkeypatch),
}
ENDLESS = {"http", "polled", "rtsp", "photo", "synthetic", "v4l2"}
FINITE = sorted(set(KINDS) - {"http", "polled", "rtsp", "synthetic", "v4l2"})


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], SourceRequest]]:
    """Sets up a kind's stand-in and returns the request that opens it, live and fast."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: SourceRequest(KINDS[kind](stack, tmp_path, monkeypatch), INPUT_WH, fps=60)


def take(source: Source, count: int = TAKEN) -> list[SourceFrame]:
    return list(itertools.islice(iter(source), count))


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_keeps_its_promises(kind: str, ask: Callable[[str], SourceRequest]) -> None:
    # One opening for all of it: a stream takes a second to open.
    request = ask(kind)
    began = time.monotonic()
    source = open_source(request)
    try:
        info, source_frames, kept, now = source.info, [], [], []
        for source_frame in itertools.islice(source, TAKEN):
            source_frames.append(source_frame)
            now.append(time.monotonic())
            kept.append(source_frame.frame.copy())

        assert len(source_frames) == (3 if kind == "folder" else TAKEN)
        for source_frame in source_frames:
            assert source_frame.frame.dtype == np.uint8
            assert source_frame.frame.flags.c_contiguous
            assert source_frame.frame.shape[2:] == (3,)
            if source_frame.small is not None:
                assert (source_frame.small.dtype, source_frame.small.shape) == (np.uint8, (INPUT_WH[1], INPUT_WH[0], 3))
        sizes = [(source_frame.frame.shape[1], source_frame.frame.shape[0]) for source_frame in source_frames]
        assert sizes[0] == info.size_wh
        assert kind == "folder" or set(sizes) == {info.size_wh}

        captured = [source_frame.captured for source_frame in source_frames]
        assert captured == sorted(captured)
        assert all(began <= at <= read for at, read in zip(captured, now, strict=True))

        assert info.endless == (kind in ENDLESS)
        assert info.frames == {"file": 20, "numbered": 20, "folder": 3}.get(kind)
        assert info.fps == pytest.approx({"http": 0, "rtsp": 30, "v4l2": 30}.get(kind, 60))
        assert info.description
        assert kind != "synthetic" or "synthetic" in info.description.lower()

        # The reader may keep the frames and write into them.
        for first, second in itertools.combinations(source_frames, 2):
            assert not np.shares_memory(first.frame, second.frame)
        for source_frame, as_it_came in zip(source_frames, kept, strict=True):
            np.testing.assert_array_equal(source_frame.frame, as_it_came)
            source_frame.frame[:] = 7
    finally:
        source.close()
        source.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rtsp"])
def test_closing_amid_the_frames_ends_them(kind: str, ask: Callable[[str], SourceRequest]) -> None:
    source = open_source(ask(kind))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []
    source.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rtsp"])
def test_closing_before_the_first_frame_leaves_none(kind: str, ask: Callable[[str], SourceRequest]) -> None:
    source = open_source(ask(kind))
    source.close()
    assert take(source) == []


@pytest.mark.parametrize("kind", FINITE)
def test_what_is_not_live_gives_everything_and_ends(kind: str, ask: Callable[[str], SourceRequest]) -> None:
    source = open_source(replace(ask(kind), live=False))
    with contextlib.closing(source):
        source_frames = list(source)
        assert not source.info.endless
        assert len(source_frames) == source.info.frames == {"folder": 3, "photo": 1}.get(kind, 20)
        assert list(source) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_live_and_has_an_end_ends(kind: str, ask: Callable[[str], SourceRequest]) -> None:
    with contextlib.closing(open_source(ask(kind))) as source:
        assert len(list(source)) == source.info.frames
