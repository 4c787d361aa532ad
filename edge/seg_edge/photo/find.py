"""The photos that files, folders and globs name."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seg_edge.errors import PhotoError
from seg_edge.photo.read import one_line_name, photo_error

PHOTO_SUFFIXES: frozenset[str] = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".tif", ".tiff"),
        *(".heic", ".heif", ".hif", ".avif"),
    }
)
NO_SUFFIX = "file without a suffix"
LOOKED_FOR = f"looked for {' '.join(sorted(PHOTO_SUFFIXES))}"


@dataclass
class FoundPhotos:
    """What files, folders and globs hold.

    Attributes:
        paths: The photos, each once.
        failures: The error of each folder that can't be listed, and of each folder or glob without photos.
        below: For a photo found in a folder, its own folder relative to that one; `.` directly inside it.
        left_out: How many entries of folders were left out, by kind.
    """

    paths: list[Path] = field(default_factory=list)
    failures: dict[str, PhotoError] = field(default_factory=dict)
    below: dict[Path, Path] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def find_photos(arguments: Sequence[str], recursive: bool = False) -> FoundPhotos:
    """The photos that files, folders and globs name, each once, in the order given.

    A file is kept whatever its name, even if it is missing, so that reading it reports what is wrong. A folder gives
    the photos directly inside it, with `recursive` also those in its subfolders; a glob (`**` goes into folders) gives
    those that match. Both sort photo2 before photo10 and leave out hidden files. Links to folders are not followed.
    """
    found = FoundPhotos()
    seen: set[str] = set()
    for argument in arguments:
        try:
            for path in _expand(argument, recursive, found):
                key = os.path.normcase(os.path.abspath(path))
                if key not in seen:
                    seen.add(key)
                    found.paths.append(path)
        except PhotoError as error:
            found.failures[argument] = error
    return found


def _expand(argument: str, recursive: bool, found: FoundPhotos) -> list[Path]:
    if not argument:
        raise PhotoError("An empty name was given for a photo; name a file, a folder or a glob.")
    if os.path.isdir(argument):
        paths = list(_in_folder(Path(argument), recursive, found))
        if not paths and str(Path(argument)) not in found.failures:
            raise PhotoError(f"No photos in {one_line_name(argument)}: {LOOKED_FOR}.")
        for path in paths:
            found.below[path] = path.parent.relative_to(argument)
    elif glob.has_magic(argument) and not os.path.lexists(argument):
        # '*.mov' asks for videos, and reading reports why they can't be read; '*' asks for photos.
        has_suffix = not glob.has_magic(os.path.splitext(argument)[1] or "*")
        paths = []
        for name in glob.glob(argument, recursive=True):
            if os.path.isdir(name):
                found.left_out["folder"] += "**" not in argument
            elif has_suffix or is_photo_name(name):
                paths.append(Path(name))
            else:
                found.left_out[_kind(name)] += 1
        if not paths:
            raise PhotoError(f"No photos match {one_line_name(argument)}: {LOOKED_FOR}.")
    else:
        return [Path(argument)]
    return sorted(paths, key=natural_order)


def _in_folder(folder: Path, recursive: bool, found: FoundPhotos) -> Iterator[Path]:
    try:
        with os.scandir(folder) as scan:
            entries = list(scan)
    except OSError as error:
        failure = photo_error(folder, f"can't be listed ({error.strerror}); check its permissions")
        found.failures[str(folder)] = failure
        return
    for entry in entries:
        if entry.name.startswith("."):
            found.left_out["hidden file"] += 1
        elif entry.is_dir(follow_symlinks=False):
            if recursive:
                yield from _in_folder(folder / entry.name, recursive, found)
            else:
                found.left_out["folder"] += 1
        elif os.path.isdir(entry.path):
            found.left_out["linked folder"] += 1
        elif is_photo_name(entry.name):
            # A broken link or a pipe named like a photo stays in: reading it reports what is wrong.
            yield folder / entry.name
        else:
            found.left_out[_kind(entry.name)] += 1


def is_photo_name(name: str) -> bool:
    """Whether a file's name ends like that of a photo that can be read."""
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES


def _kind(name: str) -> str:
    return os.path.splitext(name)[1].lower()[:20] or NO_SUFFIX


def natural_order(path: Path) -> tuple[list[list[str | int]], str]:
    """A sort key that puts photo2 before photo10, folder by folder."""
    # Splitting by a group alternates text and digits, so text is compared with text and numbers with numbers.
    parts = [re.split(r"([0-9]+)", part.casefold()) for part in path.parts]
    return [[int(s) if i % 2 else s for i, s in enumerate(part)] for part in parts], str(path)
