"""The checks of `seg-edge doctor`: can this machine segment, and if not, what to do.

They change nothing, open no camera and show no window. Checks of the installation are here, those of the board in
`seg_edge.apps.doctor_board`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg_edge import interpreter, models
from seg_edge.apps import doctor_board
from seg_edge.apps.doctor_board import Result
from seg_edge.errors import ModelError, RuntimeMissingError
from seg_edge.sinks.display import look_for_windows
from seg_edge.sources.video_container import OLDEST_PYAV
from seg_edge.system.board import Machine

OPENCVS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
WHEELS_FOR = ("x86_64", "amd64", "aarch64", "arm64")  # ai-edge-litert's
GLIBC = (2, 27)  # the oldest that they run on


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        status: `ok`, `note` (missing or could be better) or `problem` (something will fail).
        found: What was found, one line.
        advice: What to do about it, one line; empty when all is well.
        data: The same as JSON values.
    """

    check: str
    status: str
    found: str
    advice: str
    data: Mapping[str, Any]


def examine(machine: Machine | None = None) -> list[Finding]:
    """Runs every check: a second for each number of threads, and about one for the rest."""
    machine = machine or Machine()
    return [run_check(name, machine) for name in CHECKS]


def run_check(name: str, machine: Machine) -> Finding:
    """Runs a check; one that fails itself becomes a `problem`, never an exception."""
    try:
        return Finding(name, *CHECKS[name](machine))
    except RuntimeMissingError:
        found, advice = "no LiteRT runtime works here", "see the check 'interpreter'"
    except ModelError as error:
        found, advice = str(error), "see the check 'model'"
    except ImportError as error:
        found, advice = f"can't be checked: {_one_line(error)}", "see the check 'opencv'"
    except Exception as error:  # so that the other checks go on
        found, advice = f"the check itself failed: {_one_line(error)}", "report it to seg-edge"
    return Finding(name, "problem", found, advice, {})


def check_interpreter(machine: Machine) -> Result:
    """Which LiteRT runtime is used, and why the preferred ones aren't."""
    python = f"Python {platform.python_version()}, {machine.bits}-bit, on {machine.arch}"
    try:
        runtime = interpreter.find_runtime()
        name, version = runtime.name, runtime.version
    except RuntimeMissingError:
        name, version = "", ""
    failed = {}
    for runtime_name, module, _ in interpreter.RUNTIMES:
        if runtime_name == name:
            break
        failed[runtime_name] = _import_error(module)
    why = "".join(f"; {runtime_name} is not: {reason}" for runtime_name, reason in failed.items())
    data: dict[str, Any] = {"runtime": name, "version": version, "failed": failed}
    data |= {"python": platform.python_version(), "bits": machine.bits, "arch": machine.arch}
    install = _runtime_advice(machine)
    if not name:
        return "problem", f"no LiteRT runtime works{why}; {python}", install, data
    found = f"{name} {version} is used{why}; {python}"
    if name == "tensorflow":
        return "note", found, f"slow to start, hundreds of megabytes: {install}", data
    if name == "tflite-runtime" and not machine.is_32_bit_arm:
        return "note", found, f"its successor is faster: {install}", data
    return "ok", found, "", data


def check_numpy(machine: Machine) -> Result:
    """NumPy, and whether tflite-runtime was built for another version."""
    tflite = _version("tflite-runtime")
    data = {"version": np.__version__, "tflite_runtime": tflite}
    if not tflite or int(np.__version__.split(".")[0]) < 2:
        return "ok", f"NumPy {np.__version__}", "", data
    found = f"NumPy {np.__version__}, but tflite-runtime {tflite} was built for NumPy 1 and fails"
    try:
        replacement = interpreter.find_runtime().name
    except RuntimeMissingError:
        return "problem", found, "pip install 'numpy<2'", data
    return "note", found, f"{replacement} replaces it: pip uninstall tflite-runtime", data


def check_opencv(machine: Machine) -> Result:
    """OpenCV's version, and conflicts between its packages."""
    installed = {name: version for name in OPENCVS if (version := _version(name))}
    data: dict[str, Any] = {"packages": installed, "version": None}
    try:
        import cv2
    except (ImportError, AttributeError) as error:
        reason, advice = _one_line(error), "pip install --force-reinstall opencv-python"
        if "libGL" in reason or "libgthread" in reason:
            advice = "sudo apt install libgl1 libglib2.0-0"
        elif "multiarray" in reason or "_ARRAY_API" in reason:  # Debian's, with a NumPy from pip
            advice = "pip install 'numpy<2'"
        elif machine.is_32_bit_arm:
            advice = "sudo apt install python3-opencv, and python3 -m venv --system-site-packages"
        return "problem", f"OpenCV does not import: {reason}", advice, data
    data["version"] = cv2.__version__
    if len(installed) > 1:  # they unpack into one folder, and overwrite one another's files
        found = f"OpenCV {cv2.__version__}, from {' and '.join(installed)} at once"
        advice = f"pip uninstall -y {' '.join(installed)} && pip install opencv-python"
        return "problem", found, advice, data
    return "ok", " from ".join((f"OpenCV {cv2.__version__}", *installed)), "", data


