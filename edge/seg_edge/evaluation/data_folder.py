"""A data folder: its photos and masks, and whether they match.

It holds `images/`, `masks/` (8-bit label maps, `<stem>.png`, at the upright photo's size; 0 is background, 255 marks
pixels that don't count) and `labels.txt` (one class name per line, background first), as `train/masks.py` writes them.
An optional `index.csv` with the columns `name` and `split` assigns the photos to parts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import DataError
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.photo.find import PHOTO_SUFFIXES
from seg_edge.photo.read import read_header, read_photo
from seg_edge.preprocess import resize_to_input

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Example:
    """One annotated photo."""

    image: Path
    mask: Path

    @property
    def name(self) -> str:
        """The photo's file name without suffix."""
        return self.image.stem

    def load(self, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The photo, RGB uint8 (h, w, 3), resized as at run time, and its label map, uint8 (h, w); both `size_wh`."""
        image = resize_to_input(read_photo(self.image), size_wh)
        return image, cv2.resize(self.load_mask(), size_wh, interpolation=cv2.INTER_NEAREST_EXACT)

    def load_pair(self) -> tuple[np.ndarray, np.ndarray]:
        """The upright photo, BGR uint8 (height, width, 3), and its label map, uint8 (height, width).

        Raises:
            DataError: They differ in size.
        """
        frame, mask = read_photo(self.image), self.load_mask()
        if mask.shape != frame.shape[:2]:
            raise DataError(
                f"{self.mask}: the mask is {mask.shape[1]}x{mask.shape[0]}, "
                f"its upright photo {frame.shape[1]}x{frame.shape[0]}."
            )
        return frame, mask

    def load_mask(self) -> np.ndarray:
        """The label map, uint8 (height, width), at the upright photo's size.

        Raises:
            DataError: It is not an 8-bit single-channel PNG.
        """
        content = np.fromfile(self.mask, np.uint8)
        mask = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
        if mask is None or mask.dtype != np.uint8 or mask.ndim != 2:
            raise DataError(
                f"{self.mask}: a mask is an 8-bit PNG with one channel of class numbers; "
                "make it with train/masks.py, or save it without a palette."
            )
        return mask


def find_examples(folder: Path) -> tuple[Example, ...]:
    """Every photo of the folder with its mask, in the order of names.

    Raises:
        DataError: The folder isn't a data folder, or a photo has no mask or shares one.
    """
    images, masks = folder / "images", folder / "masks"
    if not images.is_dir() or not masks.is_dir():
        raise DataError(
            f"{folder}: a data folder holds images/ and masks/; make one from annotations with train/masks.py."
        )
    photos = sorted(
        path for path in images.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")
    )
    if not photos:
        raise DataError(f"{images}: no photos in it.")
    mask_of = {path.stem: path for path in masks.iterdir() if path.suffix.lower() == ".png"}
    without_mask = [path.name for path in photos if path.stem not in mask_of]
    if without_mask:
        raise DataError(
            f"{masks}: {len(without_mask)} of {len(photos)} photos have no mask, first {without_mask[0]!r}; "
            "a photo without any of the classes needs a mask of zeros."
        )
    stems = [path.stem for path in photos]
    if len(set(stems)) < len(stems):
        repeated = next(stem for stem in stems if stems.count(stem) > 1)
        raise DataError(f"{images}: two photos are called {repeated!r} and share a mask; rename one.")
    return tuple(Example(path, mask_of[path.stem]) for path in photos)


def class_names(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Class names, background first, from `labels.txt` or as given.

    Raises:
        DataError: There are none, or they aren't valid.
    """
    path = folder / "labels.txt"
    if classes is not None:
        _check_names(classes, "--classes")
        if not classes or "background" in classes or len(set(classes)) < len(classes):
            raise DataError(
                f"--classes: different names without 'background' were expected, got {', '.join(classes)!r}."
            )
    if not path.is_file():
        if classes is None:
            raise DataError(
                f"{folder}: no labels.txt, so the classes have no names; add one (background first, "
                "one name per line) or give --classes."
            )
        return ("background", *classes)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}, byte {error.start}); save it as UTF-8.") from error
    names = tuple(line.strip() for line in text.split("\n") if line.strip())
    _check_names(names, str(path))
    if len(names) < 2 or names[0] != "background" or len(set(names)) < len(names):
        raise DataError(
            f"{path}: 'background' was expected in the first line and a different class in each other line."
        )
    if classes is not None and names[1:] != tuple(classes):
        raise DataError(f"{path} names {', '.join(names[1:])}, but --classes says {', '.join(classes)}.")
    return names


