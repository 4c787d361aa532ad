"""Webcams, files and streams: what is said of them, and what is done when they misbehave."""

import contextlib
import functools
import http.server
import inspect
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.errors import SourceError
from seg_edge.sources import opencv
from seg_edge.sources.opencv import OpenCVSource
from seg_edge.sources.source import SourceFrame, SourceRequest
from tests.stand_in_cameras import FakeVideoCapture, HttpCamera, fake_webcam, numbered, read_number, write_clip

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
    said = str(raised.value)
    assert said.endswith(".")
    assert "\n" not in said
    return said


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
    ("formats", "size_wh", "fps", "said"),
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
        ({"YUYV": {(640, 480): 0.0}}, None, 60.0, "640x480, YUYV"),  # a driver that tells no rate
    ],
)
def test_a_webcam_gives_what_was_asked_if_it_can_and_says_what_it_is(
    formats: dict[str, dict[tuple[int, int], float]],
    size_wh: tuple[int, int] | None,
    fps: float | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = fake_webcam(monkeypatch, formats=formats)
    with contextlib.closing(opened(device, size_wh, fps, live=True)) as source:
        assert source.info.description.startswith("/dev/video7 (Fake Cam), ")
        assert source.info.description.endswith(said)
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


def test_a_broken_jpeg_is_passed_over_and_grey_becomes_bgr(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_why_a_webcam_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal("/dev/video99")
    assert "no such camera" in said
    device = fake_webcam(monkeypatch, opens=False)
    assert "another program" in refusal(device)
    assert "(Fake Cam)" in refusal("/dev/video99")
    fake_webcam(monkeypatch, events=["lost"])
    assert "opens but gives no picture" in refusal(device)
    assert cv2.VideoCapture.made[-1].released  # type: ignore[attr-defined]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "usermod -aG video" in refusal(device)


# Files


def test_every_frame_of_a_file_comes_once_and_in_order(tmp_path: Path) -> None:
    source = opened(write_clip(tmp_path / "clip.mp4", frames=30, fps=25))
    assert source.info.description == f"{tmp_path}/clip.mp4, 64x48 at 25 fps"
    assert (source.info.fps, source.info.frames) == (25, 30)
    assert [read_number(source_frame.frame) for source_frame in source] == list(range(30))


def test_a_file_keeps_its_colours(tmp_path: Path) -> None:
    frame = next(iter(opened(write_clip(tmp_path / "clip.avi")))).frame
    np.testing.assert_allclose(frame[-3, 20], numbered(0)[-3, 20], atol=12)


def test_a_live_file_keeps_its_own_time(tmp_path: Path) -> None:
    source_frames = list(opened(write_clip(tmp_path / "clip.avi", frames=21, fps=50), live=True))
    captured = np.array([source_frame.captured for source_frame in source_frames])
    assert captured[-1] - captured[0] >= 20 / 50 - 1e-6
    assert list(opened(tmp_path / "clip.avi", fps=500, live=True))[-1].captured < time.monotonic()
    assert opened(tmp_path / "clip.avi", fps=500, live=True).info.fps == 500


def test_a_file_is_scaled_down_to_fit_but_never_up(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", size_wh=(160, 120))
    for size_wh, is_wh in (((80, 80), (80, 60)), ((640, 480), (160, 120))):
        source = opened(clip, size_wh)
        frame = next(iter(source)).frame
        assert (frame.shape[1], frame.shape[0]) == source.info.size_wh == is_wh


@pytest.mark.parametrize("rate", [0.0, float("nan"), float("inf"), 1000.0, 90000.0])
def test_a_rate_that_cannot_be_true_is_thirty(rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Liar:
        def __init__(self) -> None:
            self.real = real()

        def get(self, propId: int) -> float:
            return rate if propId == cv2.CAP_PROP_FPS else self.real.get(propId)

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

    clip, real = write_clip(tmp_path / "clip.avi"), cv2.VideoCapture
    monkeypatch.setattr(opencv.cv2, "VideoCapture", Liar)
    info = opened(clip).info
    assert info.fps == 30
    assert "at 30 fps (it gives no rate" in info.description


def test_a_broken_frame_amid_a_file_does_not_end_it(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", frames=40)
    content = bytearray(clip.read_bytes())
    starts = [match.start() for match in re.finditer(rb"\xff\xd8\xff", content)]
    for start in starts[20:23]:
        content[start : start + 200] = bytes(200)
    clip.write_bytes(content)
    assert [read_number(source_frame.frame) for source_frame in opened(clip)] == [*range(20), *range(23, 40)]


def test_a_file_that_was_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", frames=40)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert 5 < len(list(opened(clip))) < 35


def test_a_phones_turned_video_comes_upright(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed (it writes the phone's video)")
    clip = write_clip(tmp_path / "clip.mp4")
    turned = tmp_path / "turned.mp4"
    command = ["ffmpeg", "-loglevel", "error", "-i", clip, "-c", "copy", "-metadata:s:v", "rotate=90", turned]
    subprocess.run(command, check=True, timeout=60)
    if b"\x00\x01\x00\x00" not in turned.read_bytes() or "rotation" not in _probe(turned):
        pytest.skip("this ffmpeg writes no rotation by its old option")
    source = opened(turned)
    frame = next(iter(source)).frame
    assert source.info.size_wh == (48, 64)
    assert frame.shape == (64, 48, 3)


def _probe(path: Path) -> str:
    if shutil.which("ffprobe") is None:
        return ""
    command = ["ffprobe", "-v", "error", "-show_streams", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def test_files_that_are_no_video_are_refused_in_a_sentence(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(np.random.default_rng(0).bytes(20_000))
    assert refusal(junk).startswith(f"{junk}: is no video")
    text = tmp_path / "notes.txt"
    text.write_text("not a video\n" * 50)
    assert "is no video" in refusal(text)
    assert "doesn't exist" in refusal(tmp_path / "gone.mp4")


def test_names_that_look_like_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.avi")
    monkeypatch.chdir(tmp_path)
    for name in ("http:0.avi", "clip%03d.avi", "clip01.avi"):
        shutil.copy(clip, name)
        assert len(list(opened(name))) == 20


def test_nothing_is_written_to_stderr(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(np.random.default_rng(0).bytes(20_000))
    clip = write_clip(tmp_path / "clip.avi", frames=40)
    content = bytearray(clip.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    clip.write_bytes(content)
    code = f"""
from seg_edge.sources.open import open_source
from seg_edge.sources.source import SourceRequest
for name in {[str(junk), str(clip), "http://127.0.0.1:9/x", "/dev/video99"]!r}:
    try:
        list(open_source(SourceRequest(name, (32, 24), live=False)))
    except Exception as error:
        print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.split() == ["SourceError"] * 3


@pytest.mark.parametrize("name", ["no", "please", "school"])
def test_real_clips(name: str, shared_data: Path) -> None:
    clip = shared_data / "video" / f"{name}.mkv"
    if not clip.is_file():
        pytest.skip(f"no real clips here: {clip} is missing")
    source = opened(clip)
    assert (source.info.size_wh, source.info.fps) == ((640, 480), 30)
    frames = list(source)
    assert source.info.frames is not None
    assert (
        abs(len(frames) - source.info.frames) <= 1
    )  # Matroska holds no count: it is made of the duration and the rate
    assert {source_frame.frame.shape for source_frame in frames} == {(480, 640, 3)}


# Streams


@pytest.fixture
def camera() -> Iterator[HttpCamera]:
    with HttpCamera() as camera:
        yield camera


def test_a_stream_is_named_and_is_fresh(camera: HttpCamera) -> None:
    source = opened(camera.url, live=True)
    assert source.info.description == f"{camera.url}, 64x48"
    numbers = []
    for source_frame in itertools.islice(source, 10):
        numbers.append(read_number(source_frame.frame))
        assert camera.sent[numbers[-1]] <= source_frame.captured
    assert numbers == sorted(set(numbers))


def test_a_streams_broken_jpeg_is_passed_over(camera: HttpCamera) -> None:
    source = opened(camera.url, live=True)
    frames = iter(source)
    next(frames)
    camera.broken = 2
    assert len(list(itertools.islice(frames, 10))) == 10
    assert camera.broken == 0


def test_a_stream_keeps_the_size_it_began_with(camera: HttpCamera) -> None:
    source = opened(camera.url, live=True)
    frames = iter(source)
    next(frames)
    camera.size_wh = (128, 96)
    assert {source_frame.frame.shape for source_frame in itertools.islice(frames, 8)} == {(48, 64, 3)}


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stream_that_breaks_off_is_an_error_and_can_be_opened_again(how: str, camera: HttpCamera) -> None:
    frames = iter(opened(camera.url, live=True))
    next(frames)
    camera.mode = how
    with pytest.raises(SourceError, match="the stream broke off"):
        list(itertools.islice(frames, 1000))
    camera.mode = "send"
    assert len(take(opened(camera.url, live=True), 2)) == 2


def test_a_stream_that_stalls_is_an_error_in_time(camera: HttpCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv, "TIMEOUT_S", 1)
    frames = iter(opened(camera.url, live=True))
    next(frames)
    camera.mode = "stall"
    began = time.monotonic()
    with pytest.raises(SourceError, match="broke off"):
        list(itertools.islice(frames, 1000))
    assert time.monotonic() - began < 10
    assert "check its path" in refusal(camera.url)


def test_why_a_stream_does_not_open(camera: HttpCamera) -> None:
    assert "check its path" in refusal(camera.url.replace("cam.mjpg", "other"))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        assert f"nothing answers on port {port}" in refusal(f"http://127.0.0.1:{port}/cam")
    said = refusal(f"http://me:se/cr@et@127.0.0.1:{camera.port}/cam.mjpg?password=hush&size=3")
    assert said.startswith(f"http://***@127.0.0.1:{camera.port}/cam.mjpg?password=***&size=3: is no address")
    assert not re.search("se/|cr@|et@|'se'|hush", said)


def test_a_password_is_never_shown(camera: HttpCamera) -> None:
    url = camera.url.replace("//", "//me:s3cr@t@") + "?pwd=hush&size=3"
    info = opened(url, live=True).info
    assert info.description.startswith(f"http://***@127.0.0.1:{camera.port}/cam.mjpg?pwd=***&size=3, ")
    assert "***@" in refusal(url.replace("cam.mjpg", "other"))
    assert "s3cr" not in refusal(url.replace("cam.mjpg", "other"))


def test_a_video_file_on_a_web_server_has_an_end(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames=15)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        source = opened(f"http://127.0.0.1:{server.server_port}/clip.mp4", fps=100, live=True)
        assert (source.info.endless, source.info.frames) == (False, 15)
        assert [read_number(source_frame.frame) for source_frame in source] == list(range(15))
        source.close()
        server.shutdown()
