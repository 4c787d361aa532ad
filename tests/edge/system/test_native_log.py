"""Native libraries write nothing inside the block, from any number of threads; Python's own lines are kept."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from seg_edge.system.native_log import without_native_log


def test_blocks_may_overlap_and_nest(capfd: pytest.CaptureFixture[str]) -> None:
    def noisy(number: int) -> None:
        with without_native_log(), without_native_log():
            os.write(2, b"noise\n")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(noisy, range(200)))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_an_error_inside_restores_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), without_native_log():
        raise ValueError("broken")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_a_program_s_own_lines_are_kept() -> None:
    code = (
        "import os, sys\n"
        "from seg_edge.system.native_log import keep_python_stderr, without_native_log\n"
        "keep_python_stderr()\n"
        "with without_native_log():\n"
        "    os.write(2, b'noise\\n')\n"
        "    print('caf\\udce9', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stderr == b"caf\\udce9\n"
