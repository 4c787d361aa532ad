"""YOLO's segmentation labels, a text file per photo. A line is a class number and an outline in shares of the sides.

https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from seg_edge.errors import DataError
from seg_edge.photo.read import read_header
from train.annotations.region import BrokenRowError, Collector, Region, number, outline_of


def is_yolo(text: str) -> bool:
    """Whether a text file is empty or its first line is a YOLO label: a class number, then numbers from 0 to 1."""
    words = text.split("\n", 1)[0].split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return False
    return not words or (
        len(words) >= 5 and words[0].isdecimal() and all(-0.5 <= value <= 1.5 for value in numbers[1:])
    )


def read_yolo(files: Sequence[Path], photos: Mapping[str, Path], names: Sequence[str], found: Collector) -> None:
    """Adds the regions of all label files to `found`.

    Args:
        files: The text files.
        photos: The photos by their stem in lower case.
        names: Class names by number.
        found: Receives the regions.

    Raises:
        DataError: A file belongs to no photo.
    """
    for path in files:
        photo = photos.get(path.stem.casefold())
        if photo is None:
            raise DataError(f"{path}: no photo has this name; give the photos' folder with --photos.")
        size_wh = read_header(photo).upright_size_wh
        found.add(photo.name, path.name, lambda: None)
        for index, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            if line.strip():
                where = f"{path.name}:{index}"
                found.add(photo.name, where, partial(_region, line, where, size_wh, names))


def _region(line: str, where: str, size_wh: tuple[int, int], names: Sequence[str]) -> Region:
    first, *rest = line.split()
    if not first.isdecimal() or int(first) >= len(names):
        raise BrokenRowError(f"class {first!r} is not one of {', '.join(names) or 'the names'}; is data.yaml missing?")
    if len(rest) == 4:
        raise BrokenRowError("it is a box (4 numbers), not an outline; export segmentation labels")
    if len(rest) % 2:
        raise BrokenRowError(f"an outline needs pairs of x and y, got {len(rest)} numbers")
    shares = np.array([number(value, "share") for value in rest]).reshape(-1, 2)
    return Region(names[int(first)], outline_of(shares * size_wh), where)
