"""Keras models from elsewhere are converted to the project's form, or refused with advice."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from seg_edge.errors import ModelError
from train.foreign.graph import flatten, with_background, with_margin, without_last_activation
from train.foreign.input_scale import BYTES, SCALES, UNIT, InputScale, split_front, stated_by, with_input
from train.foreign.reading import read_keras

SHAPE = (8, 8, 3)
AFTER = {  # may follow a softmax without changing the most likely class
    "before a crop": lambda x: layers.Cropping2D(1)(x),
    "before a slice": lambda x: x[:, 1:-1, 1:-1],
    "before a layer of another name": lambda x: layers.Activation("linear", name="mask")(x),
    "before a reshape": lambda x: layers.Reshape((4, 16, 3))(x),
    "before an enlargement": lambda x: keras.ops.image.resize(x, (16, 16), interpolation="nearest"),
}


def small(inputs: keras.KerasTensor, channels: int = 3, last: str | None = None) -> keras.KerasTensor:
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return layers.Conv2D(channels, 1, activation=last)(x)


def model_of(build: object, shape: tuple[int | None, ...] = SHAPE) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input(shape)
    return keras.Model(image, build(image))  # type: ignore[operator]


def picture(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).random((1, *shape), np.float32)


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
@pytest.mark.parametrize("where", ["in the convolution", "a layer", *AFTER])
def test_a_final_softmax_or_sigmoid_is_removed(last: str, where: str) -> None:
    def build(image: keras.KerasTensor) -> keras.KerasTensor:
        x = small(image, 3, last if where == "in the convolution" else None)
        if where != "in the convolution":
            x = layers.Softmax()(x) if last == "softmax" else layers.Activation("sigmoid")(x)
        return AFTER[where](x) if where in AFTER else x

    model = model_of(build)
    logits, cut = without_last_activation(flatten(model, None, "m"))
    assert cut == last
    activation = keras.ops.softmax if last == "softmax" else keras.ops.sigmoid
    np.testing.assert_allclose(activation(logits(picture())), model(picture()), atol=1e-5)


def test_a_score_map_of_the_middle_gets_a_margin_of_background() -> None:
    unpadded = model_of(lambda image: layers.Conv2D(3, 3)(layers.Conv2D(4, 2)(image)))
    framed = with_margin(unpadded)
    assert framed is not None
    whole = np.array(framed(picture()))
    assert whole.shape == (1, 8, 8, 3)
    np.testing.assert_allclose(whole[:, 1:6, 1:6], unpadded(picture()), atol=1e-6)
    whole[:, 1:6, 1:6] = 0
    assert not whole.any()


def test_a_score_map_of_the_whole_picture_gets_no_margin() -> None:
    assert with_margin(model_of(small)) is None
    assert with_margin(model_of(lambda image: layers.MaxPooling2D()(small(image)))) is None


@pytest.mark.parametrize("channels", [1, 2])
def test_sigmoid_channels_get_a_background(channels: int) -> None:
    model = model_of(lambda image: small(image, channels, "sigmoid"))
    logits, _ = without_last_activation(flatten(model, None, "m"))
    whole = np.asarray(with_background(logits)(picture()))
    probability = np.asarray(model(picture()))
    np.testing.assert_allclose(1 / (1 + np.exp(whole[..., :1] - whole[..., 1:])), probability, atol=1e-5)
    assert logits.output_shape[-1] == channels


def test_one_channel_of_probabilities_is_thresholded_at_a_half() -> None:
    model = model_of(lambda image: 1 / (1 + keras.ops.exp(-small(image, 1))))
    probability = np.asarray(model(picture()))[..., 0]
    assert (probability > 0.5).any()
    assert (probability < 0.5).any()
    whole = np.asarray(with_background(flatten(model, None, "m"), 0.5)(picture()))
    np.testing.assert_array_equal(whole.argmax(-1) == 1, probability > 0.5)


def test_a_nested_model_is_flattened() -> None:
    inner = model_of(small)
    outer = model_of(lambda image: layers.Conv2D(3, 1, name="conv2d")(inner(layers.Rescaling(1 / 255)(image))))
    flat = flatten(outer, None, "m")
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    np.testing.assert_allclose(flat(picture()), outer(picture()), atol=1e-6)


@pytest.mark.parametrize(
    ("front", "stated"),
    [
        (lambda x: layers.Rescaling(1 / 255)(x), BYTES),
        (lambda x: layers.Rescaling(1 / 127.5, offset=-1)(x), BYTES),
        (keras.applications.mobilenet_v2.preprocess_input, BYTES),
        (lambda x: layers.Normalization(mean=[120, 110, 100], variance=[3600, 3600, 3600])(x), BYTES),
        (lambda x: layers.Rescaling(0.5, offset=0.5)(x), None),
        (lambda x: x, None),
    ],
)
def test_scaling_layers_are_replaced_by_one_convolution(front: object, stated: InputScale | None) -> None:
    model = model_of(lambda image: small(front(image)))  # type: ignore[operator]
    rest, matrix, offset = split_front(flatten(model, None, "m"))
    assert stated_by(matrix) is stated
    assert [type(operation).__name__ for operation in rest.operations] == ["InputLayer", "Conv2D", "Conv2D"]
    scale = stated or UNIT
    ours = with_input(rest, (matrix, offset), scale)
    np.testing.assert_allclose(ours(picture()), model(picture() * scale.matrix[0, 0]), atol=1e-4)


def test_bgr_of_keras_applications_is_recognised() -> None:
    model = model_of(lambda image: small(keras.applications.resnet50.preprocess_input(image)))
    rest, matrix, offset = split_front(flatten(model, None, "m"))
    np.testing.assert_allclose(matrix, np.eye(3)[::-1])
    ours = with_input(rest, (matrix, offset), BYTES)
    np.testing.assert_allclose(ours(picture()), model(picture() * 255), rtol=1e-4, atol=1e-2)
    assert [scale.name for scale in SCALES][:3] == ["0..1", "0..255", "-1..1"]


def test_a_greyscale_model_gets_the_photos_luma() -> None:
    model = model_of(small, (8, 8, 1))
    rest, matrix, offset = split_front(flatten(model, None, "m"))
    ours = with_input(rest, (matrix, offset), UNIT)
    luma = picture() @ np.array([[0.299], [0.587], [0.114]], np.float32)
    np.testing.assert_allclose(ours(picture()), model(luma), atol=1e-5)


def test_a_dynamic_input_size_must_be_given() -> None:
    model = model_of(small, (None, None, 3))
    with pytest.raises(ModelError, match="--input-size"):
        flatten(model, None, "m")
    assert flatten(model, (16, 8), "m").input_shape == (None, 8, 16, 3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: [small(x), small(x)], "it has 2 outputs; save it with the one"),
        (lambda x: keras.ops.argmax(small(x), -1), r"Take off an argmax.*get_layer\('conv2d(_\d+)?'\).output"),
        (lambda x: keras.ops.argmax(small(x), -1, keepdims=True), "its output is class numbers, int32"),
        (lambda x: layers.Softmax()(layers.Reshape((64, 3))(small(x))), r"get_layer\('conv2d(_\d+)?'\).output"),
        (lambda x: layers.Flatten()(small(x)), r"a score map \(height, width, classes\) was expected"),
    ],
)
def test_unsupported_graphs_are_refused(build: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        flatten(model_of(build), None, "m")


def test_unreadable_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    model_of(lambda x: small(layers.Lambda(lambda t: t * 2, name="doubled")(x))).save(tmp_path / "lambda.keras")
    with pytest.raises(ModelError, match="'doubled' is a Lambda"):
        read_keras(tmp_path / "lambda.keras")
    model_of(small).save(tmp_path / "own.keras")
    with zipfile.ZipFile(tmp_path / "own.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    layer = config["config"]["layers"][1]
    layer.update(class_name="Mine", module="me", registered_name="me>Mine")
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "own.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ModelError, match="is a Mine, a layer of your own program"):
        read_keras(tmp_path / "own.keras")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="SavedModel"):
        read_keras(tmp_path / "saved")
    (tmp_path / "saved" / "keras_metadata.pb").touch()
    with pytest.raises(ModelError, match=r"pip install tf-keras, then tf_keras.models.load_model"):
        read_keras(tmp_path / "saved")
    (tmp_path / "junk.keras").write_bytes(b"junk")
    with pytest.raises(ModelError, match="not a Keras model"):
        read_keras(tmp_path / "junk.keras")
    model = model_of(small)
    model.save(tmp_path / "model.h5")
    np.testing.assert_allclose(read_keras(tmp_path / "model.h5")(picture()), model(picture()), atol=1e-6)


@keras.saving.register_keras_serializable("me")
class WithTrainStep(keras.Model):
    """A custom class as used to change the training step of a functional model."""


def test_a_functional_model_of_a_custom_class_is_read_as_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = model_of(small)
    WithTrainStep(plain.inputs, plain.outputs).save(tmp_path / "own.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "me>WithTrainStep")
    read = read_keras(tmp_path / "own.keras")
    assert not isinstance(read, WithTrainStep)
    np.testing.assert_allclose(read(picture()), plain(picture()), atol=1e-6)


def test_a_16_bit_model_is_converted_to_32_bits() -> None:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        half = model_of(small)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    flat = flatten(half, None, "m")
    assert np.asarray(flat(picture())).dtype == np.float32
    np.testing.assert_allclose(flat(picture()), half(picture()), atol=0.01)
