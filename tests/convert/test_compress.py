"""A full model is compressed step by step to one small file, and the report shows the cost."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import typer
from typer.testing import CliRunner

from convert import compress as script
from convert import report, steps
from convert.compress import main
from convert.report import Row, describe
from seg_edge import Segmenter
from seg_edge.card import read_card
from seg_edge.errors import OutputError
from train.keras_model import load_keras
from train.recipes import Recipe
from train.runs import read_run, sha256_of

Trained = tuple[Path, Path]
app = typer.Typer()
app.command()(main)
BUDGET = "3.5_mmac"


def command_line(trained: Trained, out: Path, *more: str) -> list[str]:
    """Arguments for a network of 3.9 MMAC, trained gently, so that it hardly changes."""
    data, run = trained
    options = "--epochs 4 --views 2 --learning-rate 0.001 --batch 2 --no-halve --multiple 1 --steps 1 --tune-epochs 0"
    return [str(run / "model.keras"), "--data", str(data), "--out", str(out), *options.split(), *more]


@dataclass(frozen=True)
class Compression:
    """The folder of a compression, and the rows of its report."""

    out: Path
    rows: list[Row]


@pytest.fixture(scope="module")
def compression(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Compression:
    out, rows = tmp_path_factory.mktemp("compressed") / "small", []

    def described(*arguments: Any) -> list[Row]:
        rows.extend(describe(*arguments))
        return list(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "describe", described)
        patch.setattr(report, "RUNS", 5)
        done = CliRunner().invoke(app, command_line(trained, out, "--budget-mmac", "3.5", "--accept-drop"))
    assert done.exit_code == 0, done.output
    assert f"{BUDGET}/model.tflite" in done.stdout
    return Compression(out, rows)


@pytest.fixture
def compressed(compression: Compression, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder, without scoring and timing it again."""
    monkeypatch.setattr(script, "describe", lambda *arguments: list(compression.rows))
    return compression.out


def test_the_file_runs_and_records_its_ancestors(trained: Trained, compressed: Path) -> None:
    data, run = trained
    folder = compressed / BUDGET
    card = read_card((folder / "model.tflite").read_bytes(), "model")
    assert card is not None
    assert card.parent_sha256 == sha256_of(folder / "distilled" / "model.keras")
    distilled, pruned = read_run(folder / "distilled" / "model.keras"), read_run(folder / "pruned" / "model.keras")
    assert distilled["parent"]["sha256"] == sha256_of(folder / "pruned" / "model.keras")
    assert (
        pruned["parent"]["sha256"] == distilled["distillation"]["teacher"]["sha256"] == sha256_of(run / "model.keras")
    )
    assert card.recipe["parent"]["pruning"]["criterion"] == "taylor"
    assert card.recipe["distillation"]["views"] == 2
    photo = next((data / "images").glob("*.jpg"))
    assert Segmenter(folder / "model.tflite")(cv2.imread(str(photo))).labels.shape == cv2.imread(str(photo)).shape[:2]


def test_the_report_has_every_step(compressed: Path) -> None:
    rows = json.loads((compressed / "table.json").read_text())
    assert [row["name"] for row in rows] == ["full", *(f"{step}, {BUDGET}" for step in ("pruned", "distilled", "int8"))]
    full, pruned, distilled, int8 = rows
    assert pruned["mmac"] <= 3.5 < full["mmac"]
    assert pruned["parameters"] == distilled["parameters"] < full["parameters"]
    assert int8["bytes"] < full["bytes"] / 4
    for row in rows:
        assert set(row["ms"]) == {"1", "2"}
        assert len({threads["samples"] for threads in row["ms"].values()}) == 1
        assert set(row["test"]["dice"]) == {"red", "green", "blue"}
        assert len(row["sha256"]) == 64
    text = (compressed / "table.txt").read_text()
    assert text.splitlines()[1].startswith("full ")
    assert cv2.imread(str(compressed / "pareto.png")).shape[1] > 600


