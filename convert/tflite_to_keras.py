"""A `.tflite` as a Keras model of the same function, or as a similar one that is easier to train and to quantise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from convert.tflite_file import TfliteGraph
from seg_edge.errors import ModelError

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
LOGITS = ("CONV_2D", "Convolution2DTransposeBias")  # the second is MediaPipe's own: 2x2, stride 2
ACTIVATIONS = ("RELU", "HARD_SWISH")
ROUNDING = ("QUANTIZE", "DEQUANTIZE")
POOLS = ("AVERAGE_POOL_2D", "MEAN")  # over the whole image
FUSED: Mapping[int, dict[str, float | None]] = {
    0: {},
    1: {"max_value": None},
    3: {"max_value": 6.0},
}  # the schema's numbers
STORED = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8, "INT32": np.int32}  # weights and biases
MOMENTUM = 0.97  # of the added batch normalisations' moving statistics
EPSILON = 1e-3


class Statistics(NamedTuple):
    """Mean and variance of each output channel of a convolution, bias included, float (channels,)."""

    mean: np.ndarray
    variance: np.ndarray


def to_keras(content: bytes) -> keras.Model:
    """The network of a float or int8 `.tflite` of one class, weight for weight.

    Args:
        content: The file. Its input is RGB 0..1, its only output a convolution's: a sigmoid of one channel, or logits
            of two. Weights and biases in int8 are dequantised.

    Returns:
        Input float32 (batch, height, width, 3), output float32 logits (batch, height', width', 2), background first;
        their difference is the sigmoid's argument. If the file ends in MediaPipe's transposed convolution, they have
        half its size, each the mean of four pixels. Layers are named `conv7`, `pool12` by kind and position in the
        file.

    Raises:
        ModelError: It holds another kind of model; the message names the operator.
    """
    return _Network(content, None, 1.0, 0).model


def to_trainable(content: bytes, statistics: Mapping[str, Statistics], widen: float, seed: int) -> keras.Model:
    """The same with ReLU instead of hard swish, which is slow in int8, and with batch normalisation unfolded again.

    Each normalisation starts with the mean and variance that the file's network has at that point.

    Args:
        content: As for `to_keras`.
        statistics: Of each convolution of `to_keras`' model, by its name.
        widen: Factor for the number of channels inside the inverted residual blocks of the coarsest level. The layers
            that read the new channels start with weights of 0 for them.
        seed: Seed of the new channels' weights.

    Raises:
        ModelError: As for `to_keras`.
    """
    return _Network(content, statistics, widen, seed).model


class _Network:
    """Builds a layer for each operator, in the file's order; `more` is how many channels were added to a tensor."""

    def __init__(self, content: bytes, statistics: Mapping[str, Statistics] | None, widen: float, seed: int):
        self.file = TfliteGraph(content)
        self.statistics, self.widen, self.rng = statistics, widen, np.random.default_rng(seed)
        self.operators = [o for n, o in enumerate(self.file.graph.operators) if n not in self.file.folded]
        self._remove_rounding()
        shapes = [self.file.shape(operator.outputs[0]) for operator in self.operators]
        self.coarsest = min((shape[1] for shape in shapes if len(shape) == 4 and shape[1] > 1), default=1)
        self.more: dict[int, int] = {}
        source = self._only_input()
        self.logits = self._find_logits()
        image = keras.Input(self.file.shape(source)[1:], name="image")
        self.tensors: dict[int, Any] = {source: image}
        self.weights: dict[str, list[np.ndarray]] = {}
        for number, operator in enumerate(self.operators, 1):
            self.tensors[operator.outputs[0]] = self._layer(number, operator)
        self.model = keras.Model(image, self.tensors[self.logits], name="from_tflite")
        for name, weights in self.weights.items():
            self.model.get_layer(name).set_weights(weights)

    def _remove_rounding(self) -> None:
        """Removes operators that only change how a value is stored; their readers read the value directly."""
        source: dict[int, int] = {}
        kept = []
        for operator in self.operators:
            operator.inputs = [source.get(index, index) for index in operator.inputs]
            if self.file.kind(operator) in ROUNDING:
                source[operator.outputs[0]] = operator.inputs[0]
            else:
                kept.append(operator)
        self.operators = kept

    def _only_input(self) -> int:
        """The image's tensor."""
        if len(self.file.graph.inputs) != 1 or len(self.file.graph.outputs) != 1:
            raise ModelError("only a model with one image as its input and one mask as its output can be converted.")
        (source,) = self.file.graph.inputs
        quantisation = self.file.tensors[source].quantization
        if _is_quantised(quantisation) and not (
            np.isclose(quantisation.scale[0], 1 / 255) and not quantisation.zeroPoint[0]
        ):
            raise ModelError("only a model whose input is RGB 0..1, or unscaled 8-bit pixels, can be converted.")
        return int(source)

    def _find_logits(self) -> int:
        """The tensor of the last convolution; a sigmoid after it is removed."""
        last = self.operators[-1]
        if self.file.kind(last) == "LOGISTIC":
            self.operators = self.operators[:-1]
            return int(last.inputs[0])
        if self.file.kind(last) == "CONV_2D" and self.file.shape(last.outputs[0])[3] == 2:
            return int(last.outputs[0])
        raise ModelError("only a model that ends in a sigmoid of one channel, or in two logits, can be converted.")

    def _layer(self, number: int, operator: Any) -> keras.KerasTensor:
        kind, output = self.file.kind(operator), operator.outputs[0]
        if output == self.logits and kind in LOGITS:
            return self._logits(kind, operator)
        if kind in CONVOLUTIONS:
            return self._convolution(number, kind, operator)
        inputs = [self.tensors[index] for index in operator.inputs if index in self.tensors]
        if operator.inputs[0] in self.more:
            self.more[output] = self.more[operator.inputs[0]]
        if kind == "RELU":
            return layers.ReLU(name=f"relu{number}")(*inputs)
        if kind == "HARD_SWISH":
            swish = layers.Activation("hard_silu", name=f"swish{number}")
            return (swish if self.statistics is None else layers.ReLU(name=f"swish{number}"))(*inputs)
        if kind == "LOGISTIC":
            return layers.Activation("sigmoid", name=f"sigmoid{number}")(*inputs)
        if kind in POOLS and self.file.shape(output)[1:3] == (1, 1):
            return layers.GlobalAveragePooling2D(keepdims=True, name=f"pool{number}")(*inputs)
        if kind in ("MUL", "ADD") and len(inputs) == 2 and not operator.builtinOptions.fusedActivationFunction:
            layer = layers.Multiply if kind == "MUL" else layers.Add
            return layer(name=f"{layer.__name__.lower()}{number}")(inputs)
        if kind == "RESIZE_BILINEAR" and operator.builtinOptions.halfPixelCenters:
            (before, after) = (self.file.shape(index)[1] for index in (operator.inputs[0], output))
            return layers.UpSampling2D(after // before, interpolation="bilinear", name=f"upsample{number}")(*inputs)
        raise ModelError(f"operator {number} is a {kind}, which can't be converted to a Keras layer.")

    def _convolution(self, number: int, kind: str, operator: Any) -> keras.KerasTensor:
        source, output, options = operator.inputs[0], operator.outputs[0], operator.builtinOptions
        fused = FUSED.get(options.fusedActivationFunction)
        if fused is None or max(options.dilationHFactor, options.dilationWFactor) > 1:
            raise ModelError(
                f"operator {number} is a {kind} with a dilation, or with an activation other than ReLU; "
                "it can't be converted to a Keras layer."
            )
        depthwise = kind == "DEPTHWISE_CONV_2D"
        kernel = self._constant(operator.inputs[1]).transpose(1, 2, 3, 0)  # (h, w, in, out), or (h, w, channels, 1)
        kernel, bias = self._widened(kernel, self._constant(operator.inputs[2]), source, output, depthwise)
        name = f"{'depthwise' if depthwise else 'conv'}{number}"
        normed = self.statistics is not None and self.file.shape(output)[1:3] != (1, 1)
        how = {
            "strides": options.strideW,
            "padding": "valid" if options.padding else "same",
            "use_bias": not normed,
            "name": name,
        }
        layer = (
            layers.DepthwiseConv2D(kernel.shape[:2], **how)
            if depthwise
            else layers.Conv2D(kernel.shape[3], kernel.shape[:2], **how)
        )
        self.weights[name] = [kernel] if normed else [kernel, bias]
        x = layer(self.tensors[source])
        if normed:
            assert self.statistics is not None
            self.weights[f"{name}_norm"] = _normalisation(self.statistics[name], bias)
            x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_norm")(x)
        return layers.ReLU(**fused, name=f"relu{number}")(x) if fused else x

    def _widened(
        self, kernel: np.ndarray, bias: np.ndarray, source: int, output: int, depthwise: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias, extended by the channels added to the input and those to add to the output."""
        new_in = self.more.get(source, 0)
        height, width, channels, filters = kernel.shape
        if depthwise:
            self.more |= {output: new_in} if new_in else {}
            more = self.rng.normal(0, 1 / np.sqrt(height * width), (height, width, new_in, filters))
            return np.concatenate([kernel, more], axis=2), np.concatenate([bias, np.zeros(new_in)])
        kernel = np.concatenate([kernel, np.zeros((height, width, new_in, filters))], axis=2)
        gated = self._gated_by(output)
        if gated is not None:
            new, spread = self.more.get(gated, 0), 0.0
        else:
            new = round(filters * (self.widen - 1) / 8) * 8 if self._expands(output) else 0
            spread = float(np.sqrt(2 / channels))
        self.more |= {output: new} if new else {}
        added = self.rng.normal(0, spread, (height, width, channels + new_in, new))
        return np.concatenate([kernel, added], axis=3), np.concatenate([bias, np.zeros(new)])

    def _readers(self, tensor: int) -> list[Any]:
        return [operator for operator in self.operators if tensor in operator.inputs]

    def _expands(self, tensor: int) -> bool:
        """Whether a depthwise convolution at the coarsest level reads it, directly or after an activation."""
        readers = self._readers(tensor)
        if [self.file.kind(reader) in ACTIVATIONS for reader in readers] == [True]:
            readers = self._readers(readers[0].outputs[0])
        depthwise = [self.file.kind(reader) == "DEPTHWISE_CONV_2D" for reader in readers]
        return self.file.shape(tensor)[1] == self.coarsest and depthwise == [True]

    def _gated_by(self, tensor: int) -> int | None:
        """The tensor that this one's sigmoid is multiplied with, channel by channel (squeeze and excitation)."""
        for sigmoid in self._readers(tensor):
            for product in self._readers(sigmoid.outputs[0]):
                if (self.file.kind(sigmoid), self.file.kind(product)) == ("LOGISTIC", "MUL"):
                    return int(product.inputs[0])
        return None

    def _logits(self, kind: str, operator: Any) -> keras.KerasTensor:
        """Two logits unchanged; for a sigmoid of x, -x/2 for the background and x/2 for the class."""
        kernel, bias = self._constant(operator.inputs[1]), self._constant(operator.inputs[2])
        classes = kernel.shape[0]
        if classes > 2:
            raise ModelError(f"its output has {classes} channels; a sigmoid of one or logits of two were expected.")
        how = {"name": "logits", "dtype": "float32"}
        if kind == "CONV_2D":
            options = operator.builtinOptions
            how |= {"strides": options.strideW, "padding": "valid" if options.padding else "same"}
            kernel = kernel.transpose(1, 2, 3, 0)
        else:
            kernel = kernel.mean(axis=(1, 2))[0][np.newaxis, np.newaxis, :, np.newaxis]
        if classes == 1:
            kernel, bias = np.concatenate([-kernel, kernel], axis=3) / 2, np.concatenate([-bias, bias]) / 2
        self.weights["logits"] = [kernel, bias]
        return layers.Conv2D(2, kernel.shape[:2], **how)(self.tensors[operator.inputs[0]])

    def _constant(self, tensor: int) -> np.ndarray:
        """A constant as float32; the file stores it as float32, as float16, or as integers with scales."""
        (stored,) = self.file.made_of.get(tensor, [-1])
        kind = STORED.get(self.file.type(stored)) if stored >= 0 else None
        if kind is None:
            raise ModelError("only a model whose weights are float32, float16 or int8 can be converted.")
        data = self.file.root.buffers[self.file.tensors[stored].buffer].data
        values = np.frombuffer(bytes(data), kind).reshape(self.file.shape(stored)).astype(np.float32)
        quantisation = self.file.tensors[stored].quantization
        if not _is_quantised(quantisation):
            return values
        along = [1] * values.ndim
        along[quantisation.quantizedDimension] = -1
        zero_point, scale = (np.reshape(part, along) for part in (quantisation.zeroPoint, quantisation.scale))
        return np.asarray((values - zero_point) * scale, np.float32)


def _is_quantised(quantisation: Any) -> bool:
    return quantisation is not None and quantisation.scale is not None and len(quantisation.scale) > 0


def _normalisation(statistics: Statistics, bias: np.ndarray) -> list[np.ndarray]:
    """Gamma, beta, moving mean and variance of an identity; a channel without statistics has mean 0 and variance 1."""
    new = len(bias) - len(statistics.mean)
    mean = np.concatenate([statistics.mean - bias[: len(statistics.mean)], np.zeros(new)])
    variance = np.concatenate([statistics.variance, np.ones(new)])
    return [np.sqrt(variance + EPSILON), bias + mean, mean, variance]
