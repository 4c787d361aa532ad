"""Normalises the graph of a Keras model: one image in, one score map of logits out, no nested models."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from seg_edge.errors import ModelError

# After a softmax these move, repeat or blend pixels, and keep the most likely class.
MOVING = (
    "Cropping2D",
    "UpSampling2D",
    "Resizing",
    "Dropout",
    "SpatialDropout2D",
    "Resize",
    "GetItem",
    "Reshape",
    "Identity",
)
ENDS = {"softmax": "softmax", "sigmoid": "sigmoid", "hard_sigmoid": "sigmoid", "hardsigmoid": "sigmoid"}
Change = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def flatten(model: keras.Model, size_wh: tuple[int, int] | None, where: object) -> keras.Model:
    """The same function as one functional model without nested models.

    Args:
        model: Functional or sequential, with the weights to keep.
        size_wh: Input size; None for the model's own.
        where: The file, for messages.

    Raises:
        ModelError: It isn't one image in and one score map out, or its size is missing or doesn't fit.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not hasattr(model, "operations") or not hasattr(model, "inputs"):
        raise ModelError(
            f"{where}: it is a {type(model).__name__}, a class of your own program, so its graph can't be read; build "
            "it as a functional model, keras.Model(inputs, outputs), and save it again."
        )
    shape = _image_shape(model, where)
    _check_output(model, where)
    if size_wh is None and None in shape[:2]:
        raise ModelError(f"{where}: its input has no fixed size; give its training size with --input-size.")
    height, width = (size_wh[1], size_wh[0]) if size_wh else shape[:2]
    image = keras.Input((height, width, shape[2]), name="image")
    try:
        return keras.Model(image, Copy().outputs(model, [image])[0], name=_scope(model.name))
    except ValueError as error:
        if size_wh is None:
            raise ModelError(f"{where}: its graph can't be rebuilt ({_first_line(error)}).") from error
        raise ModelError(
            f"{where}: an input of {width}x{height} doesn't fit the model, which halves it several times; give its "
            "training size with --input-size."
        ) from error


def _image_shape(model: keras.Model, where: object) -> tuple[Any, Any, int]:
    if len(model.inputs) != 1:
        raise ModelError(f"{where}: it has {len(model.inputs)} inputs; one image was expected.")
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        advice = (
            ". Its channels come first; build it with data_format='channels_last', new.set_weights(old.get_weights()), "
            "and save that"
        )
        advice = advice if len(shape) == 4 and shape[1] in (1, 3) else ""
        raise ModelError(f"{where}: its input is {shape}; an image (height, width, 3 or 1) was expected{advice}.")
    return shape[1], shape[2], int(shape[3])


def _check_output(model: keras.Model, where: object) -> None:
    if len(model.outputs) != 1:
        raise ModelError(
            f"{where}: it has {len(model.outputs)} outputs; save it with the one that is the mask: "
            "keras.Model(model.inputs, model.outputs[0]).save('model.keras')."
        )
    tensor = model.outputs[0]
    if _is_score_map(tensor):
        return
    output = f"class numbers, {tensor.dtype}" if len(tensor.shape) == 4 else f"{tuple(tensor.shape)}"
    while not _is_score_map(tensor) and _inputs_of(tensor):
        tensor = _source(tensor)
    last = tensor._keras_history.operation
    last_map = f"model.get_layer({last.name!r})" if isinstance(last, keras.Layer) else "the last layer that gives one"
    raise ModelError(
        f"{where}: its output is {output}; a score map (height, width, classes) was expected. Take off an argmax, "
        f"Flatten or Reshape at its end: keras.Model(model.input, {last_map}.output).save('model.keras')."
    )


def _is_score_map(tensor: Any) -> bool:
    return len(tensor.shape) == 4 and str(tensor.dtype).startswith(("float", "bfloat"))


class Copy:
    """Copies the layers of a model, nested ones too, with their weights and calls them on another input.

    Args:
        change: Takes each operation, its arguments and its options; returns a replacement for its output, or None.
    """

    def __init__(self, change: Change | None = None):
        self.change = change or (lambda *_: None)
        self._copies: dict[int, Any] = {}
        self._names: set[str] = {"image"}

    def outputs(self, model: Any, inputs: Sequence[Any]) -> list[Any]:
        """The model's outputs for these inputs, as Keras tensors."""
        graph = model._functional if isinstance(model, keras.Sequential) else model
        return list(keras.tree.flatten(graph._run_through_graph(list(inputs), call_fn=self._call)))

    def _call(self, operation: Any, *args: Any, **options: Any) -> Any:
        if isinstance(operation, keras.Model):
            outputs = self.outputs(operation, keras.tree.flatten(args))
            return outputs[0] if len(outputs) == 1 else outputs
        changed = self.change(operation, args, options)
        if changed is not None:
            return changed
        if not isinstance(operation, keras.Layer):  # such as x / 255, which has no weights
            return operation(*args, **options)
        options.pop("training", None)
        known = id(operation) in self._copies
        copy = self._copies[id(operation)] if known else self._copy_of(operation)
        output = copy(*args, **options)
        if not known:  # the call has built its weights
            self._copies[id(operation)] = copy
            copy.set_weights(operation.get_weights())
        return output

    def _copy_of(self, layer: keras.Layer) -> keras.Layer:
        base = _scope(layer.name)
        name, number = base, 1
        while name in self._names:
            name, number = f"{base}_{number}", number + 1
        self._names.add(name)
        return type(layer).from_config({**layer.get_config(), "name": name, **_full_precision(layer)})


