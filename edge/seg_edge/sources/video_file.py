"""Video files, read by PyAV (FFmpeg): every frame as a player shows it, with its time.

A frame that the decoder could not deliver is counted, never shown.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from seg_edge.errors import SourceError
from seg_edge.frame import as_frame
from seg_edge.sources.names import is_url, shown_name
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest
from seg_edge.sources.still import fit_inside, letterboxed
from seg_edge.sources.video_container import (
    FPS,
    SteadyClock,
    beginning_s,
    frame_rate,
    import_av,
    open_container,
    picture_stream,
    reason_of,
)
from seg_edge.sources.video_filters import Filters

LATE_S = 0.1  # a frame later than this was delayed
CUT_S = 0.5  # a file that ends this much before its stated length is cut short
LIBVPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore their transparency
NO_VIDEO = {"ansi", "bin", "idf", "xbin"}  # FFmpeg renders any text as a video


class VideoFileSource:
    """A video file; scaled down in proportion to fit `request.size_wh` if given.

    If the size changes midway, as in a broadcast, frames are fitted into the size of the first.

    Live, frames come at their own times, or `request.fps` a second; else as fast as they are read.

    Raises:
        SourceError: It can't be opened, or contains no picture.

    Attributes:
        info: What was opened.
        complaint: After iteration: which part could not be shown, such as `3 of its frames are damaged`; else empty.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest):
        self._request, self._name = request, shown_name(request.name)
        if not (is_url(request.name) or os.access(request.name, os.R_OK)):
            reason = (
                "can't be read; check its permissions"
                if os.path.exists(request.name)
                else "doesn't exist; check its name"
            )
            raise SourceError(f"{self._name}: {reason}.")
        self._av = import_av(SourceError)
        self._container = open_container(request.name)
        self._closed = False
        self._damaged, self._broken, self._keyed = 0, 0, False
        self._end_s, self._stopped = 0.0, ""
        self._shape: tuple[int, ...] = ()
        self.complaint = ""
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        stream = picture_stream(self._container)
        if stream is not None and stream.codec_context is not None and stream.codec_context.name in NO_VIDEO:
            raise SourceError(f"{self._name}: is not a video; give a video file.")
        if stream is None or stream.codec_context is None:
            raise SourceError(f"{self._name}: contains no picture that can be decoded; copy it again, or convert it.")
        stream.thread_type = "AUTO"
        self._stream, self._decoder = stream, stream.codec_context
        transparent = stream.metadata.get("alpha_mode") == "1" and LIBVPX.get(self._decoder.name)
        if transparent in self._av.codecs_available:
            self._decoder = self._av.CodecContext.create(transparent, "r")
        rate = frame_rate(stream)
        self._origin_s = beginning_s(self._container)
        self._clock = SteadyClock(float(1 / (rate or FPS)), self._origin_s)
        self._ready = self._decode()
        self._first = next(self._ready, None)
        if self._first is None:
            raise SourceError(f"{self._name}: contains no picture that can be decoded; copy it again, or convert it.")
        fps = self._request.fps or (float(rate) if rate else float(FPS))
        height, width = self._first.frame.shape[:2]
        description = f"{self._name}, {width}x{height} at {fps:.6g} fps"
        if not rate and not self._request.fps:
            description += " (it states no plausible rate)"
        self._duration_s = duration_s = (self._container.duration or 0) / 1e6
        frames = stream.frames or round(duration_s * float(rate or 0)) or None
        self.info = SourceInfo(description, (width, height), fps, frames, endless=False)

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames."""
        playback = Playback()
        source_frame, self._first = self._first, None
        for number in itertools.count():
            if source_frame is None or self._closed:
                break
            if self._request.live:
                due_s = number / self._request.fps if self._request.fps else source_frame.at_s or 0.0
                source_frame = source_frame._replace(captured=playback.wait(due_s))
            yield source_frame
            # After `close` the decoder is gone; continuing would crash.
            source_frame = None if self._closed else next(self._ready, None)
        self.complaint = self._find_missing()

    def close(self) -> None:
        """Closes the file; ends the iteration."""
        self._closed = True
        self._first = None
        self._container.close()

    def _decode(self) -> Iterator[SourceFrame]:
        """The frames to show."""
        filters = Filters(self._av, self._stream.sample_aspect_ratio)
        for frame in self._frames():
            yield from map(self._source_frame, filters.push(frame))
        yield from map(self._source_frame, filters.flush())

    def _source_frame(self, frame: Any) -> SourceFrame:
        picture = fit_inside(as_frame(_array_of(frame)), self._request.size_wh)
        self._shape = self._shape or picture.shape
        if picture.shape != self._shape:
            picture = letterboxed(picture, (self._shape[1], self._shape[0]))
        return SourceFrame(picture, None, time.monotonic(), self._clock(frame.time))

    def _frames(self) -> Iterator[Any]:
        """The frames that the decoder really delivered."""
        timed = "avi" not in self._container.format.name  # FFmpeg's guessed times are wrong for it
        for packet in self._packets():
            self._keyed |= bool(packet is not None and packet.is_keyframe)
            try:
                frames = self._decoder.decode(packet)
            except (OSError, ValueError):  # FFmpeg's errors are of both types
                self._damaged += self._keyed
                continue
            for frame in frames:
                if frame.time_base is None:  # PyAV sets it for a packet's frames, not for those flushed at the end
                    frame.time_base = self._stream.time_base
                if not timed:
                    frame.pts = frame.dts
                if not frame.is_corrupt:
                    yield frame
                # Frames before a broadcast's first key frame are incomplete; players skip them too.
                self._damaged += frame.is_corrupt and self._keyed

    def _packets(self) -> Iterator[Any]:
        """The video stream's packets, then None, which flushes the decoder."""
        seen = 0
        try:
            for packet in self._container.demux():
                if packet.size and packet.pts is not None:
                    self._end_s = max(self._end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.size and packet.stream is self._stream:
                    seen += 1
                    self._broken += packet.is_corrupt
                    yield packet
        except (OSError, ValueError) as error:
            self._stopped = reason_of(error)
        if "mp4" in self._container.format.name:  # its index lists every frame; other containers' counts are estimates
            self._damaged += max(0, len(self._stream.index_entries) - seen)
        yield None

    def _find_missing(self) -> str:
        # Some containers count their duration from the first picture or sound, others from 0.
        end_s = self._end_s - min(0.0, self._origin_s)
        if self._end_s and self._duration_s - end_s > CUT_S:
            return f"it is cut short: it ends after {end_s:.1f} of {self._duration_s:.1f} s"
        if self._stopped:
            return f"it can't be read to the end ({self._stopped})"
        if damaged := max(self._damaged, self._broken):
            return f"{damaged} of its frames {'is' if damaged == 1 else 'are'} damaged and could not be decoded"
        return ""


def _array_of(frame: Any) -> np.ndarray:
    """The pixels of a bgr24 or bgra frame, uint8 (height, width, 3 or 4), not copied; rows may be padded."""
    plane, channels = frame.planes[0], 4 if frame.format.name == "bgra" else 3
    return np.ndarray((frame.height, frame.width, channels), np.uint8, plane, strides=(plane.line_size, channels, 1))


class Playback:
    """Waits until each frame is due; after a delay, frames continue at their own pace and don't catch up."""

    def __init__(self) -> None:
        self._began: float | None = None

    def wait(self, at_s: float) -> float:
        """Sleeps until `at_s` seconds of the video; returns that moment, `time.monotonic()` seconds."""
        now = time.monotonic()
        if self._began is None or now - self._began - at_s > LATE_S:
            self._began = now - at_s
        due = self._began + at_s
        time.sleep(max(0.0, due - now))
        return due
