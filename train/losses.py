"""Losses and the metric. Targets are integer label maps, predictions are logits.

Targets: (batch, height, width) uint8, 0..classes-1; 255 marks pixels that don't count. Or soft ones, float (batch,
height, width, classes): each pixel's probabilities, all zero where it doesn't count. Logits: float (batch, h, w,
classes); smaller ones are first upsampled to the targets' size, as the runtime does, so that edges are learnt at the
size at which they are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from seg_edge.errors import UsageError

Loss = Callable[[Any, Any], Any]


def _upsample(logits: Any, shape_hw: tuple[int, int]) -> Any:
    if tuple(logits.shape[1:3]) == tuple(shape_hw):
        return logits
    return tf.image.resize(logits, shape_hw, method="bilinear")


def _prepare(labels: Any, logits: Any) -> tuple[Any, Any]:
    """Targets, all zero where a pixel doesn't count, and logits at the targets' size; both (b, h, w, classes)."""
    logits = _upsample(tf.cast(logits, tf.float32), labels.shape[1:3])
    if _are_soft(labels):
        return tf.cast(labels, tf.float32), logits
    return tf.one_hot(tf.cast(labels, tf.int32), logits.shape[-1]), logits


def _are_soft(labels: Any) -> bool:
    return len(labels.shape) == 4


def mean_squared_error(classes: int, class_weights: Sequence[float] | None = None) -> Loss:
    """The original project's loss: squared difference of softmax and one-hot, mean over the pixels that count."""
    weights = _weights(classes, class_weights)

    def mse(labels: Any, logits: Any) -> Any:
        target, logits = _prepare(labels, logits)
        error = tf.reduce_mean(tf.square(tf.nn.softmax(logits) - target), axis=-1)
        return _pixel_mean(error, target, weights)

    return mse


def cross_entropy(classes: int, class_weights: Sequence[float] | None = None, edge_weight: float = 0.0) -> Loss:
    """Categorical cross-entropy, mean over the pixels that count; pixels at an edge weigh up to `1 + edge_weight`."""
    weights = _weights(classes, class_weights)

    def ce(labels: Any, logits: Any) -> Any:
        target, logits = _prepare(labels, logits)
        error = keras.losses.categorical_crossentropy(target, logits, from_logits=True)
        return _pixel_mean(error, target, weights, 1 + edge_weight * _near_edge(target) if edge_weight else 1.0)

    return ce


def focal(classes: int, class_weights: Sequence[float] | None = None, gamma: float = 2.0) -> Loss:
    """Focal loss (Lin et al., 2017, arXiv:1708.02002): cross-entropy, less where the model is already confident."""
    weights = _weights(classes, class_weights)

    def fl(labels: Any, logits: Any) -> Any:
        target, logits = _prepare(labels, logits)
        error = keras.losses.categorical_focal_crossentropy(target, logits, alpha=1.0, gamma=gamma, from_logits=True)
        return _pixel_mean(error, target, weights)

    return fl


def tversky(
    classes: int,
    class_weights: Sequence[float] | None = None,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
) -> Loss:
    """Tversky loss (Salehi et al., 2017, arXiv:1706.05721), soft, per photo and class, mean over all classes.

    `1 - (TP + s) / (TP + alpha FP + beta FN + s)`. With alpha = beta = 0.5 it is the Dice loss. With `smooth`,
    in pixels, a class that is absent from a photo costs nothing unless predicted. Keras' own `Tversky` and `Dice` have
    no smoothing per photo and can't ignore pixels.
    """
    weights = _weights(classes, class_weights)

    def tv(labels: Any, logits: Any) -> Any:
        target, logits = _prepare(labels, logits)
        counts = tf.reduce_sum(target, axis=-1, keepdims=True)
        probabilities = tf.nn.softmax(logits) * counts
        true_positive = tf.reduce_sum(target * probabilities, axis=(1, 2))
        false_positive = tf.reduce_sum(probabilities, axis=(1, 2)) - true_positive
        false_negative = tf.reduce_sum(target, axis=(1, 2)) - true_positive
        ratio = (true_positive + smooth) / (true_positive + alpha * false_positive + beta * false_negative + smooth)
        each = tf.reduce_sum((1 - ratio) * weights, axis=-1) / tf.reduce_sum(weights)
        # A device's share may be empty.
        return tf.math.divide_no_nan(tf.reduce_sum(each), tf.cast(tf.size(each), tf.float32))

    return tv


