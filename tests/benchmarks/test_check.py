"""Only what got slower or worse is reported; the history keeps the figures to compare with."""

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

from benchmarks import check, history
from benchmarks.history import Row
from benchmarks.suites import Suite, read_suites
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


DOCUMENT = {
    "created": "2026-11-24",
    "commit": "abc",
    "machine": {"name": "desk"},
    "models": {
        name: {"role": role, "bytes": 1, "sha256": ""} for name, role in (("m", "model"), ("reference", "reference"))
    },
}


def timed(ratios: list[float], frame: float = 2.0) -> list[Row]:
    return history.latency_rows(DOCUMENT, latency([a_round(ratio, frame) for ratio in ratios], "reference"))


def before(ratio: float, spread: float = 0.01) -> dict[check.Key, Row]:
    bounds = {"low": ratio * (1 - spread), "high": ratio * (1 + spread)}
    (then, frame) = (row for row in timed([ratio]) if row.model == "m" and row.figure != history.MS)
    rows = [then.model_copy(update=bounds), frame.model_copy(update={"value": 2.0, "low": 1.9, "high": 2.1})]
    return {row.key: row for row in rows}


@pytest.mark.parametrize(
    ("now", "spread", "failed"),
    [
        ([1.0, 1.0, 1.0], 0.01, False),
        ([1.14, 1.14, 1.14], 0.01, False),
        ([1.16, 1.17, 1.18], 0.01, True),
        ([0.5, 0.5, 0.5], 0.01, False),
        ([1.16, 1.17, 1.18], 0.2, False),  # the history itself was that uncertain
        ([1.0, 1.4, 1.4], 0.01, False),  # one round is as fast as before: not certain enough
    ],
)
def test_ratios_may_rise_by_15_percent(now: list[float], spread: float, failed: bool) -> None:
    found, notes = check.compare(before(1.0, spread), timed(now))
    assert not notes
    assert [(comparison.label, comparison.failed) for comparison in found] == [
        ("ratio, 1 thread", failed),
        ("frame ratio, 1 thread", False),
    ]


def test_slower_code_around_the_model_is_found() -> None:
    found, _ = check.compare(before(1.0), [row for frame in (2.4, 2.5) for row in timed([1.0], frame)])
    assert [comparison.failed for comparison in found] == [False, True, False, True]


def test_apparent_slowdowns_are_measured_again() -> None:
    def measured(*ratios: list[float]) -> list[list[bool]]:
        def measure(attempt: int) -> list[Round]:
            return [a_round(ratio) for ratio in ratios[attempt]]

        def rows(rounds: list[Round]) -> list[Row]:
            return history.latency_rows(DOCUMENT, latency(rounds, "reference"))

        return [[found.failed for found in tried] for tried in check.attempts(measure, rows, before(1.0))]

    assert measured([1.0, 1.0]) == [[False, False]]
    assert measured([1.5, 1.5], [1.0, 1.0]) == [[True, False], [False, False]]
    assert measured([1.5, 1.5], [1.5, 1.5], [1.5, 1.4]) == [[True, False]] * 3


def scored(
    mean: float, photo: float | None, data: str = "f", classes: dict[str, float | None] | None = None
) -> dict[check.Key, Row]:
    intervals = {"mean_dice": [0.0, 1.0], "mean_photo_dice": None}
    figures = {"mean_dice": mean, "mean_photo_dice": photo, "dice": classes or {"cat": mean}, "intervals": intervals}
    found = {"data": "photos", "photos": 12, "fingerprint": data, "models": {"m": figures}}
    return {row.key: row for row in history.accuracy_rows(DOCUMENT, found)}


@pytest.mark.parametrize(
    ("mean", "photo", "failed"),
    [
        (0.9, 0.8, [False, False]),
        (0.8951, 0.7951, [False, False]),
        (0.8949, 0.8, [True, False]),
        (0.9, 0.7949, [False, True]),
        (0.95, None, [False, True]),  # it no longer finds anything
    ],
)
def test_dice_may_fall_by_0_005(mean: float, photo: float | None, failed: list[bool]) -> None:
    found, notes = check.compare(scored(0.9, 0.8), scored(mean, photo).values())
    assert [comparison.failed for comparison in found] == failed
    assert not notes


def test_every_class_is_compared() -> None:
    then, now = ({"cat": 0.8, "dog": 1.0}, {"cat": 0.81, "dog": 0.99})
    found, _ = check.compare(scored(0.9, 0.9, classes=then), scored(0.9, 0.9, classes=now).values())
    assert [(comparison.label, comparison.failed) for comparison in found[2:]] == [
        ("Dice of cat on photos", False),
        ("Dice of dog on photos", True),
    ]


