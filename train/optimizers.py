"""Adam and AdamW whose average of the weights follows quickly at first.

A fixed momentum of 0.98 lags fifty steps behind, more than a short training has: what is validated then is half the
random start. Here the momentum at step t is at most (1 + t) / (10 + t), as in `tf.train.ExponentialMovingAverage`.
"""

from __future__ import annotations

from typing import Any

import keras


class _QuickAverage:
    """Keras reads `ema_momentum` at every step."""

    _momentum = 0.99
    iterations: Any

    @property
    def ema_momentum(self) -> Any:
        step = keras.ops.cast(self.iterations, "float32")
        return keras.ops.minimum(self._momentum, (1 + step) / (10 + step))

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        self._momentum = value


class Adam(_QuickAverage, keras.optimizers.Adam):
    """Keras' own, with that average."""


class AdamW(_QuickAverage, keras.optimizers.AdamW):
    """Keras' own, with that average."""
