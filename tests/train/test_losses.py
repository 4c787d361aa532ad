"""Losses and the metric against values computed by hand, and against seg_edge's metrics."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from seg_edge.evaluation import metrics

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")

from seg_edge.errors import UsageError  # noqa: E402
from train.losses import LOSSES, DiceCoefficient, cross_entropy, focal, tversky  # noqa: E402

LABELS = np.array([[[0, 1]]], np.uint8)  # one photo of two pixels
# Softmax of (0, log 3) is (1/4, 3/4): the first pixel is wrong, the second right.
LOGITS = np.log(np.array([[[[1, 3], [1, 3]]]], np.float32))


def value(name: str, labels: Any, logits: Any, classes: int = 2, weights: Sequence[float] | None = None) -> float:
    return float(LOSSES[name](classes, weights)(tf.constant(labels), tf.constant(logits)))


def random_batch(classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, (2, 8, 6)).astype(np.uint8)
    return labels, random.normal(size=(2, 8, 6, classes)).astype(np.float32)


# Each pixel has the probabilities (1/4, 3/4); the targets are (1, 0) and (0, 1).
MSE = ((9 + 9) / 16 / 2 + (1 + 1) / 16 / 2) / 2
CE = (math.log(4) + math.log(4 / 3)) / 2
FOCAL = ((3 / 4) ** 2 * math.log(4) + (1 / 4) ** 2 * math.log(4 / 3)) / 2
# Background: TP 1/4, FP 1/4, FN 3/4. Class 1: TP 3/4, FP 3/4, FN 1/4. One pixel of smoothing.
DICE = ((1 - 1.25 / 1.75) + (1 - 1.75 / 2.25)) / 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", MSE),
        ("cross_entropy", CE),
        ("focal", FOCAL),
        ("tversky", DICE),
        ("cross_entropy_dice", CE + DICE),
    ],
)
def test_losses_match_values_by_hand(name: str, expected: float) -> None:
    assert value(name, LABELS, LOGITS) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("column", "weight"), [(2, 1), (6, 2), (7, 4), (8, 4), (9, 2)])
def test_edge_pixels_weigh_more(column: int, weight: float) -> None:
    """Columns 0 to 7 are background; a quarter of the size puts columns 7 and 8 off by 0.375, column 6 by 0.125."""
    labels = np.zeros((1, 16, 16), np.uint8)
    labels[..., 8:] = 1
    logits = 40 * np.eye(2, dtype=np.float32)[labels]
    logits[0, 5, column] = logits[0, 5, column, ::-1]  # one pixel is wrong
    loss = cross_entropy(2, edge_weight=4)(tf.constant(labels), tf.constant(logits))
    assert float(loss) == pytest.approx(40 * weight / (16 * (12 + 2 * 4 + 2 * 2)), rel=1e-5)


def test_tversky_weighs_false_positives_and_negatives() -> None:
    loss = tversky(2, alpha=0.3, beta=0.7, smooth=0.0)(tf.constant(LABELS), tf.constant(LOGITS))
    background = 1 - 0.25 / (0.25 + 0.3 * 0.25 + 0.7 * 0.75)
    foreground = 1 - 0.75 / (0.75 + 0.3 * 0.75 + 0.7 * 0.25)
    assert float(loss) == pytest.approx((background + foreground) / 2, rel=1e-5)


def test_focal_without_gamma_is_cross_entropy() -> None:
    labels, logits = random_batch()
    plain = focal(3, gamma=0.0)(tf.constant(labels), tf.constant(logits))
    assert float(plain) == pytest.approx(value("cross_entropy", labels, logits, 3), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_class_weights(name: str) -> None:
    only_background = value(name, LABELS, LOGITS, weights=(2, 0))
    only_foreground = value(name, LABELS, LOGITS, weights=(0, 5))
    mixed = value(name, LABELS, LOGITS, weights=(1, 3))
    assert only_background > only_foreground  # only the background pixel is wrong
    assert mixed == pytest.approx(0.25 * only_background + 0.75 * only_foreground, rel=1e-5)
    equal = value(name, LABELS, LOGITS)
    assert value(name, LABELS, LOGITS, weights=(7, 7)) == pytest.approx(equal, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0), (1.0, -1.0), (0.0, 0.0), ()])
def test_invalid_weights_are_refused(name: str, weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="class weights must be 2 numbers, none negative"):
        LOSSES[name](2, weights)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_neither_loss_nor_gradient(name: str) -> None:
    labels, logits = random_batch()
    labels[:, 5:] = 255
    loss = LOSSES[name](3, (1, 2, 3))
    scores = tf.Variable(logits)
    with tf.GradientTape() as tape:
        whole = loss(tf.constant(labels), scores)
    gradient = tape.gradient(whole, scores).numpy()
    assert (gradient[:, 5:] == 0).all()
    assert (gradient[:, :5] != 0).any()
    changed = logits.copy()
    changed[:, 5:] *= -20
    assert float(loss(tf.constant(labels), tf.constant(changed))) == float(whole)
    kept = loss(tf.constant(labels[:, :5]), tf.constant(logits[:, :5]))
    assert float(whole) == pytest.approx(float(kept), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_photos_of_ignored_pixels_cost_nothing(name: str) -> None:
    _, logits = random_batch()
    assert value(name, np.full((2, 8, 6), 255, np.uint8), logits, 3) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_a_lot(name: str) -> None:
    labels, _ = random_batch()
    perfect = 40.0 * np.eye(3, dtype=np.float32)[labels]
    assert value(name, labels, perfect, 3) == pytest.approx(0, abs=1e-4)
    assert value(name, labels, np.roll(perfect, 1, axis=-1), 3) > 0.5


@pytest.mark.parametrize("name", LOSSES)
def test_half_size_logits_are_upsampled(name: str) -> None:
    labels, logits = random_batch()
    half = logits[:, :4, :3]
    upsampled = tf.image.resize(half, (8, 6), method="bilinear").numpy()
    assert value(name, labels, half, 3) == pytest.approx(value(name, labels, upsampled, 3), rel=1e-6)
    # Constant scores are the same at any size.
    constant = np.broadcast_to(np.array([0.3, -1, 2], np.float32), (2, 8, 6, 3))
    at_half = value(name, labels, constant[:, ::2, ::2].copy(), 3)
    assert at_half == pytest.approx(value(name, labels, constant.copy(), 3), rel=1e-5)


def test_half_precision_logits_are_summed_in_float32() -> None:
    labels, logits = np.zeros((1, 256, 256), np.uint8), np.zeros((1, 256, 256, 2), np.float16)
    assert value("cross_entropy", labels, logits) == pytest.approx(math.log(2), rel=1e-4)
    assert np.isfinite(value("tversky", labels, logits))


def test_an_absent_class_costs_nothing_unless_predicted() -> None:
    labels = np.zeros((1, 8, 8), np.uint8)
    background = np.zeros((1, 8, 8, 2), np.float32)
    background[..., 0] = 40
    assert value("tversky", labels, background) == pytest.approx(0, abs=1e-6)
    background[0, 0, :4, 1] = 80
    assert value("tversky", labels, background) > 0.3


def dice(classes: int, *batches: tuple[np.ndarray, np.ndarray]) -> tuple[float, np.ndarray]:
    metric = DiceCoefficient(classes)
    for labels, logits in batches:
        metric.update_state(tf.constant(labels), tf.constant(logits))
    return float(metric.result()), metric.per_class().numpy()


def test_the_metric_matches_seg_edges() -> None:
    batches = [random_batch(4, seed) for seed in range(3)]
    for labels, _ in batches:
        labels[:, :2] = 255
    mean, by_class = dice(4, *batches)
    matrices = [
        metrics.confusion_matrix(labels, logits.argmax(axis=-1).astype(np.uint8), 4) for labels, logits in batches
    ]
    matrix = np.sum(matrices, axis=0)
    np.testing.assert_allclose(by_class, metrics.dice(matrix), rtol=1e-5)
    assert mean == pytest.approx(metrics.mean_foreground(metrics.dice(matrix)), rel=1e-5)


def test_the_metric_takes_half_size_logits() -> None:
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[:, :4] = 1
    logits = 10.0 * np.eye(2, dtype=np.float32)[labels[:, ::2, ::2]]
    assert dice(2, (labels, logits))[0] == 1.0


def test_absent_classes_are_left_out_and_false_ones_count_as_zero() -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    labels[0, :2] = 1
    right = 10.0 * np.eye(4, dtype=np.float32)[labels]
    mean, by_class = dice(4, (labels, right))
    assert mean == 1.0
    np.testing.assert_array_equal(np.isnan(by_class), [False, False, True, True])
    invented = right.copy()
    invented[0, 3, 3] = (0, 0, 10, 0)
    mean, by_class = dice(4, (labels, invented))
    assert (mean, by_class[2]) == (0.5, 0.0)
    assert dice(2, (np.zeros((1, 4, 4), np.uint8), right[..., :2] * (1, 0)))[0] == 0.0


def test_the_metric_resets() -> None:
    labels, logits = random_batch()
    metric = DiceCoefficient(3)
    metric.update_state(tf.constant(labels), tf.constant(logits))
    metric.reset_state()
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_hot_soft_targets_cost_the_same_as_labels(name: str) -> None:
    labels, logits = random_batch()
    labels[0, :2] = metrics.IGNORE
    soft = np.eye(3, dtype=np.float32)[np.minimum(labels, 2)] * (labels != metrics.IGNORE)[..., np.newaxis]
    assert value(name, soft, logits, 3) == pytest.approx(value(name, labels, logits, 3), rel=1e-5)
    by_labels, by_shares = DiceCoefficient(3), DiceCoefficient(3)
    by_labels.update_state(tf.constant(labels), tf.constant(logits))
    by_shares.update_state(tf.constant(soft), tf.constant(logits))
    assert np.array_equal(by_labels.per_class(), by_shares.per_class())


def test_cross_entropy_is_least_when_probabilities_match_soft_targets() -> None:
    soft = np.array([[[[0.3, 0.7]]]], np.float32)
    costs = {
        share: value("cross_entropy", soft, np.log([[[[1 - share, share]]]]).astype(np.float32))
        for share in (0.6, 0.7, 0.8)
    }
    assert min(costs, key=costs.__getitem__) == 0.7
