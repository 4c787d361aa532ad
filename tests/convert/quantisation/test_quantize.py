"""A trained model becomes an int8 file with the same output, or is refused."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import typer
from typer.testing import CliRunner

from convert.accuracy_gate import gate
from convert.quantisation import methods as methods_module
from convert.quantisation import quantize as quantize_module
from convert.quantisation.methods import Method
from convert.quantize import main
from convert.tflite_file import check_full_integer, operators
from seg_edge import Segmenter
from seg_edge.card import read_card, strip_card
from seg_edge.errors import ModelError, UsageError
from seg_edge.evaluation.scores import PhotoScore, Scores
from seg_edge.photo.read import read_photo
from train.dataset import open_split
from train.keras_model import keras_segmenter, load_keras

Trained = tuple[Path, Path]
app = typer.Typer()
app.command()(main)


@dataclass(frozen=True)
class Conversion:
    """An ordinary conversion: its file, its output, and the names of its calibration photos."""

    out: Path
    output: str
    calibrated_on: list[str]


@pytest.fixture(scope="module")
def conversion(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    data, run = trained
    out = tmp_path_factory.mktemp("converted") / "students.tflite"
    read: list[str] = []

    def spy(path: Path) -> np.ndarray:
        read.append(path.stem)
        return read_photo(path)

    more = ["--name", "students", "--licence", "CC BY 4.0", "--calibration", "8", "--specks", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods_module, "read_photo", spy)
        done = CliRunner().invoke(app, convert_arguments(data, run, out, *more))
    assert done.exit_code == 0, done.output
    return Conversion(out, done.output, read)


@pytest.fixture(scope="module")
def converted(conversion: Conversion) -> Path:
    return conversion.out


def convert_arguments(data: Path, run: Path, out: Path, *more: str) -> list[str]:
    return [str(run / "model.keras"), "--data", str(data), "--out", str(out), *more]


def test_the_file_is_full_integer_and_takes_pixels_unscaled(converted: Path) -> None:
    content = converted.read_bytes()
    check_full_integer(content)
    backend = Segmenter(converted).backend
    assert backend.input.dtype == np.uint8
    assert backend.input.zero_point == 0
    assert backend.input.scale == pytest.approx(1 / 255)
    assert backend.output.dtype == np.uint8
    kinds = {operator.kind for operator in operators(content)}
    assert "CONV_2D" in kinds
    assert "DEQUANTIZE" not in kinds


def test_int8_and_float_agree_on_photos(converted: Path, trained: Trained) -> None:
    data, run = trained
    dataset = open_split(data, run / "split.json")
    segment = Segmenter(converted)
    reference = keras_segmenter(load_keras(run / "model.keras"), dataset.classes, 3)
    for example in dataset.parts["test"]:
        frame = read_photo(example.image)
        assert np.mean(segment(frame).labels == reference(frame).labels) > 0.98


def test_the_card_records_the_models_origin(converted: Path, trained: Trained) -> None:
    _, run = trained
    card = read_card(converted.read_bytes(), converted)
    split = json.loads((run / "split.json").read_text())
    assert card is not None
    assert (card.name, card.licence, card.input_size_wh, card.specks) == ("students", "CC BY 4.0", (64, 64), 3)
    assert card.class_names == tuple(split["classes"])
    assert card.data["fingerprint"] == split["fingerprint"]
    assert card.recipe["training"]["epochs"] == 20
    assert card.recipe["quantisation"]["part"] == "train"
    for part in ("val", "test"):
        assert set(card.scores[part]["int8"]["dice"]) == {"red", "green", "blue"}
        assert card.scores[part]["int8"]["photos"] == len(split["parts"][part])
    assert card.scores["val"]["float"]["mean_dice"] - card.scores["val"]["int8"]["mean_dice"] <= 0.01


def test_only_the_train_part_calibrates(conversion: Conversion, trained: Trained) -> None:
    data, run = trained
    parts = open_split(data, run / "split.json").parts
    assert len(set(conversion.calibrated_on)) == 8
    assert set(conversion.calibrated_on) <= {example.name for example in parts["train"]}


def test_an_ordinary_conversion_prints_no_alarming_messages(conversion: Conversion) -> None:
    assert "XNNPACK" not in conversion.output


def test_an_existing_file_is_kept_unless_forced(trained: Trained, tmp_path: Path) -> None:
    data, run = trained
    out = tmp_path / "a.tflite"
    out.write_bytes(b"precious")
    done = CliRunner().invoke(app, convert_arguments(data, run, out))
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert out.read_bytes() == b"precious"


def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the converted model score as if it had found nothing."""
    real_score = quantize_module.score

    def worse(segmenter: Segmenter, examples: object) -> Scores:
        scores = real_score(segmenter, examples)  # type: ignore[arg-type]
        if segmenter.card.name == "float":
            return scores
        lost = [
            PhotoScore(p.name, np.column_stack([p.matrix.sum(axis=1), 0 * p.matrix[:, 1:]]), 0 * p.boundary, p.share)
            for p in scores.photos
        ]
        return Scores(scores.classes, tuple(lost))

    monkeypatch.setattr(quantize_module, "score", worse)


