"""What got slower or worse is found out, and what did not isn't; the history keeps what that needs."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import typer
from ai_edge_litert import schema_py_generated as schema
from typer.testing import CliRunner, Result

from benchmarks import check, false_alarms, history
from benchmarks.suites import read_suites
from seg_edge.apps.bench.accuracy import measure_accuracy
from seg_edge.apps.bench.candidates import REFERENCE, Candidate, candidate, describe, reference
from seg_edge.apps.bench.document import describe_machine, make_document
from seg_edge.apps.bench.figures import latency
from seg_edge.apps.bench.rounds import STAGES, Round, measure_rounds
from seg_edge.apps.bench.run import drawn_frame
from seg_edge.apps.bench.watch import Watch
from seg_edge.card import ModelCard, append_card, make_classes
from seg_edge.errors import DataError
from seg_edge.evaluation.latency import Timing
from seg_edge.models import open_model
from tests.tiny import TWO_UINT8, bright_square

CARD = ModelCard("tiny", make_classes(["background", "person"]), (32, 32))


def a_round(ratio: float, frame: float = 2.0, threads: int = 1) -> Round:
    inference = {"reference": Timing((1.0,) * 3, threads), "m": Timing((ratio,) * 3, threads)}
    frames = {name: Timing((frame,) * 3, threads) for name in inference}
    return Round(threads, inference, frames, {name: {stage: [0.5] * 3 for stage in STAGES} for name in inference})


def before(ratio: float, spread: float = 0.01) -> dict[str, Any]:
    then = {"median": ratio, "interval": [ratio * (1 - spread), ratio * (1 + spread)]}
    frame = {"median": 2.0, "interval": [1.9, 2.1]}
    return {"m": {"role": "model", "ratio": {"1": then}, "frame_ratio": {"1": frame}, "dice": {}}}


@pytest.mark.parametrize(
    ("now", "spread", "failed"),
    [
        ([1.0, 1.0, 1.0], 0.01, False),
        ([1.14, 1.14, 1.14], 0.01, False),
        ([1.16, 1.17, 1.18], 0.01, True),
        ([0.5, 0.5, 0.5], 0.01, False),
        ([1.16, 1.17, 1.18], 0.2, False),  # the history itself was that unsure
        ([1.0, 1.4, 1.4], 0.01, False),  # one round as before: not sure enough
    ],
)
def test_a_ratio_may_rise_by_15_per_cent(now: list[float], spread: float, failed: bool) -> None:
    entries = latency([a_round(ratio) for ratio in now], "reference")
    found = check.compare_latency(before(1.0, spread), entries)
    assert [(comparison.what.split(",")[0], comparison.failed) for comparison in found] == [
        ("the model alone", failed),
        ("a whole frame", False),
    ]


def test_a_slower_way_around_the_model_is_found_too() -> None:
    found = check.compare_latency(before(1.0), latency([a_round(1.0, frame) for frame in (2.4, 2.5)], "reference"))
    assert [comparison.failed for comparison in found] == [False, True]


def test_what_looks_slower_once_is_measured_again() -> None:
    def measured(*ratios: list[float]) -> list[list[bool]]:
        def measure(attempt: int) -> list[Round]:
            return [a_round(ratio) for ratio in ratios[attempt]]

        return [[found.failed for found in tried] for tried in check.attempts(measure, before(1.0))]

    assert measured([1.0, 1.0]) == [[False, False]]
    assert measured([1.5, 1.5], [1.0, 1.0]) == [[True, False], [False, False]]
    assert measured([1.5, 1.5], [1.5, 1.5], [1.5, 1.4]) == [[True, False]] * 3


def scored(mean: float, photo: float | None, fingerprint: str = "f") -> dict[str, Any]:
    return {
        "data": "photos",
        "fingerprint": fingerprint,
        "models": {"m": {"mean_dice": mean, "mean_photo_dice": photo, "dice": {"cat": mean}}},
    }


@pytest.mark.parametrize(
    ("mean", "photo", "failed"),
    [
        (0.9, 0.8, [False, False]),
        (0.8951, 0.7951, [False, False]),
        (0.8949, 0.8, [True, False]),
        (0.9, 0.7949, [False, True]),
        (0.95, None, [False, True]),  # it finds nothing any more
    ],
)
def test_a_dice_may_fall_by_half_a_hundredth(mean: float, photo: float | None, failed: list[bool]) -> None:
    known = {"m": {"dice": {"photos": {"mean_dice": 0.9, "mean_photo_dice": 0.8, "fingerprint": "f"}}}}
    found, notes = check.compare_accuracy(known, scored(mean, photo))
    assert [comparison.failed for comparison in found] == failed
    assert not notes


def test_one_class_of_several_may_not_fall_either() -> None:
    then = {"mean_dice": 0.9, "mean_photo_dice": 0.9, "classes": {"cat": 0.8, "dog": 1.0}, "fingerprint": "f"}
    now = scored(0.9, 0.9)
    now["models"]["m"]["dice"] = {"cat": 0.81, "dog": 0.99}
    found, _ = check.compare_accuracy({"m": {"dice": {"photos": then}}}, now)
    assert [(comparison.what, comparison.failed) for comparison in found[2:]] == [
        ("Dice of cat on photos", False),
        ("Dice of dog on photos", True),
    ]


def test_where_nothing_could_be_found_nothing_is_lost() -> None:
    then = {"mean_dice": 0.9, "mean_photo_dice": None, "classes": {"cat": None}, "fingerprint": "f"}
    found, _ = check.compare_accuracy({"m": {"dice": {"photos": then}}}, scored(0.9, None))
    assert [comparison.failed for comparison in found] == [False]


def test_other_photos_are_not_compared_and_that_is_said() -> None:
    known = {"m": {"dice": {"photos": {"mean_dice": 0.9, "mean_photo_dice": 0.8, "fingerprint": "f"}}}}
    found, notes = check.compare_accuracy(known, scored(0.1, 0.1, "other"))
    assert not found
    assert "other photos" in notes[0]
    found, notes = check.compare_accuracy({"m": {"dice": {}}}, scored(0.1, 0.1))
    assert not found
    assert "no score" in notes[0]


def record(folder: Path, suites: Path) -> Path:
    """Measures the suite's models and writes the machine's history, as `make bench` does."""
    found, _ = read_suites(suites, folder / "work")
    models = [reference(), *found[0].candidates]
    rounds = measure_rounds(models, drawn_frame(), [1], 3, 5)
    remembered[:] = rounds
    document = make_document(
        commit="abc",
        machine=describe_machine(),
        watch=Watch().verdict(),
        settings={},
        models={which.name: describe(which) for which in models},
        latency=latency(rounds, "reference"),
        accuracy=[measure_accuracy("drawn", found[0].candidates, found[0].examples, found[0].classes)],
    )
    path = folder / "history" / f"{document['machine']['key']}.jsonl"
    history.append(path, history.entry(document))
    return path


def test_a_model_in_two_suites_is_scored_on_both(tmp_path: Path) -> None:
    """Each suite opens its models anew, and they must still be known as the same."""
    (tmp_path / "m.tflite").write_bytes(append_card(TWO_UINT8.read_bytes(), CARD))
    drawn, _ = read_suites(suite_file(tmp_path), tmp_path / "work")
    again = replace(drawn[0], name="again", candidates=(candidate(tmp_path / "m.tflite", "m"),))
    scores = {
        suite.name: {"mean_dice": 0.0, "mean_photo_dice": 0.0, "classes": {}, "fingerprint": "other"}
        for suite in (drawn[0], again)
    }
    before = {"m": {"role": "model", "ratio": {}, "frame_ratio": {}, "dice": scores}}
    _, notes = check.check([drawn[0], again], before, 1, 1, lambda text: None)
    assert [note for note in notes if "other photos" in note and ("drawn" in note or "again" in note)] == notes
    assert len(notes) == 2


def suite_file(folder: Path) -> Path:
    path = folder / "suites.toml"
    path.write_text('[[suite]]\nname = "drawn"\ndata = "drawn"\nmodels = ["m.tflite"]\n')
    return path


def run(suites: Path, folder: Path) -> Result:
    app = typer.Typer()
    app.command()(check.main)
    arguments = ["--suites", str(suites), "--history", str(folder / "history"), "--rounds", "2", "--runs", "5"]
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """A suite of the drawn pictures with one model called `m`, in `m.tflite`."""
    (tmp_path / "m.tflite").write_bytes(append_card(TWO_UINT8.read_bytes(), CARD))
    return suite_file(tmp_path)


@pytest.fixture
def timed_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model takes as long as the history says: what chance makes of real times is for false_alarms.py to tell."""
    real = check.measure_ours

    def measured(models: list[Candidate], *arguments: Any) -> list[Round]:
        return remembered or real(models, *arguments)

    monkeypatch.setattr(check, "measure_ours", measured)
    remembered.clear()


