"""A training writes a complete run, refuses invalid options, and survives being killed."""

import csv
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'seg-edge[train]'")
pytest.importorskip("matplotlib", reason="needs Matplotlib: pip install 'seg-edge[train]'")

import h5py  # type: ignore[import-untyped]  # noqa: E402
import keras  # noqa: E402
import typer  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from seg_edge.errors import OutputError  # noqa: E402
from tests.train.made_up import make_class  # noqa: E402
from train import callbacks, training  # noqa: E402
from train import fit as fit_script  # noqa: E402
from train.advice import more_epochs_would_help  # noqa: E402
from train.augment import Augmentation  # noqa: E402
from train.callbacks import Checkpoint, prepare_run  # noqa: E402
from train.dataset import Dataset, fixed_stream, open_dataset, open_split  # noqa: E402
from train.losses import LOSSES, DiceCoefficient  # noqa: E402
from train.network import build  # noqa: E402
from train.recipes import RECIPES, Recipe, original  # noqa: E402
from train.training import fit  # noqa: E402
from train.unet import FULL_WIDTHS  # noqa: E402

app = typer.Typer()
app.command()(fit_script.main)
ROOT = Path(__file__).resolve().parents[2]
TINY = ("--size", "32", "--widths", "8", "--batch", "4", "--hue", "0.1")
EPOCHS = 6


def arguments(data: Path, out: Path, *options: object) -> list[str]:
    return [str(word) for word in ("--data", data, "--out", out, *TINY, "--epochs", EPOCHS, *options)]


def start(data: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train/fit.py"), *arguments(data, out, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "edge"), str(ROOT)])},
    )


def read_log(out: Path) -> list[dict[str, str]]:
    if not (out / "log.csv").is_file():
        return []
    with (out / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def kill_midway(process: subprocess.Popen[str], out: Path) -> str:
    """Sends SIGKILL at a random moment after the first epochs; returns when."""
    until = time.monotonic() + 600
    while len(read_log(out)) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    wait = random.uniform(0, 1) * float(read_log(out)[-1]["seconds"])
    time.sleep(wait)
    process.kill()
    process.communicate()
    return f"killed {wait:.3f} s after the second epoch, {len(read_log(out))} epochs in the log"


@dataclasses.dataclass
class Runs:
    data: Path
    whole: Path
    resumed: Path
    output: str
    errors: str
    errors_resumed: str
    killed: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The same training twice: uninterrupted in this process, and killed and resumed in others."""
    folder = tmp_path_factory.mktemp("runs")
    data, whole, resumed = make_class(folder / "data"), folder / "whole", folder / "resumed"
    interrupted = start(data, resumed)
    killed = kill_midway(interrupted, resumed)
    assert interrupted.returncode < 0, "it finished before it was killed"
    assert 2 <= len(read_log(resumed)) < EPOCHS, killed
    continued = start(data, resumed, "--resume")
    uninterrupted = CliRunner().invoke(app, arguments(data, whole))
    assert uninterrupted.exit_code == 0, uninterrupted.output
    _, errors = continued.communicate(timeout=900)
    assert continued.returncode == 0, errors
    return Runs(data, whole, resumed, uninterrupted.stdout, uninterrupted.stderr, errors, killed)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_class(tmp_path_factory.mktemp("made") / "data")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Runs the command in this process; returns its exit code and stderr."""
    # TensorFlow accepts these only before its first operation, which an earlier test has run.
    for name in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(tf.config.threading, name, lambda threads: None)

    def run(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return done.exit_code, done.stderr.strip()

    return run


def in_one_line(message: str) -> str:
    """Without the frame and the line breaks of typer's messages."""
    return " ".join(message.replace("│", " ").split())


def weights(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
        )
    return found


def losses(out: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items() if name != "seconds"} for row in read_log(out)]


def test_a_killed_training_resumes_to_the_same_result(runs: Runs) -> None:
    assert losses(runs.whole) == losses(runs.resumed), runs.killed
    assert [int(row["epoch"]) for row in losses(runs.whole)] == list(range(1, EPOCHS + 1))
    whole, resumed = (weights(out / "last.weights.h5") for out in (runs.whole, runs.resumed))
    assert whole.keys() == resumed.keys()
    assert any(name.startswith("optimizer/") for name in whole)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=f"{name}; {runs.killed}")
    best = [
        keras.saving.load_model(out / "model.keras", compile=False).get_weights() for out in (runs.whole, runs.resumed)
    ]
    for expected, actual in zip(*best, strict=True):
        np.testing.assert_array_equal(expected, actual, err_msg=runs.killed)
    scores = [json.loads((out / "run.json").read_text())["scores"] for out in (runs.whole, runs.resumed)]
    assert scores[0] == scores[1]