def test_a_model_that_lost_accuracy_is_refused_with_its_sensitive_layers_and_advice(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = trained
    spoil(monkeypatch)
    monkeypatch.setattr(quantize_module, "sensitivities", partial(quantize_module.sensitivities, photos=1))
    done = CliRunner().invoke(app, convert_arguments(data, run, tmp_path / "a.tflite", "--calibration", "4"))
    assert done.exit_code == 1
    assert list(tmp_path.iterdir()) == []
    assert "refused, mean Dice fell by" in done.stderr
    rows = done.stdout[done.stdout.index("rounded alone") :].splitlines()[1:]
    assert len(rows) > 10
    worst = rows[0][: rows[0].index(")") + 1]
    assert f". Most sensitive: {worst}" in done.stderr
    assert "of the noise. You can" in done.stderr
    assert "trying --ranges mse" in done.stdout
    for option in ("--qat 5)", "--calibration", "--accept-drop"):
        assert option in done.stderr


def test_ranges_by_least_squares_follow_if_the_converters_lose_too_much(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = trained
    refusals = iter(["mean Dice fell by 0.1, 0.01 is allowed", ""])
    monkeypatch.setattr(quantize_module, "gate", lambda before, after: next(refusals))
    out = tmp_path / "a.tflite"
    done = CliRunner().invoke(app, convert_arguments(data, run, out, "--calibration", "4"))
    assert done.exit_code == 0, done.output
    card = read_card(out.read_bytes(), out)
    assert card is not None
    recipe = card.recipe["quantisation"]
    assert (recipe["ranges"], recipe["drop_accepted"]) == ("mse", "")
    check_full_integer(out.read_bytes())


def test_only_possible_remedies_are_suggested() -> None:
    def message(sensitive: str, method: Method, *, more_photos: bool) -> str:
        return quantize_module._refused(Path("a.keras"), "it lost", sensitive, method, more_photos=more_photos)

    after_tuning = message("x", Method(qat=3), more_photos=False)
    assert "--qat 6 --force" in after_tuning  # else it would refuse to replace the existing fine-tuning
    assert "--accept-drop --resume" in after_tuning
    assert "--calibration" not in after_tuning
    unsupported = message("", Method(), more_photos=True)
    assert "--qat" not in unsupported


def test_chosen_ranges_are_in_the_file_and_its_card(converted: Path, trained: Trained, tmp_path: Path) -> None:
    data, run = trained
    out = tmp_path / "a.tflite"
    # Such a low percentile costs accuracy; only its effect on the file is tested.
    more = ["--ranges", "percentile", "--percentile", "90", "--calibration", "4", "--accept-drop"]
    done = CliRunner().invoke(app, convert_arguments(data, run, out, *more))
    assert done.exit_code == 0, done.output
    check_full_integer(out.read_bytes())
    backend = Segmenter(out).backend
    assert (backend.input.dtype, backend.input.zero_point) == (np.uint8, 0)
    assert backend.input.scale == pytest.approx(1 / 255)
    assert backend.output.scale < 0.8 * Segmenter(converted).backend.output.scale
    card = read_card(out.read_bytes(), out)
    assert card is not None
    recipe = card.recipe["quantisation"]
    assert (recipe["ranges"], recipe["percentile"], recipe["calibration_photos"]) == ("percentile", 90, 4)
    assert "corrected" in recipe["biases"]
    assert "equalised" in recipe["channels"]


def test_fine_tuning_is_saved_and_matches_the_file(trained: Trained, tmp_path: Path) -> None:
    data, run = trained
    out = tmp_path / "a.tflite"
    more = ["--ranges", "mse", "--qat", "1", "--calibration", "8", "--accept-drop"]
    arguments = convert_arguments(data, run, out, *more)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    check_full_integer(out.read_bytes())
    card = read_card(out.read_bytes(), out)
    assert card is not None
    about = card.recipe["quantisation"]
    assert about["method"].startswith("quantisation-aware")
    assert about["qat"]["recipe"]["epochs"] == 1
    assert about["qat"]["scores"]["val_dice"] > 0.8
    assert card.parent_sha256 == hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    kept = json.loads((tmp_path / "a.qat" / "run.json").read_text())
    assert kept["parent"]["sha256"] == card.parent_sha256
    assert kept["recipe"]["learning_rate"] < card.recipe["training"]["learning_rate"]

    dataset = open_split(data, run / "split.json")
    rounding = keras_segmenter(load_keras(tmp_path / "a.qat" / "model.keras"), dataset.classes)
    segment = Segmenter(out)
    frames = [read_photo(example.image) for example in dataset.parts["test"]]
    results = [segment(frame) for frame in frames]
    for frame, result in zip(frames, results, strict=True):
        assert np.mean(result.labels == rounding(frame).labels) > 0.99

    out.unlink()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    out.write_bytes(b"old")
    tuned = (tmp_path / "a.qat" / "model.keras").stat().st_mtime_ns
    resumed = CliRunner().invoke(app, [*arguments, "--resume", "--force"])
    assert resumed.exit_code == 0, resumed.output
    assert (tmp_path / "a.qat" / "model.keras").stat().st_mtime_ns == tuned, "--force must not undo --resume"
    segment = Segmenter(out)
    for frame, result in zip(frames, results, strict=True):
        assert np.array_equal(segment(frame).score_map.stored, result.score_map.stored)


@pytest.mark.parametrize(("kind", "bytes_per_weight"), [("float32", 4), ("float16", 2)])
def test_float_files_for_comparison(
    converted: Path, trained: Trained, tmp_path: Path, kind: str, bytes_per_weight: int
) -> None:
    data, run = trained
    out = tmp_path / "a.tflite"
    done = CliRunner().invoke(app, convert_arguments(data, run, out, "--kind", kind))
    assert done.exit_code == 0, done.output
    content = out.read_bytes()
    weights = load_keras(run / "model.keras").count_params()
    assert bytes_per_weight * weights * 0.9 < len(strip_card(content)) < bytes_per_weight * weights + 40_000
    card = read_card(content, out)
    assert card is not None
    assert card.scores["val"][kind]["mean_dice"] == pytest.approx(card.scores["val"]["float"]["mean_dice"], abs=0.002)
    assert Segmenter(out).backend.input.dtype == np.float32


def test_earlier_steps_and_an_accepted_drop_are_in_the_card(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = trained
    spoil(monkeypatch)
    left = ["QUANTIZE image", "RESIZE_NEAREST_NEIGHBOR up0", "QUANTIZE logits"]
    monkeypatch.setattr(quantize_module, "not_delegated", lambda content: left)
    for name in ("model.keras", "split.json"):
        shutil.copy(run / name, tmp_path / name)
    steps = {"pruning": {"criterion": "l1", "kept": [8, 12]}, "distillation": {"temperature": 3.0}}
    saved = {**json.loads((run / "run.json").read_text()), **steps, "parent": {"sha256": "abc"}}
    (tmp_path / "run.json").write_text(json.dumps(saved))
    out = tmp_path / "a.tflite"
    done = CliRunner().invoke(app, convert_arguments(data, tmp_path, out, "--calibration", "4", "--accept-drop"))
    assert done.exit_code == 0, done.output
    assert "XNNPACK leaves 1 RESIZE_NEAREST_NEIGHBOR to" in done.output
    card = read_card(out.read_bytes(), out)
    assert card is not None
    assert {key: card.recipe[key] for key in steps} == steps
    assert card.recipe["parent"] == {"sha256": "abc"}
    assert "seconds" not in card.recipe
    assert "mean Dice fell by" in card.recipe["quantisation"]["drop_accepted"]
    assert card.recipe["quantisation"]["not_delegated"] == left


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"kind": "int4"}, "--kind"),
        ({"ranges": "widest"}, "--ranges"),
        ({"percentile": 20.0}, "--percentile"),
        ({"qat": -1}, "--qat"),
        ({"kind": "float16", "qat": 3}, "for int8"),
    ],
)
def test_invalid_methods_are_refused(values: dict, option: str) -> None:
    with pytest.raises(UsageError, match=option):
        Method(**values)