remembered: list[Round] = []


def test_a_slowed_model_is_caught_and_an_unchanged_one_is_not(
    suites: Path, tmp_path: Path, timed_as_before: None
) -> None:
    record(tmp_path, suites)
    done = run(suites, tmp_path)
    assert done.exit_code == 0, done.output
    assert "Against abc" in done.output
    assert done.output.count("ok") == 4

    # The reference under its name takes many times as long, and finds nobody. This is really timed.
    remembered.clear()
    content = REFERENCE.read_bytes()
    other = ModelCard("m", make_classes(["background", "person"]), (256, 256))
    (tmp_path / "m.tflite").write_bytes(append_card(content[: content.index(b"PK\x03\x04")], other))
    done = run(suites, tmp_path)
    assert done.exit_code == 1
    worse = [line for line in done.stdout.splitlines() if "worse" in line]
    for what in ("mean Dice", "mean over photos", "the model alone"):
        assert any(what in line for line in worse), done.stdout
    assert "m: mean Dice on drawn" in done.stderr


def damaged(content: bytes, share: float) -> bytes:
    """The model with so many of its weights replaced by chance; its card is lost."""
    model, random = schema.ModelT.InitFromPackedBuf(content, 0), np.random.default_rng(0)
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) > 1000:  # kernels, not the few numbers that lead to them
            weights = np.array(buffer.data, np.uint8)
            hit = random.random(weights.size) < share
            weights[hit] = random.integers(0, 256, hit.sum())
            buffer.data = weights
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(("share", "failed"), [(0.0, False), (0.1, True)])
def test_a_damaged_model_is_caught_by_its_scores(share: float, failed: bool, suites: Path, tmp_path: Path) -> None:
    person = open_model("person")
    (suite,), _ = read_suites(suites, tmp_path / "work")
    sound = measure_accuracy("drawn", [candidate("person", "m")], suite.examples, suite.classes)
    known = {**sound["models"]["m"], "classes": sound["models"]["m"]["dice"], "fingerprint": sound["fingerprint"]}
    line = {"m": {"dice": {"drawn": known}}}
    (tmp_path / "m.tflite").write_bytes(append_card(damaged(person.content, share), person.card))
    scored = measure_accuracy("drawn", [candidate(tmp_path / "m.tflite", "m")], suite.examples, suite.classes)
    found, notes = check.compare_accuracy(line, scored)
    assert not notes
    assert any(comparison.failed for comparison in found) is failed


