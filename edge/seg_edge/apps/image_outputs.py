"""Where the results of photos go: names that no two photos share and that file systems accept."""

from __future__ import annotations

import hashlib
import os
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
class OutputPath:
    """Where results go, as `--out` says.

    Attributes:
        folder: For all results; None for each photo's own folder.
        file: For the picture, if there is one photo; None for a name derived from the photo's.
    """

    folder: Path | None = None
    file: Path | None = None


def choose_output(out: str | None, several: bool) -> OutputPath:
    """Reads `--out`: a file if it ends like a picture's name and isn't an existing folder, else a folder.

    Args:
        out: The option's value, None if it was not given. `-` is standard output.
        several: There is more than one photo.

    Raises:
        UsageError: It is one file, but there are several photos; or it ends like a format that can't be written.
    """
    if out is None:
        return OutputPath()
    path = Path(out)
    suffix = path.suffix.lower()
    if path != STREAM and (out.endswith(("/", os.sep)) or path.is_dir() or suffix not in {*FORMATS, *_UNWRITABLE}):
        return OutputPath(folder=path)
    if suffix in _UNWRITABLE:
        raise UsageError(f"--out {out}: pictures are written as .jpg, .png or .webp; choose one of these.")
    if several:
        raise UsageError(f"--out {out} is one file, but there are several photos; for a folder, end it in '/'.")
    return OutputPath(file=path)


_UNWRITABLE = {".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe"}


def result_stems(photos: Sequence[Path], folders: Sequence[Path]) -> list[str]:
    """The stems of the names of each photo's results.

    That is the photo's name without its suffix; with it if names would clash, as for `a.jpg` and `a.png`; plus a number
    if names still clash. Earlier results are ignored.

    Args:
        photos: Their paths.
        folders: Where the results of each go.
    """

    def key(index: int, name: str) -> tuple[str, str]:
        return os.path.abspath(folders[index]), name.casefold()

    by_stem: dict[tuple[str, str], list[int]] = {}
    for index, photo in enumerate(photos):
        by_stem.setdefault(key(index, photo.stem), []).append(index)
    clashing = set[int]()
    for indices in by_stem.values():
        if len(indices) > 1:
            real = [index for index in indices if not is_result(photos[index])]
            clashing.update(real if len(real) > 1 else ())

    stems, taken = [], set()
    for index, photo in enumerate(photos):
        first = stem = photo.name if index in clashing else photo.stem
        number = 1
        while key(index, stem) in taken:
            number += 1
            stem = f"{first}.{number}"
        taken.add(key(index, stem))
        stems.append(stem)
    return stems


def fit_name(stem: str, ending: str) -> str:
    """`stem + ending`; beyond 255 bytes the stem is cut, and six digits of its SHA-256 are added."""
    room = MAX_NAME_BYTES - len(os.fsencode(ending))
    if len(os.fsencode(stem)) <= room:
        return stem + ending
    digest = hashlib.sha256(os.fsencode(stem)).hexdigest()[:6]
    while len(os.fsencode(stem)) > room - 7:
        stem = stem[:-1]
    return f"{stem}~{digest}{ending}"


def result_paths(out: OutputPath, folder: Path, stem: str, endings: Mapping[str, str]) -> dict[str, Path]:
    """The files of one photo's results by kind; the first kind is the picture, which `out.file` is for.

    Args:
        out: Where results go.
        folder: Where they go without `out.file`.
        stem: From `result_stems`.
        endings: Such as `.overlay.jpg`, by kind.
    """
    if out.file is None:
        return {kind: folder / fit_name(stem, ending) for kind, ending in endings.items()}
    picture = next(iter(endings))
    others = {kind: ending for kind, ending in endings.items() if kind != picture}
    return {
        picture: out.file,
        **{kind: out.file.parent / fit_name(out.file.stem, ending) for kind, ending in others.items()},
    }


def is_result(path: Path) -> bool:
    """Whether seg-edge made a picture, by the mark in its file."""
    try:
        return read_header(path).is_result
    except PhotoError:
        return False
