"""Where the results of photos go: names that no two photos share, of a length that file systems take."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seg_edge.errors import PhotoError, UsageError
from seg_edge.photo.read import read_header

SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
MAX_NAME_BYTES = 255  # of ext4, NTFS, APFS and exFAT
STREAM = Path("-")  # standard input, standard output


@dataclass(frozen=True)
class Place:
    """Where `--out` says that results go.

    Attributes:
        folder: For all results; None for each photo's own folder.
        file: For the picture of the one photo there is; None for a name after the photo's.
    """

    folder: Path | None = None
    file: Path | None = None


def choose_place(out: str | None, several: bool) -> Place:
    """What `--out` names: a file if it ends like a picture's, and neither ends in `/` nor is a folder; else a folder.

    Args:
        out: The option's value, None if it was not given. `-` is standard output.
        several: More than one photo may come.

    Raises:
        UsageError: It is one file, and there are several photos; or it ends like a picture that can't be written.
    """
    if out is None:
        return Place()
    path = Path(out)
    suffix = path.suffix.lower()
    if path != STREAM and (out.endswith(("/", os.sep)) or path.is_dir() or suffix not in {*FORMATS, *_UNWRITABLE}):
        return Place(folder=path)
    if suffix in _UNWRITABLE:
        raise UsageError(f"--out {out}: pictures are written as .jpg, .png or .webp; choose one of these.")
    if several:
        raise UsageError(f"--out {out} is one file, for one photo; for a folder end it in '/'.")
    return Place(file=path)


_UNWRITABLE = {".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe"}


def result_stems(photos: Sequence[Path], folders: Sequence[Path]) -> list[str]:
    """What the names of each photo's results begin with.

    That is the photo's name without its suffix; with it for all that would share a name, such as `a.jpg` and `a.png`;
    and with a number behind for those that would share even that. What an earlier run made counts for nothing.

    Args:
        photos: Their paths.
        folders: Where the results of each go.
    """

    def spot(index: int, name: str) -> tuple[str, str]:
        return os.path.abspath(folders[index]), name.casefold()

    by_stem: dict[tuple[str, str], list[int]] = {}
    for index, photo in enumerate(photos):
        by_stem.setdefault(spot(index, photo.stem), []).append(index)
    sharing = Counter[int]()
    for indices in by_stem.values():
        if len(indices) > 1:
            real = [index for index in indices if not is_result(photos[index])]
            sharing.update(real if len(real) > 1 else ())

    stems, taken = [], set()
    for index, photo in enumerate(photos):
        first = stem = photo.name if index in sharing else photo.stem
        number = 1
        while spot(index, stem) in taken:
            number += 1
            stem = f"{first}.{number}"
        taken.add(spot(index, stem))
        stems.append(stem)
    return stems


def fit_name(stem: str, ending: str) -> str:
    """`stem + ending`, the stem cut where that has more than 255 bytes, with six letters of its SHA-256 instead."""
    room = MAX_NAME_BYTES - len(os.fsencode(ending))
    if len(os.fsencode(stem)) <= room:
        return stem + ending
    digest = hashlib.sha256(os.fsencode(stem)).hexdigest()[:6]
    while len(os.fsencode(stem)) > room - 7:
        stem = stem[:-1]
    return f"{stem}~{digest}{ending}"


def result_paths(place: Place, folder: Path, stem: str, endings: Mapping[str, str]) -> dict[str, Path]:
    """The files of one photo's results by kind; the first kind is the picture, which `place.file` is for.

    Args:
        place: What `--out` says.
        folder: Where they go without `place.file`.
        stem: From `result_stems`.
        endings: Such as `.overlay.jpg`, by kind.
    """
    if place.file is None:
        return {kind: folder / fit_name(stem, ending) for kind, ending in endings.items()}
    picture = next(iter(endings))
    others = {kind: ending for kind, ending in endings.items() if kind != picture}
    return {
        picture: place.file,
        **{kind: place.file.parent / fit_name(place.file.stem, ending) for kind, ending in others.items()},
    }


def is_result(path: Path) -> bool:
    """Whether this package made a picture, by the mark in its file."""
    try:
        return read_header(path).is_result
    except PhotoError:
        return False
