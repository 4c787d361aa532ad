"""`seg-edge bench`: all measurements are made and make sense; no time is checked here."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from seg_edge.apps.bench import candidates, watch
from seg_edge.apps.bench import run as bench_run
from seg_edge.apps.bench.candidates import candidate, check_names, describe, reference
from seg_edge.apps.bench.cold_start import measure_cold_starts, run_once
from seg_edge.apps.bench.document import MAX_BYTES, describe_machine, make_document, read_document
from seg_edge.apps.bench.rounds import STAGES, measure_rounds
from seg_edge.apps.bench.run import drawn_frame
from seg_edge.commands import cli
from seg_edge.errors import DataError, ModelError, SegEdgeError
from seg_edge.interpreter import default_threads
from tests.tiny import FOUR_CARD, FOUR_UINT8, SIGMOID_FLOAT32, TWO_UINT8, bright_square, carded, noise


def bench(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.app, ["bench", *(str(argument) for argument in arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def one_cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """One cold start of each model, after the warm-up: each is a process."""
    monkeypatch.setattr(bench_run, "measure_cold_starts", lambda *given: measure_cold_starts(*given[:-1], runs=1))


@pytest.fixture
def no_cold_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_run, "measure_cold_starts", lambda *given: [])


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Eight photos with a bright square each, two of them to train on, and masks that are a tenth off in some."""
    folder = tmp_path / "squares"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = ["name,split"]
    for index in range(8):
        frame = bright_square((64, 96))
        mask = (frame[..., 0] > 127).astype(np.uint8)
        rows.append(f"{index},{'train' if index > 5 else 'test'}")
        if index % 3 == 2:
            mask = np.roll(mask, 5, axis=1)
        cv2.imwrite(str(folder / "images" / f"{index}.png"), frame)
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), mask)
    (folder / "labels.txt").write_text("background\nbright\n")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.usefixtures("one_cold_start")
def test_the_whole_document_as_json(labelled: Path, tmp_path: Path) -> None:
    model = carded(TWO_UINT8, tmp_path)
    code, out, _ = bench("--model", model, "--data", labelled, "--rounds", 2, "--runs", 4, "--threads", "1,2", "--json")
    assert code == 0
    (tmp_path / "pi.json").write_text(out)
    document = read_document(tmp_path / "pi.json")
    assert set(document["models"]) == {"reference", "carded"}
    assert document["models"]["reference"]["sha256"] == candidates.REFERENCE_SHA256
    assert {(entry["model"], entry["threads"]) for entry in document["latency"]} == {
        (name, threads) for name in ("reference", "carded") for threads in (1, 2)
    }
    for entry in document["latency"]:
        assert len(entry["samples_ms"]) == 2
        assert set(entry["stages_ms"]) == set(STAGES)
        low, high = entry["ratio"]["interval"]
        assert 0 < low <= entry["ratio"]["median"] <= high
        assert 0 < entry["inference_ms"]["min"] <= entry["inference_ms"]["p50"]
    assert document["cold_start"][0]["model"] == "carded"
    assert document["cold_start"][0]["ms"]["p50"] > 50
    assert document["cold_start"][0]["peak_mb"] > 20
    scored = document["accuracy"][0]
    assert scored["photos"] == 6
    figures = scored["models"]["carded"]
    low, high = figures["intervals"]["mean_dice"]
    assert low <= figures["mean_dice"] <= high
    assert scored["part"] == "test"
    matrices = np.array([photo["matrix"] for photo in figures["per_photo"]])
    again = 2 * matrices[:, 1, 1].sum() / (matrices[:, 1].sum() + matrices[:, :, 1].sum())
    assert figures["mean_dice"] == pytest.approx(again, abs=1e-4)
    assert document["machine"]["cores"] >= 1
    assert document["watch"]["valid"] in (True, False)


@pytest.mark.usefixtures("one_cold_start")
def test_tables_in_a_terminal(tmp_path: Path) -> None:
    code, out, _ = bench("--model", carded(TWO_UINT8, tmp_path), "--rounds", 1, "--runs", 3, "--threads", 1)
    assert code == 0
    assert out.count("carded") == 3
    for words in ("The model alone", "reference", "640x480", "cold start", "load", "inference"):
        assert words in out


@pytest.mark.usefixtures("no_cold_starts")
def test_training_photos_are_left_out_or_noted(labelled: Path, tmp_path: Path) -> None:
    options = ["--model", carded(TWO_UINT8, tmp_path), "--data", labelled, "--rounds", 1, "--runs", 1, "--threads", 1]
    (tmp_path / "split.json").write_text('{"parts": {"test": ["1", "6"]}}')
    _, out, err = bench(*options, "--split", tmp_path / "split.json", "--json")
    assert [p["name"] for p in json.loads(out)["accuracy"][0]["models"]["carded"]["per_photo"]] == ["1", "6"]
    assert "all photos" not in err
    (labelled / "index.csv").unlink()
    _, out, err = bench(*options, "--json")
    assert json.loads(out)["accuracy"][0]["photos"] == 8
    assert "all photos of squares were scored" in err
    with pytest.raises(DataError, match=r"gone\.json"):
        bench(*options, "--split", tmp_path / "gone.json")


