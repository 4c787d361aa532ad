"""`make bench` in short: everything is measured, recorded and reported. Nothing is judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the workstation's packages aren't installed (pip install '.[train]')")

from seg_edge.apps.bench.document import read_document
from seg_edge.card import ModelCard, append_card, make_classes
from tests.tiny import TWO_UINT8

ROOT = Path(__file__).parents[2]
CARD = ModelCard("tiny", make_classes(["background", "person"]), (32, 32))


def bench(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    places = ["--suites", "suites.toml", "--results", "results", "--history", "history", "--peers", "peers"]
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), *places, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_a_quick_run_ends_in_a_report(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(append_card(TWO_UINT8.read_bytes(), CARD))
    suites = '[[suite]]\nname = "drawn"\ndata = "drawn"\nmodels = ["m.tflite"]\n[[suite]]\nname = "far"\ndata = "far"\n'
    (tmp_path / "suites.toml").write_text(suites)
    done = bench(tmp_path, "--quick", "--no-scale", "--threads", "1")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results").glob("*.json")
    document = read_document(path)
    assert document["quick"] is True
    assert document["models"]["m"]["role"] == "model"
    assert document["models"]["grabcut"]["role"] == "peer"
    assert {scored["data"] for scored in document["accuracy"]} == {"drawn"}
    assert len(document["accuracy"][0]["models"]["m"]["per_photo"]) == 24
    said = " ".join(document["missing"])
    assert "far: not scored" in said
    assert "mediapipe-square: not there" in said
    assert (tmp_path / "results" / "photos" / path.stem / "drawn.jpg").is_file()
    report = (tmp_path / "results" / "README.md").read_text()
    assert "mediapipe-square" in report
    assert not (tmp_path / "history").exists(), "a quick run is no result"


def test_a_suite_file_that_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "suites.toml").write_text("suites = 1")
    done = bench(tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "suites.toml" in done.stderr
    assert not (tmp_path / "results").exists()


RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=[path.stem for path in RESULTS])
def test_a_committed_result_is_one_that_counts(path: Path) -> None:
    document = read_document(path)
    assert document["watch"]["valid"]
    assert not document.get("quick")
    assert not document.get("made_up")
    assert all(about["sha256"] for about in document["models"].values() if about["file"])
    if "commit" in document:  # of `make bench`, which records it
        lines = (ROOT / "benchmarks" / "history" / f"{path.stem}.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["created"] == document["created"], "the report is not of the last run"
