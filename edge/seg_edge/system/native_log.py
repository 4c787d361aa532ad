"""Silence for native libraries that write to stderr past every switch they have."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Two threads that exchanged the descriptor at once could leave it exchanged. The same thread may nest.
_EXCHANGING = threading.RLock()


@contextmanager
def without_native_log() -> Iterator[None]:
    """Hides what C and C++ code, of LiteRT or FFmpeg for example, writes to stderr inside the block.

    For the whole process, so keep the block short; other threads that want the same wait.
    """
    with _EXCHANGING:
        try:
            saved = os.dup(2)
        except OSError:  # stderr is closed, as under some service managers
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)