def _scope(name: str) -> str:
    """The name as TensorFlow's converter accepts it: no spaces, slashes or letters outside ASCII."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip("_.-") or "layer"


def _full_precision(layer: keras.Layer) -> dict[str, str]:
    """Changes to the configuration of a layer that computes in 16 bits: converters need 32."""
    return {"dtype": "float32"} if layer.compute_dtype in ("float16", "bfloat16") else {}


def rebuilt(model: keras.Model, change: Change) -> keras.Model:
    """A copy of a flat model with some operations changed, see `Copy`."""
    image = keras.Input(model.inputs[0].shape[1:], name="image")
    return keras.Model(image, Copy(change).outputs(model, [image])[0], name=model.name)


def last_activation(model: keras.Model) -> tuple[Any, str]:
    """The operation that turns scores into probabilities at the end of a flat model, and `softmax` or `sigmoid`.

    Returns:
        (None, "") if there is none.
    """
    tensor = model.outputs[0]
    while _moves(tensor._keras_history.operation) and _source(tensor).shape[-1] == model.outputs[0].shape[-1]:
        tensor = _source(tensor)
    operation = tensor._keras_history.operation
    kind = getattr(getattr(operation, "activation", None), "__name__", "") or type(operation).__name__.lower()
    return (operation, ENDS[kind]) if kind in ENDS else (None, "")


def _source(tensor: Any) -> Any:
    """The input a tensor was computed from; not `operation.input`, as a bare operation may be in several models."""
    return _inputs_of(tensor)[0]


def _inputs_of(tensor: Any) -> list[Any]:
    history = tensor._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def _moves(operation: Any) -> bool:
    linear = getattr(getattr(operation, "activation", None), "__name__", "") == "linear"
    return type(operation).__name__ in MOVING or (isinstance(operation, layers.Activation) and linear)


def without_last_activation(model: keras.Model) -> tuple[keras.Model, str]:
    """The model with logits as output, and what was removed: `softmax`, `sigmoid` or nothing."""
    last, kind = last_activation(model)
    if last is None:
        return model, ""

    def change(operation: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if operation is not last:
            return None
        if not getattr(last, "weights", None):
            return args[0]
        linear = type(last).from_config({**last.get_config(), "activation": "linear"})
        logits = linear(*args, **options)
        linear.set_weights(last.get_weights())
        return logits

    return rebuilt(model, change), kind


def with_background(model: keras.Model, threshold: float = 0.0) -> keras.Model:
    """Adds a background channel before the model's own: the sigmoid of z is the softmax of 0 and z.

    For one channel the two are -z/2 and z/2: the same softmax, and int8 rounds both alike.

    Args:
        model: Its output has one or more channels, none of them the background.
        threshold: For one channel, the value above which a pixel is the class.
    """
    channels = int(model.outputs[0].shape[3])
    image = keras.Input(model.inputs[0].shape[1:], name="image")
    last = layers.Conv2D(channels + 1, 1, name="logits_with_background")
    scores = last(Copy().outputs(model, [image])[0])
    kernel = np.zeros(last.kernel.shape, np.float32)
    for index in range(channels):
        kernel[0, 0, index, index + 1] = 1.0
    bias = np.zeros(channels + 1, np.float32)
    if channels == 1:
        kernel[0, 0, 0], bias[:] = (-0.5, 0.5), (threshold / 2, -threshold / 2)
    last.set_weights([kernel, bias])
    return keras.Model(image, scores, name=model.name)


def with_margin(model: keras.Model) -> keras.Model | None:
    """The model with a margin of background around its scores, if these cover only the middle of the image.

    Convolutions without padding give a map a little smaller than the image, as in the original U-Net.

    Returns:
        None unless the map's sides are between half of the image's and the whole.
    """
    image_hw, scores_hw = model.inputs[0].shape[1:3], model.outputs[0].shape[1:3]
    missing = [whole - part for whole, part in zip(image_hw, scores_hw, strict=True)]
    if not all(0 < margin < whole / 2 for margin, whole in zip(missing, image_hw, strict=True)):
        return None
    image = keras.Input(model.inputs[0].shape[1:], name="image")
    margins = tuple((margin // 2, margin - margin // 2) for margin in missing)
    scores = layers.ZeroPadding2D(margins, name="margin")(Copy().outputs(model, [image])[0])
    return keras.Model(image, scores, name=model.name)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
