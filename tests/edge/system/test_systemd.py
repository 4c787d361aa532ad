"""The notifications to systemd, over a socket like its own."""

import configparser
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seg_edge.apps.camera import STUCK_S
from seg_edge.system.systemd import ServiceManager

ROOT = Path(__file__).parents[3]


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(2)
        yield server


def messages(server: socket.socket) -> list[str]:
    server.setblocking(False)
    found = []
    while True:
        try:
            found.append(server.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_service_reports_when_it_is_ready_alive_and_stopping(notifications: socket.socket, tmp_path: Path) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
    manager.ready()
    for _ in range(100):
        manager.alive("29.9 frames/s")
    manager.stopping()
    assert messages(notifications) == ["READY=1", "WATCHDOG=1\nSTATUS=29.9 frames/s", "STOPPING=1"]


def test_the_watchdog_is_notified_twice_within_its_limit(
    notifications: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("seg_edge.system.systemd.time.monotonic", lambda: now[0])
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"})
    for _ in range(200):
        now[0] += 0.1
        manager.alive("")
    assert len(messages(notifications)) == pytest.approx(4, abs=1)


def test_an_abstract_socket_as_systemd_may_give() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("\0seg-edge-test-notify")
        ServiceManager({"NOTIFY_SOCKET": "@seg-edge-test-notify"}).ready()
        assert messages(server) == ["READY=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}, {"WATCHDOG_USEC": "x"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    manager = ServiceManager(environment)
    manager.ready()
    manager.alive("")
    manager.stopping()


def test_the_unit_in_the_docs_asks_for_what_the_program_does(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "seg-edge-camera.service").read_text()
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    assert int(service["WatchdogSec"]) > 2 * STUCK_S, "a frame that is merely slow must not restart it"
    arguments = shlex.split(service["ExecStart"])[1:]
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert arguments[0] == "camera"
    options |= {"--source": str(tmp_path / "nothing.mp4"), "--stats": str(tmp_path / "stats.json")}
    command = [
        sys.executable,
        "-m",
        "seg_edge.commands.cli",
        "camera",
        *(part for pair in options.items() for part in pair),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, "the options are right, the camera isn't there"
    assert "nothing.mp4" in done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "seg-edge-camera.service").read_text()
    text = re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", text).replace("User=pi", "User=root")
    (tmp_path / "seg-edge-camera.service").write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / "seg-edge-camera.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