def test_a_resumed_log_has_the_same_epochs(runs: Runs) -> None:
    epochs = [[row["epoch"] for row in read_log(out)] for out in (runs.whole, runs.resumed)]
    assert epochs[0] == epochs[1]


def test_the_run_folder(runs: Runs) -> None:
    assert {path.name for path in runs.whole.iterdir()} == {
        "model.keras",
        "run.json",
        "recipe.json",
        "split.json",
        "log.csv",
        "curves.png",
        "tensorboard",
        "last.weights.h5",
    }
    assert (runs.whole / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list(runs.whole.glob("tensorboard/*/events*"))
    split = open_split(runs.data, runs.whole / "split.json")
    run = json.loads((runs.whole / "run.json").read_text())
    assert run["split"] == {
        "fingerprint": split.fingerprint,
        "seed": 0,
        "group": "similar",
        "names": "",
        **{part: len(examples) for part, examples in split.parts.items()},
    }
    assert run["seed"] == 0
    assert run["classes"] == ["background", "red", "green", "blue"]
    assert set(run["versions"]) == {"seg-edge", "tensorflow", "keras", "python"}
    assert run["recipe"]["augmentation"]["hue"] == 0.1
    assert run["recipe"]["augmentation"]["zoom_in"] == Augmentation().zoom_in
    assert (run["recipe"]["size"], run["recipe"]["widths"]) == (32, [8])
    log = read_log(runs.whole)
    best = max(log, key=lambda row: float(row["val_dice"]))
    assert run["scores"]["val_dice"] == float(best["val_dice"])
    assert run["scores"]["epoch"] == int(best["epoch"])
    each = {name: float(best[f"val_dice_{name}"]) for name in run["classes"][1:]}
    assert run["scores"]["val_dice_per_class"] == each
    assert np.mean(list(each.values())) == pytest.approx(run["scores"]["val_dice"], abs=1e-5)


def test_the_kept_model_has_the_recorded_score(runs: Runs) -> None:
    model = keras.saving.load_model(runs.whole / "model.keras", compile=False)
    with zipfile.ZipFile(runs.whole / "model.keras") as archive, archive.open("model.weights.h5") as weights:
        assert not any("optimizer" in name for name in h5py.File(weights))  # it would triple the file
    assert model.input_shape == (None, 32, 32, 3)
    split = open_split(runs.data, runs.whole / "split.json")
    metric = DiceCoefficient(len(split.classes))
    for image, mask in fixed_stream(split.parts["val"], (32, 32), 4):
        metric.update_state(mask, model(image))
    run = json.loads((runs.whole / "run.json").read_text())
    assert float(metric.result()) == pytest.approx(run["scores"]["val_dice"], abs=0.005)


def test_the_loss_falls(runs: Runs) -> None:
    log = read_log(runs.whole)
    assert float(log[-1]["loss"]) < 0.95 * float(log[0]["loss"])


def test_it_prints_a_line_per_epoch(runs: Runs) -> None:
    lines, hint = runs.output.splitlines(), more_epochs_would_help(runs.whole)
    assert lines[0].startswith("red, green, blue: 17 train, 3 val, 4 test photos; recipe default")
    assert [line.split()[1] for line in lines if line.startswith("epoch ")] == [
        f"{n}/{EPOCHS}" for n in range(1, EPOCHS + 1)
    ]
    result = [line for line in lines[-2:] if line != hint]
    assert result[-1].startswith("best val dice ")
    if "warning: the model is no better than guessing" not in runs.errors:
        assert lines[-1:] == [hint or result[-1]]
    assert "Traceback" not in runs.errors


def test_it_prints_nothing_else(runs: Runs) -> None:
    lines = [
        line
        for line in runs.errors_resumed.splitlines()
        if not line.startswith("warning: the model is no better than guessing")
    ]
    assert not lines


def test_a_run_is_not_overwritten_unless_forced(runs: Runs, command: Callable) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.whole.rglob("*")}
    tiny = ("--data", runs.data, "--out", runs.whole, *TINY, "--epochs", EPOCHS)
    expected = f"error: {runs.whole} already holds a run; --resume continues it, --force replaces it."
    assert command(*tiny) == (1, expected)
    expected = (
        f"error: {runs.whole} was trained with another recipe, another --initial or other photos; "
        "give the same, or another --out."
    )
    for change in (("--hue", 0.2), ("--epochs", 2), ("--split-seed", 1), ("--recipe", "person")):
        assert command(*tiny, *change, "--resume") == (1, expected)
    assert {path: path.stat().st_mtime_ns for path in runs.whole.rglob("*")} == before
    code, message = command(*tiny, "--resume", "--force")
    assert code == 2
    assert "give only one of them" in in_one_line(message)


