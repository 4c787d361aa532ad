"""Facts about the board: CPU, temperature, throttling, clock, load.

Read from Linux's files and `vcgencmd`; unknown facts are None or empty.
seg_edge.apps.doctor evaluates them; a benchmark records them with its figures.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

# `vcgencmd get_throttled`: bits 0 to 3 hold now, bits 16 to 19 the same at some time since boot
# (https://www.raspberrypi.com/documentation/computers/os.html#get_throttled).
THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
HOT_C = 80.0  # a Raspberry Pi lowers its clock at this temperature; other boards do so near it
CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
# A Raspberry Pi's codecs, image processors and camera receivers are /dev/video* too.
NOT_A_CAMERA = re.compile(r"bcm2835-(codec|isp)|pispbe|rp1-cfe|rpi-hevc-dec|rpivid|unicam")


@dataclass(frozen=True)
class Machine:
    """Where the facts come from; tests point it at a simulated file tree.

    Attributes:
        root: The folder that holds `proc`, `sys`, `dev` and `usr`.
        environment: Environment variables.
        run: `subprocess.run`, for `vcgencmd`.
        prefix: The Python environment's folder.
        arch: The CPU architecture that the kernel reports.
        bits: Of this Python, which on Raspberry Pi OS can be 32 under a 64-bit kernel.
        libc: Of this Python: `glibc` and its version, or `musl` and nothing; both empty outside Linux.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    run: Callable[..., Any] = subprocess.run
    prefix: Path = Path(sys.prefix)
    arch: str = platform.machine()
    bits: int = 64 if sys.maxsize > 2**32 else 32
    libc: tuple[str, str] = ("musl", "") if "musl" in (sysconfig.get_config_var("SOABI") or "") else platform.libc_ver()

    @property
    def is_32_bit_arm(self) -> bool:
        """Whether only 32-bit Arm wheels can be installed."""
        return self.bits == 32 and self.arch.startswith(("arm", "aarch"))

    def text(self, name: str) -> str:
        """A file's text, stripped; empty when it can't be read."""
        try:
            content = (self.root / name).read_bytes()
        except OSError:  # missing, or a sensor that is asleep
            return ""
        return content.decode("utf-8", "replace").strip("\0 \n\t")

    def number(self, name: str) -> float | None:
        """The number in a file; None if there is none."""
        text = self.text(name)
        return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None


@dataclass(frozen=True)
class Board:
    """What figures measured on this board depend on.

    Attributes:
        model: The name of a Raspberry Pi; empty elsewhere.
        cpu: The CPU's name, empty on most Arm kernels.
        arch: The CPU architecture that the kernel reports.
        cores: CPUs the kernel sees.
        features: Instruction sets, as the kernel calls them.
        temperature_c: The hottest sensor.
        throttle_bits: As `vcgencmd get_throttled` gives them.
        throttled_now: What throttles the CPU right now.
        throttled_since_boot: What has throttled it at some time since boot.
        governor: How the kernel picks the clock.
        clock_driver: Which driver sets it.
        mhz: The first CPU's clock now.
        max_mhz: The highest it can have.
        load: Running tasks, averaged over the last minute.
    """

    model: str
    cpu: str
    arch: str
    cores: int
    features: tuple[str, ...]
    temperature_c: float | None
    throttle_bits: int | None
    throttled_now: tuple[str, ...]
    throttled_since_boot: tuple[str, ...]
    governor: str
    clock_driver: str
    mhz: float | None
    max_mhz: float | None
    load: float | None

    @property
    def is_raspberry_pi(self) -> bool:
        """Whether it is one."""
        return self.model.startswith("Raspberry Pi")


@dataclass(frozen=True)
class Camera:
    """A camera that the kernel knows, such as a USB webcam.

    Attributes:
        device: Its node, such as `/dev/video0`.
        name: The name it reports; may be empty.
        allowed: Whether this user may use it.
    """

    device: str
    name: str
    allowed: bool


def find_cameras(machine: Machine) -> list[Camera]:
    """The /dev/video* nodes that are cameras, by number."""
    cameras: list[Camera] = []
    for node in sorted((machine.root / "dev").glob("video[0-9]*"), key=lambda path: int(path.name[5:])):
        about = f"sys/class/video4linux/{node.name}"
        name = machine.text(f"{about}/name")
        # The second node of a USB camera, under the same name, carries no pictures but data about them.
        is_second = bool(machine.number(f"{about}/index")) and name in (camera.name for camera in cameras)
        if not is_second and not NOT_A_CAMERA.match(name):
            cameras.append(Camera(f"/dev/{node.name}", name, os.access(node, os.R_OK | os.W_OK)))
    return cameras


def read_board(machine: Machine) -> Board:
    """Reads all facts; takes milliseconds."""
    cpuinfo = machine.text("proc/cpuinfo")
    # "model name" and "flags" on x86, "Model" and "Features" on a Raspberry Pi.
    lines = dict(re.findall(r"^([^:\n\t]+?)[\t ]*: *(.*)$", cpuinfo, re.MULTILINE))
    bits = _throttle_bits(machine)
    load = machine.text("proc/loadavg").split()
    return Board(
        model=machine.text("proc/device-tree/model") or lines.get("Model", ""),
        cpu=lines.get("model name", ""),
        arch=machine.arch,
        cores=len(re.findall(r"^processor\b", cpuinfo, re.MULTILINE)) or os.cpu_count() or 1,
        features=tuple((lines.get("flags") or lines.get("Features") or "").split()),
        temperature_c=_hottest(machine),
        throttle_bits=bits,
        throttled_now=_decode(bits or 0),
        throttled_since_boot=_decode((bits or 0) >> 16),
        governor=machine.text(f"{CPUFREQ}/scaling_governor"),
        clock_driver=machine.text(f"{CPUFREQ}/scaling_driver"),
        mhz=_thousandth(machine.number(f"{CPUFREQ}/scaling_cur_freq")),
        max_mhz=_thousandth(machine.number(f"{CPUFREQ}/cpuinfo_max_freq")),
        load=float(load[0]) if load else None,
    )


def cpu_quota(machine: Machine) -> float | None:
    """How many processors' time this process's control groups allow, such as 1.5; None without a limit."""
    group = re.search(r"^0::/(.*)$", machine.text("proc/self/cgroup"), re.MULTILINE)
    path = PurePosixPath(group[1] if group else "")
    limits = [machine.text(f"sys/fs/cgroup/{folder}/cpu.max") for folder in (path, *path.parents)]
    version_1 = (machine.text(f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    pairs = (re.fullmatch(r"(\d+) (\d+)", limit) for limit in (*limits, " ".join(version_1)))
    return min((int(pair[1]) / int(pair[2]) for pair in pairs if pair), default=None)


def vcgencmd(machine: Machine, what: str) -> str:
    """The output of `vcgencmd` on a Raspberry Pi; empty elsewhere."""
    try:
        done = machine.run(["vcgencmd", what], capture_output=True, text=True, timeout=1)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout or ""


def _throttle_bits(machine: Machine) -> int | None:
    match = re.search(r"throttled=(0x[0-9a-fA-F]+)", vcgencmd(machine, "get_throttled"))
    return int(match[1], 16) if match else None


def _decode(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(THROTTLE_BITS) if bits >> bit & 1)


def _hottest(machine: Machine) -> float | None:
    zones = (machine.root / "sys/class/thermal").glob("thermal_zone*")
    milli = [machine.number(f"sys/class/thermal/{zone.name}/temp") for zone in zones]
    return _thousandth(max((value for value in milli if value is not None), default=None))


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000
