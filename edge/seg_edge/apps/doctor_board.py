"""The checks of `seg-edge doctor` that concern the board: CPU, cameras, heat, time for an inference."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from seg_edge import interpreter, models
from seg_edge.evaluation.latency import measure
from seg_edge.system.board import CPUFREQ, HOT_C, Machine, cpu_quota, find_cameras, read_board

# Instructions that decide how fast int8 is, best first, as Arm's and x86's /proc/cpuinfo call them.
INT8_SPEED = (
    (("amx_int8", "i8mm", "asimddp", "avx512_vnni", "avx_vnni"), "8-bit dot products, which int8 models use"),
    (("asimd", "neon", "avx2"), "no 8-bit dot products, so int8 may be no faster than float"),
)
# For each number of threads; a fifth is warm-up: a new thread starts on the core of its creator, and the kernel takes
# about a tenth of a second to move it.
TIMING_SECONDS = 1.0
MAX_RUNS = 1000
# Drivers of newer PCs, whose usual governor "powersave" goes up to full speed, unlike amd-pstate's without "-epp".
FULL_SPEED_POWERSAVE = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")

# Status, found, advice, data: a `seg_edge.apps.doctor.Finding` without the check's name.
Result = tuple[str, str, str, Mapping[str, Any]]


def check_simd(machine: Machine) -> Result:
    """The CPU's instructions for int8, and whether XNNPACK runs the model."""
    board = read_board(machine)
    useful, found = _int8_speed(board.features)
    data: dict[str, Any] = {"features": useful, "xnnpack": None, "not_delegated": None}
    file = _any_model()
    if file is None:
        return "note", f"{found}; XNNPACK not tried", "see the check 'model'", data
    backend = interpreter.LiteRT(file.content, 1, file.name)
    split = backend.delegation()
    if split is None:
        return "ok", f"{found}; this runtime doesn't say what XNNPACK runs", "", data
    data["xnnpack"], data["not_delegated"] = split
    if not data["xnnpack"]:
        # Says nothing about the instructions: only XNNPACK would use them.
        found = f"XNNPACK is not used for {file.name}"
        if machine.is_32_bit_arm:
            return "note", f"{found}: there is none for 32-bit Arm", "a 64-bit system is faster", data
        if backend.runtime.name == "tflite-runtime":
            return "note", f"{found} by tflite-runtime", "faster: pip install ai-edge-litert", data
        # XNNPACK's CPU detection reads these; where a container hides them it stays off.
        advice = "allow it to read /proc/cpuinfo and /sys, or pip install -U ai-edge-litert"
        return "problem", found, advice, data
    if slow := interpreter.slow_operators(data["not_delegated"]):
        rest = ", ".join(f"{count} {kind}" for kind, count in sorted(slow.items()))
        advice = "these may be slow, and another version of the runtime may support them: see the check 'interpreter'"
        return "note", f"{found}; XNNPACK runs {file.name} except {rest}", advice, data
    found += f"; XNNPACK runs {file.name}"
    if board.features and not useful:
        return "note", found, "expect slow inference: see the check 'threads'", data
    return "ok", found, "", data


def _int8_speed(features: tuple[str, ...]) -> tuple[list[str], str]:
    """Which of `INT8_SPEED` the CPU has, and a line about them."""
    if not features:
        return [], "this system doesn't list the CPU's instructions"
    useful = [name for names, _ in INT8_SPEED for name in names if name in features]
    meanings = (text for names, text in INT8_SPEED if set(names) & set(features))
    return useful, f"{', '.join(useful) or 'neither AVX2 nor NEON'}: {next(meanings, 'int8 and float are both slow')}"


def check_camera(machine: Machine) -> Result:
    """The /dev/video* nodes that are cameras, and the permission to use them."""
    cameras = find_cameras(machine)
    data = {"cameras": [asdict(camera) for camera in cameras]}
    if not cameras:
        advice = "plug in a USB camera; for a camera module see 'libcamera'; photos need none"
        return "note", "no USB camera", advice, data
    found = ", ".join(
        f"{camera.device} {camera.name}{'' if camera.allowed else ' (no permission)'}" for camera in cameras
    )
    refused = sum(not camera.allowed for camera in cameras)
    if refused:
        status = "problem" if refused == len(cameras) else "note"
        return status, found, "sudo usermod -aG video $USER, then log out and in again", data
    return "ok", found, "", data


