"""One command from photos to a model: what may go on, which network fits a budget, what the page says of strangers."""

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


def test_the_same_line_goes_on_also_with_more_epochs_but_not_with_another_size(
    tmp_path: Path, calls: list[Recipe]
) -> None:
    annotate_via_csv(tmp_path, photos=6)
    line = (tmp_path / "photos", tmp_path / "via_region_data.csv")
    code, said = run(*line, "--size", 32, "--epochs", 2)
    assert code == 0, said
    assert "photos_model/data/contact_sheet.jpg: look whether the masks fit" in said
    assert run(*line, "--size", 32, "--epochs", 3)[0] == 0
    assert [recipe.epochs for recipe in calls] == [2, 3]
    code, said = run(*line, "--size", 64)
    assert code == 1
    assert "made of other annotations or with other options; give another --out" in said


def test_what_was_refused_may_be_asked_otherwise(tmp_path: Path, calls: list[Recipe]) -> None:
    annotate_via_csv(tmp_path, photos=6)
    line = (tmp_path / "photos", tmp_path / "via_region_data.csv")
    code, said = run(*line, "--classes", "red")
    assert code == 1
    assert "not among --classes" in said
    assert run(*line, "--classes", "red,green,blue")[0] == 0
    assert len(calls) == 1


def test_after_a_budget_that_nothing_fits_another_goes_on_with_the_masks_that_are_there(
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
    said = run(*line, 2)[1]
    assert "training begins" in said
    assert "contact_sheet.jpg" not in said
    assert "with other options; give another --out" in run(*line, 3)[1]


def test_a_training_that_learnt_nothing_makes_no_model_for_the_device(tmp_path: Path) -> None:
    annotate_via_csv(tmp_path, photos=9)
    line = (tmp_path / "photos", tmp_path / "via_region_data.csv", "--size", 32, "--widths", "8,8")
    for _ in ("trained", "the same line again"):
        code, said = run(*line, "--learning-rate", 1e-9, "--epochs", 1)
        assert code == 1
        assert "error: the model knows nothing of the val part" in said
    assert not list((tmp_path / "photos_model").glob("*.tflite"))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return open_dataset(make_class(tmp_path / "data", photos=9), log=lambda line: None)


@pytest.mark.parametrize(
    ("ms", "kb", "widths"),
    [(None, None, (32, 64)), (1.85, None, (24, 48)), (None, 3.06, (16, 32)), (1.7, 3.02, (8, 8))],
)
def test_the_widest_that_fits_the_budget_is_taken(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, ms: float | None, kb: float | None, widths: tuple[int, ...]
) -> None:
    """With made-up costs: a byte a channel beside the card, and a tenth of a millisecond for four."""
    monkeypatch.setattr(family, "_file", lambda recipe, data: bytes(sum(recipe.widths)))
    monkeypatch.setattr(
        family, "measure", lambda files, threads: {name: Timing((len(f) / 40,), threads) for name, f in files.items()}
    )
    said: list[str] = []
    assert fitting(data, Recipe(widths=(16, 32)), ms, kb, said.append).widths == widths
    assert sum("taken" in line for line in said) == 1
    with pytest.raises(UsageError, match=r"the narrowest takes 0.40 ms and 3 kB"):
        fitting(data, Recipe(widths=(16, 32)), 0.1, None, said.append)


def test_a_trained_network_s_file_is_no_larger_than_the_budget_was_told(data: Dataset) -> None:
    recipe = Recipe(size=32, widths=(8, 16))
    trained = build(recipe, len(data.classes))
    random = np.random.default_rng(1)
    trained.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in trained.get_weights()])
    assert len(family._file(recipe, data)) >= len(int8_of(trained, data)) - 100


def test_the_page_says_what_becomes_of_others() -> None:
    with_class = PhotoScore("a", np.array([[50, 0], [0, 50]]), np.ones(2), 0.5)
    stranger = PhotoScore("b", np.array([[90, 10], [0, 0]]), np.ones(2), 0.0)
    assert "--other FOLDER" in _on_others(Scores(("background", "x"), (with_class,)))
    said = _on_others(Scores(("background", "x"), (with_class, stranger)))
    assert said.startswith("On 1 test photos that show none of its classes, it labels 10.0% of the pixels")
