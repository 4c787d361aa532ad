"""Webcams and streams: how they are described, and what happens when they misbehave."""

import contextlib
import inspect
import itertools
import os
import re
import socket
import time
from collections.abc import Iterator

import cv2
import pytest

from seg_edge.errors import SourceError
from seg_edge.sources import opencv
from seg_edge.sources.opencv import OpenCVSource
from seg_edge.sources.source import SourceFrame, SourceRequest
from tests.stand_in_cameras import FakeVideoCapture, HttpCamera, fake_webcam, read_number

INPUT_WH = (32, 24)


def opened(
    name: object, size_wh: tuple[int, int] | None = None, fps: float | None = None, live: bool = False
) -> OpenCVSource:
    return OpenCVSource(SourceRequest(str(name), INPUT_WH, size_wh, fps, live))


def take(source: OpenCVSource, count: int) -> list[SourceFrame]:
    return list(itertools.islice(iter(source), count))


def refusal(name: object, **asked: object) -> str:
    with pytest.raises(SourceError) as raised:
        opened(name, **asked)  # type: ignore[arg-type]
    message = str(raised.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# Webcams


def test_the_stand_in_webcam_has_the_methods_of_the_real_one() -> None:
    for name, method in inspect.getmembers(FakeVideoCapture, inspect.isfunction):
        if name.startswith("_"):
            continue
        signatures = re.findall(
            rf"^(?:\. +)?{name}\((.*?)\) -> ", getattr(cv2.VideoCapture, name).__doc__, re.MULTILINE
        )
        real = [re.findall(r"\w+", signature) for signature in signatures]
        own = list(inspect.signature(method).parameters)[1:]
        assert any(own == names[: len(own)] for names in real), (name, own, real)


@pytest.mark.parametrize(
    ("formats", "size_wh", "fps", "description"),
    [
        ({"YUYV": {(640, 480): 30.0}, "MJPG": {(640, 480): 30.0}}, None, None, "640x480 at 30 fps, YUYV"),
        ({"YUYV": {(640, 480): 15.0}, "MJPG": {(640, 480): 30.0}}, None, None, "640x480 at 30 fps, MJPG"),
        ({"MJPG": {(640, 480): 30.0}, "YUYV": {(640, 480): 30.0}}, None, None, "640x480 at 30 fps, MJPG"),
        ({"YUYV": {(640, 480): 30.0}, "MJPG": {(1280, 720): 30.0}}, (1280, 720), None, "1280x720 at 30 fps, MJPG"),
        (
            {"YUYV": {(640, 480): 30.0}, "MJPG": {(640, 480): 30.0}},
            (1280, 720),
            None,
            "640x480 at 30 fps, YUYV; 1280x720 was asked for",
        ),
        ({"YUYV": {(640, 480): 30.0}}, None, 60.0, "640x480 at 30 fps, YUYV; 60 fps were asked for"),
        ({"YUYV": {(640, 480): 10.0}, "MJPG": {(640, 480): 5.0}}, None, 30.0, "10 fps, YUYV; 30 fps were asked for"),
        ({"YUYV": {(640, 480): 0.0}}, None, 60.0, "640x480, YUYV"),  # a driver that doesn't report a rate
    ],
)
def test_a_webcam_gives_what_was_asked_for_if_it_can_and_is_described(
    formats: dict[str, dict[tuple[int, int], float]],
    size_wh: tuple[int, int] | None,
    fps: float | None,
    description: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = fake_webcam(monkeypatch, formats=formats)
    with contextlib.closing(opened(device, size_wh, fps, live=True)) as source:
        assert source.info.description.startswith("/dev/video7 (Fake Cam), ")
        assert source.info.description.endswith(description)
        source_frame = take(source, 1)[0]
        assert (source_frame.frame.shape[1], source_frame.frame.shape[0]) == source.info.size_wh


def test_a_number_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_webcam(monkeypatch)
    assert opened("7").info.description.startswith("/dev/video7 ")


def test_a_webcam_that_is_unplugged_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    device = fake_webcam(monkeypatch, events=["frame", "frame", "frame", "lost"])
    source = opened(device, live=True)
    frames = iter(source)
    assert len([next(frames), next(frames)]) == 2
    with pytest.raises(SourceError, match="/dev/video7: .* no more pictures"):
        next(frames)


def test_a_broken_jpeg_is_skipped_and_grey_becomes_bgr(monkeypatch: pytest.MonkeyPatch) -> None:
    device = fake_webcam(monkeypatch, events=["frame", "frame", "bad", "grey", "frame"])
    source_frames = take(opened(device, live=True), 3)
    assert [read_number(source_frame.frame) for source_frame in source_frames] == [2, 4, 5]
    assert {source_frame.frame.shape for source_frame in source_frames} == {(480, 640, 3)}


def test_a_webcams_frame_is_as_old_as_its_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    device = fake_webcam(monkeypatch, stamp=staticmethod(lambda grabbed: grabbed - 0.25))
    source_frame = take(opened(device, live=True), 1)[0]
    assert time.monotonic() - source_frame.captured >= 0.25


@pytest.mark.parametrize("stamp", [lambda grabbed: 0.0, lambda grabbed: grabbed + 5, lambda grabbed: time.time()])
def test_a_drivers_impossible_clock_is_not_believed(stamp: object, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    device = fake_webcam(monkeypatch, stamp=staticmethod(stamp))  # type: ignore[arg-type]
    source_frame = take(opened(device, live=True), 1)[0]
    assert began <= source_frame.captured <= time.monotonic()


def test_why_a_webcam_can_not_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such camera" in refusal("/dev/video99")
    device = fake_webcam(monkeypatch, opens=False)
    assert "another program" in refusal(device)
    assert "(Fake Cam)" in refusal("/dev/video99")
    fake_webcam(monkeypatch, events=["lost"])
    assert "opens but gives no picture" in refusal(device)
    assert cv2.VideoCapture.made[-1].released  # type: ignore[attr-defined]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "usermod -aG video" in refusal(device)


# Streams


@pytest.fixture
def camera() -> Iterator[HttpCamera]:
    with HttpCamera() as camera:
        yield camera


def test_a_stream_is_described_and_its_frames_are_new(camera: HttpCamera) -> None:
    source = opened(camera.url, live=True)
    assert source.info.description == f"{camera.url}, 64x48"
    numbers = []
    for source_frame in itertools.islice(source, 10):
        numbers.append(read_number(source_frame.frame))
        assert camera.sent[numbers[-1]] <= source_frame.captured
    assert numbers == sorted(set(numbers))


def test_a_streams_broken_jpeg_is_skipped(camera: HttpCamera) -> None:
    source = opened(camera.url, live=True)
    frames = iter(source)
    next(frames)
    camera.broken = 2
    assert len(list(itertools.islice(frames, 10))) == 10
    assert camera.broken == 0


def test_a_stream_keeps_its_first_size(camera: HttpCamera) -> None:
    source = opened(camera.url, live=True)
    frames = iter(source)
    next(frames)
    camera.size_wh = (128, 96)
    assert {source_frame.frame.shape for source_frame in itertools.islice(frames, 8)} == {(48, 64, 3)}


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_interrupted_stream_is_an_error_and_can_be_opened_again(how: str, camera: HttpCamera) -> None:
    frames = iter(opened(camera.url, live=True))
    next(frames)
    camera.mode = how
    with pytest.raises(SourceError, match="the stream was interrupted"):
        list(itertools.islice(frames, 1000))
    camera.mode = "send"
    assert len(take(opened(camera.url, live=True), 2)) == 2


def test_a_stream_that_stalls_is_an_error_in_time(camera: HttpCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv, "TIMEOUT_S", 1)
    frames = iter(opened(camera.url, live=True))
    next(frames)
    camera.mode = "stall"
    began = time.monotonic()
    with pytest.raises(SourceError, match="was interrupted"):
        list(itertools.islice(frames, 1000))
    assert time.monotonic() - began < 10
    assert "check its path" in refusal(camera.url)


def test_why_a_stream_does_not_open(camera: HttpCamera) -> None:
    assert "check its path" in refusal(camera.url.replace("cam.mjpg", "other"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert f"nothing answers on port {port}" in refusal(f"http://127.0.0.1:{port}/cam")
    message = refusal(f"http://me:se/cr@et@127.0.0.1:{camera.port}/cam.mjpg?password=hush&size=3")
    assert message.startswith(
        f"http://***@127.0.0.1:{camera.port}/cam.mjpg?password=***&size=3: is not a valid address"
    )
    assert not re.search("se/|cr@|et@|'se'|hush", message)


def test_a_password_is_never_shown(camera: HttpCamera) -> None:
    url = camera.url.replace("//", "//me:s3cr@t@") + "?pwd=hush&size=3"
    info = opened(url, live=True).info
    assert info.description.startswith(f"http://***@127.0.0.1:{camera.port}/cam.mjpg?pwd=***&size=3, ")
    assert "***@" in refusal(url.replace("cam.mjpg", "other"))
    assert "s3cr" not in refusal(url.replace("cam.mjpg", "other"))