def check_window(machine: Machine) -> Result:
    """Whether a window can be shown. Not tried: without a display Qt aborts the process."""
    support = look_for_windows(machine)
    x11, wayland = (machine.environment.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    data = {"gui": support.gui, "display": x11, "wayland_display": wayland}
    if support.why_not:
        advice = f"pictures are still written to files; for a window: {support.remedy}"
        found = support.why_not if support.gui == "NONE" else f"{support.gui} windows, but {support.why_not}"
        return "note", found, advice, data
    return "ok", f"{support.gui} windows on display {support.display or 'of the system'}", "", data


def check_video(machine: Machine) -> Result:
    """Whether PyAV is installed, which reads and writes video files."""
    elsewhere = "use a 64-bit system for video files"  # no wheel for 32-bit Arm, and Debian 12's is too old
    try:
        av = importlib.import_module("av")
    except Exception as error:  # whatever it is, the user should see it
        advice = elsewhere if machine.is_32_bit_arm else "pip install av"
        return "note", f"no video files or recordings: {_one_line(error)}", advice, {"pyav": None}
    found, data = f"PyAV {av.__version__}", {"pyav": av.__version__}
    if int(av.__version__.split(".")[0]) < OLDEST_PYAV:
        advice = elsewhere if machine.is_32_bit_arm else "pip install -U av"
        return "note", f"{found}: older than {OLDEST_PYAV}, so no video files or recordings", advice, data
    return "ok", found, "", data


def check_model(machine: Machine) -> Result:
    """Whether each bundled model is the file that was shipped, and loads."""
    shown: list[str] = []
    wrong: list[str] = []
    rows: list[dict[str, Any]] = []
    for name in models.bundled_models():
        try:
            file = models.open_model(name)
            interpreter.LiteRT(file.content, 1, name)
        except ModelError as error:
            wrong.append(str(error))
            rows.append({"name": name, "error": str(error)})
            continue
        version, size = file.card.version if file.card else "?", len(file.content)
        rows.append({"name": name, "version": version, "bytes": size, "sha256": file.sha256})
        shown.append(f"{name} version {version}, {size / 1000:.0f} kB, {file.sha256[:12]}")
    reinstall = "pip install --force-reinstall seg-edge"
    if wrong:
        return "problem", " ".join(wrong), reinstall, {"models": rows}
    if not rows:
        return "problem", "no bundled model", f"use --model FILE, or {reinstall}", {"models": []}
    return "ok", "; ".join(shown), "", {"models": rows}


def _runtime_advice(machine: Machine) -> str:
    """How to install a runtime, or why none can be: wheels exist for few systems only."""
    if machine.is_32_bit_arm:
        python = ", with Python 3.11, the last it has wheels for" if sys.version_info >= (3, 12) else ""
        return f"pip install tflite-runtime 'numpy<2'{python}"
    name, version = machine.libc
    if machine.bits == 32 or machine.arch.lower() not in WHEELS_FOR:
        return (
            f"no runtime has wheels for {machine.bits}-bit Python on {machine.arch}; use a 64-bit system on x86 or Arm"
        )
    if name == "musl":
        return "no runtime has wheels for musl, as in Alpine Linux; use a system with glibc, such as Debian"
    if version and tuple(map(int, version.split("."))) < GLIBC:
        return f"ai-edge-litert needs glibc {'.'.join(map(str, GLIBC))}, this is {version}; use a newer system"
    return "pip install ai-edge-litert"


def _import_error(module: str) -> str:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever it is, the user should see it
        return _one_line(error)
    return "it has no Interpreter"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _one_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


CHECKS: dict[str, Callable[[Machine], Result]] = {
    "interpreter": check_interpreter,
    "numpy": check_numpy,
    "simd": doctor_board.check_simd,
    "opencv": check_opencv,
    "window": check_window,
    "video": check_video,
    "camera": doctor_board.check_camera,
    "libcamera": doctor_board.check_libcamera,
    "throttling": doctor_board.check_throttling,
    "threads": doctor_board.check_threads,
    "model": check_model,
}