@pytest.mark.usefixtures("no_cold_starts")
def test_the_bundled_model_at_every_number_of_threads_by_default() -> None:
    _, out, _ = bench("--rounds", 1, "--runs", 1, "--json")
    document = json.loads(out)
    assert "person" in document["models"]
    assert {entry["threads"] for entry in document["latency"]} == set(range(1, default_threads() + 1))


@pytest.mark.usefixtures("no_cold_starts")
def test_a_throttled_board_gives_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(watch.Watch, "_throttling", lambda self: ["under-voltage"])
    code, out, err = bench("--model", carded(TWO_UINT8, tmp_path), "--rounds", 1, "--runs", 1, "--threads", 1, "--json")
    assert code == 1
    assert json.loads(out)["watch"]["valid"] is False
    assert "under-voltage" in err
    assert "not reliable" in err


def test_errors_are_one_sentence(labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = str(carded(FOUR_UINT8, tmp_path, FOUR_CARD))
    for arguments, code, says in (
        (["--model", "gone.tflite"], 1, "gone.tflite"),
        (["--threads", "two"], 2, "--threads"),
        (["--threads", "0"], 2, "--threads"),
        (["--threads", "99"], 2, "--threads"),
        (["--data", str(tmp_path / "nowhere")], 1, "nowhere"),
        (["--model", model, "--data", str(labelled)], 1, "dark, red"),
        (["--model", model, "--model", model], 1, "carded"),
        (["--photo", "gone.jpg"], 1, "gone.jpg"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["bench", *arguments, "--rounds", "1", "--runs", "1"])
        lines = capfd.readouterr().err.strip().splitlines()
        assert stopped.value.code == code, lines
        assert says in lines[-1]


def test_each_round_is_a_process_in_which_all_models_take_turns(tmp_path: Path) -> None:
    models = [reference(), candidate(carded(TWO_UINT8, tmp_path)), candidate(SIGMOID_FLOAT32)]
    done: list[tuple[int, int]] = []
    rounds = measure_rounds(
        models, noise((48, 64)), [1, 2], 2, 3, progress=lambda number, total: done.append((number, total))
    )
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(found.threads for found in rounds) == [1, 1, 2, 2]
    for found in rounds:
        assert list(found.inference) == ["reference", "carded", SIGMOID_FLOAT32.stem]
        # The reference takes a hundred times as long as the tiny ones, so it need not take part in every turn.
        assert found.inference["carded"].ratio_to(found.inference["reference"]) < 1
        for name, timing in found.frame.items():
            stages = found.stages[name]
            assert len(timing.samples) == len(stages["render"])
            parts = [stages[stage][0] for stage in STAGES[1:-1]]
            assert timing.samples[0] == pytest.approx(sum(parts))


def test_a_cold_start_is_a_process_and_its_own_memory(tmp_path: Path) -> None:
    """Not the memory of the measuring program, which here holds 400 MB."""
    ballast = np.ones(50_000_000)
    cv2.imwrite(str(tmp_path / "photo.png"), bright_square())
    seconds, peak_mb = run_once(["image", str(tmp_path / "photo.png"), "--out", str(tmp_path / "out")])
    assert seconds > 0.05
    assert 20 < peak_mb < ballast.nbytes / 1e6 / 1.5
    with pytest.raises(SegEdgeError, match=r"^gone\.png"):
        run_once(["image", "gone.png"])


def test_a_models_error_in_the_other_process_is_reported(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(TWO_UINT8.read_bytes()[:300])
    with pytest.raises(ModelError, match=r"damaged\.tflite"):
        measure_rounds([reference(), candidate(damaged)], drawn_frame(), [1], 1, 1)


def test_a_changed_reference_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    about = describe(reference())
    assert (about["role"], about["input_wh"], about["dtype"]) == ("reference", [256, 256], "uint8")
    other = tmp_path / "reference.tflite"
    other.write_bytes(TWO_UINT8.read_bytes())
    monkeypatch.setattr(candidates, "REFERENCE", other)
    with pytest.raises(ModelError, match="install seg-edge again"):
        reference()


def test_two_candidates_with_the_same_name_are_refused() -> None:
    with pytest.raises(ModelError, match="twice|called"):
        check_names([candidate(TWO_UINT8, "a"), candidate(FOUR_UINT8, "a")])


def test_a_machine_is_named_and_keyed() -> None:
    machine = describe_machine()
    assert machine["name"].endswith("cores")
    assert machine["key"] == machine["key"].lower()
    assert not set(machine["key"]) & set(" /\\:")
    assert {"seg-edge", "python", "numpy", "opencv"} < set(machine["versions"])


PARTS = {"machine": {}, "watch": {}, "settings": {}, "models": {}, "latency": []}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not what"),
        (b'{"kind": "other"}', "not what"),
        (json.dumps({"kind": "seg-edge bench", "format": 99, **PARTS}).encode(), "99"),
        (json.dumps({"kind": "seg-edge bench", "format": 1, "machine": {}}).encode(), "cut short"),
    ],
    ids=["bytes", "half", "deep", "a list", "another program's", "another format", "without its end"],
)
def test_a_file_that_is_not_a_result_is_refused_in_one_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "dropped.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as raised:
        read_document(path)
    assert "dropped.json" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    document = make_document(**PARTS)
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    assert read_document(path) == document
    assert MAX_BYTES > 1_000_000
    with pytest.raises(DataError, match="can't be read"):
        read_document(tmp_path / "gone.json")
