"""The pixel scale a model from elsewhere expects: 0..1, 0..255, -1..1 or one of Keras Applications'.

Layers at the start of the model may show it; if not, each known scale is tried on some photos with masks. The result
becomes a 1x1 convolution at the start, so that every model here expects RGB 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from train.foreign.graph import Copy

LAYER = "input_as_trained"
AFFINE = (
    *("Rescaling", "Normalization", "Identity", "Divide", "TrueDivide", "Multiply", "Add", "Subtract"),
    *("GetItem", "Stack", "Concatenate"),  # with which `preprocess_input` turns RGB to BGR
)
# Networks see about -3..3, so a scale below this means that the layers expect pixels of 0..255.
LARGEST_OF_BYTES = 1 / 30


@dataclass(frozen=True, eq=False)
class InputScale:
    """The input a model expects: `matrix @ rgb + offset` of a pixel's RGB 0..1.

    Attributes:
        name: For messages.
        matrix: float64 (channels, 3).
        offset: float64 (channels,).
    """

    name: str
    matrix: np.ndarray
    offset: np.ndarray

    @classmethod
    def scalar(cls, scale: float, offset: float, name: str = "") -> InputScale:
        """`pixel * scale + offset`, pixels 0..255, as on a card."""
        return cls(name or f"{scale:g} * pixel + {offset:g}", np.eye(3) * scale * 255, np.full(3, float(offset)))

    @property
    def is_usual(self) -> bool:
        """Whether it is plain RGB 0..1."""
        return self.matrix.shape == (3, 3) and bool(np.allclose(self.matrix, np.eye(3)) and np.allclose(self.offset, 0))

    def of_grey(self) -> InputScale:
        """The same for the photo in grey, for a model with one channel; luma by ITU-R BT.601."""
        luma = np.array([[0.299, 0.587, 0.114]])
        return InputScale(f"{self.name}, grey", self.matrix[0, 0] * luma, self.offset[:1])


UNIT, BYTES = InputScale.scalar(1 / 255, 0, "0..1"), InputScale.scalar(1, 0, "0..255")
_MEAN, _SPREAD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALES = (
    UNIT,
    BYTES,
    InputScale.scalar(1 / 127.5, -1, "-1..1"),
    # `keras.applications.imagenet_utils.preprocess_input`, modes "torch" and "caffe"
    InputScale("ImageNet's mean and deviation", np.diag(1 / _SPREAD), -_MEAN / _SPREAD),
    InputScale("BGR 0..1", np.eye(3)[::-1], np.zeros(3)),  # as OpenCV reads photos
    InputScale("BGR 0..255", 255 * np.eye(3)[::-1], np.zeros(3)),
    InputScale("BGR 0..255 less ImageNet's mean", 255 * np.eye(3)[::-1], -np.array([103.939, 116.779, 123.68])),
)


def split_front(model: keras.Model) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Removes the layers that scale the pixels from the start of a flat model.

    Returns:
        The rest, and the matrix (channels, channels) and offset (channels,) of the removed layers.
    """
    channels = int(model.inputs[0].shape[3])
    tensor, removed = _front(model)
    if not removed:
        return model, np.eye(channels), np.zeros(channels)
    # Black and each channel alone determine an affine function.
    probes = np.zeros((channels + 1, *tensor.shape[1:]), np.float32)
    for index in range(channels):
        probes[index + 1, ..., index] = 1.0
    front = keras.Model(model.inputs[0], tensor)
    scaled = np.stack([np.asarray(front(probe[np.newaxis], training=False))[0, 0, 0] for probe in probes])
    offset = scaled[0].astype(np.float64)
    image = keras.Input(model.inputs[0].shape[1:], name="image")
    last = removed[-1]  # the ones before it are called too, on the new input, but unused
    rest = Copy(lambda operation, *_: image if operation is last else None).outputs(model, [image])[0]
    return keras.Model(image, rest, name=model.name), (scaled[1:] - scaled[0]).T.astype(np.float64), offset


def _front(model: keras.Model) -> tuple[Any, list[Any]]:
    """The last tensor of only scaled pixels on which all the rest depends, and the operations up to it."""
    image = model.inputs[0]
    nodes = [
        node
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
        if not node.is_input
    ]
    known, front = {id(image)}, []
    for node in nodes:
        if type(node.operation).__name__ in AFFINE and all(id(source) in known for source in node.input_tensors):
            known |= {id(output) for output in node.outputs}
            front.append(node)
    for end in range(len(front), 0, -1):
        tensor, inside = front[end - 1].outputs[0], {id(node) for node in front[:end]}
        hidden = {id(output) for node in front[:end] for output in node.outputs} - {id(tensor)} | {id(image)}
        used = [source for node in nodes if id(node) not in inside for source in node.input_tensors]
        if tensor.shape[1:] == image.shape[1:] and not any(id(source) in hidden for source in used):
            return tensor, [node.operation for node in front[:end]]
    return image, []


def stated_by(matrix: np.ndarray) -> InputScale | None:
    """The scale that the layers at the start imply: small factors expect 0..255. None if they don't show it."""
    return BYTES if 0 < np.abs(matrix).max() < LARGEST_OF_BYTES else None


def with_input(rest: keras.Model, front: tuple[np.ndarray, np.ndarray], scale: InputScale) -> keras.Model:
    """The model with RGB 0..1 as its input: `scale`, then the removed layers, then `rest`."""
    matrix, offset = front
    scale = scale if len(offset) == 3 else scale.of_grey()
    both = InputScale(scale.name, matrix @ scale.matrix, matrix @ scale.offset + offset)
    if both.is_usual:
        return rest
    height, width, channels = rest.inputs[0].shape[1:]
    image = keras.Input((height, width, 3), name="image")
    first = layers.Conv2D(channels, 1, name=LAYER)
    scaled = first(image)
    first.set_weights([both.matrix.T[np.newaxis, np.newaxis].astype(np.float32), both.offset.astype(np.float32)])
    return keras.Model(image, Copy().outputs(rest, [scaled])[0], name=rest.name)
