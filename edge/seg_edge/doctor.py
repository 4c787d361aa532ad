"""Can this machine segment, and if not, what to do: the checks behind `seg-edge doctor`.

Nothing here changes anything, opens a camera or shows a window. Each check answers for one thing and stands alone.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge import interpreter, models
from seg_edge.board import Machine, read_board
from seg_edge.errors import ModelError, RuntimeMissingError

OPENCVS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
# A Raspberry Pi's codecs, image processors and camera receivers are /dev/video* too, but no cameras to open.
NOT_A_CAMERA = re.compile(r"bcm2835-(codec|isp)|pispbe|rp1-cfe|rpi-hevc-dec|rpivid|unicam")
HOT_C = 80.0  # where a Raspberry Pi starts to lower its clock
TIMING_RUNS = 10
TIMING_SECONDS = 1.5

# Status, found, advice, data: a Finding but for the check's name.
Answer = tuple[str, str, str, Mapping[str, Any]]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        status: `ok`, `note` (something is missing or could be better) or `problem` (something will fail).
        found: What is there, one line.
        advice: What to do about it, one line; empty when all is well.
        data: The same as figures, fit for JSON.
    """

    check: str
    status: str
    found: str
    advice: str
    data: Mapping[str, Any]


def examine(machine: Machine | None = None) -> list[Finding]:
    """Runs every check, about two seconds in all; one that breaks becomes a `problem`."""
    return [run_check(name, machine or Machine()) for name in CHECKS]


def run_check(name: str, machine: Machine) -> Finding:
    """Runs the check of that name; never raises on what it meets."""
    try:
        return Finding(name, *CHECKS[name](machine))
    except RuntimeMissingError:
        answer = ("no LiteRT runtime works here", "see the check 'interpreter'")
    except ModelError as error:
        answer = (str(error), "see the check 'model'")
    except Exception as error:  # a doctor that falls ill is of no use: the other checks go on
        answer = (f"the check itself failed: {_one_line(error)}", "report this line")
    return Finding(name, "problem", *answer, {})


def _interpreter(machine: Machine) -> Answer:
    python = f"Python {platform.python_version()}, {machine.bits}-bit, on {machine.arch}"
    try:
        name, version = _name_and_version(interpreter.find_runtime())
    except RuntimeMissingError:
        name, version = "", ""
    failed = {}
    for other, module, _ in interpreter.RUNTIMES:
        if other == name:
            break
        failed[other] = _why_not(module)
    why = "".join(f"; {other} is not: {reason}" for other, reason in failed.items())
    data = {"runtime": name, "version": version, "failed": failed, "arch": machine.arch}
    data |= {"python": platform.python_version(), "bits": machine.bits}
    install = "pip install ai-edge-litert"
    if machine.is_32_bit_arm:
        install = "pip install tflite-runtime 'numpy<2'"
        if sys.version_info >= (3, 12):
            install += ", in an environment of Python 3.11, the last it has wheels for"
    if not name:
        return "problem", f"no LiteRT runtime works{why}; {python}", install, data
    found = f"{name} {version} is used{why}; {python}"
    if name == "tensorflow":
        return "note", found, f"slow to start, hundreds of megabytes: {install}", data
    if name == "tflite-runtime" and not machine.is_32_bit_arm:
        return "note", found, f"its successor is about twice as fast: {install}", data
    return "ok", found, "", data


def _numpy(machine: Machine) -> Answer:
    tflite = _version("tflite-runtime")
    data = {"version": np.__version__, "tflite_runtime": tflite}
    if not tflite or int(np.__version__.split(".")[0]) < 2:
        return "ok", f"NumPy {np.__version__}", "", data
    found = f"NumPy {np.__version__}, but tflite-runtime {tflite} was built for NumPy 1: it fails to import"
    if _version("ai-edge-litert"):
        advice = "nothing needs it beside ai-edge-litert: pip uninstall tflite-runtime"
        return "note", found, advice, data
    return "problem", found, "pip install 'numpy<2'", data


