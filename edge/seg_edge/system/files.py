"""Files that are complete or absent: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seg_edge.errors import OutputError

_numbers = itertools.count()


def check_writable(path: Path) -> None:
    """Refuses a path that can't be written, before hours of work are spent on it. Missing folders are created.

    Raises:
        OutputError: It is a folder or a device, or its folder can't be created or written to.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: can't be written (a folder or a device, not a file); choose another location.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error}); choose another location.") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: can't be written (no permission in its folder); choose another location.")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder; at the block's end it is renamed to `path`, on an error removed.

    The temporary name keeps the suffix, by which encoders choose their format. Missing folders are created. An existing
    folder or device is refused at once: a folder would fail at the end, a device would be replaced by a file.

    Raises:
        OutputError: It can't be written; any OSError inside the block counts as that.
    """
    # A name of 255 bytes can't be extended, and two threads may write the same file at once.
    temporary = path.parent / f".{path.stem[:40]}.{os.getpid()}.{next(_numbers)}.tmp{path.suffix[:10]}"
    try:
        check_writable(path)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error}); choose another location.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_file(path: Path, content: bytes) -> None:
    """Writes the whole file or nothing.

    Raises:
        OutputError: The folder can't be written to.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