def test_resuming_a_finished_run_changes_nothing(runs: Runs) -> None:
    recipe = RECIPES["default"]().replace(size=32, widths=(8,), batch=4, hue=0.1, epochs=EPOCHS)
    before = (runs.resumed / "model.keras").read_bytes(), losses(runs.resumed)
    dataset = open_dataset(runs.data)
    fit(dataset, recipe, runs.resumed, resume=True)
    assert ((runs.resumed / "model.keras").read_bytes(), losses(runs.resumed)) == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--loss", "nonsense", "loss must be one of mse, cross_entropy, focal, tversky"),
        ("--optimizer", "sgd", "optimizer must be adam or adamw, got 'sgd'"),
        ("--schedule", "linear", "schedule must be constant or cosine, got 'linear'"),
        ("--decoder", "sum", "decoder must be 'concatenate' or 'add', got 'sum'"),
        ("--class-weights", "1,2", "class weights must be 4 numbers"),
        ("--size", "50", "input 50x50 does not fit 5 levels: both sides must be multiples of 32"),
        ("--initial", "/nowhere/model.keras", "/nowhere/model.keras: no such file"),
        ("--group", "(", "is not a regular expression"),
        ("--recipe", "nonsense", "--recipe must be one of default, pretrained, full, original, person, got 'nonsense'"),
        ("--ema", "2", "ema"),
        ("--tversky-alpha", "-1", "tversky_alpha must be at least 0, got -1.0"),
        ("--holdout", "0.5", "--holdout must be above 0 and below 0.5, got 0.5"),
        ("--threads", "-1", "Invalid value for '--threads': Input should be greater"),
        ("--classes", "", "--classes: "),
        ("--size", "abc", "Invalid value for '--size': Input should be a valid integer"),
        ("--widths", "a,b", "Invalid value for '--widths': must be numbers as in 8,16,32, got 'a,b'"),
        ("--learning-rate", "fast", "Invalid value for '--learning-rate': Input should be a valid number"),
    ],
)
def test_invalid_values_are_refused(
    data: Path, tmp_path: Path, command: Callable, option: str, value: str, message: str
) -> None:
    code, error = command("--data", data, "--out", tmp_path / "run", option, value)
    assert code == (1 if option in ("--initial", "--group", "--classes") else 2)
    assert message in in_one_line(error)
    assert "Traceback" not in error
    if "Usage:" not in error:
        assert error.startswith("error: ")
        assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--widths", "a,b"),
        ("--widths", ""),
        ("--batch", "0"),
        ("--epochs", "0"),
        ("--stem-stride", "0"),
    ],
)
def test_an_invalid_value_is_refused_by_name(
    data: Path, tmp_path: Path, command: Callable, option: str, value: str
) -> None:
    out = tmp_path / "run"
    code, message = command("--data", data, "--out", out, *TINY, "--epochs", 1, option, value)
    assert code == 2
    assert option.strip("-").replace("-", "_") in in_one_line(message).replace("-", "_")
    assert "<lambda>" not in message


def test_a_refused_recipe_writes_no_run(data: Path, tmp_path: Path, command: Callable) -> None:
    code, _ = command("--data", data, "--out", tmp_path / "run", "--loss", "nonsense")
    assert code == 2
    assert not (tmp_path / "run").exists()


def test_a_missing_folder_gives_one_line(tmp_path: Path, command: Callable) -> None:
    code, message = command("--data", tmp_path / "none", "--out", tmp_path / "run")
    assert (code, len(message.splitlines())) == (1, 1)
    assert message.startswith(f"error: {tmp_path / 'none'}: a data folder holds images/ and masks/")


def test_a_truncated_photo_is_reported_in_one_line(data: Path, tmp_path: Path, command: Callable) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    photo = copy / "images/photo_000.jpg"
    photo.write_bytes(photo.read_bytes()[:-400])
    code, message = command("--data", copy, "--out", tmp_path / "run", *TINY, "--epochs", 1)
    assert (code, len(message.splitlines())) == (1, 1)
    assert message.startswith("error: ")
    assert "photo_000.jpg is cut short" in message


