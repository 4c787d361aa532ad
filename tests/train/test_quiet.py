"""Keras doesn't load its optional packages at start, and they can still be imported later."""

import subprocess
import sys

import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

SCRIPT = """
import train.quiet, sys, keras
assert not {"matplotlib", "sklearn"} & sys.modules.keys(), "loaded by Keras"
import matplotlib, sklearn.model_selection
print(keras.layers.Dense(1).units, sklearn.model_selection.GroupKFold.__name__, matplotlib.__name__)
"""


def test_keras_loads_neither_matplotlib_nor_scikit_learn() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("1 GroupKFold matplotlib\n", "", 0)
