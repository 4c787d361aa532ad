"""Suites of photos with masks and the models to score on them, read from a TOML file like `benchmarks/suites.toml`.

    [[suite]]
    name = "class"
    data = "../class"                       # folder of images/ and masks/, relative to the TOML file
    split = "../runs/full/split.json"       # the training's, so that only unseen photos are scored
    part = "test"                           # of the split, or else of the folder's index.csv
    classes = ["grey", "hoodie", "orange"]  # if the folder has no labels.txt
    clips = "../clips"                      # a video or a folder of them, for flicker
    peers = false                           # whether to score the models of peers.py too
    models = [
        { name = "full", file = "../runs/full/model.keras", role = "full" },  # the others were made from it
        { name = "full, 256x256", file = "../runs/full/model.keras", role = "full", size = 256 },
        "../runs/small/default/model.tflite",
        "person",
    ]

`data = "drawn"` stands for pictures drawn by the program, with exact masks, so any machine has them. A suite whose data
is missing is left out, with a note.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from seg_edge.apps.bench.candidates import Candidate, candidate
from seg_edge.card import ModelCard, append_card, make_classes
from seg_edge.errors import DataError, UsageError
from seg_edge.evaluation.data_folder import Example, check_examples, class_names, find_examples, held_out_examples
from seg_edge.photo.write import write_picture
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.synthetic import SyntheticSource
from seg_edge.system.files import write_file

SUITES = Path(__file__).with_name("suites.toml")
DRAWN = "drawn"
DRAWN_EVERY = 30  # frames: a picture per second of the 24 after which the drawn person repeats
DRAWN_PICTURES = 24
CLIP_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
Text = Annotated[str, Field(min_length=1)]


class ModelEntry(BaseModel):
    """A model in the TOML file: a table, or just its file or name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    file: Text
    name: Text = ""
    role: Literal["model", "full"] = "model"
    size: PositiveInt | None = None
    about: str = ""

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if self.name == "reference":
            raise ValueError("the name 'reference' is reserved for the model that times are divided by")
        return self


class SuiteEntry(BaseModel):
    """A suite in the TOML file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[\w-]+$")]  # files are named after it
    data: Text
    split: Text | None = None
    part: Text | None = None
    classes: list[Text] | None = None
    clips: Text | None = None
    peers: bool = False
    models: list[Annotated[ModelEntry, BeforeValidator(lambda m: {"file": m} if isinstance(m, str) else m)]] = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.name == DRAWN) != (self.data == DRAWN):
            raise ValueError(f"name and data must both be {DRAWN!r}, or neither")
        if self.split and not self.part:
            raise ValueError("a split needs a part, such as 'test'")
        return self


class SuiteFile(BaseModel):
    """The TOML file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    suite: list[SuiteEntry]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [suite.name for suite in self.suite]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two suites are called {twice!r}; rename one")
        return self


@dataclass(frozen=True)
class Suite:
    """Photos with masks, and the models to score on them.

    Attributes:
        name: The suite's name.
        examples: Photos that none of the models was trained on.
        classes: Names, background first.
        candidates: The models.
        clips: Videos for the flicker score.
        peers: Whether to score other people's models too.
    """

    name: str
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    clips: tuple[Path, ...] = ()
    peers: bool = False


