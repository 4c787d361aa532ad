"""A trained network with int8's rounding in its graph: to choose ranges, find sensitive layers, and fine-tune.

After folding batch normalisation, every kernel and tensor that int8 inference rounds is rounded in float ("fake
quantisation", Jacob et al., 2018, arXiv:1712.05877; Nagel et al., 2021, arXiv:2106.08295). Where tensors are rounded
follows from what TensorFlow Lite fuses and shares: a ReLU belongs to the layer before it, pooling and resizing keep
their input's scale, a concatenation has one scale for all its inputs. The converter takes the tensors' ranges from the
graph; it finds the kernels' itself, by the same rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from convert.keras_graph import connections
from convert.quantisation.fold import is_linear
from seg_edge.errors import ModelError

# The real values of the lowest and the highest of 256 steps; includes 0.
Range = tuple[float, float]
IMAGE = "image"  # the key of the input among the ranges
IMAGE_RANGE: Range = (0.0, 1.0)  # scale 1/255, zero point 0: a pixel is its own value

JOINING = (layers.Add, layers.Average, layers.Maximum, layers.Minimum, layers.Multiply, layers.Subtract)
ACTIVATIONS = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Activation, layers.Softmax)


def fake_quant_kernel(kernel: Any, channel_axes: tuple[int, ...]) -> Any:
    """The kernel rounded to 255 symmetric steps per output channel, float32, with the kernel's own gradient.

    The largest weight sets the channel's scale, so nothing is clipped and the gradient is straight-through everywhere.
    """
    others = tuple(axis for axis in range(4) if axis not in channel_axes)
    scale = ops.max(ops.abs(kernel), axis=others, keepdims=True) / 127.0
    rounded = ops.round(kernel / ops.maximum(scale, 1e-12)) * scale
    return kernel + ops.stop_gradient(rounded - kernel)


@keras.saving.register_keras_serializable("seg_edge")
class FakeQuant(layers.Layer):
    """Rounds a tensor to the 256 steps of a range, which is learnt with the weights if the layer is trainable.

    Args:
        low: Lowest value, at most 0.
        high: Highest value, at least 0. Both are nudged so that 0 is a step.
    """

    def __init__(self, low: float, high: float, **options: Any):
        super().__init__(**{"dtype": "float32", **options})  # the operation supports only this, whatever the policy
        self._initial = (float(low), float(high))

    def build(self, input_shape: Any) -> None:
        """Makes the two weights."""
        self.low, self.high = (
            self.add_weight(shape=(), initializer=keras.initializers.Constant(value), name=name)
            for name, value in zip(("low", "high"), self._initial, strict=True)
        )

    def call(self, inputs: Any) -> Any:
        """The rounded tensor; gradients pass inside the range, those of clipped values go to its bounds."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        """The layer's configuration."""
        return {**super().get_config(), "low": self._initial[0], "high": self._initial[1]}


@keras.saving.register_keras_serializable("seg_edge")
class QuantConv2D(layers.Conv2D):
    """A Conv2D whose kernel is rounded when it is used."""

    def call(self, inputs: Any) -> Any:
        """As Conv2D."""
        kernel = fake_quant_kernel(self.kernel, (3,))
        return _finish(self, self.convolution_op(inputs, kernel))


@keras.saving.register_keras_serializable("seg_edge")
class QuantDepthwiseConv2D(layers.DepthwiseConv2D):
    """A DepthwiseConv2D whose kernel is rounded when it is used."""

    def call(self, inputs: Any) -> Any:
        """As DepthwiseConv2D."""
        kernel = fake_quant_kernel(self.kernel, (2, 3))
        options = {"strides": self.strides, "padding": self.padding, "dilation_rate": self.dilation_rate}
        return _finish(self, ops.depthwise_conv(inputs, kernel, data_format=self.data_format, **options))


@keras.saving.register_keras_serializable("seg_edge")
class QuantConv2DTranspose(layers.Conv2DTranspose):
    """A Conv2DTranspose whose kernel is rounded when it is used."""

    def call(self, inputs: Any) -> Any:
        """As Conv2DTranspose."""
        kernel = fake_quant_kernel(self.kernel, (2,))
        options = {"strides": list(self.strides), "padding": self.padding, "dilation_rate": self.dilation_rate}
        result = ops.conv_transpose(
            inputs, kernel, output_padding=self.output_padding, data_format=self.data_format, **options
        )
        return _finish(self, result)


def _finish(layer: Any, result: Any) -> Any:
    result = result + layer.bias if layer.use_bias else result
    return result if layer.activation is None else layer.activation(result)


