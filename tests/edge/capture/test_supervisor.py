"""A camera that stalls, crashes, is unplugged or hangs is noticed, reported and reopened, and leaves nothing behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from seg_edge.capture import process as capture_process
from seg_edge.capture import supervisor as capture
from seg_edge.capture.supervisor import Capture, CapturedFrame
from seg_edge.errors import SourceError
from seg_edge.sources.source import SourceRequest
from tests.stand_in_sources import OPENER, SHAPE, set_state

ROOT = Path(__file__).parents[3]


class Run:
    """A running capture, with the frames and messages that it delivered."""

    def __init__(self, folder: Path, live: bool = True):
        self.folder = folder
        self.frames: list[CapturedFrame] = []
        self.news: list[str] = []
        self.finished = 0
        request = SourceRequest(set_state(folder, "works"), (32, 24), live=live)
        self.capture = Capture(request, self.frames.append, self._finish, self.news.append, OPENER)
        self.capture.start()

    def _finish(self) -> None:
        self.finished += 1

    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def until(self, condition: Callable[[], object], seconds: float = 60) -> float:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, f"not within {seconds} s; news: {self.news}"
            time.sleep(0.02)
        return time.monotonic() - began

    def gets_frames(self, seconds: float = 60) -> float:
        before = len(self.frames)
        return self.until(lambda: len(self.frames) > before + 3, seconds)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.capture.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_frames_arrive_as_they_were_taken_with_the_small_picture(run: Run) -> None:
    run.gets_frames()
    first = run.frames[0]
    assert first.frame.shape == SHAPE
    assert first.small.shape == (24, 32, 3)
    values = [int(item.frame[0, 0, 0]) for item in run.frames]
    assert values[:4] == [0, 1, 2, 3]
    for item, value in zip(run.frames, values, strict=True):
        assert np.all(item.frame == value)
        assert np.all(item.small == value)
        assert item.captured <= item.arrived
        assert 0 <= item.resize_s <= item.arrived - item.captured
    assert run.capture.trouble == ""


def test_closing_lets_the_source_close_its_device(run: Run) -> None:
    run.gets_frames()
    pid = run.pid()
    run.capture.close()
    run.capture.close()
    assert (run.folder / "closed").exists()
    assert not is_running(pid)
    assert run.finished == 1


def test_the_source_closes_its_device_after_a_reconnect_too(run: Run) -> None:
    run.gets_frames()
    set_state(run.folder, "crashes")
    run.until(lambda: run.news)
    set_state(run.folder, "works")
    run.gets_frames()
    assert not (run.folder / "closed").exists()
    run.capture.close()
    assert (run.folder / "closed").exists()


def test_a_camera_that_comes_and_goes_is_retried_less_and_less_and_reported_once(run: Run) -> None:
    run.gets_frames()
    (run.folder / "frames").write_text("1")  # from the next opening on: it fails after one frame
    set_state(run.folder, "crashes")
    run.until(lambda: run.news)
    set_state(run.folder, "works")
    before = run.capture.reconnects
    time.sleep(4)
    assert 1 <= run.capture.reconnects - before <= 4
    assert len(run.news) <= 2


def test_without_memory_for_a_new_process_it_keeps_trying(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.gets_frames()

    def refuse(name: str) -> int:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr("seg_edge.capture.process.os.memfd_create", refuse)
        set_state(run.folder, "crashes")
        run.until(lambda: run.news)
        set_state(run.folder, "works")
        time.sleep(1.5)
        assert run.finished == 0
    run.gets_frames()


def test_an_endless_source_that_ends_is_reopened(run: Run) -> None:
    run.gets_frames()
    set_state(run.folder, "ends")
    run.until(lambda: run.news)
    set_state(run.folder, "works")
    run.gets_frames()


def test_a_folder_s_own_modules_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("random", "cv2", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the folder was imported')")
    monkeypatch.chdir(tmp_path)
    run = Run(tmp_path)
    run.gets_frames()
    run.capture.close()


@pytest.mark.parametrize("mood", ["stalls", "crashes", "unplugged", "is broken"])
def test_a_camera_that_fails_is_noticed_and_comes_back(run: Run, mood: str) -> None:
    run.gets_frames()
    first_pid = run.pid()
    set_state(run.folder, mood)
    noticed = run.until(lambda: run.news)
    assert run.news[0].endswith("Trying again.")
    assert "\n" not in run.news[0]
    assert "lost" in run.capture.trouble
    time.sleep(max(0.0, 1.5 - noticed))  # several attempts
    assert len(run.news) == 1, "a failure is reported once, however often it is retried"
    set_state(run.folder, "works")
    run.gets_frames()
    assert run.capture.reconnects == 1
    assert "back after" in run.news[1]
    assert run.capture.trouble == ""
    assert not is_running(first_pid), "the process that hung was killed"
    assert run.capture.failure is None


def test_a_camera_that_hangs_while_reopening_is_retried(run: Run) -> None:
    run.gets_frames()
    set_state(run.folder, "crashes")
    run.until(lambda: run.news)
    set_state(run.folder, "hangs")
    time.sleep(2)  # an attempt hangs now
    set_state(run.folder, "works")
    run.gets_frames()


def test_closing_kills_a_driver_that_hangs(run: Run) -> None:
    run.gets_frames()
    set_state(run.folder, "stalls")
    time.sleep(0.2)
    pid = run.pid()
    run.capture.close()
    assert not is_running(pid)


def test_closing_between_attempts_ends_the_capture(run: Run) -> None:
    run.gets_frames()
    set_state(run.folder, "unplugged")
    run.until(lambda: run.news)
    time.sleep(2)
    run.capture.close()
    assert run.finished == 1


@pytest.mark.parametrize(
    ("mood", "message"),
    [
        ("unplugged", "plug it in"),
        ("crashes", "Segmentation fault"),
        ("is broken", "ZeroDivisionError"),
        ("hangs", "no picture"),
    ],
)
def test_a_camera_that_can_t_be_opened_at_first_is_an_error(
    tmp_path: Path, mood: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mood == "hangs":
        monkeypatch.setattr(capture, "FIRST_OPEN_S", 2.0)
    request = SourceRequest(set_state(tmp_path, mood), (32, 24))
    with pytest.raises(SourceError, match=message):
        Capture(request, print, print, print, OPENER)


def test_time_without_a_core_does_not_count_as_hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    without_core_s = 2.5  # of the first seconds, as on an overloaded machine
    monkeypatch.setattr(capture_process, "waited_for_core_s", lambda pid: min(time.monotonic() - began, without_core_s))
    process = capture_process.CaptureProcess(SourceRequest(set_state(tmp_path, "hangs"), (32, 24)), OPENER)
    try:
        with pytest.raises(SourceError, match="no picture for 0 s"):
            process.wait_until_open(0.2)
    finally:
        process.close()
    assert time.monotonic() - began > without_core_s


def test_the_kernel_reports_how_long_a_process_had_no_core() -> None:
    cores, before = os.sched_getaffinity(0), capture_process.waited_for_core_s(os.getpid())
    core = min(cores)
    spin = f"import os\nos.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as spinning:
        try:
            assert spinning.stdout is not None
            spinning.stdout.readline()
            os.sched_setaffinity(0, {core})
            until = time.process_time() + 0.2
            while time.process_time() < until:
                pass
        finally:
            os.sched_setaffinity(0, cores)
            spinning.kill()
    assert capture_process.waited_for_core_s(os.getpid()) - before > 0.02
    assert capture_process.waited_for_core_s(2**30) == 0


def test_a_source_that_is_not_live_waits_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "finite").touch()
    frames: list[int] = []

    def slow(item: CapturedFrame) -> None:
        time.sleep(0.01)
        frames.append(int(item.frame[0, 0, 0]))
        if len(frames) == 60:
            set_state(tmp_path, "ends")

    done: list[bool] = []
    request = SourceRequest(set_state(tmp_path, "works"), (32, 24), live=False)
    capturing = Capture(request, slow, lambda: done.append(True), print, OPENER)
    capturing.start()
    deadline = time.monotonic() + 60
    while not done and time.monotonic() < deadline:
        time.sleep(0.02)
    capturing.close()
    assert done == [True]
    assert frames == list(range(len(frames)))
    assert len(frames) >= 60
    assert (capturing.missed, capturing.failure) == (0, None)


def test_a_slow_reader_of_a_live_source_misses_frames_that_are_counted(tmp_path: Path) -> None:
    values: list[int] = []

    def slow(item: CapturedFrame) -> None:
        time.sleep(0.15)
        values.append(int(item.frame[0, 0, 0]))

    request = SourceRequest(set_state(tmp_path, "works"), (32, 24))
    capturing = Capture(request, slow, lambda: None, print, OPENER)
    capturing.start()
    time.sleep(2)
    capturing.close()
    assert capturing.missed > 20
    assert capturing.received + capturing.missed >= values[-1] + 1
    assert capturing.received - 1 <= len(values) <= capturing.received


def test_a_finite_source_that_fails_is_an_error_not_a_reconnect(tmp_path: Path) -> None:
    (tmp_path / "finite").touch()
    run = Run(tmp_path)
    run.gets_frames()
    set_state(tmp_path, "unplugged")
    run.until(lambda: run.finished)
    run.capture.close()
    assert isinstance(run.capture.failure, SourceError)
    assert run.capture.reconnects == 0


def test_a_frame_too_large_for_the_shared_memory_is_refused() -> None:
    import mmap

    memory = mmap.mmap(-1, 16)
    with pytest.raises(SourceError, match="larger than 8K"):
        capture_process.slot_views(memory, 0, (9000, 16000, 3), (32, 32, 3))


@pytest.mark.parametrize("mood", ["works", "stalls"])
def test_the_capture_process_dies_with_the_program_even_by_kill_9(tmp_path: Path, mood: str) -> None:
    set_state(tmp_path, "works")
    program = (
        "import sys, time\n"
        "from seg_edge.capture.supervisor import Capture\n"
        "from seg_edge.sources.source import SourceRequest\n"
        "from tests.stand_in_sources import OPENER\n"
        "c = Capture(SourceRequest(sys.argv[1], (32, 24)), lambda f: None, lambda: None, print, OPENER)\n"
        "c.start()\n"
        "print('open', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    pid = int((tmp_path / "pid").read_text())
    assert is_running(pid)
    set_state(tmp_path, mood)
    time.sleep(0.2)
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