def _opencv(machine: Machine) -> Answer:
    installed = {name: version for name in OPENCVS if (version := _version(name))}
    data: dict[str, Any] = {"packages": installed, "version": None}
    try:
        import cv2
    except (ImportError, AttributeError) as error:
        said, advice = _one_line(error), "pip install --force-reinstall opencv-python"
        if "libGL" in said or "libgthread" in said:
            advice = "sudo apt install libgl1 libglib2.0-0"
        elif "multiarray" in said or "_ARRAY_API" in said:  # Debian's, beside a NumPy from pip
            advice = "pip install 'numpy<2'"
        elif machine.is_32_bit_arm:
            advice = "sudo apt install python3-opencv, and python3 -m venv --system-site-packages"
        return "problem", f"OpenCV does not import: {said}", advice, data
    data["version"] = cv2.__version__
    if len(installed) > 1:  # they unpack into one folder, each over the others' files
        found = f"OpenCV {cv2.__version__}, from {' and '.join(installed)} at once"
        advice = f"pip uninstall -y {' '.join(installed)} && pip install opencv-python"
        return "problem", found, advice, data
    return "ok", f"OpenCV {cv2.__version__} from {next(iter(installed), 'the system')}", "", data


def _window(machine: Machine) -> Answer:
    import cv2

    match = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    gui = match[1] if match else "NONE"
    x11, wayland = (machine.environment.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    data = {"gui": gui, "display": x11, "wayland_display": wayland}
    files = "pictures are still written to files; for a window"
    if gui in ("NONE", "NO"):
        advice = f"{files}: pip uninstall -y opencv-python-headless && pip install opencv-python"
        return "note", "this OpenCV was built without windows", advice, data
    # cv2.imshow is not tried: without a display Qt aborts the process. The wheels bring Qt's X11 plugin alone.
    plugins = [path.name for path in Path(cv2.__file__).parent.glob("qt/plugins/platforms/*.so")]
    usable = x11 or (wayland and plugins != ["libqxcb.so"])
    if sys.platform == "linux" and not usable:
        missing = (
            "only WAYLAND_DISPLAY is set and it needs X11" if wayland else "there is no display"
        )
        advice = f"{files} run it on the desktop, or over 'ssh -X', so that DISPLAY is set"
        return "note", f"{gui} windows, but {missing}", advice, data
    return "ok", f"{gui} windows on display {usable or 'of the system'}", "", data


def _model(machine: Machine) -> Answer:
    shown, wrong, rows = [], [], []
    for name in models.bundled_models():
        try:
            file = models.open_model(name)
            interpreter.LiteRT(file.content, 1, name)
        except ModelError as error:
            wrong.append(str(error))
            rows.append({"name": name, "error": str(error)})
            continue
        size = len(file.content)
        version = file.card.version if file.card else "without a card"
        rows.append({"name": name, "version": version, "bytes": size, "sha256": file.sha256})
        shown.append(f"{name} {version}, {size / 1000:.0f} kB")
    data = {"models": rows}
    reinstall = "install it again: pip install --force-reinstall seg-edge"
    if wrong:
        return "problem", " ".join(wrong), reinstall, data
    if not rows:
        return "problem", "no bundled model", f"name a file with --model, or {reinstall}", data
    return "ok", "; ".join(shown), "", data


def _name_and_version(runtime: interpreter.Runtime) -> tuple[str, str]:
    return runtime.name, runtime.version


def _why_not(module: str) -> str:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever it says is the answer
        return _one_line(error)
    return "it has no Interpreter"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _one_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


CHECKS: dict[str, Callable[[Machine], Answer]] = {
    "interpreter": _interpreter,
    "numpy": _numpy,
    "simd": check_simd,
    "opencv": _opencv,
    "window": _window,
    "camera": check_camera,
    "libcamera": check_libcamera,
    "throttling": check_throttling,
    "threads": check_threads,
    "model": _model,
}
