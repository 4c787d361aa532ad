"""Each problem simulated in a folder that stands for /, and the doctor's advice for it."""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from seg_edge import interpreter, models
from seg_edge.apps import doctor_board
from seg_edge.apps.doctor import CHECKS, Finding, examine, run_check
from seg_edge.card import ModelCard, append_card, make_classes
from seg_edge.evaluation.latency import Timing
from seg_edge.system.board import Machine, read_board

PI_4 = "Raspberry Pi 4 Model B Rev 1.4"
PI_4_CPU = f"processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n\nModel\t\t: {PI_4}\n"
CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
Make = Callable[..., Machine]


def no_command(*args: Any, **kwargs: Any) -> Any:
    raise FileNotFoundError(args[0][0])


def vcgencmd(bits: str) -> Callable[..., Any]:
    def run(command: list[str], **kwargs: Any) -> Any:
        assert command == ["vcgencmd", "get_throttled"]
        return SimpleNamespace(stdout=f"throttled={bits}\n", returncode=0)

    return run


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(files: dict[str, str] | None = None, **fields: Any) -> Machine:
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        usual: dict[str, Any] = {"run": no_command, "environment": {}, "prefix": tmp_path / "venv"}
        return Machine(tmp_path, **(usual | fields))

    return build


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The only distributions that count as installed; tests fill it."""
    installed: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return installed


def tiny_model(operations: int = 1) -> bytes:
    """A model of logistic functions only, one after another: (1, 8, 8, 3) float32 in and out."""
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
    code.version = 1
    graph.tensors, graph.operators = [], []
    for index in range(operations + 1):
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.name, tensor.buffer = [1, 8, 8, 3], schema.TensorType.FLOAT32, f"t{index}", 0
        graph.tensors.append(tensor)
    for index in range(operations):
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, [index], [index + 1]
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [operations]
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [code], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    card = ModelCard("tiny", make_classes(["background", "cat", "dog"]), (8, 8), version="7")
    return append_card(bytes(builder.Output()), card)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(models, "FOLDER", folder)

    def put(content: bytes | None, sha256: str = "") -> None:
        listing = {} if content is None else {"tiny": sha256 or hashlib.sha256(content).hexdigest()}
        (folder / "bundled.json").write_text(json.dumps(listing))
        if content is not None:
            (folder / "tiny.tflite").write_bytes(content)

    return put


def is_well_formed(finding: Finding) -> bool:
    one_line = "\n" not in finding.found + finding.advice and finding.found != ""
    return one_line and (finding.advice == "") == (finding.status == "ok")


def test_this_machine_is_examined_without_an_exception() -> None:
    findings = examine()
    assert [finding.check for finding in findings] == list(CHECKS)
    assert {finding.status for finding in findings} <= {"ok", "note", "problem"}
    assert all(is_well_formed(finding) for finding in findings)
    assert not [finding for finding in findings if "the check itself failed" in finding.found]
    json.dumps([dict(finding.data) for finding in findings], allow_nan=False)


def test_a_machine_without_any_file_is_examined_too(make: Make, bundle: Callable[..., None]) -> None:
    bundle(None)
    findings = examine(make())
    assert all(is_well_formed(finding) for finding in findings)
    assert not [finding for finding in findings if "the check itself failed" in finding.found]
    found = {finding.check: (finding.status, finding.found) for finding in findings}
    assert found["simd"] == ("note", "this system doesn't list the CPU's instructions; XNNPACK not tried")
    assert found["throttling"] == ("ok", "no sensor or clock to read")
    assert found["threads"] == ("problem", "no bundled model to time")


def test_a_check_that_fails_itself_is_a_problem(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(machine: Machine) -> Any:
        raise KeyError("surprise")

    monkeypatch.setitem(CHECKS, "camera", broken)
    finding = run_check("camera", make())
    assert (finding.status, finding.data) == ("problem", {})
    assert "surprise" in finding.found


def test_missing_runtime(make: Make, monkeypatch: pytest.MonkeyPatch, bundle: Callable[..., None]) -> None:
    monkeypatch.setattr(interpreter, "RUNTIMES", (("ai-edge-litert", "no_such_module", "x"),))
    finding = run_check("interpreter", make(arch="aarch64", bits=64))
    assert (finding.status, finding.advice) == ("problem", "pip install ai-edge-litert")
    assert "No module named 'no_such_module'" in finding.found
    assert "aarch64" in finding.found
    # 32-bit Raspberry Pi OS also says aarch64 if its kernel has 64 bits.
    assert "tflite-runtime 'numpy<2'" in run_check("interpreter", make(arch="aarch64", bits=32)).advice
    bundle(tiny_model())
    for check in ("simd", "threads", "model"):
        finding = run_check(check, make())
        assert (finding.status, finding.advice) == ("problem", "see the check 'interpreter'")


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"arch": "x86_64", "libc": ("glibc", "2.27")}, "pip install ai-edge-litert"),
        ({"arch": "x86_64", "libc": ("glibc", "2.17")}, "needs glibc 2.27, this is 2.17; use a newer system"),
        ({"arch": "aarch64", "libc": ("musl", "")}, "no runtime has wheels for musl"),
        ({"arch": "riscv64", "libc": ("glibc", "2.39")}, "no runtime has wheels for 64-bit Python on riscv64"),
        ({"arch": "i686", "bits": 32, "libc": ("glibc", "2.36")}, "no runtime has wheels for 32-bit Python on i686"),
        ({"arch": "arm64", "libc": ("", "")}, "pip install ai-edge-litert"),
    ],
)
def test_packages_without_a_wheel_are_not_recommended(
    fields: dict[str, Any], advice: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "RUNTIMES", (("ai-edge-litert", "no_such_module", "x"),))
    finding = run_check("interpreter", make(**({"bits": 64} | fields)))
    assert finding.status == "problem"
    assert advice in finding.advice
    assert finding.advice.startswith("pip install") == advice.startswith("pip install")


def test_why_the_first_runtime_was_skipped(
    make: Make, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]
) -> None:
    versions["tflite-runtime"] = "2.14.0"
    real = "ai_edge_litert.interpreter"
    runtimes = (("ai-edge-litert", "no_such_module", "x"), ("tflite-runtime", real, "x"))
    monkeypatch.setattr(interpreter, "RUNTIMES", runtimes)
    finding = run_check("interpreter", make(arch="x86_64", bits=64))
    assert finding.status == "note"
    assert finding.found.startswith("tflite-runtime 2.14.0 is used; ai-edge-litert is not: No module")
    assert "pip install ai-edge-litert" in finding.advice
    assert run_check("interpreter", make(arch="armv7l", bits=32)).status == "ok"


def test_tensorflow_instead_of_a_runtime(
    make: Make, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "old_runtime.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    versions["tensorflow"] = "2.21.0"
    real = "ai_edge_litert.interpreter"
    runtimes = (("ai-edge-litert", "old_runtime", "x"), ("tensorflow", real, "x"))
    monkeypatch.setattr(interpreter, "RUNTIMES", runtimes)
    finding = run_check("interpreter", make(arch="x86_64", bits=64, libc=("glibc", "2.36")))
    assert finding.status == "note"
    assert finding.found.startswith("tensorflow 2.21.0 is used; ai-edge-litert is not: it has no Interpreter;")
    assert finding.advice == "slow to start, hundreds of megabytes: pip install ai-edge-litert"


@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_32_bits_need_an_old_python(version: tuple[int, int], make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "RUNTIMES", (("ai-edge-litert", "no_such_module", "x"),))
    monkeypatch.setattr("seg_edge.apps.doctor.sys", SimpleNamespace(version_info=version))
    advice = run_check("interpreter", make(arch="armv7l", bits=32)).advice
    assert advice.startswith("pip install tflite-runtime 'numpy<2'")
    assert ("with Python 3.11" in advice) == (version > (3, 11))


def test_numpy_too_new_for_tflite_runtime(
    make: Make, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]
) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    assert run_check("numpy", make()).status == "ok"
    versions["tflite-runtime"] = "2.14.0"
    # Installed, but it doesn't import: so it replaces nothing.
    versions["ai-edge-litert"] = "2.3.0"
    works = interpreter.RUNTIMES
    monkeypatch.setattr(interpreter, "RUNTIMES", (("ai-edge-litert", "no_such_module", "x"),))
    finding = run_check("numpy", make())
    assert (finding.status, finding.advice) == ("problem", "pip install 'numpy<2'")
    monkeypatch.setattr(interpreter, "RUNTIMES", works)
    finding = run_check("numpy", make())
    assert (finding.status, finding.advice) == (
        "note",
        "ai-edge-litert replaces it: pip uninstall tflite-runtime",
    )
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert run_check("numpy", make()).status == "ok"


def test_several_opencvs(make: Make, versions: dict[str, str]) -> None:
    finding = run_check("opencv", make())
    assert (finding.status, finding.found) == ("ok", f"OpenCV {cv2.__version__}")
    versions["opencv-python"] = "5.0.0.93"
    finding = run_check("opencv", make())
    assert (finding.status, finding.found) == ("ok", f"OpenCV {cv2.__version__} from opencv-python")
    versions["opencv-contrib-python-headless"] = "4.10.0.84"
    finding = run_check("opencv", make())
    assert finding.status == "problem"
    assert "pip uninstall -y opencv-python opencv-contrib-python-headless" in finding.advice


@pytest.mark.parametrize(
    ("message", "bits", "advice"),
    [
        ("libGL.so.1: cannot open shared object file", 64, "sudo apt install libgl1 libglib2.0-0"),
        ("libgthread-2.0.so.0: cannot open shared object file", 64, "sudo apt install libgl1 libglib2.0-0"),
        ("numpy.core.multiarray failed to import", 64, "pip install 'numpy<2'"),
        ("No module named 'cv2'", 64, "pip install --force-reinstall opencv-python"),
        ("No module named 'cv2'", 32, "sudo apt install python3-opencv, and python3 -m venv --system-site-packages"),
    ],
)
def test_an_opencv_that_does_not_import(
    message: str, bits: int, advice: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv2.py").write_text(f"raise ImportError({message!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2")
    machine = make(arch="aarch64", bits=bits)
    finding = run_check("opencv", machine)
    assert (finding.status, finding.found) == ("problem", f"OpenCV does not import: {message}")
    assert finding.advice == advice
    finding = run_check("window", machine)
    assert (finding.status, finding.found) == ("problem", f"can't be checked: {message}")
    assert finding.advice == "see the check 'opencv'"


@pytest.mark.parametrize(
    ("build", "environment", "status", "advice"),
    [
        ("  GUI:                           NONE\n", {"DISPLAY": ":0"}, "note", "pip install opencv-python"),
        ("nothing of the kind\n", {"DISPLAY": ":0"}, "note", "pip install opencv-python"),
        ("  GUI:                           QT5\n", {}, "note", "still written to files"),
        ("  GUI:                           QT5\n", {"DISPLAY": ":0"}, "ok", ""),
    ],
)
def test_window(
    build: str, environment: dict[str, str], status: str, advice: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"General:\n{build}    GTK+:   NO\n")
    monkeypatch.setattr("sys.platform", "linux")
    finding = run_check("window", make(environment=environment))
    assert finding.status == status
    assert advice in finding.advice


def test_only_an_installed_opencv_is_uninstalled(
    make: Make, versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   NONE\n")
    assert run_check("window", make()).advice.endswith("for a window: pip install opencv-python")
    versions["opencv-contrib-python-headless"] = "5.0.0"
    advice = run_check("window", make()).advice
    assert advice.endswith("pip uninstall -y opencv-contrib-python-headless && pip install opencv-python")


def test_window_on_a_display_that_is_gone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   QT5\n")
    monkeypatch.setattr("sys.platform", "linux")
    refused = SimpleNamespace(stderr="", returncode=3)
    finding = run_check("window", make(environment={"DISPLAY": ":10"}, run=lambda *args, **kwargs: refused))
    assert (finding.status, finding.found) == ("note", "QT5 windows, but nothing answers at the display :10")
    assert "ssh -X" in finding.advice


@pytest.mark.parametrize(("plugins", "status"), [(["libqxcb.so"], "note"), ([], "ok")])
def test_wayland_without_x11_is_not_enough(
    plugins: list[str], status: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cv2/qt/plugins/platforms"
    folder.mkdir(parents=True)
    for name in plugins:
        (folder / name).touch()
    monkeypatch.setattr(cv2, "__file__", str(tmp_path / "cv2/__init__.py"))
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   QT5\n")
    monkeypatch.setattr("sys.platform", "linux")
    assert run_check("window", make(environment={"WAYLAND_DISPLAY": "wayland-0"})).status == status


def video(number: int, name: str) -> dict[str, str]:
    return {f"dev/video{number}": "", f"sys/class/video4linux/video{number}/name": f"{name}\n"}


def test_no_camera(make: Make) -> None:
    # A Pi without a camera has its codec and image processor.
    finding = run_check("camera", make(video(10, "bcm2835-codec-decode") | video(13, "bcm2835-isp-output0")))
    assert (finding.status, finding.data) == ("note", {"cameras": []})
    assert "USB camera" in finding.advice


def test_a_usb_cameras_second_node_is_not_a_camera(make: Make) -> None:
    """The kernel makes two for each camera, the second with data about the pictures; also for two of the same kind."""
    nodes = [video(number, "HD Webcam C270") for number in range(4)]
    index = {f"sys/class/video4linux/video{number}/index": f"{number % 2}\n" for number in range(4)}
    machine = make(nodes[0] | nodes[1] | nodes[2] | nodes[3] | index)
    assert run_check("camera", machine).found == "/dev/video0 HD Webcam C270, /dev/video2 HD Webcam C270"


def test_camera_with_and_without_permission(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = make(video(0, "HD Webcam C270") | video(2, "Other"))
    finding = run_check("camera", machine)
    assert finding.status == "ok"
    assert finding.found == "/dev/video0 HD Webcam C270, /dev/video2 Other"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name == "video2")
    assert run_check("camera", machine).status == "note"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    finding = run_check("camera", machine)
    assert finding.status == "problem"
    assert "no permission" in finding.found
    assert "usermod -aG video" in finding.advice


HIDDEN = "libcamera and picamera2: not importable, the system has libcamera but this environment hides the system's"
OTHER_PYTHON = (
    "libcamera and picamera2: not importable, the system has libcamera but this environment is not the system's"
)
NEITHER = f"libcamera and picamera2: not installed, so no camera module ({PI_4})"


@pytest.mark.parametrize(
    ("system", "config", "importable", "status", "found", "advice"),
    [
        (["libcamera", "picamera2"], "false", [], "problem", HIDDEN, ["python3 -m venv --system-site-packages"]),
        (["libcamera"], "false", [], "problem", HIDDEN, ["apt install python3-picamera2", "--system-site-packages"]),
        (["libcamera", "picamera2"], "true", [], "problem", OTHER_PYTHON, ["/usr/bin/python3 -m venv"]),
        ([], "false", [], "note", NEITHER, ["sudo apt install python3-picamera2", "--system-site-packages"]),
        ([], "true", ["libcamera"], "note", "picamera2: not installed", ["sudo apt install python3-picamera2"]),
        (["libcamera", "picamera2"], "true", ["libcamera", "picamera2"], "ok", f"are installed; {PI_4}", []),
    ],
)
def test_libcamera_on_a_pi_4(
    system: list[str],
    config: str,
    importable: list[str],
    status: str,
    found: str,
    advice: list[str],
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {f"usr/lib/python3/dist-packages/{name}/__init__.py": "" for name in system}
    files["proc/device-tree/model"] = f"{PI_4}\0"
    files["venv/pyvenv.cfg"] = f"home = /usr/bin\ninclude-system-site-packages = {config}\n"
    monkeypatch.setattr(doctor_board, "_importable", lambda name: name in importable)
    finding = run_check("libcamera", make(files))
    assert finding.status == status
    assert found in finding.found
    assert all(text in finding.advice for text in advice)
    assert finding.data["board"] == PI_4


def test_libcamera_elsewhere(make: Make) -> None:
    finding = run_check("libcamera", make({"proc/device-tree/model": "Radxa ROCK 5B\0"}))
    assert (finding.status, finding.found) == ("ok", "not a Raspberry Pi")


@pytest.mark.parametrize(
    ("bits", "status", "found", "advice"),
    [
        ("0x0", "ok", "not throttled since boot", ""),
        ("0x50005", "problem", "now: under-voltage, throttled", "power supply"),
        ("0xe0008", "problem", "now: soft temperature limit", "heatsink"),
        ("0x10000", "note", "since boot: under-voltage", "power supply"),
        ("0x20002", "problem", "now: frequency capped", "heatsink"),
        ("0xc0000", "note", "since boot: throttled, soft temperature limit", "heatsink"),
    ],
)
def test_throttling(bits: str, status: str, found: str, advice: str, make: Make) -> None:
    finding = run_check("throttling", make(run=vcgencmd(bits)))
    assert finding.status == status
    assert found in finding.found
    assert advice in finding.advice
    assert finding.data["throttle_bits"] == int(bits, 16)


def test_vcgencmd_hangs_or_fails(make: Make) -> None:
    def hang(command: list[str], **kwargs: Any) -> Any:
        raise subprocess.TimeoutExpired(command, kwargs["timeout"])

    assert read_board(make(run=hang)).throttle_bits is None
    failed = SimpleNamespace(stdout="VCHI initialization failed\n", returncode=255)
    assert read_board(make(run=lambda *args, **kwargs: failed)).throttle_bits is None


def test_heat_and_governor(make: Make) -> None:
    clock = {f"{CPUFREQ}/scaling_cur_freq": "600000\n", f"{CPUFREQ}/cpuinfo_max_freq": "1800000\n"}
    zones = {"sys/class/thermal/thermal_zone0/temp": "41200\n", "sys/class/thermal/thermal_zone1/temp": "\n"}
    finding = run_check("throttling", make(clock | zones | {f"{CPUFREQ}/scaling_governor": "ondemand\n"}))
    assert (finding.status, finding.found) == ("ok", "41 °C, 600 of 1800 MHz, governor ondemand")
    finding = run_check("throttling", make({f"{CPUFREQ}/scaling_governor": "powersave\n"}))
    assert (finding.status, finding.advice) == ("note", "this kernel has no other governor")
    others = {f"{CPUFREQ}/scaling_available_governors": "performance schedutil powersave\n"}
    assert run_check("throttling", make(others)).advice.startswith("echo schedutil | sudo tee /sys/")
    assert run_check("throttling", make({f"{CPUFREQ}/scaling_driver": "intel_pstate\n"})).status == "ok"
    passive = {f"{CPUFREQ}/scaling_driver": "amd-pstate\n"}  # "powersave" is its lowest clock, unlike amd-pstate-epp's
    assert run_check("throttling", make(passive)).status == "note"
    hot = {"sys/class/thermal/thermal_zone1/temp": "82500\n", f"{CPUFREQ}/scaling_governor": "ondemand\n"}
    finding = run_check("throttling", make(hot, arch="aarch64"))
    assert (finding.status, finding.data["temperature_c"]) == ("note", 82.5)
    assert run_check("throttling", make(arch="x86_64")).status == "ok"  # laptops are built for it


def test_board_of_a_pi_4(make: Make) -> None:
    board = read_board(make({"proc/cpuinfo": PI_4_CPU, "proc/loadavg": "0.52 0.40 0.30 1/99 7\n"}, arch="aarch64"))
    assert (board.model, board.cores, board.load, board.arch) == (PI_4, 1, 0.52, "aarch64")
    assert board.is_raspberry_pi
    assert "asimd" in board.features


@pytest.mark.parametrize(
    ("cpuinfo", "features", "meaning"),
    [
        (PI_4_CPU, ["asimd"], "no 8-bit dot products"),
        ("processor : 0\nFeatures : asimd asimddp\n", ["asimddp", "asimd"], ": 8-bit dot products"),
        ("processor : 0\nflags\t\t: sse2 avx2 avx512_vnni\n", ["avx512_vnni", "avx2"], ": 8-bit dot products"),
        ("processor : 0\nflags\t\t: avx2 avx512_vnni amx_int8\n", ["amx_int8", "avx512_vnni", "avx2"], "dot products"),
        ("processor : 0\nflags\t\t: sse2\n", [], "both slow"),
    ],
)
def test_simd(cpuinfo: str, features: list[str], meaning: str, make: Make, bundle: Callable[..., None]) -> None:
    bundle(tiny_model(3))
    finding = run_check("simd", make({"proc/cpuinfo": cpuinfo}))
    assert finding.data == {"features": features, "xnnpack": True, "not_delegated": []}
    assert finding.status == ("ok" if features else "note")
    assert meaning in finding.found
    assert finding.found.endswith("; XNNPACK runs tiny")


def test_an_unlisted_cpu_gets_no_verdict(make: Make, bundle: Callable[..., None]) -> None:
    bundle(tiny_model())
    finding = run_check("simd", make({"proc/cpuinfo": "processor\t: 0\nmvendorid\t: 0x710\n"}))
    assert finding.status == "ok"
    assert finding.found == "this system doesn't list the CPU's instructions; XNNPACK runs tiny"


def test_bytes_in_and_out_are_not_counted_against_a_bundled_model(make: Make) -> None:
    finding = run_check("simd", make({"proc/cpuinfo": "processor : 0\nflags : avx2\n"}))
    assert (finding.status, finding.advice) == ("ok", "")
    assert finding.found.endswith("; XNNPACK runs person")
    assert finding.data["not_delegated"] == ["QUANTIZE", "QUANTIZE"]


def operation(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": np.array(inputs), "outputs": np.array(outputs)}


CONVOLUTIONS = [operation(i, "CONV_2D", [i, -1], [i + 1]) for i in range(3)]  # -1: no bias


@pytest.mark.parametrize(
    ("added", "status", "xnnpack", "left"),
    [
        ([], "problem", False, ["CONV_2D"] * 3),
        ([operation(3, "DELEGATE", [0], [2])], "note", True, ["CONV_2D"]),
        ([operation(3, "DELEGATE", [0], [3])], "ok", True, []),
        ("no such method", "ok", None, None),
    ],
)
def test_operators_that_xnnpack_does_not_run(
    added: Any,
    status: str,
    xnnpack: bool | None,
    left: list[str] | None,
    make: Make,
    bundle: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle(tiny_model())
    inner = SimpleNamespace(get_output_details=lambda: [{"index": 3}])
    if isinstance(added, list):
        inner._get_ops_details = lambda: CONVOLUTIONS + added
    backend = object.__new__(interpreter.LiteRT)
    backend._interpreter, backend.runtime = inner, interpreter.find_runtime()
    monkeypatch.setattr(interpreter, "LiteRT", lambda *args: backend)
    finding = run_check("simd", make({"proc/cpuinfo": PI_4_CPU}))
    assert (finding.status, finding.data["xnnpack"], finding.data["not_delegated"]) == (status, xnnpack, left)


@pytest.mark.parametrize(
    ("runtime", "fields", "status", "found", "advice"),
    [
        ("ai-edge-litert", {}, "problem", "for tiny", "allow it to read /proc/cpuinfo and /sys"),
        ("tflite-runtime", {}, "note", "for tiny by tflite-runtime", "pip install ai-edge-litert"),
        ("tflite-runtime", {"bits": 32, "arch": "armv7l"}, "note", "none for 32-bit Arm", "64-bit system"),
    ],
)
def test_without_xnnpack_nothing_is_reported_about_the_cpu(
    runtime: str,
    fields: dict[str, Any],
    status: str,
    found: str,
    advice: str,
    make: Make,
    bundle: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle(tiny_model())
    backend = SimpleNamespace(delegation=lambda: (False, ["CONV_2D"]), runtime=SimpleNamespace(name=runtime))
    monkeypatch.setattr(interpreter, "LiteRT", lambda *args: backend)
    finding = run_check("simd", make({"proc/cpuinfo": "processor : 0\nFeatures : asimd asimddp\n"}, **fields))
    assert finding.status == status
    assert "dot products" not in finding.found
    assert found in finding.found
    assert advice in finding.advice


def test_no_number_of_threads_is_called_fastest_under_load(
    make: Make, bundle: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(tiny_model())
    monkeypatch.setattr(interpreter, "default_threads", lambda: 2)
    monkeypatch.setattr(doctor_board, "TIMING_SECONDS", 0.05)
    finding = run_check("threads", make({"proc/cpuinfo": PI_4_CPU, "proc/loadavg": "3.00 1 1 1/9 9\n"}))
    assert finding.status == "note"
    assert "load 3.0 on 1 cores" in finding.found
    assert "fastest" not in finding.found
    assert "try again" in finding.advice
    assert set(finding.data["median_ms"]) == {"1", "2"}
    assert (finding.data["fastest"], finding.data["speed_up"]) == (None, None)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),  # Docker's --cpus 1.5
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000",
            },
            0.5,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    ],
)
def test_a_containers_share_of_the_processors(
    files: dict[str, str],
    quota: float | None,
    make: Make,
    bundle: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle(tiny_model())
    monkeypatch.setattr(doctor_board, "TIMING_SECONDS", 0.01)
    machine = make(files | {"proc/cpuinfo": "processor : 0\nprocessor : 1\nprocessor : 2\nprocessor : 3\n"})
    monkeypatch.setattr(interpreter, "Machine", lambda: machine)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    finding = run_check("threads", machine)
    assert finding.data["quota"] == quota
    assert (f"this container may use {quota} of 4 cores" in finding.found) == (quota is not None)
    # As many threads as whole processors: more would use up the quota early and then pause.
    assert len(finding.data["median_ms"]) == max(1, int(quota)) if quota else 4


@pytest.mark.parametrize(
    ("two_ms", "status", "found", "advice"),
    [
        (8.0, "note", "threads 1: 5.0 ms, 2: 8.0 ms (median of 3); 1 fastest, 1.0 x as fast as 1", "--threads 1"),
        (2.5, "ok", "threads 1: 5.0 ms, 2: 2.5 ms (median of 3); 2 fastest, 2.0 x as fast as 1", ""),
    ],
)
def test_each_number_of_threads_is_measured_by_itself_and_warmed_up(
    two_ms: float,
    status: str,
    found: str,
    advice: str,
    make: Make,
    bundle: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(models: dict[str, bytes], threads: int, runs: int, warmup: int, seconds: float) -> dict[str, Timing]:
        # Only the time limit ends both; by then the kernel has spread the threads over the cores.
        assert min(runs, warmup) >= 1000
        assert seconds >= 1
        return {name: Timing((5.0 if threads == 1 else two_ms,) * 3, threads) for name in models}

    bundle(tiny_model())
    monkeypatch.setattr(interpreter, "default_threads", lambda: 2)
    monkeypatch.setattr(doctor_board, "measure", measured)
    finding = run_check("threads", make({"proc/loadavg": "0.00 0 0 1/9 9\n"}))
    assert finding.status == status
    assert found in finding.found
    assert advice in finding.advice
    monkeypatch.setattr(interpreter, "default_threads", lambda: 1)
    assert "fastest" not in run_check("threads", make()).found


def test_an_intact_a_changed_and_a_missing_model(make: Make, bundle: Callable[..., None]) -> None:
    content = tiny_model()
    bundle(content)
    finding = run_check("model", make())
    assert finding.status == "ok"
    assert "tiny version 7" in finding.found
    assert finding.data["models"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    bundle(content, sha256="0" * 64)
    finding = run_check("model", make())
    assert finding.status == "problem"
    assert "not the file that was shipped" in finding.found
    assert "pip install --force-reinstall seg-edge" in finding.advice
    assert run_check("threads", make()).advice == "see the check 'model'"
    bundle(None)
    assert run_check("model", make()).found == "no bundled model"
    assert run_check("threads", make()).status == "problem"


def test_pyav_is_checked(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_check("video", make()).status == "ok"
    monkeypatch.setitem(sys.modules, "av", SimpleNamespace(__version__="10.0.0"))  # Debian 12's
    old = run_check("video", make(bits=32, arch="armv7l"))
    assert (old.status, old.advice) == ("note", "use a 64-bit system for video files")
    assert run_check("video", make(bits=64, arch="aarch64")).advice == "pip install -U av"
    monkeypatch.setitem(sys.modules, "av", None)
    missing = run_check("video", make())
    assert (missing.status, missing.advice) == ("note", "pip install av")
    assert run_check("video", make(bits=32, arch="armv7l")).advice == "use a 64-bit system for video files"
