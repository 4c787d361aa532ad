"""The capture process: runs one source and hands its frames to the program through shared memory.

A camera driver may block forever in a call, or crash; in its own process it can be killed, and a crash affects nothing
else. `process.py` starts this process and defines the messages. Frames are also resized to the model's input here,
which keeps that work off the program's own threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import mmap
import os
import signal
import sys
import time
from collections import deque
from typing import Any

import numpy as np

from seg_edge.capture.channel import Channel
from seg_edge.capture.process import (
    MEMORY_BYTES,
    SLOTS,
    Ended,
    Failed,
    FrameReady,
    Opened,
    Start,
    slot_views,
)
from seg_edge.errors import SegEdgeError
from seg_edge.preprocess import resize_to_input
from seg_edge.sources.names import shown_name
from seg_edge.sources.source import Source, SourceFrame
from seg_edge.system.memory import keep_freed_memory

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Runs the process; its two arguments are the file descriptors of the connection and the shared memory."""
    pipe = Channel.of(int(sys.argv[1]))
    start = pipe.receive()
    assert isinstance(start, Start)
    _die_with(start.parent)
    keep_freed_memory()
    memory = mmap.mmap(int(sys.argv[2]), MEMORY_BYTES)
    module, _, function = start.opener.partition(":")
    try:
        source: Source = getattr(importlib.import_module(module), function)(start.request)
        with contextlib.closing(source):
            width, height = source.info.size_wh
            # Refuses frames that are too large before anything starts.
            slot_views(memory, 0, (height, width, 3), (1, 1, 3))
            pipe.send(Opened(source.info))
            pipe.receive()  # wait until the program is ready: frames taken earlier would be stale
            _hand_over(source, start, pipe, memory)
        pipe.send(Ended(getattr(source, "complaint", "")))
    except SegEdgeError as error:
        with contextlib.suppress(OSError):
            pipe.send(Failed(str(error)))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the program has stopped reading, or is gone
        return
    except Exception as error:  # a driver may raise anything: report one sentence, not a traceback
        lines = str(error).strip().splitlines() or [type(error).__name__]
        with contextlib.suppress(OSError):
            pipe.send(
                Failed(f"{shown_name(start.request.name)}: the capture failed ({type(error).__name__}: {lines[0]}).")
            )


def _die_with(parent: int) -> None:
    """Has the kernel kill this process when the program ends, even while a driver call blocks."""
    with contextlib.suppress(AttributeError, OSError):  # no prctl: not Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        os._exit(0)


def _hand_over(source: Source, start: Start, pipe: Channel, memory: mmap.mmap) -> None:
    free: deque[Any] = deque(range(SLOTS))
    missed = 0
    for source_frame in source:
        with contextlib.suppress(TimeoutError):
            while True:
                free.append(pipe.receive(0))
        if not free and start.request.live:
            missed += 1
            continue
        if not free:
            free.append(pipe.receive())
        pipe.send(_store(source_frame, free.popleft(), missed, start, memory))


def _store(source_frame: SourceFrame, slot: int, missed: int, start: Start, memory: mmap.mmap) -> FrameReady:
    width, height = start.request.input_size_wh
    began = time.monotonic()
    small = resize_to_input(source_frame.frame, (width, height)) if source_frame.small is None else source_frame.small
    resized = time.monotonic()
    frame_view, small_view = slot_views(memory, slot, source_frame.frame.shape, (height, width, 3))
    np.copyto(frame_view, source_frame.frame)
    np.copyto(small_view, small)
    return FrameReady(slot, source_frame.frame.shape, source_frame.captured, resized - began, source_frame.at_s, missed)


if __name__ == "__main__":
    main()
