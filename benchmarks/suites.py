"""What is scored: photos with masks and the models for them, read from a TOML file such as `benchmarks/suites.toml`.

    [[suite]]
    name = "class"
    data = "../class"                       # folder of images/ and masks/, seen from the TOML file
    split = "../runs/full/split.json"       # of the training, so that only unseen photos are scored
    part = "test"                           # of the split; without a split, of the folder's index.csv
    classes = ["grey", "hoodie", "orange"]  # where the folder has no labels.txt
    clips = "../clips"                      # a video or a folder of them, for flicker
    peers = false                           # whether benchmarks/peers.py's are scored too
    models = [
        { name = "full", file = "../runs/full/model.keras", role = "full" },  # what the others are made of
        { name = "full, 256x256", file = "../runs/full/model.keras", role = "full", size = 256 },
        "../runs/small/default/model.tflite",
        "person",
    ]

`data = "drawn"` stands for pictures that the program draws, with exact masks: they are there on any machine. Each suite
is kept if its data is there; what isn't is said, and left out.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reporting.shapes import misfit
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
DRAWN_EVERY = 30  # frames, so a picture a second of the 24 until the drawn person repeats himself
DRAWN_PICTURES = 24
CLIP_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
KEYS = {"name", "data", "split", "part", "classes", "clips", "peers", "models"}
MODEL_KEYS = {"name", "file", "role", "size", "about"}


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


# See benchmarks.reporting.shapes.
MODEL = {
    "name?": _text,
    "file": _text,
    "role?": lambda value: value in ("model", "full"),
    "size?": lambda value: type(value) is int and value > 0,
    "about?": _text,
}
SHAPE = {
    "suite": [
        dict.fromkeys(("name", "data", "split?", "part?", "clips?"), _text)
        | {
            "classes?": [_text],
            "peers?": lambda value: isinstance(value, bool),
            "models?": lambda value: isinstance(value, list),
        }
    ]
}


@dataclass(frozen=True)
class Suite:
    """Photos with masks, and what is scored on them.

    Attributes:
        name: Of the photos.
        examples: Photos that none of the models has seen.
        classes: Names, background first.
        candidates: The models.
        clips: Videos for the flicker score.
        peers: Whether other people's models are scored too.
    """

    name: str
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    clips: tuple[Path, ...] = ()
    peers: bool = False


def read_suites(path: Path, work: Path) -> tuple[list[Suite], list[str]]:
    """The suites whose data is there, and a sentence on each part that isn't.

    Args:
        path: The TOML file.
        work: Folder for what is drawn and converted.

    Raises:
        UsageError: The file is not as the module says.
        SegEdgeError: Data or a model that is there can't be used.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"{path}: not TOML ({error}).") from error
    wrong = misfit(document, SHAPE)
    if wrong or set(document) != {"suite"}:
        raise UsageError(f"{path}: {wrong or min(set(document) - {'suite'})} is not as benchmarks/suites.py says.")
    suites: list[Suite] = []
    missing: list[str] = []
    for entry in document["suite"]:
        if entry["name"] in [suite.name for suite in suites]:
            raise UsageError(f"{path}: two suites are called {entry['name']!r}; name one otherwise.")
        suite, absent = _suite(entry, path.parent, work)
        missing += [f"{entry['name']}: {sentence}" for sentence in absent]
        suites += [suite] if suite else []
    return suites, missing


def _suite(entry: Mapping[str, Any], base: Path, work: Path) -> tuple[Suite | None, list[str]]:
    name, drawn = entry["name"], entry["data"] == DRAWN
    _check_suite(entry)
    folder = _draw(work / DRAWN) if drawn else base / entry["data"]
    split = base / entry["split"] if "split" in entry else None
    if not folder.is_dir():
        return None, [f"not scored, there is no folder {entry['data']} (docs/data.md says where photos come from)"]
    if split and not split.is_file():
        return None, [f"not scored, there is no {entry['split']} (train/fit.py writes it) to say what is unseen"]
    classes = class_names(folder, entry.get("classes"))
    examples = held_out_examples(folder, entry["part"], split)[0] if "part" in entry else find_examples(folder)
    check_examples(examples, classes)
    candidates, missing = _models(entry, base, work, classes)
    clips, absent = _clips(entry, base)
    return Suite(name, examples, classes, candidates, clips, entry.get("peers", False)), missing + absent


