"""The advice for a network whose classes differ by less than an int8 step of its logits."""

import keras
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

from types import SimpleNamespace
from typing import Any

from keras import layers

from convert.quantisation import quantize
from convert.quantisation.methods import Converted, Method
from convert.quantisation.sensitivity import Sensitivity


@pytest.mark.parametrize(("layer", "is_advised"), [("last", True), ("first", False)])
def test_more_training_is_advised_only_if_the_logits_cause_the_noise(
    monkeypatch: pytest.MonkeyPatch, layer: str, is_advised: bool
) -> None:
    image = keras.Input((8, 8, 3))
    folded = keras.Model(image, layers.Conv2D(2, 1, name="last")(layers.Conv2D(4, 3, name="first")(image)))
    row = Sensitivity(layer, "output", 41.0, 0.5, 0.1, 0.9)
    monkeypatch.setattr(quantize, "sensitivities", lambda *_: [row])
    data: Any = SimpleNamespace(parts={"val": []}, classes=("background", "x"))
    text = quantize._show_sensitivity(Converted(b"", folded, {}), Method(), folded, [], data, lambda line: None)
    assert f"{layer} (output), 90% of the noise" in text
    assert ("train it longer" in text) == is_advised
