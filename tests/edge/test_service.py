"""What systemd hears, over a socket like its own."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from seg_edge.service import ServiceManager


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
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


def test_a_service_says_when_it_is_ready_alive_and_stopping(heard: socket.socket, tmp_path: Path) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
    manager.ready()
    for _ in range(100):
        manager.alive("29.9 frames/s")
    manager.stopping()
    assert messages(heard) == ["READY=1", "WATCHDOG=1\nSTATUS=29.9 frames/s", "STOPPING=1"]


def test_the_watchdog_is_petted_twice_in_its_limit(
    heard: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("seg_edge.service.time.monotonic", lambda: now[0])
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000"})
    for _ in range(200):
        now[0] += 0.1
        manager.alive("")
    assert len(messages(heard)) == pytest.approx(4, abs=1)


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