def check_libcamera(machine: Machine) -> Result:
    """On a Raspberry Pi: whether this environment can import what drives a camera module."""
    board = read_board(machine)
    if not board.is_raspberry_pi:
        return "ok", "not a Raspberry Pi", "", {"board": board.model}
    names = ("libcamera", "picamera2")
    here = {name: _importable(name) for name in names}
    packages = machine.root / "usr/lib/python3/dist-packages"
    system = {name: (packages / name).is_dir() for name in names}
    try:
        config = (machine.prefix / "pyvenv.cfg").read_text(encoding="utf-8").lower()
    except OSError:  # no virtual environment
        config = ""
    hidden = bool(re.search(r"^include-system-site-packages\s*=\s*false", config, re.MULTILINE))
    data = {"board": board.model, "here": here, "system": system, "venv_hides_system": hidden}
    if all(here.values()):
        return "ok", f"libcamera and picamera2 are installed; {board.model}", "", data
    missing = " and ".join(name for name in names if not here[name])
    install = "" if system["picamera2"] else "sudo apt install python3-picamera2; "
    venv = "create the environment again: /usr/bin/python3 -m venv --system-site-packages DIR"
    if system["libcamera"]:
        why = "hides the system's packages" if hidden else "is not the system's Python"
        found = f"{missing}: not importable, the system has libcamera but this environment {why}"
        return "problem", found, install + venv, data
    found = f"{missing}: not installed, so no camera module ({board.model})"
    return "note", found, install + (venv if hidden else ""), data


def check_throttling(machine: Machine) -> Result:
    """Whether heat, power or the governor slow down the CPU."""
    board = read_board(machine)
    data = {
        "throttle_bits": board.throttle_bits,
        "now": board.throttled_now,
        "since_boot": board.throttled_since_boot,
        "temperature_c": board.temperature_c,
        "governor": board.governor,
        "mhz": board.mhz,
        "max_mhz": board.max_mhz,
    }
    facts = []
    if board.temperature_c is not None:
        facts.append(f"{board.temperature_c:.0f} °C")
    if board.mhz and board.max_mhz:
        facts.append(f"{board.mhz:.0f} of {board.max_mhz:.0f} MHz")
    if board.governor:
        facts.append(f"governor {board.governor}")
    rest = ", ".join(facts) or "no sensor or clock to read"
    causes = board.throttled_now or board.throttled_since_boot
    remedy = "cool it: a heatsink or a fan"
    if "under-voltage" in causes:
        remedy = "use the board's own power supply and a short cable, and unplug power-hungry USB devices"
    if board.throttled_now:
        return "problem", f"now: {', '.join(causes)}; {rest}", remedy, data
    if board.throttled_since_boot:
        return "note", f"since boot: {', '.join(causes)}; {rest}", remedy, data
    # PCs are built for this temperature.
    if board.temperature_c is not None and board.temperature_c > HOT_C and machine.arch.startswith(("arm", "aarch")):
        return "note", rest, remedy, data
    if board.governor == "powersave" and board.clock_driver not in FULL_SPEED_POWERSAVE:
        folder = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        available = machine.text(f"{CPUFREQ}/scaling_available_governors").split()
        better = next((name for name in ("ondemand", "schedutil", "performance") if name in available), None)
        if better:
            return "note", rest, f"echo {better} | sudo tee {folder}", data
        return "note", rest, "this kernel has no other governor", data
    history = "" if board.throttle_bits is None else "not throttled since boot; "
    return "ok", history + rest, "", data


def check_threads(machine: Machine) -> Result:
    """How long an inference takes, by thread count."""
    board = read_board(machine)
    file = _any_model()
    if file is None:
        return "problem", "no bundled model to time", "see the check 'model'", {}
    counts = range(1, interpreter.default_threads() + 1)
    timings = {
        n: measure({file.name: file.content}, n, MAX_RUNS, warmup=MAX_RUNS, seconds=TIMING_SECONDS)[file.name]
        for n in counts
    }
    median = {n: timing.median_ms for n, timing in timings.items()}
    fastest = min(median, key=median.__getitem__)
    runs = min(len(timing.samples) for timing in timings.values())
    quota = cpu_quota(machine)
    data = {
        "model": file.name,
        "median_ms": {str(n): round(ms, 3) for n, ms in median.items()},
        "runs": runs,
        "fastest": None,
        "speed_up": None,
        "load": board.load,
        "cores": board.cores,
        "quota": quota,
    }
    found = f"{file.name}, threads {', '.join(f'{n}: {ms:.1f} ms' for n, ms in median.items())} (median of {runs})"
    if quota is not None:
        found += f"; this container may use {quota:g} of {board.cores} cores"
    load = "" if board.load is None else f"; load {board.load:.1f} on {board.cores} cores"
    if board.load is not None and board.load > board.cores / 2:
        # Doesn't say which is fastest: the other programs decide that.
        advice = "this load makes the times too long: try again when it is lower"
        return "note", found + load, advice, data
    data |= {"fastest": fastest, "speed_up": round(median[1] / median[fastest], 2)}
    if len(median) > 1:
        found += f"; {fastest} fastest, {data['speed_up']} x as fast as 1"
    found += load
    if median[fastest] < 0.9 * median[max(median)]:
        return "note", found, f"more threads do not help here: --threads {fastest}", data
    return "ok", found, "", data


def _any_model() -> models.ModelFile | None:
    listing = models.bundled_models()
    name = models.DEFAULT_MODEL if models.DEFAULT_MODEL in listing else next(iter(listing), None)
    return None if name is None else models.open_model(name)


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