def test_undefined_scores_stay_undefined() -> None:
    found, _ = check.compare(scored(0.9, None), scored(0.9, None).values())
    assert [comparison.failed for comparison in found] == [False, False]


def test_scores_on_other_photos_are_noted_but_not_compared() -> None:
    found, notes = check.compare(scored(0.9, 0.8), scored(0.1, 0.1, "other").values())
    assert not found
    assert "other photos" in notes[0]
    found, notes = check.compare({}, scored(0.1, 0.1).values())
    assert not found
    assert "no score" in notes[0]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The suite of the drawn pictures with one model, `m`."""
    folder = tmp_path_factory.mktemp("drawn")
    (suite,), _ = read_suites(drawn_suite(folder), folder / "work")
    return suite


def score(model: Candidate, suite: Suite) -> dict[str, Any]:
    return measure_accuracy("drawn", [model], suite.examples, suite.classes)


@pytest.fixture(scope="module")
def measured(drawn: Suite) -> tuple[dict[str, Any], list[Round]]:
    """The document that `make bench` makes of the suite's models, and its rounds."""
    models = [reference(), *drawn.candidates]
    rounds = measure_rounds(models, drawn_frame(), [1], 1, 3)
    document = make_document(
        commit="abc",
        machine=describe_machine(),
        watch=Watch().verdict(),
        settings={},
        models={model.name: describe(model) for model in models},
        latency=latency(rounds, "reference"),
        accuracy=[score(drawn.candidates[0], drawn)],
    )
    return document, rounds


@pytest.fixture
def recorded(measured: tuple[dict[str, Any], list[Round]], tmp_path: Path) -> Path:
    """The machine's history with these figures, as `make bench` writes it."""
    document, remembered[:] = measured
    path = tmp_path / "history" / f"{document['machine']['key']}.csv"
    history.append(path, history.rows(document))
    return path


def test_a_model_in_two_suites_is_scored_on_both(drawn: Suite) -> None:
    """Each suite opens its models itself; they must still count as the same."""
    first = replace(drawn, examples=drawn.examples[:1])
    (model,) = drawn.candidates
    assert model.file
    again = replace(first, name="again", candidates=(candidate(model.file, "m"),))
    before = {
        row.key: row
        for suite in ("drawn", "again")
        for row in (row.model_copy(update={"of": suite, "data": "other"}) for row in scored(0.0, 0.0).values())
    }
    _, notes = check.check([first, again], before, 1, 1, lambda text: None)
    assert [note for note in notes if "other photos" in note and ("drawn" in note or "again" in note)] == notes
    assert len(notes) == 4


def suite_file(folder: Path) -> Path:
    path = folder / "suites.toml"
    path.write_text('[[suite]]\nname = "drawn"\ndata = "drawn"\nmodels = ["m.tflite"]\n')
    return path


def drawn_suite(folder: Path) -> Path:
    (folder / "m.tflite").write_bytes(append_card(TWO_UINT8.read_bytes(), CARD))
    return suite_file(folder)


def run(suites: Path, folder: Path) -> Result:
    app = typer.Typer()
    app.command()(check.main)
    arguments = ["--suites", str(suites), "--history", str(folder / "history"), "--rounds", "1", "--runs", "3"]
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """A suite of the drawn pictures with one model, `m`, in `m.tflite`."""
    return drawn_suite(tmp_path)