@pytest.mark.parametrize(
    ("dice_drop", "edge_drop", "refused"),
    [(0.009, 0.019, ""), (0.01004, 0.0, "mean Dice"), (0.0, 0.022, "boundary F"), (-0.05, -0.05, "")],
)
def test_the_gates_limits(dice_drop: float, edge_drop: float, refused: str) -> None:
    def scores(dice: float, edges: float) -> Scores:
        hits, false_alarms = round(dice * 10_000_000), round((1 - dice) * 20_000_000)
        matrix = np.array([[0, false_alarms], [0, hits]])
        return Scores(("background", "cat"), (PhotoScore("a", matrix, np.array([np.nan, edges]), 0.5),))

    reason = gate(scores(0.9, 0.8), scores(0.9 - dice_drop, 0.8 - edge_drop))
    assert bool(reason) == bool(refused)
    assert refused in reason


def test_a_float_file_is_not_full_integer(trained: Trained) -> None:
    tf = pytest.importorskip("tensorflow")
    _, run = trained
    converter = tf.lite.TFLiteConverter.from_keras_model(load_keras(run / "model.keras"))
    content = converter.convert()
    with pytest.raises(ModelError, match="computed in float"):
        check_full_integer(content)


def as_from_elsewhere(run: Path, folder: Path, end: Callable[[Any], Any]) -> Path:
    """The trained model as from elsewhere: it takes unscaled pixels without saying so, and ends in probabilities."""
    ours = load_keras(run / "model.keras")
    theirs = keras.models.clone_model(ours)
    theirs.set_weights(ours.get_weights())
    first = next(layer for layer in theirs.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *bias = first.get_weights()
    first.set_weights([kernel / 255, *bias])
    folder.mkdir()
    keras.Model(theirs.input, end(theirs.output)).save(folder / "model.keras")
    return folder


def test_a_model_from_elsewhere_loses_no_more_accuracy(trained: Trained, tmp_path: Path) -> None:
    data, run = trained
    folder = as_from_elsewhere(run, tmp_path / "theirs", keras.ops.softmax)
    done = CliRunner().invoke(app, convert_arguments(data, folder, tmp_path / "theirs.tflite", "--calibration", "8"))
    assert done.exit_code == 0, done.output
    assert "it is unknown which photos the model was trained on" in " ".join(done.output.split())
    assert "ends in a softmax, which is removed" in done.output
    assert "using 0..255" in done.output
    card = read_card((tmp_path / "theirs.tflite").read_bytes(), tmp_path / "theirs.tflite")
    assert card is not None
    assert card.output == "logits"
    both = {version: card.scores["val"][version]["mean_dice"] for version in ("float", "int8")}
    assert both["float"] == pytest.approx(json.loads((run / "run.json").read_text())["scores"]["val_dice"], abs=0.05)
    assert both["int8"] > both["float"] - 0.005


def test_one_channel_of_probabilities_becomes_two_classes(trained: Trained, tmp_path: Path) -> None:
    data = tmp_path / "binary"
    shutil.copytree(trained[0], data)
    for path in (data / "masks").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        cv2.imwrite(str(path), np.minimum(mask, 1))
    (data / "labels.txt").write_text("background\nperson\n")

    def one_channel(scores: Any) -> Any:
        return keras.ops.sigmoid(keras.ops.max(scores[..., 1:], -1, keepdims=True) - scores[..., :1])

    folder = as_from_elsewhere(trained[1], tmp_path / "theirs", one_channel)
    done = CliRunner().invoke(app, convert_arguments(data, folder, tmp_path / "one.tflite", "--calibration", "8"))
    assert done.exit_code == 0, done.output
    card = read_card((tmp_path / "one.tflite").read_bytes(), tmp_path / "one.tflite")
    assert card is not None
    assert card.class_names == ("background", "person")
    assert card.scores["val"]["int8"]["mean_dice"] > card.scores["val"]["float"]["mean_dice"] - 0.005


def test_a_model_no_better_than_guessing_is_refused(trained: Trained, tmp_path: Path) -> None:
    data, run = trained
    folder = as_from_elsewhere(run, tmp_path / "theirs", keras.ops.softmax)
    wrong = ("--input-scale", "0.00392", "--calibration", "8")
    done = CliRunner().invoke(app, convert_arguments(data, folder, tmp_path / "theirs.tflite", *wrong))
    assert done.exit_code == 1
    assert "as even before conversion the model is no better than guessing on the validation photos" in done.output
    assert "correct it with --input-scale and --input-offset" in done.output
    assert not (tmp_path / "theirs.tflite").exists()