def _check_names(names: Sequence[str], origin: str) -> None:
    unprintable = [name for name in names if not name or not name.isprintable()]
    if unprintable:
        raise DataError(f"{origin}: the class name {unprintable[0]!a} is empty or can't be printed; give it another.")


def check_examples(examples: Sequence[Example], names: Sequence[str]) -> list[frozenset[int]]:
    """The foreground classes in each mask.

    Raises:
        DataError: A mask doesn't match its photo or the classes; the message names the first five.
    """

    def inspect(example: Example) -> tuple[frozenset[int], str]:
        mask = example.load_mask()
        size_wh = read_header(example.image).upright_size_wh
        if size_wh != (mask.shape[1], mask.shape[0]):
            problem = (
                f"{example.mask.name} is {mask.shape[1]}x{mask.shape[0]}, its upright photo {size_wh[0]}x{size_wh[1]}"
            )
            return frozenset(), problem
        values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        unknown = [int(v) for v in values if len(names) <= v != IGNORE]
        if unknown:
            return frozenset(), f"{example.mask.name} holds the value {unknown[0]}"
        return frozenset(int(v) for v in values if 0 < v < len(names)), ""

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(inspect, examples))
    problems = [problem for _, problem in found if problem]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DataError(
            f"{examples[0].mask.parent}: masks must hold class numbers 0 to {len(names) - 1} (255: doesn't count) at "
            f"the upright photo's size, but {shown}."
        )
    if not any(present for present, _ in found):
        raise DataError(
            f"{examples[0].mask.parent}: no mask holds a class, only 0 and {IGNORE} (doesn't count); "
            f"save class numbers, 1 for {names[1]!r} and so on, where other tools write {IGNORE}."
        )
    return [present for present, _ in found]


def assigned_splits(folder: Path, examples: Sequence[Example]) -> dict[Example, str] | None:
    """Parts by `index.csv`; None without one.

    If it has no `test`, its `val` is the test part, as nothing is selected on it.

    Raises:
        DataError: A photo is in no part.
    """
    path = folder / "index.csv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = {row.get("name"): row.get("split") for row in csv.DictReader(stream)}
    parts = {example: rows.get(example.name) or "" for example in examples}
    unassigned = [example.name for example, part in parts.items() if part not in PARTS]
    if unassigned:
        raise DataError(
            f"{path}: {len(unassigned)} photos have no split of train, val or test there, first {unassigned[0]!r}."
        )
    if "test" not in parts.values():
        parts = {example: "test" if part == "val" else part for example, part in parts.items()}
    return parts


def held_out_examples(folder: Path, part: str, split: Path | None = None) -> tuple[tuple[Example, ...], bool]:
    """The photos of one part of the folder.

    Args:
        folder: A data folder.
        part: `train`, `val` or `test`.
        split: A training's `split.json`, which lists the parts; if None, the folder's `index.csv` does.

    Returns:
        The photos, and whether these are all photos of the folder, because it has neither file.

    Raises:
        DataError: The split can't be used, or the part is empty.
    """
    examples = find_examples(folder)
    if split:
        try:
            names = set(json.loads(split.read_text(encoding="utf-8"))["parts"][part])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{split}: not a split with a part {part!r}; train/fit.py writes split.json.") from error
        chosen = tuple(example for example in examples if example.name in names)
    else:
        parts = assigned_splits(folder, examples)
        if parts is None:
            return examples, True
        chosen = tuple(example for example in examples if parts[example] == part)
    if not chosen:
        raise DataError(f"{folder}: its part {part!r} contains no photo.")
    return chosen, False
