"""Monitors the board during a measurement: heat, throttling, load and energy; decides whether figures are valid."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seg_edge.system.board import HOT_C, Board, Machine, read_board, vcgencmd

BUSY = 0.5  # other programs' share of a core, by the load average of the last minute before anything is measured
PERIOD_S = 1.0


class Watch:
    """Create it before any work, measure inside `with watching()`, then get the `verdict`.

    Args:
        machine: Where facts come from.
    """

    def __init__(self, machine: Machine | None = None):
        self._machine = machine or Machine()
        self._boards = [read_board(self._machine)]
        self._throttle_count = throttle_count(self._machine)
        self._joules, self._watts = joules(self._machine), list[float]()
        self._began = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Reads the board every second inside the block, as throttling may be brief."""
        done = threading.Event()

        def work() -> None:
            while not done.wait(PERIOD_S):
                self.sample()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def sample(self) -> None:
        """Reads the board once more."""
        self._boards.append(read_board(self._machine))
        if (watts := pi_watts(self._machine)) is not None:
            self._watts.append(watts)

    def verdict(self) -> dict[str, Any]:
        """Evaluates what was read.

        Returns:
            `valid`: whether the figures are valid. `reasons`: why they aren't. `notes`: what a reader should know.
            `temperature_c`, `load`: before, highest, after. `watts`: mean of what the CPU packages, or a Raspberry
            Pi 5's power rails, drew; None if they don't report it.
        """
        self._boards.append(read_board(self._machine))
        first, last = self._boards[0], self._boards[-1]
        reasons = [f"the board slowed the CPU down during the measurement: {what}" for what in self._throttling()]
        notes = []
        if first.load is not None and first.load > BUSY:
            notes.append(f"other programs ran: a load of {first.load:.1f} before anything was measured")
        if first.governor and first.governor != "performance":
            notes.append(f"the kernel's governor '{first.governor}' picks the clock")
        if first.throttled_since_boot:
            notes.append(
                "it was throttled earlier, so brief throttling between checks can't be ruled out; "
                "reboot and measure again"
            )
        if first.is_raspberry_pi and first.throttle_bits is None:
            notes.append("this board doesn't say whether it was throttled: vcgencmd is missing, or not allowed")
        temperatures = [board.temperature_c for board in self._boards]
        hottest = max((value for value in temperatures if value is not None), default=None)
        if hottest is not None and hottest >= HOT_C:
            notes.append(f"it got as hot as {hottest:.0f} °C")
        return {
            "valid": not reasons,
            "reasons": reasons,
            "notes": notes,
            "temperature_c": [first.temperature_c, hottest, last.temperature_c],
            "load": [first.load, max((board.load or 0.0) for board in self._boards), last.load],
            "watts": self._mean_watts(),
            "seconds": round(time.monotonic() - self._began, 1),
        }

    def _throttling(self) -> list[str]:
        found = {what for board in self._boards for what in board.throttled_now}
        # These stay set until a reboot, so only new ones count.
        first, last = self._boards[0], self._boards[-1]
        found |= set(last.throttled_since_boot) - set(first.throttled_since_boot)
        count = throttle_count(self._machine)
        if count is not None and self._throttle_count is not None and count > self._throttle_count:
            found.add(f"the CPU's own count of it rose by {count - self._throttle_count}")
        return sorted(found)

    def _mean_watts(self) -> float | None:
        if self._watts:
            return round(sum(self._watts) / len(self._watts), 2)
        after = joules(self._machine)
        elapsed = time.monotonic() - self._began
        if after is None or self._joules is None or after < self._joules or not elapsed:  # the counter has wrapped
            return None
        return round((after - self._joules) / elapsed, 2)


def throttle_count(machine: Machine) -> int | None:
    """How often Intel's CPUs were throttled since boot, over all cores; None if it isn't counted."""
    processors = (machine.root / "sys/devices/system/cpu").glob("cpu[0-9]*")
    counts = [
        machine.number(f"sys/devices/system/cpu/{cpu.name}/thermal_throttle/core_throttle_count") for cpu in processors
    ]
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known else None


def joules(machine: Machine) -> float | None:
    """The energy counter of the CPU packages (the kernel's powercap/intel-rapl, AMD's too); None if unreadable."""
    packages = (machine.root / "sys/class/powercap").glob("intel-rapl:[0-9]")
    known = [machine.number(f"sys/class/powercap/{package.name}/energy_uj") for package in packages]
    return sum(value for value in known if value is not None) / 1e6 if any(v is not None for v in known) else None


def pi_watts(machine: Machine) -> float | None:
    """Watts by a Raspberry Pi 5's power chip: the sum over its rails of volts times amperes; None elsewhere.

    Less than the board draws: devices on 5 V and losses of the converters aren't included.
    """
    output = vcgencmd(machine, "pmic_read_adc")
    readings = re.findall(r"(\S+)_([AV]) (?:current|volt)\(\d+\)=([\d.]+)[AV]", output)
    amperes = {rail: float(value) for rail, unit, value in readings if unit == "A"}
    volts = {rail: float(value) for rail, unit, value in readings if unit == "V"}
    return sum(amperes[rail] * volts[rail] for rail in amperes.keys() & volts.keys()) if amperes else None


def describe_board(board: Board) -> dict[str, Any]:
    """The facts about a board that don't change during a measurement."""
    return {
        "model": board.model,
        "cpu": board.cpu,
        "arch": board.arch,
        "cores": board.cores,
        "features": list(board.features),
        "governor": board.governor,
        "clock_driver": board.clock_driver,
        "max_mhz": board.max_mhz,
    }