@pytest.fixture
def timed_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is as fast as in the history; what is timed all the same is timed once."""
    real = check.measure_ours
    monkeypatch.setattr(check, "ATTEMPTS", 1)

    def measured(models: list[Candidate], *arguments: Any) -> list[Round]:
        return remembered or real(models, *arguments)

    monkeypatch.setattr(check, "measure_ours", measured)
    remembered.clear()


remembered: list[Round] = []


@pytest.mark.usefixtures("timed_as_before", "recorded")
def test_slower_models_are_caught_and_unchanged_ones_pass(suites: Path, tmp_path: Path) -> None:
    done = run(suites, tmp_path)
    assert done.exit_code == 0, done.output
    assert "Compared with abc" in done.output
    assert done.output.count("ok") == 4

    # The reference model under this name takes many times longer and finds no people. This one is timed.
    remembered.clear()
    content = REFERENCE.read_bytes()
    card = ModelCard("m", make_classes(["background", "person"]), (256, 256))
    (tmp_path / "m.tflite").write_bytes(append_card(content[: content.index(b"PK\x03\x04")], card))
    done = run(suites, tmp_path)
    assert done.exit_code == 1
    worse = [line for line in done.stdout.splitlines() if "worse" in line]
    for figure in ("mean Dice", "mean over photos", "ratio"):
        assert any(figure in line for line in worse), done.stdout
    assert "m: mean Dice on drawn" in done.stderr


def damaged(content: bytes, share: float) -> bytes:
    """The model with this share of its weights replaced by random ones, without its card."""
    model, random = schema.ModelT.InitFromPackedBuf(content, 0), np.random.default_rng(0)
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) > 1000:  # convolution kernels, not shapes and the like
            weights = np.array(buffer.data, np.uint8)
            replaced = random.random(weights.size) < share
            weights[replaced] = random.integers(0, 256, replaced.sum())
            buffer.data = weights
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_damaged_models_are_caught_by_their_scores(drawn: Suite, tmp_path: Path) -> None:
    person = open_model("person")
    before = {row.key: row for row in history.accuracy_rows(DOCUMENT, score(candidate("person", "m"), drawn))}
    for share, failed in ((0.0, False), (0.1, True)):
        (tmp_path / "m.tflite").write_bytes(append_card(damaged(person.content, share), person.card))
        now = score(candidate(tmp_path / "m.tflite", "m"), drawn)
        found, notes = check.compare(before, history.accuracy_rows(DOCUMENT, now))
        assert not notes
        assert any(comparison.failed for comparison in found) is failed


def test_without_a_history_the_error_says_what_to_run(suites: Path, tmp_path: Path) -> None:
    done = run(suites, tmp_path)
    assert done.exit_code == 1
    assert "make bench" in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.usefixtures("timed_as_before")
def test_new_and_missing_models_are_noted(suites: Path, tmp_path: Path, recorded: Path) -> None:
    path = recorded
    history.append(path, [row.model_copy(update={"model": "gone"}) for row in history.read(path) if row.model == "m"])
    (tmp_path / "new.tflite").write_bytes((tmp_path / "m.tflite").read_bytes())
    suites.write_text(suites.read_text().replace('["m.tflite"]', '["m.tflite", "new.tflite"]'))
    done = run(suites, tmp_path)
    assert done.exit_code == 0, done.output
    assert "note: gone: in the history, but not measured now" in done.output
    assert "note: new: not in the history" in done.output


def test_the_history_gives_back_what_was_added(suites: Path, tmp_path: Path, recorded: Path) -> None:
    path = recorded
    once = history.read(path)
    history.append(path, once)
    assert history.read(path) == once * 2
    figures = history.newest(once)
    dice, ratio = figures["m", history.MEAN_DICE, "drawn"], figures["m", history.RATIO, "1"]
    assert dice.sha256 == open_model(tmp_path / "m.tflite").sha256[:12]
    assert dice.bytes == (tmp_path / "m.tflite").stat().st_size
    assert dice.low is not None
    assert dice.high is not None
    assert 0 <= dice.low <= (dice.value or 0.0) <= dice.high <= 1
    assert 0 < (ratio.value or 0.0) < 1
    assert history.read(tmp_path / "nowhere.csv") == []
    path.write_text(path.read_text() + "no row\n")
    with pytest.raises(DataError, match=f"line {len(once) * 2 + 2}"):
        history.read(path)


def test_figures_missing_from_the_last_run_come_from_the_run_before() -> None:
    first = [*timed([1.0]), *scored(0.9, 0.8).values()]
    later = [row.model_copy(update={"created": "2026-11-25", "value": 2.0}) for row in timed([1.0])]
    newest = history.newest([*first, *later])
    assert newest["m", history.RATIO, "1"].value == 2.0
    assert newest["m", history.MEAN_DICE, "photos"].value == 0.9
    gone = [row for row in first if row.model == "m"] + [row for row in later if row.model == "reference"]
    assert {row.model for row in history.newest(gone).values()} == {"reference"}


def test_figures_of_a_given_commit_are_found(tmp_path: Path) -> None:
    rows = timed([1.0])
    later = [row.model_copy(update={"created": "2026-11-25", "commit": "def"}) for row in rows]
    history.append(tmp_path / "desk.csv", [*rows, *later])
    assert check.newest_rows(tmp_path / "desk.csv", "abc") == rows
    assert check.newest_rows(tmp_path / "desk.csv", "") == rows + later
    with pytest.raises(DataError, match="123"):
        check.newest_rows(tmp_path / "desk.csv", "123")


def test_candidates_can_be_sent_to_another_process() -> None:
    import pickle

    original = Candidate("m", partial(_open, TWO_UINT8))
    assert pickle.loads(pickle.dumps(original)).open(1)(bright_square()).labels.any()


def _open(path: Path, threads: int):
    from seg_edge.segmenter import Segmenter

    return Segmenter(path, threads)


def test_the_drawn_pictures_tell_models_apart(measured: tuple[dict[str, Any], list[Round]]) -> None:
    """A score that every model reaches would catch nothing."""
    tiny = measured[0]["accuracy"][0]["models"]["m"]
    assert np.nan_to_num(tiny["mean_photo_dice"] or 0.0) < 0.6
