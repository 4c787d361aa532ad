"""The optimizers update like Keras' own, but compute the schedule once per step."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'seg-edge[train]'")

import keras

from train.optimizers import Adam, AdamW


class Counting(keras.optimizers.schedules.LearningRateSchedule):
    """A decaying learning rate that counts how often it is computed."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, step: object) -> object:
        self.computed += 1
        return 0.1 / (1 + keras.ops.cast(step, "float32"))


@pytest.mark.parametrize(
    ("ours", "keras_own"), [(Adam, keras.optimizers.Adam), (AdamW, keras.optimizers.AdamW)], ids=["adam", "adamw"]
)
def test_the_schedule_is_computed_once_per_step_and_weights_match_keras(ours: type, keras_own: type) -> None:
    results, schedules = [], []
    for optimizer_class in (ours, keras_own):
        schedule = Counting()
        optimizer = optimizer_class(schedule, weight_decay=0.01, use_ema=True)
        variables = [keras.Variable(np.float32([1, 2, 3])), keras.Variable(np.float32([[4, 5]]))]
        optimizer.build(variables)
        schedule.computed = 0
        for _ in range(3):
            optimizer.apply([keras.ops.ones_like(variable) for variable in variables], variables)
        results.append([variable.numpy() for variable in variables])
        schedules.append(schedule)
    assert schedules[0].computed == 3
    assert schedules[1].computed > 3
    for own, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(own, expected)
