"""The table of layers that lose most in int8."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

import keras

from convert.quantisation.fake_quant import kernel_names
from convert.quantisation.fold import fold_batch_norm
from convert.quantisation.ranges import choose_ranges
from convert.quantisation.sensitivity import EXPLAINED_SHARE, Sensitivity, most_sensitive, sensitivities, table
from train.dataset import Dataset, open_split
from train.keras_model import load_keras

Trained = tuple[Path, Path]


@pytest.fixture(scope="module")
def network(trained: Trained) -> tuple[object, dict, Dataset]:
    data, run = trained
    dataset = open_split(data, run / "split.json")
    folded = fold_batch_norm(load_keras(run / "model.keras"))
    images = [(e.load((64, 64))[0] / np.float32(255))[np.newaxis] for e in dataset.parts["train"][:4]]
    return folded, choose_ranges(folded, images, "minmax"), dataset


def test_every_rounding_has_a_row_and_a_much_too_wide_range_is_most_sensitive(network: tuple) -> None:
    folded, ranges, data = network
    rows = sensitivities(folded, {**ranges, "down1_a_relu": (0.0, 2000.0)}, data.parts["val"], 4, photos=2)
    assert {row.layer for row in rows if row.kind == "weights"} == set(kernel_names(folded))
    assert {row.layer for row in rows if row.kind == "output"} == set(ranges) - {"image"}
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert [row.sqnr_db for row in rows] == sorted(row.sqnr_db for row in rows)
    assert [row.name for row in most_sensitive(rows)] == ["down1_a_relu (output)"]
    assert rows[0].sqnr_db < 20
    assert rows[0].dice_drop > 0.05
    assert "down1_a_relu (output)" in table(rows).splitlines()[1]


def test_an_uneven_kernel_is_the_most_sensitive(network: tuple) -> None:
    folded, ranges, data = network
    uneven = keras.models.clone_model(folded)
    uneven.set_weights(folded.get_weights())
    # The same function: one channel is scaled down by 200, and the kernel that reads it scaled up. Compared with that,
    # the kernel's other weights round to zero.
    producer, reader = uneven.get_layer("up0_b_conv"), uneven.get_layer("logits")
    kernel, bias = producer.get_weights()
    shrink = np.where(np.arange(len(bias)) == 0, 1 / 200, 1.0)
    producer.set_weights([kernel * shrink, bias * shrink])
    kernel, bias = reader.get_weights()
    reader.set_weights([kernel / shrink[:, np.newaxis], bias])
    rows = sensitivities(uneven, ranges, data.parts["val"], 4, photos=2)
    assert "logits (weights)" in [row.name for row in rows[:2]]


def test_the_most_sensitive_are_the_fewest_that_cause_most_of_the_noise() -> None:
    shares = [0.5, 0.31, 0.1, 0.09]
    rows = [Sensitivity(f"l{n}", "output", 10.0 * n, 0.9, 0.0, share) for n, share in enumerate(shares)]
    assert sum(shares[:2]) >= EXPLAINED_SHARE
    assert [row.layer for row in most_sensitive(rows)] == ["l0", "l1"]
    assert len(most_sensitive([Sensitivity(str(n), "output", 1.0, 0.9, 0.0, 0.05) for n in range(20)])) == 4