def test_finished_steps_are_not_repeated(trained: Trained, compressed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("this step was already done")

    for step in ("prune", "distill", "quantize"):
        monkeypatch.setattr(steps, step, never)
    done = CliRunner().invoke(app, command_line(trained, compressed, "--budget-mmac", "3.5", "--accept-drop"))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--epochs", "3"), "distilled/model.keras was made with other values of epochs"),
        (("--teacher-weight", "0"), "distilled/model.keras was made with other values of weight"),
        (("--criterion", "random"), "pruned/model.keras was made with other values of criterion"),
        (("--size", "32"), "pruned/model.keras was made with other values of size_wh"),
    ],
)
def test_a_result_with_other_options_is_not_reused(
    trained: Trained, compressed: Path, more: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(app, command_line(trained, compressed, "--budget-mmac", "3.5", "--accept-drop", *more))
    assert done.exit_code == 1
    assert message in done.stderr


def test_a_new_network_gets_the_full_models_input_size(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def distilled(
        full: object, student: None, data: object, out: Path, config: object, recipe: Recipe, *rest: object
    ) -> None:
        sizes.append(recipe.size)
        raise OutputError("stop here")

    monkeypatch.setattr(script, "distilled", distilled)
    for more in ((), ("--size", "32")):
        assert (
            CliRunner().invoke(app, command_line(trained, tmp_path / "new", "--student", "default", *more)).exit_code
            == 1
        )
    assert sizes == [64, 32]


def test_a_result_of_another_model_is_not_reused(trained: Trained, compressed: Path, tmp_path: Path) -> None:
    data, run = trained
    changed = tmp_path / "changed" / "model.keras"
    changed.parent.mkdir()
    model = load_keras(run / "model.keras")
    model.get_layer("logits").bias.assign([1.0, 0.0, 0.0, 0.0])
    model.save(changed)
    (changed.parent / "split.json").write_bytes((run / "split.json").read_bytes())
    arguments = command_line((data, changed.parent), compressed, "--budget-mmac", "3.5")
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "was not made from" in done.stderr


def test_a_result_that_lost_too_much_is_refused_with_a_report(
    trained: Trained, compressed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (compressed / "table.txt").unlink()
    monkeypatch.setattr(script, "gate", lambda before, after: "mean Dice fell by 0.5")
    done = CliRunner().invoke(app, command_line(trained, compressed, "--budget-mmac", "3.5"))
    assert done.exit_code == 1
    assert "refused.tflite: mean Dice fell by 0.5" in " ".join(done.stderr.split())
    assert (compressed / "table.txt").is_file()
    assert not (compressed / BUDGET / "model.tflite").exists()
    assert "refused.tflite" in (compressed / "table.json").read_text()
    again = CliRunner().invoke(app, command_line(trained, compressed, "--budget-mmac", "3.5", "--accept-drop"))
    assert again.exit_code == 0, again.output
    assert (compressed / BUDGET / "model.tflite").is_file()
    assert not (compressed / BUDGET / "refused.tflite").exists()


def test_an_impossible_budget_is_refused_before_anything_is_written(trained: Trained, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, command_line(trained, tmp_path / "small", "--budget-mmac", "0.01"))
    assert done.exit_code == 1
    assert "can't be met" in done.stderr
    assert not list(tmp_path.rglob("*.keras"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "give at least one --budget-mmac"),
        (("--student", "huge"), "default, pretrained, full, original, person"),
        (("--budget-mmac", "3", "--criterion", "huge"), "taylor, random"),
        (("--budget-mmac", "3", "--teacher-weight", "2"), "--teacher-weight must be from 0 to 1"),
    ],
)
def test_invalid_options_are_refused(trained: Trained, tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    done = CliRunner().invoke(app, command_line(trained, tmp_path / "small", *more))
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