def read_suites(path: Path, work: Path) -> tuple[list[Suite], list[str]]:
    """The suites whose data is available, and a note on each missing part.

    Args:
        path: The TOML file.
        work: Folder for drawn pictures and converted models.

    Raises:
        UsageError: The file is not as described in this module.
        SegEdgeError: Data or a model exists but can't be used.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"{path}: not TOML ({error}).") from error
    try:
        entries = SuiteFile.model_validate(document).suite
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ").partition("\n")[0]
        raise UsageError(f"{path}: {field + ': ' if field else ''}{message}; see benchmarks/suites.py.") from error
    suites: list[Suite] = []
    missing: list[str] = []
    for entry in entries:
        suite, absent = _read_suite(entry, path.parent, work)
        missing += [f"{entry.name}: {sentence}" for sentence in absent]
        suites += [suite] if suite else []
    return suites, missing


def _read_suite(entry: SuiteEntry, base: Path, work: Path) -> tuple[Suite | None, list[str]]:
    folder = _draw(work / DRAWN) if entry.data == DRAWN else base / entry.data
    split = base / entry.split if entry.split else None
    if not folder.is_dir():
        return None, [f"not scored because there is no folder {entry.data} (docs/data.md lists sources of photos)"]
    if split and not split.is_file():
        return None, [f"not scored because {entry.split}, where train/fit.py lists the unseen photos, is missing"]
    classes = class_names(folder, entry.classes)
    examples = held_out_examples(folder, entry.part, split)[0] if entry.part else find_examples(folder)
    check_examples(examples, classes)
    candidates, missing = _candidates(entry.models, base, work, classes)
    clips = _find_clips(base / entry.clips) if entry.clips else ()
    if entry.clips and not clips:
        missing.append(f"flicker not measured because there is no video {entry.clips}")
    return Suite(entry.name, examples, classes, candidates, clips, entry.peers), missing


def _candidates(
    models: Sequence[ModelEntry], base: Path, work: Path, classes: tuple[str, ...]
) -> tuple[tuple[Candidate, ...], list[str]]:
    candidates, missing = [], []
    for model in models:
        is_file = Path(model.file).suffix in (".tflite", ".keras")
        if is_file and not (base / model.file).is_file():
            missing.append(f"{model.name or model.file} not measured because there is no {model.file}")
            continue
        file: str | Path = base / model.file if is_file else model.file
        if str(file).endswith(".keras"):
            file = convert_keras(Path(file), classes, model.size, work)
        found = candidate(file, model.name, model.role, model.about)
        names = found.open(1).card.class_names
        if names != classes:
            raise DataError(f"{model.file} has the classes {', '.join(names)}; the suite has {', '.join(classes)}.")
        candidates.append(found)
    return tuple(candidates), missing


def unique(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each model once, even if it is in several suites.

    Raises:
        UsageError: Different models have the same name.
    """
    by_name: dict[str, Candidate] = {}
    for found in candidates:
        known = by_name.setdefault(found.name, found)
        if known.file != found.file:
            raise UsageError(f"two models are called {found.name!r}: {known.file} and {found.file}; rename one.")
    return list(by_name.values())


def convert_keras(model: Path, classes: tuple[str, ...], size: int | None, work: Path) -> Path:
    """The `.keras` as a float32 `.tflite` in `work`, at another input size if given; converted only once.

    Raises:
        ModelError: It can't be read or converted.
    """
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    out = work / f"{model.parent.name}-{digest[:12]}{f'-{size}' if size else ''}.tflite"
    if not out.is_file():
        from convert.quantisation.converter import convert_float
        from train.keras_model import at_size, load_keras

        network = load_keras(model)
        network = at_size(network, (size, size)) if size else network
        height, width = network.input_shape[1:3]
        card = ModelCard(model.parent.name, make_classes(classes), (width, height), parent_sha256=digest)
        write_file(out, append_card(convert_float(network, "float32"), card))
    return out


def _find_clips(path: Path) -> tuple[Path, ...]:
    """A video, or the videos in a folder; empty if there are none."""
    if path.is_dir():
        return tuple(sorted(p for p in path.glob("*") if p.suffix in CLIP_SUFFIXES))
    return (path,) if path.is_file() else ()


def _draw(folder: Path) -> Path:
    """A data folder of drawn pictures with exact masks."""
    source = SyntheticSource(SourceRequest("synthetic", (256, 256)))
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "labels.txt").write_text("background\nperson\n")
    for number in range(DRAWN_PICTURES):
        index = number * DRAWN_EVERY
        write_picture(folder / "images" / f"drawn_{number:02}.png", source.frame(index))
        write_picture(folder / "masks" / f"drawn_{number:02}.png", source.truth(index))
    return folder
