"""One command from photos to a model: when it may continue, which network fits a budget, what the report says."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'seg-edge[train]'")

import typer
from typer.testing import CliRunner

from convert import family, learn
from convert.family import fitting
from convert.learn_report import _on_others
from convert.pruning.budget import int8_of
from seg_edge.errors import UsageError
from seg_edge.evaluation.latency import Timing
from seg_edge.evaluation.scores import PhotoScore, Scores
from tests.train.made_up import annotate_via_csv, make_class
from train.dataset import Dataset, open_dataset
from train.network import build
from train.recipes import Recipe


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that would be trained; neither trains nor converts."""
    given: list[Recipe] = []

    def trained(folder: Path, data: Path, group: str, recipe: Recipe, *budgets: object) -> tuple[None, None]:
        given.append(recipe)
        (folder / "run").mkdir(exist_ok=True)
        (folder / "run" / "recipe.json").write_text("{}")
        return None, None

    monkeypatch.setattr(learn, "_trained", trained)
    monkeypatch.setattr(learn, "_converted", lambda *_: None)
    return given


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(learn.main)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


def test_the_same_command_continues_with_more_epochs_but_not_with_another_size(
    tmp_path: Path, calls: list[Recipe]
) -> None:
    annotate_via_csv(tmp_path, photos=6)
    line = (tmp_path / "photos", tmp_path / "via_region_data.csv")
    code, output = run(*line, "--size", 32, "--epochs", 2)
    assert code == 0, output
    assert "photos_model/data/contact_sheet.jpg: check that the masks fit" in output
    assert run(*line, "--size", 32, "--epochs", 3)[0] == 0
    assert [recipe.epochs for recipe in calls] == [2, 3]
    code, output = run(*line, "--size", 64)
    assert code == 1
    assert "made from other annotations or with other options; give another --out" in output


def test_a_refused_command_can_be_corrected(tmp_path: Path, calls: list[Recipe]) -> None:
    annotate_via_csv(tmp_path, photos=6)
    line = (tmp_path / "photos", tmp_path / "via_region_data.csv")
    code, output = run(*line, "--classes", "red")
    assert code == 1
    assert "not among --classes" in output
    assert run(*line, "--classes", "red,green,blue")[0] == 0
    assert len(calls) == 1


def test_after_an_impossible_budget_another_reuses_the_existing_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitting(data: Dataset, recipe: Recipe, ms: float | None, *rest: object) -> Recipe:
        if ms == 1:
            raise UsageError("no network is within the budget")
        return recipe

    def fit(data: Dataset, recipe: Recipe, run: Path, resume: bool) -> None:
        run.mkdir()
        (run / "recipe.json").write_text("{}")
        raise UsageError("training begins")

    monkeypatch.setattr(learn, "fitting", fitting)
    monkeypatch.setattr(learn, "fit", fit)
    annotate_via_csv(tmp_path, photos=9)
    line = (tmp_path / "photos", tmp_path / "via_region_data.csv", "--budget-ms")
    assert "within the budget" in run(*line, 1)[1]
    output = run(*line, 2)[1]
    assert "training begins" in output
    assert "contact_sheet.jpg" not in output
    assert "with other options; give another --out" in run(*line, 3)[1]


def test_a_training_that_learnt_nothing_makes_no_model_for_the_device(tmp_path: Path) -> None:
    annotate_via_csv(tmp_path, photos=9)
    line = (tmp_path / "photos", tmp_path / "via_region_data.csv", "--size", 32, "--widths", "8,8")
    for _ in ("trained", "the same command again"):
        code, output = run(*line, "--learning-rate", 1e-9, "--epochs", 1)
        assert code == 1
        assert "error: the model is no better than guessing on the validation photos" in output
    assert not list((tmp_path / "photos_model").glob("*.tflite"))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return open_dataset(make_class(tmp_path / "data", photos=9), log=lambda line: None)


@pytest.mark.parametrize(
    ("ms", "kb", "widths"),
    [(None, None, (32, 64)), (1.85, None, (24, 48)), (None, 3.06, (16, 32)), (1.7, 3.02, (8, 8))],
)
def test_the_widest_network_within_the_budget_is_chosen(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, ms: float | None, kb: float | None, widths: tuple[int, ...]
) -> None:
    """With made-up costs: a byte per channel in addition to the card, and a tenth of a millisecond per four."""
    monkeypatch.setattr(family, "_file", lambda recipe, data: bytes(sum(recipe.widths)))
    monkeypatch.setattr(
        family, "measure", lambda files, threads: {name: Timing((len(f) / 40,), threads) for name, f in files.items()}
    )
    lines: list[str] = []
    assert fitting(data, Recipe(widths=(16, 32)), ms, kb, lines.append).widths == widths
    assert sum("chosen" in line for line in lines) == 1
    with pytest.raises(UsageError, match=r"the narrowest takes 0.40 ms and 3 kB"):
        fitting(data, Recipe(widths=(16, 32)), 0.1, None, lines.append)


def test_a_trained_network_s_file_is_no_larger_than_estimated_for_the_budget(data: Dataset) -> None:
    recipe = Recipe(size=32, widths=(8, 16))
    trained = build(recipe, len(data.classes))
    random = np.random.default_rng(1)
    trained.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in trained.get_weights()])
    assert len(family._file(recipe, data)) >= len(int8_of(trained, data)) - 100


def test_the_report_shows_how_photos_of_no_class_are_labelled() -> None:
    with_class = PhotoScore("a", np.array([[50, 0], [0, 50]]), np.ones(2), 0.5)
    without_class = PhotoScore("b", np.array([[90, 10], [0, 0]]), np.ones(2), 0.0)
    assert "--other FOLDER" in _on_others(Scores(("background", "x"), (with_class,)))
    text = _on_others(Scores(("background", "x"), (with_class, without_class)))
    assert text.startswith("On 1 test photo that shows none of its classes, it labels 10.0% of the pixels")
