"""Runs every command in the README, in order and as written, except for the two lists below."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from tests.scripts import run_script
from tests.tiny import GRACE_HOPPER

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Not run: they create an environment or install into it, which .ci/run does.
NOT_RUN = ("make demo", "make web", ". .venv/bin/activate", "pip install -e '.[serve]'", "pip install -e '.[train]'")
# Added to these lines, so that a class of a few small made-up photos is learnt in seconds.
QUICKER = {
    "python convert/learn.py": "--size 64 --widths 8,16 --epochs 12 --batch 2 --learning-rate 0.01 --ema 0.9",
    "python train/fit.py --data class --recipe full": "--size 64 --epochs 1 --widths 8,12",
    "python train/fit.py": "--size 64 --widths 8,16 --epochs 12 --batch 2 --learning-rate 0.01 --ema 0.9",
    "seg-edge bench": "--rounds 1 --runs 2",
    "python convert/compress.py": "--size 64 --epochs 1 --views 1 --accept-drop",
}


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the README's commands use: a photo, a folder of photos, a clip and a background."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(GRACE_HOPPER, folder / "photo.jpg")
    (folder / "holiday").mkdir()
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(GRACE_HOPPER, folder / "holiday" / name)
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30, (320, 240))
    for _ in range(20):
        writer.write(cv2.resize(cv2.imread(str(GRACE_HOPPER)), (320, 240)))
    writer.release()
    cv2.imwrite(str(folder / "beach.jpg"), np.full((300, 500, 3), (230, 200, 120), np.uint8))
    for name in ("train", "convert"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def annotated(home: Path) -> Path:
    pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")
    from tests.train.made_up import annotate_via_csv

    annotate_via_csv(home, photos=36)
    return home


def test_the_lists_above_match_the_readme() -> None:
    for command in NOT_RUN:
        assert command in commands()
    for start in QUICKER:
        assert any(line.startswith(start) for line in commands())


def test_the_commands_on_a_photo(home: Path) -> None:
    lines = [line for line in commands() if line.startswith("seg-edge image") and "--model runs/" not in line]
    assert len(lines) == 5
    for line in lines:
        run(shlex.split(line), home)
    for name in ("overlay.jpg", "blur.jpg", "cutout.png", "labels.png", "via.json"):
        assert (home / f"photo.{name}").is_file()
    assert sorted(path.name for path in (home / "beach").iterdir()) == ["one.replace.jpg", "two.replace.jpg"]


def test_the_commands_on_a_camera_and_a_video(home: Path) -> None:
    camera, video = (line for line in commands() if line.startswith(("seg-edge camera", "seg-edge video")))
    run(shlex.split(camera), home)
    assert "20 frames" in run(shlex.split(video), home)
    assert cv2.VideoCapture(str(home / "clip.blur.mp4")).read()[0]


def test_the_benchmark(home: Path) -> None:
    (line,) = (line for line in commands() if line.startswith("seg-edge bench"))
    out = run(shlex.split(f"{line} {QUICKER[line]}"), home)
    assert "person" in out
    assert "reference" in out


def test_the_server_responds() -> None:
    pytest.importorskip("fastapi", reason="the server's packages aren't installed (pip install '.[serve]')")
    (line,) = (line for line in commands() if line.startswith("seg-edge serve"))
    # Port 8000 may be in use.
    command = [Path(sys.executable).with_name("seg-edge"), *shlex.split(line)[1:], "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        with urlopen(process.stderr.readline().strip(), timeout=60) as response:
            assert b"<title>seg-edge</title>" in response.read()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_the_commands_in_the_text() -> None:
    inline = set(re.findall(r"`(seg-edge [a-z]+[^`]*)`", README))
    # Run above, with more options.
    run_above = {f"seg-edge {name}" for name in ("image", "camera", "video", "serve", "bench")}
    assert inline == run_above | {"seg-edge models person", "seg-edge doctor"}
    assert "Dice" in run(["seg-edge", "models", "person"], ROOT)
    assert run(["python", "benchmarks/history.py"], ROOT).strip() in README
    done = subprocess.run([Path(sys.executable).with_name("seg-edge"), "doctor"], capture_output=True, text=True)
    assert done.returncode in (0, 1)  # 1: something is missing on this machine
    assert "interpreter" in done.stdout


def test_the_python_example(home: Path) -> None:
    (block,) = python_blocks()
    out = run([sys.executable, "-c", block], home)
    assert out.startswith("(600, 512) {'person': 0.")
    assert cv2.imread(str(home / "blurred.jpg")).shape == (600, 512, 3)


def test_from_annotations_to_a_model_of_your_own(annotated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convert import report

    monkeypatch.chdir(annotated)
    monkeypatch.setattr(report, "RUNS", 5)
    ours = ("train/", "convert/", "runs/class")
    lines = [line for line in commands() if line not in NOT_RUN and any(part in line for part in ours)]
    assert [line.split()[1] for line in lines if line.startswith("python")] == [
        "convert/learn.py",
        "train/masks.py",
        "train/fit.py",
        "train/evaluate.py",
        "convert/quantize.py",
        "train/fit.py",
        "convert/compress.py",
    ]
    for line in lines:
        more = next((extra for start, extra in QUICKER.items() if line.startswith(start)), "")
        if line.startswith("python train/masks.py"):
            run(shlex.split(line), annotated)  # in its own process: it needs no TensorFlow
        elif line.startswith("python"):
            run_script(f"{line} {more}", monkeypatch)
        else:
            run(shlex.split(line), annotated)
    assert (annotated / "photos_model" / "model.tflite").is_file()
    assert "<h2>How good it is</h2>" in (annotated / "photos_model" / "report.html").read_text(encoding="utf-8")
    assert (annotated / "class" / "contact_sheet.jpg").is_file()
    assert (annotated / "runs" / "class" / "scores_test" / "worst.jpg").is_file()
    assert (annotated / "runs" / "class" / "curves.png").is_file()
    assert (annotated / "segmented" / "photo_001.overlay.jpg").is_file()
    assert (annotated / "runs" / "small" / "default" / "model.tflite").is_file()
    assert (annotated / "runs" / "small" / "pareto.png").is_file()


def test_every_file_linked_from_the_readme_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / target.partition("#")[0]).exists(), target
