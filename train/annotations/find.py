"""Finds the annotations in a file or folder, recognises their format by content, and reads them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from seg_edge.errors import DataError
from seg_edge.photo.find import PHOTO_SUFFIXES
from train.annotations.coco import is_coco, read_coco
from train.annotations.cvat import read_cvat
from train.annotations.label_studio import is_label_studio, read_label_studio
from train.annotations.labelme import is_labelme, read_labelme
from train.annotations.mask_files import Names, photo_of_mask, read_masks, read_table
from train.annotations.region import Collector, Region
from train.annotations.supervisely import is_supervisely, read_supervisely
from train.annotations.text import ACCEPTED, read_text
from train.annotations.yolo import is_yolo, read_yolo
from train.via.formats import is_via
from train.via.read import read_via

_MASKS = (".png", ".bmp", ".tif", ".tiff", ".gif")
_TABLES = ("labelmap.txt", "label_colors.txt", "class_dict.csv", "_classes.csv", "colors.txt", "colours.txt")
_NAMES = ("labels.txt", "classes.txt", "obj.names")
_DEEPEST = 4
# The order of https://host.robots.ox.ac.uk/pascal/VOC/, whose masks carry no names.
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@dataclass(frozen=True)
class Choices:
    """What the user specifies where the annotations don't.

    Attributes:
        attribute: VIA's region attribute that holds the class.
        label: The class of regions, and of white in masks, that have no class of their own.
        classes: Class names in the order of their numbers, without background.
        colours: A table of class names and colours.
    """

    attribute: str | None = None
    label: str = ""
    classes: tuple[str, ...] = ()
    colours: Path | None = None


@dataclass
class _Found:
    """The annotation files of each kind."""

    coco: list[Path] = field(default_factory=list)
    labelme: list[Path] = field(default_factory=list)
    supervisely: list[Path] = field(default_factory=list)
    label_studio: list[Path] = field(default_factory=list)
    via: list[Path] = field(default_factory=list)
    cvat: list[Path] = field(default_factory=list)
    yolo: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)


def read_annotations(path: Path, photos: Path, choices: Choices) -> dict[str, tuple[Region, ...]]:
    """Reads annotations of any tool.

    Args:
        path: A file, or a folder of files.
        photos: The folder of the annotated photos.
        choices: What the user specifies.

    Returns:
        Photo file name -> its regions in drawing order; () for a photo without regions.

    Raises:
        DataError: They can't be used; the message says why, or what to give instead.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; give {ACCEPTED}.")
    if not photos.is_dir():
        raise DataError(f"{photos} is not a folder of photos.")
    by_stem = {
        photo.stem.casefold(): photo for photo in sorted(photos.iterdir()) if photo.suffix.lower() in PHOTO_SUFFIXES
    }
    files = _Found()
    for file in _files(path, photos, by_stem):
        _sort(file, files, given=file == path)
    kinds = {kind: paths for kind, paths in vars(files).items() if paths}
    if not kinds:
        raise DataError(f"{path} holds no readable annotations; give {ACCEPTED}.")
    if len(kinds) > 1 and "masks" in kinds:
        del kinds["masks"]  # pictures next to a file of outlines
    if len(kinds) > 1:
        listed = "; ".join(f"{kind}: {paths[0]}" for kind, paths in kinds.items())
        raise DataError(f"{path} holds annotations of several kinds ({listed}); give the file or folder of one.")
    (kind, chosen), found = next(iter(kinds.items())), Collector(path)
    if kind == "via":
        return _read_via_files(chosen, choices)
    if kind in (readers := {"coco": read_coco, "labelme": read_labelme, "supervisely": read_supervisely}):
        for file in chosen:
            readers[kind](json.loads(read_text(file)), found, file.name)
    elif kind == "label_studio":
        for file in chosen:
            read_label_studio(json.loads(read_text(file)), by_stem, found, file.name)
    elif kind == "cvat":
        for file in chosen:
            read_cvat(ElementTree.fromstring(read_text(file)), found, file.name)
    elif kind == "yolo":
        read_yolo(chosen, by_stem, _yolo_names(path, choices), found)
    else:
        read_masks(chosen, by_stem, _mask_names(path, choices), found)
    return found.result()


def _read_via_files(files: Sequence[Path], choices: Choices) -> dict[str, tuple[Region, ...]]:
    """One export, or one file per photo as `seg-edge image --polygons via` writes them."""
    found: dict[str, tuple[Region, ...]] = {}
    for file in files:
        regions = read_via(file, choices.attribute, choices.label)
        if twice := sorted(found.keys() & regions.keys()):
            raise DataError(f"{file}: {twice[0]} is annotated in another file too; give only one of the two.")
        found.update(regions)
    return found


