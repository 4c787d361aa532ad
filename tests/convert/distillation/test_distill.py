"""The student learns from the teacher's outputs for each view, and from no held-out photo."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import tensorflow as tf
import typer
from typer.testing import CliRunner

from convert import distill as script
from convert.distillation import teacher as teacher_module
from convert.distillation.distill import distill
from convert.distillation.task import DistillationTask, DistillConfig, hint_loss, soft_label_loss
from convert.distillation.teacher import Teacher, attention_map
from seg_edge.errors import DataError, ModelError, UsageError
from seg_edge.photo.read import read_photo
from tests.tiny import FOUR_UINT8, SIGMOID_FLOAT32
from train.dataset import Dataset, open_split
from train.keras_model import TrainedModel, keras_segmenter, load_keras
from train.recipes import Recipe, default
from train.runs import sha256_of

Trained = tuple[Path, Path]
app = typer.Typer()
app.command()(script.main)


@pytest.fixture(scope="module")
def dataset(trained: Trained) -> Dataset:
    data, run = trained
    return open_split(data, run / "split.json")


def small(**values: object) -> Recipe:
    recipe = default().replace(size=64, widths=(8, 16), epochs=12, batch=2, ema=0.9, learning_rate=0.01)
    return recipe.replace(**values)


def logits_of(shape: tuple[int, ...], seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_the_soft_label_loss_is_zero_for_the_teachers_own_logits(temperature: float) -> None:
    logits = logits_of((2, 8, 8, 3))
    assert float(soft_label_loss(tf.nn.softmax(logits), logits, temperature)) == pytest.approx(0, abs=1e-3)
    assert float(soft_label_loss(tf.nn.softmax(logits), logits + 7, temperature)) == pytest.approx(0, abs=1e-3)
    assert float(soft_label_loss(tf.nn.softmax(logits), -logits, temperature)) > 1


def test_the_soft_label_loss_at_temperature_one_is_the_kl_divergence() -> None:
    theirs, ours = tf.nn.softmax(logits_of((1, 4, 4, 3))), logits_of((1, 4, 4, 3), 1)
    expected = np.mean(keras.losses.kl_divergence(theirs, tf.nn.softmax(ours)))
    assert float(soft_label_loss(theirs, ours, 1.0)) == pytest.approx(float(expected), rel=1e-3)


def test_a_teacher_may_have_a_larger_output() -> None:
    block = logits_of((1, 4, 4, 3))
    larger = tf.nn.softmax(tf.image.resize(block, (8, 8), method="nearest"))
    assert float(soft_label_loss(larger, block, 1.0)) < 0.3 * float(soft_label_loss(larger, -block, 1.0))


def test_attention_ignores_channel_count_and_scale() -> None:
    features = tf.abs(logits_of((2, 6, 6, 4)))
    theirs = attention_map(features)
    assert theirs.shape == (2, 6, 6)
    assert np.linalg.norm(theirs.numpy()[0]) == pytest.approx(1, abs=1e-4)
    doubled = tf.concat([features, features], axis=-1) * 3
    assert float(hint_loss(theirs, doubled)) == pytest.approx(0, abs=1e-5)
    assert float(hint_loss(theirs, tf.abs(logits_of((2, 6, 6, 4), 1)))) > 0.01


def test_a_student_learns_from_the_teacher_alone(trained: Trained, dataset: Dataset, tmp_path: Path) -> None:
    _, run = trained
    teacher = Teacher.load(run / "model.keras", dataset.classes)
    config = DistillConfig(weight=1.0, temperature=2.0, views=6)
    run_record = distill(teacher, dataset, small(epochs=16), tmp_path, config=config).run
    ours = keras_segmenter(load_keras(tmp_path / "model.keras"), dataset.classes)
    theirs = keras_segmenter(load_keras(run / "model.keras"), dataset.classes)
    frames = [read_photo(example.image) for example in dataset.parts["test"]]
    assert np.mean([ours(frame).labels == theirs(frame).labels for frame in frames]) > 0.9
    assert run_record["distillation"]["teacher"]["sha256"] == sha256_of(run / "model.keras")
    assert run_record["distillation"]["temperature"] == 2.0
    assert run_record["parent"] is None


def test_a_given_student_keeps_its_architecture_and_parent(trained: Trained, dataset: Dataset, tmp_path: Path) -> None:
    _, run = trained
    student = TrainedModel.load(run / "model.keras")
    teacher = Teacher.of(student, dataset.classes)
    before = student.model.get_weights()
    distilled = distill(teacher, dataset, small(epochs=1), tmp_path, student=student, config=DistillConfig(views=1))
    assert distilled.run["parent"]["sha256"] == student.sha256
    assert distilled.model.count_params() == student.model.count_params()
    assert "widths" not in distilled.run["recipe"]
    for expected, actual in zip(before, student.model.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, actual)


@pytest.fixture(scope="module")
def task(trained: Trained, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> DistillationTask:
    """A task whose teacher runs once for all tests."""
    _, run = trained
    return DistillationTask(
        Teacher.load(run / "model.keras", dataset.classes),
        dataset,
        small(),
        (64, 64),
        tmp_path_factory.mktemp("task") / "teacher.npz",
        DistillConfig(views=2, hint="down1_b_relu"),
    )


def test_each_view_comes_with_the_teachers_output_for_it(
    trained: Trained, dataset: Dataset, task: DistillationTask
) -> None:
    _, run = trained
    teacher = Teacher.load(run / "model.keras", dataset.classes)
    images, targets = next(iter(task.training_batches(0)))
    for image, output in zip(images.numpy(), targets["teacher"].numpy(), strict=True):
        frame = np.round(image[..., ::-1] * 255).astype(np.uint8)
        np.testing.assert_allclose(teacher(frame)[0], output, atol=2e-3)
    assert targets["hint"].shape == (2, 16, 16)


def test_the_stream_resumes_where_it_stopped(task: DistillationTask) -> None:
    whole = [images.numpy() for images, _ in task.training_batches(0).take(4)]
    rest = [images.numpy() for images, _ in task.training_batches(2).take(2)]
    np.testing.assert_array_equal(whole[2:], rest)


def test_a_round_has_every_view_once(task: DistillationTask) -> None:
    count = task.views.count
    assert count == 2 * len(task.data.parts["train"])
    images = np.concatenate([images.numpy() for images, _ in task.training_batches(0).take(count // 2)])
    assert len(np.unique(images.reshape(count, -1), axis=0)) == count


def test_the_teacher_runs_only_once(
    trained: Trained, dataset: Dataset, task: DistillationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = trained
    first, frames = task.teacher_outputs[0], []
    saved = Path(shutil.copy(task._outputs_file, tmp_path))

    def run_teacher(self: Teacher, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames.append(frame)
        return np.zeros((32, 32, 4), np.float16), np.zeros((16, 16), np.float16)

    monkeypatch.setattr(teacher_module.Teacher, "__call__", run_teacher)
    teacher = Teacher.load(run / "model.keras", dataset.classes)
    same = DistillationTask(teacher, dataset, small(), (64, 64), saved, task.config)
    np.testing.assert_array_equal(same.teacher_outputs[0], first)
    assert frames == []
    different = DistillationTask(teacher, dataset, small(seed=1), (64, 64), saved, task.config)
    assert different.teacher_outputs[0].shape == (task.views.count, 32, 32, 4)
    assert len(frames) == task.views.count  # the views differ, so the outputs are computed again


def test_photos_without_masks_are_learnt_from_the_teacher(trained: Trained, dataset: Dataset, tmp_path: Path) -> None:
    _, run = trained
    photo = tmp_path / "more.jpg"
    cv2.imwrite(str(photo), np.full((72, 96, 3), 90, np.uint8))
    task = DistillationTask(
        Teacher.load(run / "model.keras", dataset.classes),
        dataset,
        small(),
        (64, 64),
        tmp_path / "teacher.npz",
        DistillConfig(views=1),
        unlabelled=[photo],
    )
    assert task.views.count == len(dataset.parts["train"]) + 1
    _, mask = task.views.draw(tf.constant(len(dataset.parts["train"]), tf.int64))
    assert set(np.unique(mask)) == {255}
    assert task.about["distillation"]["unlabelled photos"] == 1


def test_a_held_out_photo_is_refused_as_unlabelled(trained: Trained, dataset: Dataset, tmp_path: Path) -> None:
    _, run = trained
    teacher = Teacher.load(run / "model.keras", dataset.classes)
    copied = tmp_path / "innocent.jpg"
    shutil.copy(dataset.parts["test"][0].image, copied)
    with pytest.raises(DataError, match=r"innocent\.jpg is a photo of the val or test part"):
        distill(teacher, dataset, small(), tmp_path / "run", unlabelled=[copied])
    assert not (tmp_path / "run").exists()


def test_a_foreign_tflite_can_be_the_teacher(trained: Trained, dataset: Dataset) -> None:
    frame = read_photo(dataset.parts["train"][0].image)
    probabilities, _ = Teacher.load(FOUR_UINT8, dataset.classes)(frame)
    assert probabilities.shape == (16, 16, 4)
    assert probabilities.sum(axis=2) == pytest.approx(np.ones((16, 16)), abs=0.01)


@pytest.mark.parametrize(
    ("model", "hint", "message"),
    [
        (SIGMOID_FLOAT32, "", "has the classes background, class 1; the data has"),
        (FOUR_UINT8, "conv", "leave out --hint for a .tflite"),
        (None, "nonsense", "no layer 'nonsense' for --hint; it has down0_a_conv"),
    ],
)
def test_an_unsuitable_teacher_is_refused(
    trained: Trained, dataset: Dataset, model: Path | None, hint: str, message: str
) -> None:
    _, run = trained
    with pytest.raises(ModelError, match=message):
        Teacher.load(model or run / "model.keras", dataset.classes).watch(hint)


@pytest.mark.parametrize("values", [{"weight": 1.5}, {"temperature": 0.0}, {"views": 0}])
def test_invalid_values_are_refused(values: dict) -> None:
    with pytest.raises(UsageError, match="got"):
        DistillConfig(**values)


def test_the_command(trained: Trained, tmp_path: Path) -> None:
    data, run = trained
    line = [str(run / "model.keras"), "--data", str(data), "--out", str(tmp_path / "small")]
    line += ["--views", "1", "--size", "32", "--widths", "4,8", "--epochs", "1", "--batch", "4"]

    def refusal(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*line, *more])
        return done.exit_code, " ".join(done.stderr.replace("│", " ").split())  # without typer's frame

    code, message = refusal("--unlabelled", str(data / "images"))
    assert (code, "is a photo of the val or test part" in message) == (1, True)
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "best val dice" in done.stdout
    record = json.loads((tmp_path / "small" / "run.json").read_text())
    assert record["recipe"]["epochs"] == 1
    outputs = tmp_path / "small" / "teacher.npz"
    before = outputs.read_bytes()
    code, message = refusal()
    assert (code, "already holds a run" in message) == (1, True)
    for changed in (("--views", "2"), ("--size", "64")):
        code, message = refusal("--resume", *changed)
        assert (code, "was trained with another recipe" in message) == (1, True)
    assert outputs.read_bytes() == before  # the teacher wasn't run for a refused command
    code, message = refusal("--student", str(run / "model.keras"))
    assert (code, "--widths is for a new U-Net" in message) == (2, True)
    code, message = refusal("--resume", "--force")
    assert (code, "give only one of them" in message) == (2, True)
