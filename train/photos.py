"""The photos in a folder, or the error that there are none."""

from __future__ import annotations

from pathlib import Path

from seg_edge.photo.find import find_photos


def photos_in(folder: Path) -> list[Path]:
    """The photos right inside a folder, photo2 before photo10.

    Raises:
        PhotoError: It holds none, or can't be listed.
    """
    found = find_photos([str(folder)])
    for error in found.failures.values():
        raise error
    return found.paths
