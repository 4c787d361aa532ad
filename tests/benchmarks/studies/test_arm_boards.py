"""Reports on emulated boards. Boards themselves need QEMU, root rights and an hour, and aren't started."""

import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from benchmarks.studies import arm64_root, arm_boards
from benchmarks.studies.arm_boards import STEPS, SYSTEMS

app = typer.Typer()
app.command()(arm_boards.main)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_failed_steps_are_shown_and_the_others_still_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pretend(root: Path, system: object, line: str, variables: object) -> subprocess.CompletedProcess[str]:
        fails = line == STEPS["video"]
        return subprocess.CompletedProcess(line, 7 if fails else 0, f"first\nof {root.name}")

    monkeypatch.setattr(arm_boards, "set_up", lambda root, system, mirror: root)
    monkeypatch.setattr(arm_boards, "run", pretend)
    done = call("trixie-arm64", "--root", tmp_path, "--only", "image,video,serve")
    assert done.exit_code == 1
    assert [line.split()[1:3] for line in done.stdout.splitlines()] == [
        ["image", "ok"],
        ["video", "exit"],
        ["serve", "ok"],
    ]
    assert done.stderr == "    first\n    of trixie-arm64\n"
    assert call("trixie-arm64", "--root", tmp_path, "--only", "image").exit_code == 0


def test_missing_tools_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert call("bullseye").exit_code == 2
    assert call("--only", "dance").exit_code == 2
    monkeypatch.setattr(arm64_root, "check_tools", lambda: None)
    monkeypatch.setattr(arm_boards, "is_registered", lambda system: False)
    done = call("bookworm-armhf", "--root", tmp_path)
    assert done.exit_code == 1
    assert "the kernel doesn't start armhf programs with qemu-arm-static" in done.stderr


def test_every_system_has_its_emulator_and_processor() -> None:
    assert {system.emulator for system in SYSTEMS.values()} == {"qemu-aarch64-static", "qemu-arm-static"}
    for system in SYSTEMS.values():
        assert "CPU part" in arm64_root.cpuinfo(system.processor)
