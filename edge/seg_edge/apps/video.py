"""`seg-edge video`: every frame of a file, none dropped, into another file, with its sound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg_edge.capture.pipeline import Pipeline
from seg_edge.capture.stats import RunStats
from seg_edge.effects import EffectSettings, check_background, cover, flatten, render
from seg_edge.errors import OutputError, SourceError, UsageError
from seg_edge.photo.find import PHOTO_SUFFIXES
from seg_edge.segmenter import Segmenter
from seg_edge.sinks.video_file import VideoFile, video_format
from seg_edge.sources.source import SourceRequest
from seg_edge.system.ffmpeg import copy_audio
from seg_edge.system.files import atomic_write, check_writable
from seg_edge.system.memory import keep_freed_memory
from seg_edge.system.native_log import without_native_log

Progress = Callable[[int, int | None], None]

FPS = 30.0  # of a file that doesn't say
FASTEST_FPS = 120.0  # of a file whose rate changes
UNEVEN = 1.5  # steps between frames that differ by more make a changing rate; less is the clock of the container
LONGEST_S = 60.0  # that one picture may be shown: a longer gap is a wrong time stamp
WAIT_S = 0.2  # how soon Ctrl-C is heard while a frame takes long


@dataclass(frozen=True)
class VideoOutcome:
    """What became of the video.

    Attributes:
        sound: What is to be said of its sound.
        undecoded: How many frames the file has that could not be decoded.
        stats: The object that `--stats` writes.
    """

    sound: str
    undecoded: int
    stats: dict[str, Any]


def segment_video(
    video: Path,
    out: Path,
    segmenter: Segmenter,
    effect: str,
    background: np.ndarray | None,
    force: bool,
    show_progress: Progress = lambda done, total: None,
) -> VideoOutcome:
    """Segments a video file; `out` is there when all of it is done, and not before.

    Args:
        video: Anything OpenCV's FFmpeg reads.
        out: The file to write; its suffix chooses the container.
        segmenter: Stateful where it smooths: use it for one video.
        effect: A name in `seg_edge.effects.EFFECTS`; a cut-out is put on green.
        background: BGR uint8 picture for `replace`.
        force: Replace `out` if it is there.
        show_progress: Takes the number of frames done, and of all as far as the file tells.

    Raises:
        SourceError: The video can't be read.
        OutputError: `out` can't be written.
        UsageError: The arguments don't fit together.
    """
    check_background(effect, background)
    settings = EffectSettings(effect, background)
    _check(video, out, force)
    keep_freed_memory()
    times = frame_times(video)
    request = SourceRequest(str(video), segmenter.card.input_size_wh, live=False)
    stats = RunStats()
    with Pipeline(request, segmenter, log=lambda news: None) as pipeline, atomic_write(out) as muxed:
        silent = muxed.with_name(f"{muxed.stem}.silent{muxed.suffix}")
        fps = constant_rate(times) or pipeline.info.fps or FPS
        if background is not None:
            settings = replace(settings, background=cover(background, pipeline.info.size_wh[::-1]))
        try:
            with VideoFile(silent, pipeline.info.size_wh, fps, called=str(out)) as file:
                _write_frames(file, fps, pipeline, settings, stats, show_progress, len(times) or None)
            sound = copy_audio(video, silent, muxed)
        except OutputError as error:
            raise OutputError(f"{error} Nothing is left of it.") from error
        finally:
            silent.unlink(missing_ok=True)
    return VideoOutcome(sound, max(0, len(times) - stats.published), stats.to_json(pipeline, segmenter))


def _check(video: Path, out: Path, force: bool) -> None:
    if video.is_dir():
        raise SourceError(f"{video}: it is a folder; give one video file.")
    if not video.is_file():
        raise SourceError(f"{video}: no such file; give a video file, or use 'seg-edge camera' for a stream.")
    if video.suffix.lower() in PHOTO_SUFFIXES:
        raise SourceError(f"{video}: it is a photo; use 'seg-edge image'.")
    video_format(out)
    if out.exists() and out.samefile(video):
        raise UsageError(f"--out {out} is the video itself; give another name.")
    check_writable(out)
    if out.exists() and not force:
        raise OutputError(f"{out} is there already; --force replaces it.")


def frame_times(video: Path) -> np.ndarray:
    """When each frame is shown, in seconds, ascending, float64 (frames,); empty where the file can't tell.

    Reads the packets and decodes none, so an hour of video takes about a second.
    """
    with without_native_log():
        packets = cv2.VideoCapture(str(video.absolute()), cv2.CAP_FFMPEG)
        times = []
        if packets.set(cv2.CAP_PROP_FORMAT, -1):  # "undecoded raw video streams"
            while packets.grab():
                times.append(packets.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        packets.release()
    return np.sort(np.array(times, np.float64))


def constant_rate(times: np.ndarray) -> float | None:
    """The rate at which frames that are shown at changing intervals can be written, each at its time.

    That is the rate where they follow each other fastest, 120 at most. None where the intervals are even, so that the
    file's own rate serves.
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    if len(steps) < 2:
        return None
    # The quickest and slowest few are what damaged or joined files have.
    quick, slow = np.percentile(steps, [2, 98])
    if slow < UNEVEN * quick:
        return None
    return min(FASTEST_FPS, round(1 / quick, 3))


def _write_frames(
    file: VideoFile,
    fps: float,
    pipeline: Pipeline,
    settings: EffectSettings,
    stats: RunStats,
    show_progress: Progress,
    total: int | None,
) -> None:
    before = np.zeros((file.size_wh[1], file.size_wh[0], 3), np.uint8)
    while not pipeline.exhausted():
        item = pipeline.take(WAIT_S)
        if item is None:
            continue
        began = time.monotonic()
        picture = flatten(render(item.source.frame, item.answer, settings))
        rendered = time.monotonic()
        # The file's rate is constant, a phone's is not: to keep pictures and sound in step, the picture before is
        # written again for as long as it was shown.
        missing = round((item.source.at_s or 0) * fps) - file.frames if stats.published else 0
        for _ in range(min(missing, round(LONGEST_S * fps))):
            file.write(before)
        file.write(picture)
        before = picture
        stats.add(item, (rendered - began) * 1000, (time.monotonic() - rendered) * 1000)
        show_progress(stats.published, total)
