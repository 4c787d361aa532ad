"""Adam and AdamW with a weight average that warms up, and a smaller graph per step.

A fixed momentum of 0.98 lags fifty steps behind, too much for a short training: the validated model would still be half
the random start. Here the momentum at step t is at most (1 + t) / (10 + t), as in `tf.train.ExponentialMovingAverage`.

Keras computes the schedule and the momentum again for every variable; here they are computed once per step.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras


class _OncePerStep:
    """Keras reads `learning_rate` and `ema_momentum` for each variable at every step."""

    _momentum = 0.99
    _now: SimpleNamespace | None = None  # during a step: its learning_rate and momentum
    iterations: Any

    @property
    def ema_momentum(self) -> Any:
        if self._now:
            return self._now.momentum
        step = keras.ops.cast(self.iterations, "float32")
        return keras.ops.minimum(self._momentum, (1 + step) / (10 + step))

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        self._momentum = value

    def _get_current_learning_rate(self) -> Any:
        return self._now.learning_rate if self._now else super()._get_current_learning_rate()  # type: ignore[misc]

    def _backend_apply_gradients(self, grads: Any, trainable_variables: Any) -> None:
        self._now = SimpleNamespace(learning_rate=self._get_current_learning_rate(), momentum=self.ema_momentum)
        try:
            super()._backend_apply_gradients(grads, trainable_variables)  # type: ignore[misc]
        finally:
            self._now = None


class Adam(_OncePerStep, keras.optimizers.Adam):
    """Keras' own, with this average."""


class AdamW(_OncePerStep, keras.optimizers.AdamW):
    """Keras' own, with this average."""