def _check_suite(entry: Mapping[str, Any]) -> None:
    """Refuses what would be misunderstood, or named so that it can't be a file."""
    name, strange = entry["name"], min(set(entry) - KEYS, default="")
    if strange:
        raise UsageError(f"suite {name!r}: {strange!r} means nothing there.")
    if not re.fullmatch(r"[\w-]+", name):
        raise UsageError(f"suite {name!r}: a name is of letters, digits, - and _, as files are called by it.")
    if (name == DRAWN) != (entry["data"] == DRAWN):
        raise UsageError(f"suite {name!r}: name and data are both {DRAWN!r} or neither; its pictures anyone may see.")
    if "split" in entry and "part" not in entry:
        raise UsageError(f"suite {name!r}: a split needs a part, such as 'test'.")


def _models(
    entry: Mapping[str, Any], base: Path, work: Path, classes: tuple[str, ...]
) -> tuple[tuple[Candidate, ...], list[str]]:
    candidates, missing = [], []
    for model in entry.get("models", []):
        given: dict[str, Any] = {"file": model} if isinstance(model, str) else model
        if misfit(given, MODEL) is not None or set(given) - MODEL_KEYS or given.get("name") == "reference":
            raise UsageError(f"suite {entry['name']!r}: {model} is no model; give a file, or a table with one.")
        name = given["file"]
        is_file = Path(name).suffix in (".tflite", ".keras")
        if is_file and not (base / name).is_file():
            missing.append(f"{given.get('name', name)} not measured, there is no {name}")
            continue
        file: str | Path = base / name if is_file else name
        if str(file).endswith(".keras"):
            file = convert_keras(Path(file), classes, given.get("size"), work)
        found = candidate(file, given.get("name", ""), given.get("role", "model"), given.get("about", ""))
        known = found.open(1).card.class_names
        if known != classes:
            raise DataError(f"{name} knows the classes {', '.join(known)}; {entry['name']} has {', '.join(classes)}.")
        candidates.append(found)
    return tuple(candidates), missing


def unique(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each model once, however many suites it is in."""
    by_name: dict[str, Candidate] = {}
    for which in candidates:
        known = by_name.setdefault(which.name, which)
        if known.file != which.file:
            raise UsageError(
                f"two models are called {which.name!r}: {known.file} and {which.file}; name one otherwise."
            )
    return list(by_name.values())


def convert_keras(model: Path, classes: tuple[str, ...], size: int | None, work: Path) -> Path:
    """The `.keras` as a float32 `.tflite` in `work`, at another input size if one is given; made once.

    Raises:
        ModelError: It can't be read or converted.
    """
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    out = work / f"{model.parent.name}-{digest[:12]}{f'-{size}' if size else ''}.tflite"
    if not out.is_file():
        from convert.pruning.narrow import at_size
        from convert.quantisation.converter import convert_float
        from train.keras_model import load_keras

        network = load_keras(model)
        network = at_size(network, (size, size)) if size else network
        height, width = network.input_shape[1:3]
        card = ModelCard(model.parent.name, make_classes(classes), (width, height), parent_sha256=digest)
        write_file(out, append_card(convert_float(network, "float32"), card))
    return out


def _clips(entry: Mapping[str, Any], base: Path) -> tuple[tuple[Path, ...], list[str]]:
    if "clips" not in entry:
        return (), []
    place = base / entry["clips"]
    clips = tuple(sorted(p for p in place.glob("*") if p.suffix in CLIP_SUFFIXES)) if place.is_dir() else (place,)
    if not clips or not clips[0].is_file():
        return (), [f"flicker not measured, there is no video {entry['clips']}"]
    return clips, []


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
