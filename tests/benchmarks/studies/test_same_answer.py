"""A model gives the same values on every processor, and nearly the same with the last tflite-runtime."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from benchmarks.studies import arm64_root, same_answer
from benchmarks.studies.same_answer import Output, Platform, check_delegated, compare, here, make_frames, tflite_runtime
from seg_edge.errors import SegEdgeError
from seg_edge.models import open_model
from tests.tiny import FOUR_UINT8, GRACE_HOPPER, SIGMOID_FLOAT32, TWO_INT8, TWO_UINT8

TINY = (TWO_UINT8, TWO_INT8, FOUR_UINT8, SIGMOID_FLOAT32)
MODELS = {path.stem: path.read_bytes() for path in TINY} | {"person": open_model("person").content}
FRAMES = {name: make_frames(content, [GRACE_HOPPER], 2) for name, content in MODELS.items()}


def call(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(same_answer.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def reference() -> Output:
    with here() as platform:
        return platform.run(MODELS, FRAMES)


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Path:
    """tflite-runtime 2.14 in its own virtual environment, kept in pytest's cache between runs."""
    folder = Path(request.config.cache.mkdir("tflite-runtime-2.14")) / "venv"
    try:
        same_answer.make_tflite_environment(folder)
    except SegEdgeError as error:
        pytest.skip(f"no Python 3.11, or no package index: {error}")
    return folder


@pytest.fixture(scope="module")
def old_runtime(environment: Path) -> Output:
    with tflite_runtime(environment) as platform:
        return platform.run(MODELS, FRAMES)


def test_each_difference_is_counted() -> None:
    ours = np.zeros((1, 2, 3, 2), np.uint8)
    ours[..., 0] = 100
    theirs = ours.copy()
    assert compare(ours, theirs) == same_answer.Difference(12, 0, 0, 0)
    theirs[0, 0, 0] = (99, 255)
    found = compare(ours, theirs)
    assert (found.values, found.differing, found.largest) == (12, 2, 255), "unsigned differences must not wrap"
    assert found.labels == pytest.approx(1 / 6)
    assert compare(ours[..., :1], ours[..., :1]).labels is None
    with pytest.raises(SegEdgeError, match="not the same model"):
        compare(ours, ours.astype(np.int8))


def test_two_runs_here_are_equal_and_use_xnnpack(reference: Output) -> None:
    with here() as platform:
        again = platform.run(MODELS, FRAMES)
        check_delegated(platform, again)
    for name in MODELS:
        assert compare(reference.scores[name], again.scores[name]).differing == 0
        assert len(np.unique(reference.scores[name])) > 10, "a constant answer would agree with any other constant"


def test_frames_changed_on_the_way_are_noticed(tmp_path: Path) -> None:
    def spoil(arguments: list[str]) -> list[str]:
        path = Path(arguments[1], f"{TWO_UINT8.stem}.frames.npy")
        np.save(path, np.load(path) ^ 1)
        return [sys.executable, *arguments]

    folder = tmp_path / "run"
    name = TWO_UINT8.stem
    with pytest.raises(SegEdgeError, match="differ from those sent"):
        Platform("a liar", spoil, folder, str(folder)).run({name: MODELS[name]}, FRAMES)


def test_answers_without_xnnpack_are_refused(reference: Output) -> None:
    reports = {"person": {**reference.reports["person"], "delegated": False}}
    with here() as platform, pytest.raises(SegEdgeError, match="XNNPACK isn't in use for person"):
        check_delegated(platform, Output(reports, reference.scores))


def test_missing_tools_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(arm64_root, "SEARCH", str(tmp_path))
    done = call(TWO_UINT8, "--root", tmp_path / "root")
    assert done.exit_code == 1
    assert "debootstrap, dpkg-deb, qemu-aarch64-static, chroot not found; run 'sudo apt install" in done.stderr
    assert not (tmp_path / "root").exists()
    assert call("--cpu", "cortex-m4").exit_code == 2
    (tmp_path / "empty").mkdir()
    no_frames = call(TWO_UINT8, "--photos", tmp_path / "empty", "--noise", 0)
    assert no_frames.exit_code == 2
    assert "give --photos" in no_frames.stderr


def test_tflite_runtime_is_within_two_steps_on_the_tiny_models(reference: Output, old_runtime: Output) -> None:
    for path in TINY:
        name = path.stem
        assert old_runtime.reports[name]["runtime"] == "tflite-runtime 2.14.0"
        found = compare(reference.scores[name], old_runtime.scores[name])
        assert found.largest <= (1e-6 if path == SIGMOID_FLOAT32 else 2), name


@pytest.mark.xfail(strict=True, reason="kernels without XNNPACK round differently, which adds up over 40 operators")
def test_tflite_runtime_is_within_two_steps_on_the_bundled_model(reference: Output, old_runtime: Output) -> None:
    assert compare(reference.scores["person"], old_runtime.scores["person"]).largest <= 2


def test_tflite_runtime_gives_nearly_the_same_labels_with_the_bundled_model(
    reference: Output, old_runtime: Output
) -> None:
    found = compare(reference.scores["person"], old_runtime.scores["person"])
    assert found.largest <= 16
    assert found.labels is not None
    assert found.labels < 0.005


def test_more_than_the_allowed_steps_fail(environment: Path) -> None:
    arguments = ("--tflite-runtime", "--environment", environment, "--rounds", 1, TWO_UINT8)
    assert call(*arguments).exit_code == 0
    done = call(*arguments, "--steps", 0)
    assert done.exit_code == 1
    assert "values differ by up to 1 steps; 0 is allowed" in done.stderr


@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76"])
def test_an_emulated_pi_gives_the_same_values(cpu: str, reference: Output) -> None:
    root = arm64_root.default_root()
    if os.geteuid() != 0 or not shutil.which(arm64_root.EMULATOR) or not arm64_root.is_ready(root):
        pytest.skip(f"no arm64 root at {root}; benchmarks/studies/same_answer.py makes it (docs/same-answer.md)")
    platform = same_answer.arm(root, cpu)
    output = platform.run(MODELS, FRAMES)
    check_delegated(platform, output)
    for name in MODELS:
        found = compare(reference.scores[name], output.scores[name])
        if name == SIGMOID_FLOAT32.stem:  # float sums are in another order
            assert found.largest < 1e-5
        else:
            assert (name, found.differing) == (name, 0)


def test_it_starts_as_a_script() -> None:
    script = Path(same_answer.__file__)
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
