"""A process's memory: its peak, and keeping freed memory for the next frames."""

from __future__ import annotations

import contextlib
import ctypes
import re
from pathlib import Path

# glibc's malloc.h, and mallopt(3): blocks above the first size are mapped one by one, and free memory above the second
# at the end of a heap is returned. By default both start at 128 KiB and grow, and each 640x480 frame then costs 225
# page faults, a quarter of a millisecond or more.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
MAPPED_BYTES = 32 << 20  # the largest that glibc accepts
KEPT_BYTES = 128 << 20


def keep_freed_memory() -> None:
    """Makes glibc keep up to 128 MiB of freed memory for this process; does nothing with other C libraries."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def peak_mb(pid: int | str = "self") -> float:
    """The largest resident set a process has had, in 10^6 bytes; 0 if it has ended, or without Linux's /proc.

    Not `getrusage`, whose figure starts from that of the program that started this one.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    match = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 / 1e6 if match else 0.0


def available_bytes() -> int | None:
    """Memory that this process can still get without swapping; None without Linux's /proc.

    The smaller of the kernel's free memory and what the process's control group (version 2) has left.
    """
    try:
        match = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        group = re.search(r"^0::(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    except OSError:
        return None
    free = int(match[1]) * 1024 if match else None
    with contextlib.suppress(OSError, ValueError):  # no limit: the word `max`
        folder = Path("/sys/fs/cgroup", group[1].lstrip("/") if group else "")
        limit = int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
        free = limit if free is None else min(free, limit)
    return free
