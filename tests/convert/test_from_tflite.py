"""A `.tflite`, bundled or not, is converted to a network with the same weights that can be trained further."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras
import typer
from keras import layers
from typer.testing import CliRunner, Result

from convert.from_tflite import main, make_trainable, match_pools, measure_statistics, output_statistics, scale_logits
from convert.quantisation.converter import convert_float
from convert.quantisation.methods import convert_int8
from convert.tflite_to_keras import to_keras, to_trainable
from seg_edge import Segmenter
from seg_edge.errors import ModelError
from seg_edge.models import open_model
from seg_edge.photo.read import read_photo
from tests.convert.pruning.test_channels import shake
from tests.tiny import GRACE_HOPPER, SIGMOID_FLOAT32
from tests.train.made_up import make_class
from train.dataset import Dataset, open_dataset
from train.keras_model import KerasBackend, load_keras

app = typer.Typer()
app.command()(main)


def mobile(activation: str = "hard_silu", channels: int = 1) -> keras.Model:
    """A small network with the parts of MediaPipe's: inverted residuals, squeeze and excitation, hard swish, skips.

    It ends with a sigmoid of one channel, or with two logits.
    """
    image = keras.Input((64, 64, 3), name="image")
    fine = layers.Activation(activation)(layers.Conv2D(8, 3, strides=2, padding="same")(image))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, strides=2, padding="same")(fine))
    coarse = layers.Conv2D(12, 1)(x)
    x = layers.Activation(activation)(layers.Conv2D(24, 1)(coarse))
    x = layers.Activation(activation)(layers.DepthwiseConv2D(5, padding="same")(x))
    gate = layers.ReLU()(layers.Conv2D(8, 1)(layers.AveragePooling2D(16)(x)))
    x = layers.Multiply()([x, layers.Activation("sigmoid")(layers.Conv2D(24, 1)(gate))])
    x = layers.Add()([coarse, layers.Conv2D(12, 1)(x)])
    x = layers.Conv2D(8, 1)(layers.UpSampling2D(interpolation="bilinear")(x))
    x = layers.Add()([x, fine])
    last = layers.Conv2D(channels, 1, activation="sigmoid" if channels == 1 else None)
    return shake(keras.Model(image, last(x)))


@pytest.fixture(scope="module")
def given() -> keras.Model:
    return mobile()


@pytest.fixture(scope="module")
def content(given: keras.Model) -> bytes:
    return convert_float(given, "float16")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(make_class(tmp_path_factory.mktemp("data") / "red", photos=24, classes=("red",)))


@pytest.fixture(scope="module")
def images(data: Dataset) -> np.ndarray:
    return np.stack([example.load((64, 64))[0] for example in data.parts["train"]]).astype(np.float32) / 255


def probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Probabilities of the class, from two logits or a sigmoid."""
    output = np.asarray(model(images), np.float64)
    return output[..., 0] if output.shape[-1] == 1 else 1 / (1 + np.exp(output[..., 0] - output[..., 1]))


def test_the_network_has_the_files_weights(given: keras.Model, content: bytes, images: np.ndarray) -> None:
    read = to_keras(content)
    assert read.output_shape == (None, 32, 32, 2)
    np.testing.assert_allclose(probabilities(read, images), probabilities(given, images), atol=0.01)  # float16 weights


