"""docs/architecture.md names existing files and functions, and its tree shows every subpackage."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREE = PAGE.split("```")[1]
PACKAGES = [ROOT / "edge" / "seg_edge", ROOT / "train", ROOT / "convert"]
# `file.py` or `folder/file.py`, and the function or class after a colon.
NAMED = sorted(set(re.findall(r"(?<![\w./])[\w/]+\.(?:py|ts)(?::\w+)?", PAGE)))


@pytest.fixture(scope="module")
def files() -> list[Path]:
    folders = [*PACKAGES, ROOT / "tests", ROOT / "edge" / "web" / "src"]
    return [path for folder in folders for suffix in ("py", "ts") for path in folder.rglob(f"*.{suffix}")]


@pytest.mark.parametrize("named", [name for name in NAMED if "NAME" not in name])
def test_files_and_functions_on_the_page_exist(named: str, files: list[Path]) -> None:
    name, _, defined = named.partition(":")
    found = [path for path in files if path.as_posix().endswith(f"/{name}")]
    assert found
    if defined:
        assert any(re.search(rf"(def|class) {defined}\b", path.read_text(encoding="utf-8")) for path in found)


def test_the_tree_shows_every_subpackage() -> None:
    folders = {path.parent.name for package in PACKAGES for path in package.glob("*/__init__.py")}
    assert [folder for folder in sorted(folders) if f"{folder}/" not in TREE] == []


def test_the_tree_shows_every_module_of_the_core() -> None:
    core = {path.stem for path in PACKAGES[0].glob("*.py")} - {"__init__", "__main__"}
    assert [module for module in sorted(core) if not re.search(rf"\b{module}\b", TREE)] == []