ROUNDED: dict[Any, Any] = {
    layers.Conv2D: QuantConv2D,
    layers.DepthwiseConv2D: QuantDepthwiseConv2D,
    layers.Conv2DTranspose: QuantConv2DTranspose,
}


def range_points(folded: keras.Model) -> tuple[str, ...]:
    """Names of the layers whose output int8 inference rounds, in execution order, without the input."""
    readers: dict[str, list[str]] = {layer.name: [] for layer in folded.layers}
    for layer, sources in connections(folded):
        for source in sources:
            readers[source].append(layer.name)

    def is_rounded(layer: keras.Layer) -> bool:
        if type(layer) is layers.Concatenate:
            return True
        if type(layer) not in (*ROUNDED, *JOINING, *ACTIVATIONS):
            return False
        reader = folded.get_layer(readers[layer.name][0]) if len(readers[layer.name]) == 1 else None
        fused = type(layer) in (*ROUNDED, layers.Add) and is_linear(layer) and is_relu(reader, (None, 6))
        return not fused and type(reader) is not layers.Concatenate

    return tuple(layer.name for layer in folded.layers if is_rounded(layer))


def kernel_names(folded: keras.Model) -> tuple[str, ...]:
    """Names of the layers whose kernels are rounded.

    Raises:
        ModelError: A layer with weights isn't supported.
    """
    for layer in folded.layers:
        if layer.weights and type(layer) not in ROUNDED:
            known = ", ".join(kind.__name__ for kind in ROUNDED)
            raise ModelError(
                f"layer {layer.name!r} is a {type(layer).__name__}, whose int8 arithmetic isn't modelled here, only "
                f"that of {known}; convert without --ranges and --qat."
            )
    return tuple(layer.name for layer in folded.layers if layer.weights)


def with_fake_quant(
    folded: keras.Model, ranges: Mapping[str, Range], kernels: Collection[str] | None = None
) -> keras.Model:
    """The network with rounding where int8 inference rounds, or only at some of these points.

    Args:
        folded: The network without batch normalisation.
        ranges: Ranges by the names in `range_points`; `IMAGE` for the input's.
        kernels: Names of the layers whose kernels are rounded; None for all.

    Returns:
        A new model with the same weights. Each layer in `ranges` is followed by a `FakeQuant` named `<layer>_range`;
        all except the image's are trainable.
    """
    kernels = kernel_names(folded) if kernels is None else kernels
    image = keras.Input(folded.input_shape[1:], name=folded.layers[0].name)
    first = image
    if IMAGE in ranges:
        first = FakeQuant(*ranges[IMAGE], trainable=False, name=f"{IMAGE}_range")(image)

    def rebuild(layer: keras.Layer) -> keras.Layer:
        kind = ROUNDED[type(layer)] if layer.name in kernels else type(layer)
        return kind.from_config(layer.get_config())

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        output = layer(*keras.tree.map_structure(lambda arg: first if arg is image else arg, args), **kwargs)
        low_high = ranges.get(layer.name)
        return output if low_high is None else FakeQuant(*low_high, name=f"{layer.name}_range")(output)

    model = keras.models.clone_model(folded, image, clone_function=rebuild, call_function=call)
    _copy_by_name(folded, model)
    return model


def strip_fake_quant(model: keras.Model, folded: keras.Model) -> tuple[keras.Model, dict[str, Range]]:
    """Undoes `with_fake_quant` after training.

    Args:
        model: The model it returned, with all its ranges.
        folded: The model it was given; it isn't changed.

    Returns:
        A network like `folded` with the model's weights, and the model's ranges.
    """
    plain = keras.models.clone_model(folded)
    _copy_by_name(model, plain)
    found = {layer.name.removesuffix("_range"): layer for layer in model.layers if isinstance(layer, FakeQuant)}
    return plain, {name: (float(layer.low.numpy()), float(layer.high.numpy())) for name, layer in found.items()}


def _copy_by_name(source: keras.Model, target: keras.Model) -> None:
    for layer in target.layers:
        if layer.weights and not isinstance(layer, FakeQuant):
            layer.set_weights(source.get_layer(layer.name).get_weights())


def is_relu(layer: Any, caps: Collection[int | None] = (None,)) -> bool:
    """Whether the layer is a ReLU with one of these upper limits; TensorFlow Lite fuses those of None and 6."""
    if type(layer) is layers.ReLU:
        return not layer.negative_slope and not layer.threshold and layer.max_value in caps
    known = {None: keras.activations.relu, 6: keras.activations.relu6}
    return type(layer) is layers.Activation and layer.activation in [known[cap] for cap in caps]