def test_int8_weights_are_dequantised(data: Dataset, images: np.ndarray) -> None:
    model = mobile("relu", channels=2)
    content = convert_int8(model, data.parts["train"])
    read = to_keras(content)
    np.testing.assert_allclose(probabilities(read, images), probabilities(model, images), atol=0.02)
    widened = to_trainable(content, output_statistics(read, images), widen=2.0, seed=0)
    np.testing.assert_allclose(np.asarray(widened(images)), np.asarray(read(images)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["person", "person-fine"])
def test_a_bundled_model_is_read_back(name: str) -> None:
    file = open_model(name)
    photo = read_photo(GRACE_HOPPER)
    read = Segmenter.from_backend(KerasBackend(to_keras(file.content)), file.card)(photo)
    own = Segmenter(name)(photo)
    assert np.mean(read.labels == own.labels) > 0.97


def test_normalisation_and_new_channels_change_nothing_at_first(images: np.ndarray) -> None:
    content = convert_float(mobile("relu"), "float32")  # instead of hard swish, which would be replaced
    read = to_keras(content)
    trainable = to_trainable(content, output_statistics(read, images), widen=2.0, seed=0)
    assert 48 in {layer.output.shape[-1] for layer in trainable.layers}  # of 24 inside the coarsest block
    np.testing.assert_allclose(np.asarray(trainable(images)), np.asarray(read(images)), rtol=1e-3, atol=1e-3)


def test_gates_read_the_original_averages(content: bytes, images: np.ndarray) -> None:
    read = to_keras(content)
    trainable = to_trainable(content, output_statistics(read, images), widen=1.5, seed=0)

    def gate(model: keras.Model) -> np.ndarray:
        part = keras.Model(model.input, model.get_layer("conv10").output)
        return np.asarray(part(images, training=model is trainable))[:, 0, 0]

    before = np.abs(gate(trainable).mean(axis=0) - gate(read).mean(axis=0)).mean()
    match_pools(trainable, read, images)
    after = np.abs(gate(trainable).mean(axis=0) - gate(read).mean(axis=0)).mean()
    assert after < 0.1 * before


def test_moving_statistics_are_those_of_the_photos(content: bytes, images: np.ndarray) -> None:
    trainable = to_trainable(content, output_statistics(to_keras(content), images), 1.0, 0)
    sample = images[:8]
    measure_statistics(trainable, np.concatenate([sample] * 20))
    moving, own = (np.asarray(trainable(sample, training=training)) for training in (False, True))
    np.testing.assert_allclose(moving, own, rtol=0.05, atol=0.05 * float(np.abs(own).max()))


def test_the_logits_are_scaled_to_the_lowest_cross_entropy(content: bytes, images: np.ndarray) -> None:
    model = to_keras(content)
    difference = np.asarray(model(images))[..., 1] - np.asarray(model(images))[..., 0]
    masks = (np.random.default_rng(0).random(difference.shape) < 1 / (1 + np.exp(-difference / 8))).astype(np.uint8)
    scale = scale_logits(model, images, masks)
    assert scale == pytest.approx(1 / 8, rel=0.5)
    after = np.asarray(model(images))
    np.testing.assert_allclose(after[..., 1] - after[..., 0], difference * scale, rtol=1e-3, atol=1e-4)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_writes_a_run_folder(content: bytes, tmp_path: Path) -> None:
    red = make_class(tmp_path / "red", photos=20, classes=("red",))
    (tmp_path / "mobile.tflite").write_bytes(content)
    made = run(tmp_path / "mobile.tflite", "--data", red, "--widen", 1.5, "--out", tmp_path / "run")
    assert made.exit_code == 0, made.output
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["from_tflite"]["widen"] == 1.5
    assert load_keras(tmp_path / "run" / "model.keras").output_shape == (None, 32, 32, 2)
    again = run(tmp_path / "mobile.tflite", "--data", red, "--out", tmp_path / "run")
    assert (again.exit_code, "isn't empty" in again.output) == (1, True)


def test_a_single_convolution_with_a_sigmoid_is_converted(data: Dataset, tmp_path: Path) -> None:
    assert make_trainable(SIGMOID_FLOAT32, data, tmp_path / "run").output_shape == (None, 16, 16, 2)


def test_unsupported_operators_are_named() -> None:
    image = keras.Input((32, 32, 3))
    three = keras.Model(image, layers.Conv2D(3, 3)(image))
    with pytest.raises(ModelError, match="a sigmoid of one channel, or in two logits"):
        to_keras(convert_float(three, "float32"))
    x = layers.MaxPooling2D()(layers.Conv2D(4, 3, padding="same")(image))
    pooled = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))
    with pytest.raises(ModelError, match="MAX_POOL_2D"):
        to_keras(convert_float(pooled, "float32"))
