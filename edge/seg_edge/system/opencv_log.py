"""Silences OpenCV's own log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2


@dataclass
class _Quiet:
    lock: threading.Lock = field(default_factory=threading.Lock)
    inside: int = 0
    level: int = 0


_quiet = _Quiet()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV's own log off stderr, from any number of threads: our own message says what is wrong."""
    # OpenCV 5 has the functions in cv2.utils.logging, 4.x in cv2. The level is per process, so the first thread sets it
    # and the last one restores it.
    log = getattr(getattr(cv2, "utils", None), "logging", cv2)
    with _quiet.lock:
        if not _quiet.inside:
            _quiet.level = log.getLogLevel()
            log.setLogLevel(0)
        _quiet.inside += 1
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.inside -= 1
            if not _quiet.inside:
                log.setLogLevel(_quiet.level)