def cross_entropy_dice(classes: int, class_weights: Sequence[float] | None = None, edge_weight: float = 0.0) -> Loss:
    """Cross-entropy + Dice: the first gives smooth gradients, the second is insensitive to class imbalance."""
    ce, dice = cross_entropy(classes, class_weights, edge_weight), tversky(classes, class_weights)

    def ce_dice(labels: Any, logits: Any) -> Any:
        return ce(labels, logits) + dice(labels, logits)

    return ce_dice


LOSSES: dict[str, Callable[..., Loss]] = {
    "mse": mean_squared_error,
    "cross_entropy": cross_entropy,
    "focal": focal,
    "tversky": tversky,
    "cross_entropy_dice": cross_entropy_dice,
}


def _weights(classes: int, class_weights: Sequence[float] | None) -> Any:
    values = [1.0] * classes if class_weights is None else [float(weight) for weight in class_weights]
    if len(values) != classes or min(values) < 0 or sum(values) == 0:
        raise UsageError(
            f"class weights must be {classes} numbers, none negative and not all zero (background first), got {values}"
        )
    return tf.constant(values)


def _near_edge(target: Any) -> Any:
    """0..1 (b, h, w): what the target loses at a quarter of its size, which is high at edges.

    Weighting by the distance to a local mean is from Wei et al., F3Net (2020), arXiv:1911.11445.
    """
    coarse = tf.image.resize(tf.nn.avg_pool2d(target, 4, 4, "SAME"), target.shape[1:3])
    return 2 * tf.reduce_max(tf.abs(target - coarse), axis=-1)


def _pixel_mean(error: Any, target: Any, weights: Any, pixel_weight: Any = 1.0) -> Any:
    """Mean of `error` (b, h, w) over the pixels that count, weighted by class times `pixel_weight`."""
    weight = tf.reduce_sum(target * weights, axis=-1) * pixel_weight
    return tf.math.divide_no_nan(tf.reduce_sum(error * weight), tf.reduce_sum(weight))


class DiceCoefficient(keras.metrics.MeanIoU):
    """Mean Dice coefficient `2|X∩Y| / (|X|+|Y|)` over the classes without background.

    Pixels are summed over all photos first, so a class may be missing in a photo. A class that is neither in the ground
    truth nor predicted is left out of the mean; one that is predicted but never true counts as 0.
    """

    def __init__(self, classes: int, name: str = "dice", **kwargs: Any):
        super().__init__(num_classes=classes, ignore_class=255, name=name, sparse_y_pred=True, **kwargs)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch: label maps (b, h, w), or soft ones (b, h, w, classes), and logits (b, h', w', classes)."""
        logits = _upsample(tf.cast(y_pred, tf.float32), y_true.shape[1:3])
        if _are_soft(y_true):
            counts = tf.reduce_sum(y_true, axis=-1) > 0
            y_true = tf.where(counts, tf.argmax(y_true, axis=-1), 255)
        super().update_state(y_true, tf.argmax(logits, axis=-1), sample_weight)

    def per_class(self) -> Any:
        """Dice of each class, background first, float32 (classes,); NaN where a class does not occur."""
        matrix = tf.cast(tf.convert_to_tensor(self.total_cm), tf.float32)
        sizes = tf.reduce_sum(matrix, axis=0) + tf.reduce_sum(matrix, axis=1)
        return 2 * tf.linalg.diag_part(matrix) / sizes

    def result(self) -> Any:
        """Mean over the foreground classes that occur, as a scalar; 0 if there is none."""
        values = self.per_class()[1:]
        is_known = tf.math.is_finite(values)
        return tf.math.divide_no_nan(
            tf.reduce_sum(tf.where(is_known, values, 0.0)), tf.reduce_sum(tf.cast(is_known, tf.float32))
        )
