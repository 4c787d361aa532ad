"""Throttling is detected; heat, load and watts are reported. Boards are simulated in a folder."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seg_edge.apps.bench.watch import Watch, joules, pi_watts, throttle_count
from seg_edge.system.board import Machine

# As a Raspberry Pi 5 prints it, cut short.
PMIC = """   3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
   3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
   EXT5V_V volt(24)=5.10000000V
"""


class Board:
    """A simulated board whose facts a test changes while it is watched."""

    def __init__(self, root: Path):
        self.root, self.bits, self.pmic = root, "0x0", ""
        self.machine = Machine(root, environment={}, run=self._vcgencmd)

    def write(self, name: str, text: object) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def _vcgencmd(self, command: list[str], **_: Any) -> Any:
        return SimpleNamespace(stdout=f"throttled={self.bits}\n" if command[1] == "get_throttled" else self.pmic)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    made = Board(tmp_path)
    made.write("proc/loadavg", "0.10 0.20 0.30 1/99 1234")
    made.write("sys/class/thermal/thermal_zone0/temp", 50000)
    return made


def test_figures_of_a_cool_and_quiet_board_are_valid(board: Board) -> None:
    verdict = Watch(board.machine).verdict()
    assert verdict["valid"]
    assert verdict["reasons"] == verdict["notes"] == []
    assert verdict["temperature_c"] == [50, 50, 50]
    assert verdict["load"] == [0.1, 0.1, 0.1]
    assert verdict["watts"] is None


@pytest.mark.parametrize(
    ("before", "while_measured", "after", "valid"),
    [
        ("0x0", "0x4", "0x0", False),  # throttled briefly, and noticed
        ("0x0", "0x0", "0x40000", False),  # not noticed, but the board remembers
        ("0x50000", "0x50000", "0x50000", True),  # earlier, since boot
        ("0x50000", "0x50005", "0x50000", False),  # earlier, and again
    ],
)
def test_figures_of_a_throttled_board_are_not_valid(
    board: Board, before: str, while_measured: str, after: str, valid: bool
) -> None:
    board.bits = before
    watch = Watch(board.machine)
    board.bits = while_measured
    watch.sample()
    board.bits = after
    verdict = watch.verdict()
    assert verdict["valid"] is valid
    assert any("throttled earlier" in note for note in verdict["notes"]) is (before != "0x0")
    assert bool(verdict["reasons"]) is not valid


def test_a_cpu_that_counts_its_own_throttling(board: Board) -> None:
    counter = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    board.write(counter.format(0), 3)
    board.write(counter.format(1), 4)
    assert throttle_count(board.machine) == 7
    watch = Watch(board.machine)
    board.write(counter.format(1), 6)
    assert "rose by 2" in watch.verdict()["reasons"][0]


def test_heat_load_and_a_powersave_governor_are_reported(board: Board) -> None:
    board.write("proc/loadavg", "1.70 0.20 0.30 1/99 1234")
    board.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    watch = Watch(board.machine)
    board.write("sys/class/thermal/thermal_zone0/temp", 84000)
    watch.sample()
    board.write("sys/class/thermal/thermal_zone0/temp", 60000)
    verdict = watch.verdict()
    assert verdict["valid"]
    assert verdict["temperature_c"] == [50, 84, 60]
    assert [word for word in ("1.7", "powersave", "84") for note in verdict["notes"] if word in note] == [
        "1.7",
        "powersave",
        "84",
    ]


def test_brief_throttling_is_noticed_too(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg_edge.apps.bench.watch.PERIOD_S", 0.01)
    watch = Watch(board.machine)
    with watch.watching():
        board.bits = "0x4"
        time.sleep(0.2)
        board.bits = "0x0"
    assert watch.verdict()["reasons"]
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError), watch.watching():
        _ = 1 / 0
    assert threading.active_count() == threads


def test_a_raspberry_pi_without_throttle_state_is_noted(tmp_path: Path) -> None:
    def missing(command: list[str], **_: Any) -> Any:
        raise FileNotFoundError(command[0])

    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    verdict = Watch(Machine(tmp_path, environment={}, run=missing)).verdict()
    assert "vcgencmd" in verdict["notes"][0]


def test_watts_of_a_raspberry_pi_5_are_volts_times_amperes(board: Board) -> None:
    board.pmic = PMIC
    assert pi_watts(board.machine) == pytest.approx(0.1 * 3.7 + 0.2 * 3.3)
    watch = Watch(board.machine)
    watch.sample()
    assert watch.verdict()["watts"] == pytest.approx(1.03)


def test_watts_of_a_pc_are_joules_by_seconds(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0, 102.0, 102.0])
    monkeypatch.setattr("seg_edge.apps.bench.watch.time", SimpleNamespace(monotonic=lambda: next(clock)))
    board.write("sys/class/powercap/intel-rapl:0/energy_uj", 1_000_000)
    assert joules(board.machine) == 1.0
    watch = Watch(board.machine)
    board.write("sys/class/powercap/intel-rapl:0/energy_uj", 31_000_000)
    assert watch.verdict()["watts"] == 15.0


def test_a_counter_that_was_reset_is_ignored(board: Board) -> None:
    board.write("sys/class/powercap/intel-rapl:0/energy_uj", 9_000_000)
    watch = Watch(board.machine)
    board.write("sys/class/powercap/intel-rapl:0/energy_uj", 5)
    assert watch.verdict()["watts"] is None


def test_figures_of_a_board_without_sensors_are_valid(tmp_path: Path) -> None:
    def missing(command: list[str], **_: Any) -> Any:
        raise FileNotFoundError(command[0])

    verdict = Watch(Machine(tmp_path, environment={}, run=missing)).verdict()
    assert verdict["valid"]
    assert verdict["temperature_c"] == [None, None, None]
