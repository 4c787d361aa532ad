"""The import rule: `seg_edge` imports no other, `train` only it, `convert` both, `benchmarks` all; no circles."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKSTATION = {"train", "convert", "benchmarks", "tests"}
HEAVY = {"tensorflow", "keras", "sklearn", "matplotlib", "tensorboard", "torch", "scipy", "pandas"}
FORBIDDEN = {
    "edge/seg_edge": WORKSTATION | HEAVY,
    "train": {"convert", "benchmarks", "tests"},
    "convert": {"benchmarks", "tests"},
    "benchmarks": {"tests"},
}


def imported(source: str) -> Iterator[str]:
    """Top-level names of everything imported, in functions and by literal `import_module` too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            argument = node.args[0]
            if name in ("import_module", "__import__") and isinstance(argument, ast.Constant):
                yield str(argument.value).partition(".")[0]


@pytest.mark.parametrize(
    "source",
    [
        "import train",
        "import os, train.fit as f",
        "from train import via",
        "from train.via import read",
        "def f():\n    if True:\n        from train import via",
        "import importlib\nimportlib.import_module('train.via')",
        "__import__('train')",
    ],
)
def test_every_kind_of_import_is_seen(source: str) -> None:
    assert "train" in set(imported(source))


def test_nothing_else_counts_as_an_import() -> None:
    source = "from . import train\ntrain = 'import train'\nimport training\nfit(train)"
    assert set(imported(source)) == {"training"}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_file_imports_what_it_must_not(folder: str) -> None:
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in set(imported(path.read_text(encoding="utf-8"))) & FORBIDDEN[folder]
    ]
    assert not offences


@pytest.mark.parametrize("folder", ["edge/seg_edge", "train"])
def test_there_are_files_to_check(folder: str) -> None:
    assert len(list((ROOT / folder).rglob("*.py"))) > 5


def test_only_the_interpreter_touches_litert() -> None:
    runtimes = {"ai_edge_litert", "tflite_runtime"}
    users = [
        path.name
        for path in (ROOT / "edge" / "seg_edge").rglob("*.py")
        if runtimes & set(imported(path.read_text(encoding="utf-8")))
        or any(name in path.read_text(encoding="utf-8") for name in ("tensorflow.lite",))
    ]
    assert users == ["interpreter.py"]


@pytest.mark.parametrize(
    "module", ["seg_edge", "seg_edge.commands.cli", "seg_edge.evaluation.metrics", "seg_edge.card"]
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.stderr == ""
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "seg_edge" in loaded
    assert not loaded & (WORKSTATION | HEAVY | {"ai_edge_litert", "tflite_runtime", "picamera2"})


# What each folder of the package may import; the top-level files are the core. `FREE` may be imported by all.
FOLDERS = {
    "system": set(),
    "core": {"models", "system"},  # of system: silencing LiteRT's log
    "models": {"core"},  # card and errors
    "photo": {"system"},
    "evaluation": {"core", "models", "photo"},
    "sources": {"photo", "system"},
    "capture": {"core", "evaluation", "sources", "system"},
    "sinks": {"core", "photo", "sources", "system"},  # of sources: the facts about a video file
    "apps": {"core", "models", "photo", "evaluation", "sources", "capture", "sinks", "system"},
    "serve": {"core", "models", "photo", "system"},
    "commands": {"core", "models", "photo", "apps", "serve", "evaluation", "system"},
}
FREE = {"seg_edge", "seg_edge.callbacks", "seg_edge.errors", "seg_edge.frame", "seg_edge.strips"}


def imports_of(package: Path) -> dict[str, set[str]]:
    """Each module of a package with those of it that it imports, in functions and for type checkers too."""
    files = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        # `from package import module` imports the module; the package's own file only where it holds what is imported.
        found[module] = {name for name in names if name in files and name != module} - {
            name.rpartition(".")[0] for name in names if name in files and files[name].name != "__init__.py"
        }
    return found


def folder_of(module: str) -> str:
    part = module.split(".")[1] if "." in module else "core"
    return part if part in FOLDERS else "core"


@pytest.mark.parametrize("package", ["edge/seg_edge", "train", "convert", "benchmarks"])
def test_no_module_imports_itself_in_a_circle(package: str) -> None:
    imports = imports_of(ROOT / package)
    assert len(imports) > 5
    # graphlib names the modules of a circle.
    TopologicalSorter({module: names - FREE for module, names in imports.items()}).prepare()


def test_the_folders_import_in_one_direction() -> None:
    offences = [
        f"{module} ({folder_of(module)}) imports {name}"
        for module, names in imports_of(ROOT / "edge/seg_edge").items()
        if module not in FREE
        for name in names - FREE
        if folder_of(name) not in FOLDERS[folder_of(module)] | {folder_of(module)}
    ]
    assert not offences
