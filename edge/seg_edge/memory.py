"""Frames come and go, and the memory they leave is taken again at once: it need not be given back in between."""

from __future__ import annotations

import contextlib
import ctypes

# glibc's malloc.h, and mallopt(3): blocks from so many bytes on are mapped one by one, and so much free memory at the
# end of a heap is given back. By default both begin at 128 KiB and grow, and each 640x480 frame then costs 225 page
# faults, a quarter of a millisecond or more.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
MAPPED_BYTES = 32 << 20  # the largest that glibc accepts
KEPT_BYTES = 128 << 20


def keep_freed_memory() -> None:
    """Has the C library keep up to 128 MiB of freed memory for this process; does nothing where it isn't glibc."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