def test_without_a_history_it_says_what_to_do(suites: Path, tmp_path: Path) -> None:
    done = run(suites, tmp_path)
    assert done.exit_code == 1
    assert "make bench" in done.output
    assert len(done.output.splitlines()) == 1


def test_a_model_that_is_new_or_gone_is_said(suites: Path, tmp_path: Path, timed_as_before: None) -> None:
    path = record(tmp_path, suites)
    line = json.loads(path.read_text())
    line["models"]["gone"] = line["models"]["m"]
    path.write_text(json.dumps(line) + "\n")
    (tmp_path / "new.tflite").write_bytes((tmp_path / "m.tflite").read_bytes())
    suites.write_text(suites.read_text().replace('["m.tflite"]', '["m.tflite", "new.tflite"]'))
    done = run(suites, tmp_path)
    assert done.exit_code == 0, done.output
    assert "note: gone: in the history, and not there now" in done.output
    assert "note: new: not in the history" in done.output


def test_the_history_gives_back_what_was_added(suites: Path, tmp_path: Path) -> None:
    path = record(tmp_path, suites)
    record(tmp_path, suites)
    lines = history.read(path)
    assert len(lines) == 2
    model = lines[1]["models"]["m"]
    assert model["sha256"] == open_model(tmp_path / "m.tflite").sha256
    assert model["bytes"] == (tmp_path / "m.tflite").stat().st_size
    assert 0 <= model["dice"]["drawn"]["interval"][0] <= model["dice"]["drawn"]["mean_dice"] <= 1
    assert model["ratio"]["1"]["median"] < 1
    assert history.read(tmp_path / "nowhere.jsonl") == []
    path.write_text(path.read_text() + "not json\n")
    with pytest.raises(DataError, match="line 3"):
        history.read(path)


