"""`seg-edge video`: every frame of a file, none dropped, into another file, with its sound and other streams.

Decoding, inference, drawing and encoding happen at the same time: in the capture process, in the pipeline's thread,
here, and in a thread that writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.apps.backdrop import Backdrop
from seg_edge.callbacks import OnProgress
from seg_edge.capture.pipeline import Pipeline, SegmentedFrame
from seg_edge.capture.stats import RunStats
from seg_edge.effects import EffectSettings, render
from seg_edge.errors import OutputError, SourceError, UsageError
from seg_edge.lookahead import Lookahead
from seg_edge.photo.find import PHOTO_SUFFIXES
from seg_edge.segmenter import Segmenter
from seg_edge.sinks.carried import CarriedStreams
from seg_edge.sinks.numbered_pictures import NumberedPictures
from seg_edge.sinks.video_file import VideoFile
from seg_edge.sinks.video_formats import check_video
from seg_edge.sources.names import is_sequence
from seg_edge.sources.source import SourceInfo, SourceRequest
from seg_edge.sources.video_container import picture_bps
from seg_edge.system.files import atomic_write, check_writable
from seg_edge.system.memory import keep_freed_memory
from seg_edge.timing import timed

Write = Callable[[np.ndarray, float | None], None]
Draw = Callable[[SegmentedFrame], np.ndarray]

WAIT_S = 0.2  # how soon Ctrl-C is noticed during a slow frame
WAITING = 3  # pictures drawn ahead of the encoder
ROUNDING_S = 0.002  # containers with millisecond timestamps round evenly spaced timestamps


@dataclass(frozen=True)
class VideoOutcome:
    """The outcome for a video.

    Attributes:
        sound: What happened to its sound, and which other streams could not be kept.
        complaint: What could not be read, such as `3 of its frames are damaged`; empty if nothing.
        stats: The object that `--stats` writes.
    """

    sound: str
    complaint: str
    stats: dict[str, Any]


def segment_video(
    video: Path,
    out: Path,
    segmenter: Segmenter,
    settings: EffectSettings,
    force: bool = False,
    progress: OnProgress = lambda done, total: None,
    crf: int | None = None,
    fps: float | None = None,
    backdrop: Path | None = None,
    lookahead: Lookahead | None = None,
    flicker: bool = False,
) -> VideoOutcome:
    """Segments a video file; `out` appears when all of it is done, and not before.

    Args:
        video: Anything PyAV reads, or numbered pictures such as `f%04d.png`.
        out: The file to write; its suffix chooses the container. Or numbered pictures, which appear one by one.
        segmenter: Stateful if it smooths: use it for one video.
        settings: The effect and its options.
        force: Replace `out` if it exists.
        progress: Receives the number of frames done, and of all frames if the file says.
        crf: Quality on the codec's scale; None for one at which the file is hardly larger than the video.
        fps: Of numbered pictures.
        backdrop: A video that plays as the background.
        lookahead: Smooths masks with future frames too; see `Pipeline`.
        flicker: Measure it for the stats.

    Raises:
        SourceError: The video can't be read.
        OutputError: `out` can't be written.
        UsageError: The arguments don't fit together.
    """
    _check(video, out, force)
    check_video(out, settings.transparent, crf)
    keep_freed_memory()
    request = SourceRequest(str(video), segmenter.card.input_size_wh, fps=fps, live=False)
    stats = RunStats(flicker)
    with (
        Pipeline(request, segmenter, log=lambda news: None, effects=settings, lookahead=lookahead) as pipeline,
        closing(Backdrop(settings, pipeline.info.size_wh[::-1], backdrop)) as background,
    ):

        def draw(item: SegmentedFrame) -> np.ndarray:
            return render(item.source.frame, item.result, background.at(item.source.at_s or 0.0))

        def run(write: Write) -> None:
            _write_frames(write, pipeline, draw, stats, progress)

        if is_sequence(out):
            with NumberedPictures(out, force) as pictures:
                run(pictures.write)
            sound = "pictures have no sound"
        else:
            try:
                with atomic_write(out) as temporary:
                    film = _open_film(video, out, temporary, pipeline.info, settings.transparent, crf)
                    sound = _write_video(video, film, pipeline.info, run)
            except OutputError as error:
                raise OutputError(f"{error} The partial file was removed.") from error
    return VideoOutcome(sound, pipeline.complaint, stats.to_json(pipeline, segmenter))


def _check(video: Path, out: Path, force: bool) -> None:
    if video.is_dir():
        raise SourceError(f"{video}: it is a folder; give one video file.")
    if not video.is_file() and not is_sequence(video):
        raise SourceError(f"{video}: no such file; give a video file, or use 'seg-edge camera' for a stream.")
    if video.suffix.lower() in PHOTO_SUFFIXES and not is_sequence(video):
        raise SourceError(f"{video}: it is a photo; use 'seg-edge image'.")
    if out.exists() and out.samefile(video):
        raise UsageError(f"--out {out} is the video itself; give another name.")
    check_writable(out)
    if out.exists() and not force:
        raise OutputError(f"{out} already exists; --force replaces it.")


def _open_film(
    video: Path, out: Path, temporary: Path, info: SourceInfo, transparent: bool, crf: int | None
) -> VideoFile:
    most_bps = picture_bps(video) if crf is None and not is_sequence(video) else None
    rate = Fraction(info.fps).limit_denominator(1001)
    return VideoFile(temporary, info.size_wh, rate, transparent, crf, most_bps, called=str(out))


def _write_video(video: Path, film: VideoFile, info: SourceInfo, run: Callable[[Write], None]) -> str:
    """Writes pictures and other streams; returns what happened to the sound."""
    even = EvenTimes(info)
    if is_sequence(video):
        with film:
            run(lambda picture, at_s: film.write(picture, even(at_s or 0.0)))
        return "pictures have no sound"
    with film, CarriedStreams(video, film) as carried:

        def write(picture: np.ndarray, at_s: float | None) -> None:
            shown_s = even(at_s or 0.0)
            carried.mux_until(shown_s)
            film.write(picture, shown_s)

        run(write)
        carried.finish()
    lost = f"; {carried.left_out} left out, as {film.path.suffix} can't hold them" if carried.left_out else ""
    return f"{carried.sound}{lost}"


class EvenTimes:
    """Corrects the rounded timestamps of evenly spaced frames; other frames keep their times."""

    def __init__(self, info: SourceInfo):
        self._rate = float(Fraction(info.fps).limit_denominator(1001))
        self._first_s: float | None = None

    def __call__(self, at_s: float) -> float:
        """The time in seconds to show a frame with timestamp `at_s`."""
        if self._first_s is None:
            self._first_s = at_s
        even_s = self._first_s + round((at_s - self._first_s) * self._rate) / self._rate
        return even_s if abs(even_s - at_s) < ROUNDING_S else at_s


def _write_frames(
    write: Write,
    pipeline: Pipeline,
    draw: Draw,
    stats: RunStats,
    progress: OnProgress,
) -> None:
    with ExitStack() as stack:
        writer = ThreadPoolExecutor(1, "write video")
        stack.callback(writer.shutdown, cancel_futures=True)
        pending: deque[Future[None]] = deque()
        while not pipeline.exhausted():
            item = pipeline.take(WAIT_S)
            if item is None:
                continue
            timing_ms: dict[str, float] = {}
            with timed(timing_ms, "render"):
                picture = draw(item)
            with timed(timing_ms, "publish"):
                pending.append(writer.submit(write, picture, item.source.at_s))
                if len(pending) > WAITING:
                    pending.popleft().result()
            stats.add(item, timing_ms["render"], timing_ms["publish"])
            progress(stats.published, pipeline.info.frames)
        while pending:
            pending.popleft().result()
