"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seg_edge.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; at the block's end it is renamed to `path`, on an error removed.

    The temporary name keeps the suffix, by which encoders choose their format. Missing folders are made.

    Raises:
        OutputError: It can't be written; any OSError inside the block is taken for that.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error}); choose another place.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_file(path: Path, content: bytes) -> None:
    """Writes the whole file or nothing.

    Raises:
        OutputError: The folder can't be written to.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