def test_false_alarms_are_counted_over_all_pairs() -> None:
    calm = false_alarms.summarise([[a_round(1.0 + 0.001 * index)] * 3 for index in range(6)])
    assert calm["comparisons"] == [30, 18]
    assert set(calm["alarms"].values()) == {0.0}
    assert calm["found"]["20% slower"] == 1.0
    assert calm["found"]["10% slower"] == 0.0
    assert calm["change"]["largest"] == pytest.approx(0.005, abs=1e-4)
    wild = false_alarms.summarise([[a_round(1.0 if index else 0.5)] * 3 for index in range(6)])
    assert wild["alarms"]["at the first attempt"] == pytest.approx(5 / 30, abs=1e-3)
    assert wild["alarms"]["after 3 attempts"] > 0
    quiet = [false_alarms.ratios([a_round(0.5)] * 3)]
    against = false_alarms.summarise([[a_round(1.0)] * 3] * 6, quiet)
    assert against["comparisons"] == [6, 6]
    assert set(against["alarms"].values()) == {1.0}


def test_measurements_are_kept_for_another_time(tmp_path: Path) -> None:
    measured = [false_alarms.ratios([a_round(1.0 + index)] * 2) for index in range(2)]
    false_alarms.write_ratios(tmp_path / "kept.json", measured)
    assert false_alarms.read_ratios(tmp_path / "kept.json") == measured
    (tmp_path / "kept.json").write_text("{")
    with pytest.raises(DataError, match=r"kept\.json"):
        false_alarms.read_ratios(tmp_path / "kept.json")


def test_a_figure_that_the_last_run_lacks_is_the_one_before() -> None:
    then = {"median": 1.0, "interval": [1.0, 1.0]}
    first = {"models": {"m": {"role": "model", "ratio": {"1": then, "2": then}, "frame_ratio": {}, "dice": {"a": 1}}}}
    second = {"models": {"m": {"role": "model", "ratio": {"1": then | {"median": 2}}, "frame_ratio": {}, "dice": {}}}}
    newest = history.latest([first, second])["m"]
    assert newest["ratio"]["1"]["median"] == 2
    assert newest["ratio"]["2"]["median"] == 1.0
    assert newest["dice"] == {"a": 1}


def test_candidates_can_be_sent_to_another_process() -> None:
    import pickle

    which = Candidate("m", partial(_open, TWO_UINT8))
    assert pickle.loads(pickle.dumps(which)).open(1)(bright_square()).labels.any()


def _open(path: Path, threads: int):
    from seg_edge.segmenter import Segmenter

    return Segmenter(path, threads)


def test_the_drawn_pictures_tell_models_apart(suites: Path, tmp_path: Path) -> None:
    """A score that every model reaches would catch nothing."""
    found, _ = read_suites(suites, tmp_path / "work")
    tiny = measure_accuracy("drawn", found[0].candidates, found[0].examples, found[0].classes)["models"]["m"]
    assert np.nan_to_num(tiny["mean_photo_dice"] or 0.0) < 0.6