def test_the_original_recipe() -> None:
    recipe = original()
    assert RECIPES["original"] is original
    assert (recipe.loss, recipe.learning_rate, recipe.batch, recipe.epochs) == ("mse", 0.005, 3, 300)
    assert (recipe.optimizer, recipe.schedule, recipe.weight_decay, recipe.ema) == (
        "adam",
        "constant",
        0.0,
        0.0,
    )
    assert (recipe.widths, recipe.stem_stride, recipe.decoder) == (FULL_WIDTHS, 1, "concatenate")
    on = {name for name, value in dataclasses.asdict(recipe.augmentation).items() if value}
    assert on == {"zoom_in", "zoom_out", "shift_x", "shift_y", "mirror", "hue"}


def test_overrides_reach_the_recipe_and_its_augmentation() -> None:
    recipe = Recipe().replace(hue=0.3, epochs=7)
    assert (recipe.augmentation.hue, recipe.epochs) == (0.3, 7)
    assert dataclasses.replace(recipe.augmentation, hue=0.04) == Augmentation()
    with pytest.raises(TypeError):
        Recipe().replace(nonsense=1)


EPOCH = {"loss": 1.0, "dice": 0.0, "val_loss": 1.0, "val_dice": 0.0}


def built(dataset: Dataset, recipe: Recipe, out: Path) -> tuple[keras.Model, Checkpoint]:
    """A model as in a new process, and its checkpoint; an epoch is one step."""
    keras.utils.set_random_seed(0)
    dice = DiceCoefficient(len(dataset.classes))
    model = build(recipe, len(dataset.classes))
    training._compile(model, len(dataset.classes), recipe, 1, dice, jit=False)
    checkpoint = Checkpoint(out, model, 1, dice, dataset.classes)
    checkpoint.set_model(model)
    return model, checkpoint


