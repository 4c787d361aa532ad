"""The photos that files, folders and globs name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from seg_edge.errors import PhotoError
from seg_edge.photo.read import one_line_name, photo_error

PHOTO_SUFFIXES: frozenset[str] = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def find_photos(arguments: Sequence[str]) -> tuple[list[Path], dict[str, PhotoError]]:
    """The photos that files, folders and globs name, each once, in the order given.

    A file is kept whatever it is called, even if it is missing, so that reading it says what is
    wrong. A folder gives the photos right inside it, a glob (`**` goes into folders) those that
    match, both with photo2 before photo10 and without hidden files.

    Returns:
        (photos, failures): the error of each folder or glob in which there is no photo.
    """
    found: dict[str, Path] = {}
    failures: dict[str, PhotoError] = {}
    for argument in arguments:
        try:
            for path in _expand(argument):
                found.setdefault(os.path.normcase(os.path.abspath(path)), path)
        except PhotoError as error:
            failures[argument] = error
    return list(found.values()), failures


def _expand(argument: str) -> list[Path]:
    if not argument:
        raise PhotoError("An empty name was given for a photo; name a file, a folder or a glob.")
    looked_for = f"looked for {' '.join(sorted(PHOTO_SUFFIXES))}"
    if os.path.isdir(argument):
        try:
            with os.scandir(argument) as entries:
                # A broken link or a pipe named like a photo stays in: reading it says what's wrong.
                names = [entry.name for entry in entries if not entry.is_dir()]
        except OSError as error:
            raise photo_error(argument, f"can't be listed ({error.strerror}); check its permissions") from None
        paths = [Path(argument, name) for name in names if not name.startswith(".") and _is_photo(name)]
        if not paths:
            raise PhotoError(f"No photos in {one_line_name(argument)}: {looked_for}.")
    elif glob.has_magic(argument) and not os.path.lexists(argument):
        # '*.heic' asks for HEIC, and reading says why it can't be; '*' asks for photos.
        spelt = not glob.has_magic(os.path.splitext(argument)[1] or "*")
        matches = [name for name in glob.glob(argument, recursive=True) if not os.path.isdir(name)]
        paths = [Path(name) for name in matches if spelt or _is_photo(name)]
        if not paths:
            raise PhotoError(f"No photos match {one_line_name(argument)}: {looked_for}.")
    else:
        return [Path(argument)]
    return sorted(paths, key=natural_order)


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES


def natural_order(path: Path) -> tuple[list[list[str | int]], str]:
    """Sort key by which photo2 comes before photo10, folder by folder."""
    # Splitting by a group alternates text and digits, so like is compared with like.
    parts = [re.split(r"([0-9]+)", part.casefold()) for part in path.parts]
    return [[int(s) if i % 2 else s for i, s in enumerate(part)] for part in parts], str(path)
