"""A camera that gives one picture at a time."""

import itertools
import time

import pytest

from seg_edge.errors import SourceError
from seg_edge.sources.open import open_source
from seg_edge.sources.opencv import OpenCVSource
from seg_edge.sources.polled import PolledSource
from seg_edge.sources.source import Source, SourceRequest
from tests.stand_in_cameras import HttpCamera, read_number


def opened(url: str, fps: float = 20) -> Source:
    return open_source(SourceRequest(url, (32, 24), fps=fps))


def test_a_picture_is_requested_repeatedly_at_the_rate() -> None:
    with HttpCamera() as camera:
        source = opened(f"http://127.0.0.1:{camera.port}/cgi-bin/snap.jpg".replace("/cgi-bin", "") + "?channel=1")
        assert isinstance(source, PolledSource)
        assert "requested 20 times a second" in source.info.description
        began = time.monotonic()
        numbers = [read_number(source_frame.frame) for source_frame in itertools.islice(source, 5)]
        assert time.monotonic() - began >= 4 / 20
        assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_a_user_and_password_are_sent_and_never_shown() -> None:
    with HttpCamera() as camera:
        camera.mode = "locked"
        source = opened(f"http://me:pass%20word@127.0.0.1:{camera.port}/snap.jpg")
        next(iter(source))
        assert "pass" not in source.info.description
        with pytest.raises(SourceError) as refused:
            PolledSource(SourceRequest(f"http://me:wrong@127.0.0.1:{camera.port}/snap.jpg", (32, 24)))
        assert "401" in str(refused.value)
        assert "wrong" not in str(refused.value)


def test_a_half_written_picture_is_requested_again() -> None:
    with HttpCamera() as camera:
        source = opened(f"http://127.0.0.1:{camera.port}/snap.jpg")
        frames = iter(source)
        camera.broken = 2
        next(frames)
        camera.broken = 100
        with pytest.raises(SourceError, match="snap.jpg"):
            next(frames)


def test_a_camera_that_is_gone_is_an_error_that_the_supervisor_sees() -> None:
    with HttpCamera() as camera:
        frames = iter(opened(f"http://127.0.0.1:{camera.port}/snap.jpg"))
        next(frames)
    with pytest.raises(SourceError, match="gives no picture"):
        next(frames)


def test_a_stream_whose_name_looks_like_a_picture_is_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpCamera() as camera:
        source = opened(f"{camera.url}/image")
        assert isinstance(source, OpenCVSource)
        source.close()