def test_short_epochs_are_saved_occasionally_and_the_best_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, dataset, now = RECIPES["default"]().replace(size=32, widths=(8,)), open_dataset(data), [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    model, checkpoint = built(dataset, recipe, tmp_path)
    checkpoint.set_params({"epochs": 5})
    logits = model.get_layer("logits")
    saved = []
    for epoch, (seconds, val_dice) in enumerate([(0, 0.1), (5, 0.5), (10, 0.3), (21, 0.4), (22, 0.2)]):
        now[0] = float(seconds)
        logits.bias.assign([float(epoch)] * 4)
        for variable in model.optimizer.variables:  # set the averages too
            if "average" in variable.path and variable.shape == (4,):
                variable.assign([float(epoch)] * 4)
        checkpoint.on_epoch_end(epoch, {**EPOCH, "val_dice": val_dice})
        with h5py.File(tmp_path / "last.weights.h5") as file:
            kept = keras.saving.load_model(tmp_path / "model.keras", compile=False).get_layer("logits").bias.numpy()[0]
            saved.append((int(file.attrs["epochs"]), float(kept)))
    assert [epochs for epochs, _ in saved] == [1, 1, 1, 4, 5]
    assert [kept for _, kept in saved] == [0, 0, 0, 1, 1]
    assert len(read_log(tmp_path)) == 5


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("mixed_precision")
def test_a_training_under_mixed_precision_resumes_exactly(data: Path, tmp_path: Path) -> None:
    recipe, dataset = RECIPES["default"]().replace(size=32, widths=(8,), ema=0.9), open_dataset(data)
    (model, checkpoint), (resumed, continued) = (built(dataset, recipe, tmp_path) for _ in range(2))
    model.optimizer.dynamic_scale.assign(1e30)  # the step overflows: it isn't counted, and the scale is halved
    model.train_on_batch(np.ones((2, 32, 32, 3), np.float32), np.ones((2, 32, 32), np.uint8))
    assert model.optimizer.iterations.numpy() == 0
    checkpoint.on_epoch_end(0, EPOCH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Skipping variable loading for optimizer"
        assert continued.restore(resumed) == 1
    assert resumed.optimizer.dynamic_scale.numpy() == np.float32(5e29)
    for expected, actual in zip(model.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(expected.numpy(), actual.numpy())


@pytest.mark.usefixtures("mixed_precision")
def test_a_model_trained_under_mixed_precision_is_kept_in_float32(data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(data)
    model, checkpoint = built(dataset, RECIPES["default"]().replace(size=32, widths=(8,), ema=0.0), tmp_path)
    checkpoint.on_epoch_end(0, EPOCH)
    kept = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert "mixed_float16" in {layer.dtype_policy.name for layer in model.layers[1:]}
    assert {layer.dtype_policy.name for layer in kept.layers[1:]} == {"float32"}  # the input computes nothing
    for expected, actual in zip(model.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, actual)


def test_the_recipes_values_reach_the_loss(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, calls = open_dataset(data), []
    for name in ("focal", "tversky", "cross_entropy_dice"):
        loss = LOSSES[name]

        def recording(*arguments: Any, loss: Callable = loss, **options: float) -> Any:
            calls.append(options)
            return loss(*arguments, **options)

        monkeypatch.setitem(LOSSES, name, recording)
        built(dataset, Recipe(size=32, widths=(8,), loss=name, focal_gamma=1.5, edge_weight=2), tmp_path)
    assert calls == [{"gamma": 1.5}, {"alpha": 0.3, "beta": 0.7}, {"edge_weight": 2}]


def test_a_rectangular_input(data: Path, tmp_path: Path, command: Callable) -> None:
    assert command("--data", data, "--out", tmp_path / "run", *TINY, "--height", 16, "--epochs", 1)[0] == 0
    model = tmp_path / "run" / "model.keras"
    assert keras.saving.load_model(model).input_shape == (None, 16, 32, 3)
    further = ("--data", data, "--out", tmp_path / "further", "--network", model, "--epochs", 1)
    code, message = command(*further, "--widths", "4,8")
    assert (code, "leave out --widths." in message) == (2, True)
    assert command(*further, "--size", 48, "--height", 32, "--learning-rate", 1e-9)[0] == 0
    assert keras.saving.load_model(tmp_path / "further" / "model.keras").input_shape == (None, 32, 48, 3)


def test_adamw_without_decay(data: Path, tmp_path: Path) -> None:
    model, _ = built(open_dataset(data), Recipe(size=32, widths=(8,), weight_decay=0.0), tmp_path)
    assert model.optimizer.weight_decay == 0


@pytest.mark.parametrize("name", ["recipe.json", "model.keras", "log.csv", "run.json", "last.weights.h5"])
def test_any_file_of_a_run_is_replaced_only_with_force(data: Path, tmp_path: Path, name: str) -> None:
    dataset = open_dataset(data)
    about: dict[str, Any] = {"recipe": {}, "initial": None}
    (tmp_path / name).write_text("another program's")
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard/events").touch()
    with pytest.raises(OutputError, match="already holds a run"):
        prepare_run(tmp_path, dataset, about, resume=False, force=False)
    with pytest.raises(OutputError, match="was trained with another recipe"):
        prepare_run(tmp_path, dataset, about, resume=True, force=False)
    assert (tmp_path / name).read_text() == "another program's"
    prepare_run(tmp_path, dataset, about, resume=False, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.json", "split.json"}
    prepare_run(tmp_path, dataset, about, resume=True, force=False)
    with pytest.raises(OutputError, match="another --initial"):
        prepare_run(tmp_path, dataset, {**about, "initial": "another"}, resume=True, force=False)


def test_ctrl_c_prints_how_to_continue(
    data: Path, tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: dict[str, Any] = {}

    def interrupted(*arguments: object, **options: object) -> None:
        passed.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_script, "fit", interrupted)
    expected = "interrupted; run the same command with --resume to continue"
    assert command("--data", data, "--out", tmp_path / "run", "--no-xla") == (130, expected)
    assert passed["xla"] is False


def test_dropout_resumes_exactly(data: Path, tmp_path: Path) -> None:
    recipe = RECIPES["default"]().replace(size=32, widths=(8,), batch=4, dropout=0.5)
    dataset, random = open_dataset(data), np.random.default_rng(0)
    photos = random.random((4, 32, 32, 3), np.float32)
    masks = random.integers(0, 4, (4, 32, 32)).astype(np.uint8)
    (model, checkpoint), (resumed, continued) = (built(dataset, recipe, tmp_path) for _ in range(2))
    model.train_on_batch(photos, masks)
    checkpoint.on_epoch_end(0, EPOCH)
    assert continued.restore(resumed) == 1
    losses = [m.train_on_batch(photos, masks)[0] for m in (model, resumed)]
    assert losses[0] == losses[1]


def test_a_diverging_training_is_reported(data: Path, tmp_path: Path, command: Callable) -> None:
    code, message = command("--data", data, "--out", tmp_path / "run", *TINY, "--epochs", 2, "--learning-rate", 1e38)
    assert (code, len(message.splitlines())) == (1, 1)
    assert "diverged" in message
