"""Runs models on frames with calls of getpriority(2) around each stage; `instructions.py` starts it under QEMU."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

import cv2

import seg_edge.segmenter
from seg_edge.effects import render
from seg_edge.photo.read import read_photo

STAGES = ("preprocess", "inference", "postprocess", "postprocess", "render")  # of a frame, in order


@contextmanager
def counted(timing_ms: MutableMapping[str, float], stage: str) -> Iterator[None]:
    """Replaces `seg_edge.timing.timed` by two calls that the plugin sees."""
    os.getpriority(os.PRIO_PROCESS, 0)
    yield
    os.getpriority(os.PRIO_PROCESS, 0)


def main(photo: str, frames: int, models: list[str]) -> None:
    """Runs each model on `frames` frames of 640x480 pixels, as `seg-edge camera` does, with one thread.

    Prints the memory map, to locate the libraries.
    """
    picture = cv2.resize(read_photo(Path(photo)), (640, 480), interpolation=cv2.INTER_AREA)
    cv2.setNumThreads(1)
    seg_edge.segmenter.timed = counted
    for model in models:
        segment = seg_edge.segmenter.Segmenter(Path(model), threads=1)
        for _ in range(frames):
            result = segment(picture)
            with counted({}, "render"):
                render(picture, result, "overlay")
    print(Path("/proc/self/maps").read_text())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
