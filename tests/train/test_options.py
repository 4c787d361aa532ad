"""Parsing of command-line values."""

import subprocess
import sys
from pathlib import Path

import pytest

from train.options import comma_separated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ("a", "b")),
        (" a , b c ", ("a", "b c")),
        ("b,a,b", ("b", "a", "b")),
        ("a,,b,", ("a", "b")),
        (" , ", ()),
        ("", ()),
    ],
)
def test_comma_separated(text: str, expected: tuple[str, ...]) -> None:
    assert comma_separated(text) == expected


SCRIPTS = [
    path
    for folder in ("train", "convert")
    for path in sorted((Path(__file__).resolve().parents[2] / folder).glob("*.py"))
    if "run_command(main)" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_outside_its_environment_names_the_commands_to_run(script: Path) -> None:
    done = subprocess.run([sys.executable, "-S", str(script)], capture_output=True, text=True)  # -S: no site-packages
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: No module named 'train': run `. .venv/bin/activate` first")


def test_the_scripts_are_found() -> None:
    assert len(SCRIPTS) > 7