def _files(path: Path, photos: Path, by_stem: Mapping[str, Path]) -> Iterator[Path]:
    """The file, or all files in the folder and its subfolders, except the photos themselves.

    Next to its photo `cat.jpg`, `cat_mask.png` is a mask.
    """
    if path.is_file():
        yield path
        return
    folder = path / "SegmentationClass" if (path / "SegmentationClass").is_dir() else path
    same = folder.resolve() == photos.resolve()
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if not file.is_file() or len(inside.parts) > _DEEPEST or any(part.startswith(".") for part in inside.parts):
            continue
        in_photos, is_picture = file.resolve().parent == photos.resolve(), file.suffix.lower() in PHOTO_SUFFIXES
        is_mask = file.suffix.lower() in _MASKS and photo_of_mask(file, by_stem) is not None
        if in_photos and not (same and (is_mask or not is_picture)):
            continue
        yield file


def _sort(file: Path, files: _Found, given: bool) -> None:
    """Adds a file to those of its format; one without annotations is skipped, or refused if it was given by name."""
    suffix = file.suffix.lower()
    if suffix in _MASKS:
        files.masks.append(file)
        return
    if suffix in PHOTO_SUFFIXES or file.name in (*_TABLES, *_NAMES):
        if given:
            raise DataError(f"{file} is not an annotation file; give {ACCEPTED}.")
        return
    text = read_text(file) if given or suffix in (".json", ".csv", ".tsv", ".txt", ".xml", "") else ""
    start = text.lstrip()[:1]
    if start in ("{", "["):
        _sort_json(file, text, files, given)
    elif start == "<":
        _sort_xml(file, text, files, given)
    elif is_via(text):
        files.via.append(file)
    elif suffix == ".txt" and is_yolo(text):
        files.yolo.append(file)
    elif given and suffix in (".yaml", ".yml"):
        raise DataError(f"{file} only names YOLO's classes; give the folder of its labels.")
    elif given:
        raise DataError(f"{file} is not in a known annotation format; it begins with {text[:40]!r}. Give {ACCEPTED}.")


def _sort_json(file: Path, text: str, files: _Found, given: bool) -> None:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not valid JSON: {error}.") from error
    if is_coco(data):
        files.coco.append(file)
    elif is_labelme(data):
        files.labelme.append(file)
    elif is_label_studio(data):
        files.label_studio.append(file)
    elif is_supervisely(data):
        files.supervisely.append(file)
    elif is_via(text):
        files.via.append(file)
    elif given:
        raise DataError(f"{file} is JSON, but not in a known annotation format; give {ACCEPTED}.")


def _sort_xml(file: Path, text: str, files: _Found, given: bool) -> None:
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise DataError(f"{file} declares entities, which no annotation tool writes; export it again.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{file} is not valid XML: {error}.") from error
    if root.tag == "annotations":
        files.cvat.append(file)
    elif given:
        raise DataError(
            f"{file}: Pascal VOC's XML holds boxes; give its folder of masks, SegmentationClass."
            if root.tag == "annotation"
            else f"{file} is XML, but not from CVAT; give {ACCEPTED}."
        )


def _find_nearby(path: Path, names: Sequence[str]) -> Path | None:
    """The first of these files found in the folder or the two above it."""
    folder = path if path.is_dir() else path.parent
    for parent in (folder, folder.parent, folder.parent.parent):
        for name in names:
            if (parent / name).is_file():
                return parent / name
    return None


def _yolo_names(path: Path, choices: Choices) -> tuple[str, ...]:
    if choices.classes:
        return choices.classes
    description = _find_nearby(path, ("data.yaml", "data.yml", "dataset.yaml"))
    if description:
        try:
            names = yaml.safe_load(read_text(description)).get("names") or ()
            if isinstance(names, dict):  # in any order, perhaps with gaps
                by_number = {int(number): name for number, name in names.items()}
                names = [by_number.get(number, f"class {number}") for number in range(max(by_number) + 1)]
        except (yaml.YAMLError, AttributeError, ValueError) as error:
            raise DataError(f"{description} does not describe a YOLO dataset ({error}).") from error
        return tuple(str(name) for name in names)
    listed = _find_nearby(path, _NAMES)
    return _lines(listed) if listed else ((choices.label,) if choices.label else ())


def _mask_names(path: Path, choices: Choices) -> Names:
    table = choices.colours or _find_nearby(path, _TABLES)
    ordered, colours = read_table(table) if table else ((), {})
    if choices.classes:
        return Names(("background", *choices.classes), colours, choices.label)
    listed = None if ordered else _find_nearby(path, _NAMES)
    if listed:
        return Names(_lines(listed), colours, choices.label)
    is_voc = path.name == "SegmentationClass" or (path / "SegmentationClass").is_dir()
    return Names(ordered or (VOC_CLASSES if is_voc else ()), colours, choices.label)


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
