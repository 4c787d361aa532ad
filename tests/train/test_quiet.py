"""Commands load TensorFlow without Keras's optional packages, and reuse freed memory."""

import subprocess
import sys

import pytest

pytest.importorskip("tensorflow", reason="the workstation's packages aren't installed (pip install '.[train]')")

SCRIPT = """
import train.quiet, sys, keras
assert not {"matplotlib", "sklearn"} & sys.modules.keys(), "loaded by Keras"
import matplotlib, sklearn.model_selection
import resource, numpy
faults = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
for _ in range(3):
    numpy.ones(1 << 26, numpy.uint8)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
first, *later = numpy.diff(faults)
assert sys.platform != "linux" or max(later) <= first / 10, "the system clears the same memory again"
print(keras.layers.Dense(1).units, sklearn.model_selection.GroupKFold.__name__, matplotlib.__name__)
"""


def test_commands_load_only_tensorflow_and_keep_its_memory() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("1 GroupKFold matplotlib\n", "", 0)
