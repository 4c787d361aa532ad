"""`seg-edge camera` as it is used: started, viewed, ended by a user or a signal; everything is released."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pytest

from seg_edge.apps import camera as live
from tests.stand_in_sources import OPENER, frames_taken, set_state
from tests.tiny import TWO_UINT8, carded

ROOT = Path(__file__).parents[3]
T = TypeVar("T")
# The command itself, with cameras that misbehave on demand in place of real ones.
WITH_STAND_IN = """
import sys
from seg_edge.commands import cli
from seg_edge.apps import camera as live
from tests.stand_in_sources import OPENER
run = live.run_camera
live.run_camera = lambda settings, log, show: run(settings, log, show, OPENER)
cli.main(sys.argv[1:])
"""


class Camera:
    """A running `seg-edge camera`; its stderr goes to a file, which the test may read meanwhile."""

    def __init__(self, folder: Path, *options: object, stand_in: bool = False, state: str = "works", **more: object):
        self.folder, self.stats, self.log = folder, folder / "stats.json", folder / "log.txt"
        start = [sys.executable, "-c", WITH_STAND_IN] if stand_in else [sys.executable, "-m", "seg_edge.commands.cli"]
        source = set_state(folder, state) if stand_in else "synthetic"
        command = [*start, "camera", "--source", source, "--stats", self.stats, *options]
        environment = {"DISPLAY", "WAYLAND_DISPLAY", "NOTIFY_SOCKET"}
        env = {name: value for name, value in os.environ.items() if name not in environment}
        env |= {"PYTHONPATH": str(ROOT), **more.pop("env", {})}  # type: ignore[dict-item]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([str(part) for part in command], stderr=log, env=env, **more)  # type: ignore[call-overload]

    def log_text(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], T], what: str, seconds: float = 60) -> T:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert self.process.poll() is None, f"it ended: {self.log_text()}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}; log: {self.log_text()!r}"
            time.sleep(0.05)
        return value

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        match = self.until(lambda: re.search(pattern, self.log_text()), pattern, seconds)
        assert match
        return match

    def takes_frames(self, number: int = 30) -> None:
        """Waits until the stand-in camera has taken this many more frames."""
        before = frames_taken(self.folder)
        self.until(lambda: frames_taken(self.folder) >= before + number, f"{number} frames")

    def children(self) -> list[int]:
        paths = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for path in paths for child in path.read_text().split()]

    def end(self, number: int | None = None, seconds: float = 30) -> int:
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def results(self) -> dict:
        return json.loads(self.stats.read_text())


@pytest.fixture
def cameras() -> Iterator[list[Camera]]:
    running: list[Camera] = []
    yield running
    for camera in running:
        camera.process.kill()
        camera.process.wait()


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(carded(TWO_UINT8, tmp_path))


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_a_number_of_frames_and_the_documented_statistics(tmp_path: Path, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "none", "--frames", 20)
    cameras.append(camera)
    assert camera.end() == 0
    assert "synthetic" in camera.log_text()
    assert "Traceback" not in camera.log_text()
    stats = camera.results()
    assert stats["frames"]["published"] == 20
    assert stats["frames"]["captured"] >= stats["frames"]["segmented"] >= 20
    assert stats["frames"]["dropped"] >= 0
    assert set(stats["stages_ms"]) == {
        "capture", "preprocess", "inference", "postprocess", "render", "publish", "wait",
    }  # fmt: skip
    for stage in stats["stages_ms"].values():
        assert 0 <= stage["p50"] <= stage["p95"]
    assert 0 < stats["frame_age_ms"]["p50"] <= stats["frame_age_ms"]["p95"] <= stats["frame_age_ms"]["p99"]
    assert abs(stats["unaccounted_ms"]["p50"]) < stats["frame_age_ms"]["p50"] / 2
    assert stats["fps"] > 0
    assert stats["reconnects"] == 0
    assert stats["seconds"] > 0
    assert 20 < stats["peak_rss_mb"] < 1000
    assert stats["model"]["name"] == "person"
    assert len(stats["model"]["sha256"]) == 64
    assert stats["threads"] >= 1
    assert 0 <= stats["flicker"] < 0.1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(tmp_path: Path, model: str, cameras: list[Camera], number: int) -> None:
    camera = Camera(tmp_path, "--view", "none", "--model", model, stand_in=True)
    cameras.append(camera)
    camera.wait_for("moody camera")
    camera.takes_frames(50)
    children = camera.children()
    assert children
    assert camera.end(number) == 0
    assert camera.results()["frames"]["published"] > 5
    assert (tmp_path / "closed").exists(), "the source could close its device"
    assert gone(children)
    assert "stopped" in camera.log_text()


def test_a_camera_that_hangs_is_reported_and_ctrl_c_still_ends_it(
    tmp_path: Path, model: str, cameras: list[Camera]
) -> None:
    camera = Camera(tmp_path, "--view", "none", "--model", model, stand_in=True)
    cameras.append(camera)
    camera.wait_for("moody camera")
    camera.takes_frames()
    set_state(tmp_path, "stalls")
    camera.wait_for("no picture for 3 s. Trying again")
    children = camera.children()
    assert camera.end(signal.SIGINT) == 0
    assert camera.results()["frames"]["published"] > 5
    assert gone(children)


def test_a_camera_that_comes_back_continues(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "none", "--model", model, stand_in=True)
    cameras.append(camera)
    camera.wait_for("moody camera")
    camera.takes_frames()
    set_state(tmp_path, "unplugged")
    camera.wait_for("it is not there; plug it in. Trying again")
    set_state(tmp_path, "works")
    camera.wait_for("back after")
    camera.takes_frames()
    assert camera.end(signal.SIGTERM) == 0
    assert camera.results()["reconnects"] == 1


def test_a_missing_camera_is_reported_in_one_sentence(tmp_path: Path, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "none", "--source", "/dev/video97")
    cameras.append(camera)
    assert camera.end() == 1
    assert camera.log_text().startswith("error: ")
    assert "/dev/video97" in camera.log_text()
    assert len(camera.log_text().splitlines()) == 1


def test_it_ends_when_the_reader_of_its_json_goes_away(tmp_path: Path, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "none", "--json", stdout=subprocess.PIPE)
    cameras.append(camera)
    assert camera.process.stdout is not None
    documents = [json.loads(camera.process.stdout.readline()) for _ in range(3)]
    assert [set(document["classes"]) for document in documents] == [{"person"}] * 3
    camera.process.stdout.close()
    assert camera.end() == 0
    assert "the reader of --json has gone" in camera.log_text()
    assert "Traceback" not in camera.log_text()
    assert camera.results()["frames"]["published"] >= 3


def test_a_full_disk_ends_the_recording_but_not_the_page(tmp_path: Path, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "http", "--port", 0, "--record", tmp_path / "clip.mkv")
    cameras.append(camera)
    url = camera.wait_for(r"http://\S+")[0]
    resource.prlimit(camera.process.pid, resource.RLIMIT_FSIZE, (300_000, 300_000))  # Python ignores SIGXFSZ
    camera.wait_for("error: .*clip.mkv")
    with urllib.request.urlopen(f"{url}snapshot.jpg") as response:
        assert response.read().startswith(b"\xff\xd8")
    assert camera.end(signal.SIGINT) == 1
    assert camera.results()["frames"]["published"] > 0
    assert "Traceback" not in camera.log_text()
    video = cv2.VideoCapture(str(tmp_path / "clip.mkv"))
    assert video.read()[0], "the recording up to then can be played"


def test_without_a_display_the_picture_is_on_a_page(tmp_path: Path, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--port", 0)
    cameras.append(camera)
    url = camera.wait_for(r"http://127.0.0.1:\d+/")[0]
    assert "no window" in camera.log_text()
    with urllib.request.urlopen(url) as page:
        assert b"<html" in page.read()
    assert camera.end(signal.SIGINT) == 0


def test_a_window_without_a_display_is_refused_with_advice(tmp_path: Path, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "window")
    cameras.append(camera)
    assert camera.end() == 1
    assert "--view http" in camera.log_text()
    assert "Traceback" not in camera.log_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "640"), "640x480"),
        (("--effect", "replace"), "--background"),
        (("--smooth", "1.5"), "smooth"),
        (("--view", "cinema"), "view"),
    ],
)
def test_wrong_usage_is_2(tmp_path: Path, cameras: list[Camera], options: tuple[str, ...], message: str) -> None:
    camera = Camera(tmp_path, *options)
    cameras.append(camera)
    assert camera.end() == 2
    assert message in camera.log_text()


def test_a_photo_is_shown_until_the_user_stops_it(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((6000, 6000, 3), np.uint8))  # larger than 8K video
    options = ("--view", "none", "--source", tmp_path / "large.png", "--model", model, "--json")
    camera = Camera(tmp_path, *options, stdout=subprocess.PIPE)
    cameras.append(camera)
    camera.wait_for("4320x4320")
    assert camera.process.stdout is not None
    for _ in range(3):
        assert camera.process.stdout.readline()
    assert camera.end(signal.SIGINT) == 0
    assert camera.results()["frames"]["published"] > 2


def test_sigusr1_takes_a_snapshot(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "none", "--model", model, "--snapshots", tmp_path / "kept", stand_in=True)
    cameras.append(camera)
    camera.wait_for("moody camera")
    camera.takes_frames()
    camera.process.send_signal(signal.SIGUSR1)
    path = camera.wait_for(r"snapshot: (\S+\.jpg)")[1]
    assert cv2.imread(path).shape == (48, 64, 3)
    assert camera.end(signal.SIGINT) == 0


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_streams_are_harmless(
    tmp_path: Path, model: str, cameras: list[Camera], closed: tuple[int, ...]
) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    camera = Camera(tmp_path, "--view", "none", "--frames", 3, "--model", model, stand_in=True, preexec_fn=close)
    cameras.append(camera)
    assert camera.end() == 0
    assert camera.results()["frames"]["published"] == 3


def test_a_full_log_does_not_stop_the_camera(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    def full() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 2)

    camera = Camera(tmp_path, "--view", "none", "--model", model, stand_in=True, preexec_fn=full)
    cameras.append(camera)
    camera.takes_frames()
    lost = int((tmp_path / "pid").read_text())
    set_state(tmp_path, "unplugged")
    assert gone([lost])
    set_state(tmp_path, "works")
    camera.takes_frames()
    assert camera.end(signal.SIGTERM) == 0
    assert camera.results()["reconnects"] == 1


def test_statistics_that_can_t_be_written_are_refused_before_the_camera_starts(
    tmp_path: Path, cameras: list[Camera]
) -> None:
    (tmp_path / "file").touch()
    camera = Camera(tmp_path, "--view", "none", "--stats", tmp_path / "file" / "stats.json")
    cameras.append(camera)
    assert camera.end() == 1
    assert "file/stats.json" in camera.log_text()
    assert "synthetic" not in camera.log_text()


def test_repeated_recordings_get_different_names(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    for _ in range(2):
        options = ("--view", "none", "--frames", 20, "--model", model, "--record", tmp_path / "clip-%Y%m%d-%H%M%S.ts")
        camera = Camera(tmp_path, *options, stand_in=True)
        cameras.append(camera)
        assert camera.end() == 0
        time.sleep(1)
    assert len(list(tmp_path.glob("clip-2*.ts"))) == 2


def test_one_camera_can_read_pictures_from_another(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one = Camera(folders[0], "--view", "http", "--port", 0, "--fps", 5, "--model", model)
    cameras.append(one)
    url = one.wait_for(r"http://\S+")[0]
    two = Camera(
        folders[1], "--source", f"{url}snapshot.jpg", "--fps", 5, "--view", "none", "--frames", 3, "--model", model
    )
    cameras.append(two)
    assert two.end(seconds=60) == 0, two.log_text()
    assert two.results()["frames"]["published"] == 3
    assert one.end(signal.SIGINT) == 0
    assert one.results()["frames"]["published"] > 0


def test_systemd_gets_no_watchdog_ping_when_a_frame_never_finishes(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[float] = []

    class Hanging(live.Segmenter):
        frames = 0

        def __call__(self, frame, small=None):
            self.frames += 1
            if self.frames == 10:
                time.sleep(4)
            return super().__call__(frame, small)

    monkeypatch.setattr(live, "Segmenter", Hanging)
    monkeypatch.setattr(live, "STUCK_S", 0.5)
    monkeypatch.setattr("seg_edge.capture.supervisor.STALL_S", 0.5)
    monkeypatch.setattr(live.ServiceManager, "alive", lambda self, status: pings.append(time.monotonic()))
    began = time.monotonic()
    settings = live.CameraSettings(set_state(tmp_path, "works"), view="none", seconds=3.5, model=model)
    live.run_camera(settings, lambda text: None, opener=OPENER)
    assert pings
    assert time.monotonic() - max(pings) > 1
    assert began < min(pings)


def test_a_file_ends_by_itself(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for value in range(30):
        writer.write(np.full((48, 64, 3), value * 8, np.uint8))
    writer.release()
    camera = Camera(tmp_path, "--view", "none", "--source", clip, "--model", model)
    cameras.append(camera)
    began = time.monotonic()
    assert camera.end() == 0
    assert time.monotonic() - began > 0.9, "it is played at its pace"
    counts = camera.results()["frames"]
    assert counts["captured"] == 30
    assert counts["published"] + counts["dropped"] == 30


def test_under_systemd_it_reports_readiness_and_feeds_the_watchdog(
    tmp_path: Path, model: str, cameras: list[Camera]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        camera = Camera(tmp_path, "--view", "none", "--model", model, stand_in=True, env=env)
        cameras.append(camera)
        heard = ""
        while "READY=1" not in heard or heard.count("WATCHDOG=1") < 3:
            heard += manager.recv(4096).decode() + "\n"
        set_state(tmp_path, "stalls")  # a lost camera is reopened: no reason for a restart
        while "lost" not in heard:
            heard += manager.recv(4096).decode() + "\n"
        assert camera.end(signal.SIGTERM) == 0
        while "STOPPING=1" not in heard:
            heard += manager.recv(4096).decode() + "\n"
    assert "frames/s" in heard


def test_ctrl_c_while_the_camera_is_still_being_opened(tmp_path: Path, model: str, cameras: list[Camera]) -> None:
    camera = Camera(tmp_path, "--view", "none", "--model", model, stand_in=True, state="hangs")
    cameras.append(camera)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = camera.children()
    camera.end(signal.SIGINT)
    assert "Traceback" not in camera.log_text()
    assert gone(children)


def test_on_demand_the_camera_is_open_only_while_someone_watches(
    tmp_path: Path, model: str, cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = "from seg_edge.sinks.http import feed; feed.LINGER_S = 0.5\n"
    monkeypatch.setitem(globals(), "WITH_STAND_IN", start + WITH_STAND_IN)
    options = ("--view", "http", "--port", 0, "--model", model, "--on-demand")
    camera = Camera(tmp_path, *options, stand_in=True)
    cameras.append(camera)
    url = camera.wait_for(r"http://\S+")[0]

    def pid() -> int:
        while not (text := (tmp_path / "pid").read_text()):  # it is being written
            time.sleep(0.01)
        return int(text)

    first = pid()
    assert gone([first]), "no viewers"
    with urllib.request.urlopen(f"{url}stats.json") as response:
        assert "paused" in json.loads(response.read())["message"]
    with urllib.request.urlopen(f"{url}healthz") as response:
        assert response.status == 200
    asked = time.monotonic()
    with urllib.request.urlopen(f"{url}snapshot.jpg", timeout=30) as response:
        assert response.read().startswith(b"\xff\xd8")
    second = pid()
    assert second != first
    assert gone([second])
    with urllib.request.urlopen(f"{url}stream.mjpg", timeout=30) as stream:
        while len(re.findall(b"Content-Length", stream.read(200))) < 1 and time.monotonic() < asked + 60:
            pass
        deadline = time.monotonic() + 20
        while pid() == second:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert camera.end(signal.SIGTERM) == 0
    assert "lost" not in camera.log_text()
    assert camera.results()["reconnects"] == 0


@pytest.mark.parametrize("options", [("--view", "none"), ("--view", "http", "--record", "clip.mkv")])
def test_on_demand_is_only_for_the_page(tmp_path: Path, cameras: list[Camera], options: tuple[str, ...]) -> None:
    camera = Camera(tmp_path, *options, "--on-demand", cwd=tmp_path)
    cameras.append(camera)
    assert camera.end() == 2
    assert "--on-demand is for --view http alone" in camera.log_text()
