"""`seg-edge video`: every frame of a file, none dropped, into another file, with its sound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.audio import copy_audio
from seg_edge.errors import OutputError, SourceError, UsageError
from seg_edge.files import whole_file
from seg_edge.pipeline import Pipeline
from seg_edge.render import cover, flatten, render
from seg_edge.segmenter import Segmenter
from seg_edge.sinks.video_file import VideoFile
from seg_edge.sources.source import SourceRequest
from seg_edge.stats import RunStats

Progress = Callable[[int, int | None], None]

FPS = 30.0  # of a file that doesn't say
LONGEST_S = 60.0  # that one picture may be shown: a longer gap is a wrong time stamp
WAIT_S = 0.2  # how soon Ctrl-C is heard while a frame takes long


@dataclass(frozen=True)
class VideoOutcome:
    """What became of the video: what is to be said of its sound, and the object that `--stats` writes."""

    sound: str
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
        effect: A name in `seg_edge.render.EFFECTS`; a cut-out is put on green.
        background: BGR uint8 picture for `replace`.
        force: Replace `out` if it is there.
        show_progress: Takes the number of frames done, and of all as far as the file tells.

    Raises:
        SourceError: The video can't be read, to its end.
        OutputError: `out` can't be written.
    """
    if (effect == "replace") != (background is not None):
        raise UsageError("--effect replace and --background FILE go together; give both or neither.")
    _check(video, out, force)
    request = SourceRequest(str(video), segmenter.card.input_size_wh, live=False)
    stats = RunStats()
    with Pipeline(request, segmenter, tell=lambda news: None) as pipeline, whole_file(out) as muxed:
        silent = muxed.with_name(f"{muxed.stem}.silent{muxed.suffix}")
        try:
            _write_frames(silent, pipeline, effect, background, stats, show_progress)
            if not stats.published:
                raise SourceError(f"{video}: there is no frame in it; is it a video?")
            sound = copy_audio(video, silent, muxed)
        finally:
            silent.unlink(missing_ok=True)
    return VideoOutcome(sound, stats.to_json(pipeline, segmenter))


def _check(video: Path, out: Path, force: bool) -> None:
    if not video.is_file():
        raise SourceError(f"{video}: no such file; give a video file, or use 'seg-edge camera' for a stream.")
    if out.exists() and out.samefile(video):
        raise UsageError(f"--out {out} is the video itself; give another name.")
    if out.exists() and not force:
        raise OutputError(f"{out} is there already; --force replaces it.")


def _write_frames(
    path: Path,
    pipeline: Pipeline,
    effect: str,
    background: np.ndarray | None,
    stats: RunStats,
    show_progress: Progress,
) -> None:
    size_wh, fps = pipeline.info.size_wh, pipeline.info.fps or FPS
    if background is not None:
        background = cover(background, size_wh[::-1])
    with VideoFile(path, size_wh, fps) as file:
        before = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
        while not pipeline.exhausted():
            item = pipeline.take(WAIT_S)
            if item is None:
                continue
            began = time.monotonic()
            picture = flatten(render(item.shot.frame, item.answer, effect, background))
            rendered = time.monotonic()
            # The file's rate is constant, a phone's is not: to keep pictures and sound in step, the picture before is
            # written again for as long as it was shown.
            missing = round((item.shot.at_s or 0) * fps) - file.frames
            for _ in range(min(missing, round(LONGEST_S * fps))):
                file.write(before)
            file.write(picture)
            before = picture
            stats.add(item, (rendered - began) * 1000, (time.monotonic() - rendered) * 1000)
            stats.flicker.add(item.answer)
            show_progress(stats.published, pipeline.info.frames)
