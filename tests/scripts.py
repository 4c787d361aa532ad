"""Runs a command of `train/` or `convert/` in this process, which has already imported TensorFlow."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_script(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs `python FOLDER/SCRIPT.py OPTIONS` as if started on its own; fails unless it ends with exit code 0."""
    words = shlex.split(line)[1:]
    monkeypatch.setattr(sys, "argv", words)
    code = None
    try:
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    except SystemExit as stopped:
        code = stopped.code
    assert not code, line
