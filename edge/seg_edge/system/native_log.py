"""Silences native libraries that write to stderr whatever their log level is."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class _Stderr:
    """Redirects descriptor 2 while any thread wants silence: the first one replaces it, the last one restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: int | None = None

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                with suppress(OSError):  # stderr is closed, as under some service managers
                    self._saved = os.dup(2)
                    null = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null, 2)
                    os.close(null)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._saved is not None:
                os.dup2(self._saved, 2)
                os.close(self._saved)
                self._saved = None


_stderr = _Stderr()


@contextmanager
def without_native_log() -> Iterator[None]:
    """Hides what C and C++ code, of LiteRT, FFmpeg or libjpeg for example, writes to stderr inside the block.

    For the whole process and from any number of threads, so keep the block short: what Python writes to stderr
    meanwhile is lost too, unless `keep_python_stderr` was called.
    """
    _stderr.enter()
    try:
        yield
    finally:
        _stderr.leave()


def keep_python_stderr() -> None:
    """Gives `sys.stderr` a descriptor of its own, so that `without_native_log` hides nothing that Python writes.

    For programs, when they start. Does nothing where stderr isn't the process's, as in a notebook.
    """
    with suppress(OSError, AttributeError, ValueError):
        if sys.stderr.fileno() == 2:
            # Unbuffered: otherwise what a full disk rejects would be retried at exit, and change the exit code.
            raw = os.fdopen(os.dup(2), "wb", 0)
            sys.stderr = io.TextIOWrapper(raw, sys.stderr.encoding, "backslashreplace", write_through=True)
