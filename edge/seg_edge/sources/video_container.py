"""A video's container, read by PyAV: opening it, choosing its video stream, and its timestamps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from seg_edge.errors import SegEdgeError, SourceError
from seg_edge.sources.names import is_url, shown_name

FPS = 30  # for a file that doesn't say
FASTEST_FPS = 240  # a container's 1000 or 90000 frames a second are its clock, not a rate
LONGEST_GAP_S = 60.0  # a longer step, or one back by more than jitter, is where two recordings were joined
JITTER_S = 0.2
SHORTEST_S = 1e-3  # for which a frame is shown; two at the same time are a defect of the container
LEAST_BPS = 100_000
OLDEST_PYAV = 14  # as in pyproject.toml; Debian's may be older
TIMEOUT_S = 10.0  # for a web server


def import_av(error: type[SegEdgeError]) -> Any:
    """PyAV, imported when it is needed.

    Raises:
        error: It isn't installed, or is too old.
    """
    needs = f"video files need PyAV {OLDEST_PYAV} or newer"
    remedy = "run `pip install -U av`; on a 32-bit Raspberry Pi OS, install the 64-bit one instead."
    try:
        import av
    except ImportError as missing:
        raise error(f"{needs} ({missing}); {remedy}") from missing
    if int(av.__version__.split(".")[0]) < OLDEST_PYAV:
        raise error(f"{needs}, this is {av.__version__}; {remedy}")
    return av


def open_container(path: str | Path) -> Any:
    """Opens a video file, or one on a web server, for reading.

    Raises:
        SourceError: It is not a video.
    """
    av = import_av(SourceError)
    # `file:` keeps a colon in a file's name from being read as a protocol.
    url = str(path) if is_url(str(path)) else f"file:{os.path.abspath(path)}"
    try:
        return av.open(url, timeout=TIMEOUT_S if is_url(url) else None)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{shown_name(str(path))}: is not a video that can be decoded, or is cut short ({reason_of(error)}); "
            "copy it again, or convert it."
        ) from error


def picture_stream(container: Any) -> Any:
    """The container's video stream; None if there is none. Cover art doesn't count."""
    return next((stream for stream in container.streams.video if not _is_cover(stream)), None)


def beginning_s(container: Any) -> float:
    """When the container's first picture or sound begins, in seconds on its own clock."""
    streams = [*container.streams.video, *container.streams.audio]
    starts = [float(s.start_time * s.time_base) for s in streams if s.start_time is not None and not _is_cover(s)]
    return min(starts, default=0.0)


@dataclass
class SteadyClock:
    """Makes a container's times always rise: where recordings were joined, time continues from the last one.

    Attributes:
        step_s: Duration of a frame without a time.
        origin_s: The container's time that becomes 0.
    """

    step_s: float
    origin_s: float
    last_s: float | None = None

    def __call__(self, time_s: float | None) -> float:
        """The time of a frame or packet, in seconds from the beginning."""
        last = self.last_s
        due = 0.0 if last is None else last + self.step_s
        at = due if time_s is None else time_s - self.origin_s
        if last is not None and not last - JITTER_S <= at <= due + LONGEST_GAP_S:
            self.origin_s += at - due
            at = due
        self.last_s = at if last is None else max(at, last + SHORTEST_S)
        return self.last_s


def frame_rate(stream: Any) -> Fraction | None:
    """A stream's frames a second: its constant rate, else the mean; None if neither is known."""
    constant, rate = stream.guessed_rate, stream.average_rate
    if constant and (not rate or rate > FASTEST_FPS or abs(constant / rate - 1) < 0.05):
        rate = constant
    return rate if rate and rate <= FASTEST_FPS else None


def picture_bps(path: Path) -> int | None:
    """Bits a second with which a video's pictures look the same in H.264; None if it doesn't state its length or size.

    A fifth more than they have, or twice as many if their codec is more efficient than H.264.
    """
    with open_container(path) as container:
        stream = picture_stream(container)
        seconds = (container.duration or 0) / 1e6
        if stream is None or seconds <= 0 or container.size <= 0:
            return None
        sound_bps = sum(sound.bit_rate or 0 for sound in container.streams.audio)
        bps = stream.bit_rate or container.size * 8 / seconds - sound_bps
        factor = 2.0 if stream.codec_context.name in ("hevc", "vp9", "av1", "libdav1d") else 1.2
        return max(LEAST_BPS, round(factor * bps))


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in repr(stream.disposition)


def reason_of(error: Exception) -> str:
    """FFmpeg's or the system's message, without its code."""
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
