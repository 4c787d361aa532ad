"""A quick `make bench`: everything is measured and reported. No figure is judged here."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the workstation's packages aren't installed (pip install '.[train]')")

from benchmarks import history
from seg_edge.apps.bench.document import read_document
from seg_edge.card import ModelCard, append_card, make_classes
from tests.tiny import TWO_UINT8

ROOT = Path(__file__).parents[2]
CARD = ModelCard("tiny", make_classes(["background", "person"]), (32, 32))


def bench(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    paths = ["--suites", "suites.toml", "--results", "results", "--history", "history", "--peers", "peers"]
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), *paths, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200)


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
    missing = " ".join(document["missing"])
    assert "far: not scored" in missing
    assert "mediapipe-square: missing" in missing
    assert (tmp_path / "results" / "photos" / path.stem / "drawn.jpg").is_file()
    report = (tmp_path / "results" / "report.md").read_text()
    assert "mediapipe-square" in report
    assert not (tmp_path / "history").exists(), "a quick run isn't recorded"


def test_an_invalid_suite_file_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "suites.toml").write_text("suites = 1")
    done = bench(tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "suites.toml" in done.stderr
    assert not (tmp_path / "results").exists()


HISTORY = sorted(history.FOLDER.glob("*.csv"))


@pytest.mark.parametrize("path", HISTORY, ids=[path.stem for path in HISTORY])
def test_the_committed_history_has_checksums_of_its_models(path: Path) -> None:
    rows = history.read(path)
    assert rows
    assert all(row.sha256 for row in rows if row.bytes)
    assert {"model", "reference"} <= {row.role for row in rows}
