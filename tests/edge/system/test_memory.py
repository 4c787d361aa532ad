"""A process's peak memory, and frames without page faults."""

import subprocess
import sys

import pytest

from seg_edge.system.memory import peak_mb

TAKES_200_MB = """
import sys
block = bytearray(200_000_000)
block[::4096] = b"x" * len(block[::4096])
del block
print("ready", flush=True)
sys.stdin.read()
"""
FAULTS = """
import resource, sys
import numpy as np
from seg_edge.system.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def take():
    frames = [np.ones((480, 640, 3), np.uint8) for _ in range(4)]
for _ in range(20):
    take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_the_peak_is_of_another_process_and_not_of_its_parent() -> None:
    block = bytearray(600_000_000)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_mb() > 600
    with subprocess.Popen(
        [sys.executable, "-c", TAKES_200_MB], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert 200 < peak_mb(process.pid) < 300
    assert peak_mb(process.pid) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted, and spared, with glibc")
def test_frames_that_come_and_go_cost_no_page_faults() -> None:
    def faults(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True).stdout)

    assert faults("kept") < 100 < faults("given back")
