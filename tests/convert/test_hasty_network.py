"""What a refusal says of a network whose classes are nearer to each other than a step of its logits."""

import keras
import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

from types import SimpleNamespace
from typing import Any

from keras import layers

from convert.quantisation import quantize
from convert.quantisation.methods import Converted, Method
from convert.quantisation.sensitivity import Sensitivity


@pytest.mark.parametrize(("place", "hasty"), [("last", True), ("first", False)])
def test_only_where_the_logits_are_to_blame_more_training_is_advised(
    monkeypatch: pytest.MonkeyPatch, place: str, hasty: bool
) -> None:
    image = keras.Input((8, 8, 3))
    folded = keras.Model(image, layers.Conv2D(2, 1, name="last")(layers.Conv2D(4, 3, name="first")(image)))
    row = Sensitivity(place, "output", 41.0, 0.5, 0.1, 0.9)
    monkeypatch.setattr(quantize, "sensitivities", lambda *_: [row])
    data: Any = SimpleNamespace(parts={"val": []}, classes=("background", "x"))
    said = quantize._show_sensitivity(Converted(b"", folded, {}), Method(), folded, [], data, lambda line: None)
    assert f"{place} (output), 90% of the noise" in said
    assert ("train it longer" in said) == hasty
