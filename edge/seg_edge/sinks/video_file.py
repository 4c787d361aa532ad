"""Video files, written by PyAV: each frame at its time, with tagged colours."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.video_formats import DEFAULT_CRF, X264, Encoding, video_format
from seg_edge.sinks.video_pixels import converter, tag_colours
from seg_edge.sources.video_container import import_av, reason_of

CLOCK_HZ = 90000  # MPEG's clock, for the times in files
GIF_HZ = 100
# For live encoding: nothing is held back, and a player can start every two seconds.
LIVE = {"libx264": {"tune": "zerolatency", "x264-params": X264}}
LIVE_KEY_S = 2
# If the program is killed, at most one fragment is lost; a plain MP4 would lack its index, which comes last.
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}


class VideoFile:
    """A video file that is being written. Replaces an existing file. One thread at a time.

    Args:
        path: Its suffix chooses the format, see `seg_edge.sinks.video_formats.FORMATS`.
        size_wh: The frames' size. Most codecs need even sides: of an odd side the last column or row is left out.
        fps: Frames a second: the exact rate of formats without times, the nominal rate of others.
        transparent: Frames are BGRA.
        crf: The codec's constant rate factor, the lower the better; None chooses one with hardly any visible loss.
        most_bps: Bits a second that should not be exceeded.
        live: If the program is killed, the file still plays, except for the last second.
        called: Its name in messages, if that isn't `path`.

    Raises:
        UsageError: The suffix is unknown, or the size or rate isn't valid.
        OutputError: The file can't be opened, or PyAV is missing.

    Attributes:
        path: As given.
        size_wh: As given.
        frames: Frames written so far.
        av: The module of PyAV.
        container: PyAV's container, to which other streams may be added before the first frame.
    """

    def __init__(
        self,
        path: Path,
        size_wh: tuple[int, int],
        fps: float | Fraction,
        transparent: bool = False,
        crf: int | None = None,
        most_bps: int | None = None,
        live: bool = False,
        called: str = "",
    ):
        form = video_format(path)
        encoding = form.transparent if transparent else form.opaque
        if min(size_wh) < 2 or not 0 < fps <= 1000 or encoding is None:
            raise UsageError(
                f"{called or path}: can't write a video of {size_wh[0]}x{size_wh[1]} at {float(fps):g} frames a second."
            )
        self.path, self.size_wh, self.frames = path, size_wh, 0
        self._called, self._dated, self._transparent = called or str(path), form.dated, transparent
        self._rate = Fraction(fps).limit_denominator(1001)
        self._failed, self._closed, self._pts = False, False, -1
        self._last: np.ndarray | None = None
        self.av = import_av(OutputError)
        options = {"flush_packets": "1"} if live else {}
        if live and form.container in ("matroska", "webm"):
            options["cluster_time_limit"] = "500"  # milliseconds
        if form.container in ("mp4", "mov"):
            options |= FRAGMENTS if live else {"movflags": "+faststart"}
        try:
            path.write_bytes(b"")  # PyAV opens it only with the first frame, which is late for an error
            self.container = self.av.open(f"file:{path.absolute()}", "w", format=form.container, options=options)
        except OSError as error:
            raise self._not_written(error) from error
        self._has_palette = encoding.pixels == "pal8"
        self._stream = self._add_stream(encoding, crf, most_bps, live)
        # The encoder's clock; some containers change the stream's when their header is written.
        self._hertz = float(1 / self._stream.codec_context.time_base)
        self._convert = converter(self.av, self._stream, transparent)

    def _add_stream(self, encoding: Encoding, crf: int | None, most_bps: int | None, live: bool) -> Any:
        width, height = self.size_wh
        stream = self.container.add_stream(encoding.codec, rate=self._rate)
        stream.width, stream.height = self.size_wh if self._has_palette else (width // 2 * 2, height // 2 * 2)
        stream.pix_fmt = encoding.pixels
        # A multiple of the frame rate, so that evenly spaced frames stay so in the file.
        hertz = self._rate.numerator * math.ceil(CLOCK_HZ / self._rate.numerator)
        time_base = Fraction(1, GIF_HZ if self._has_palette else hertz) if self._dated else 1 / self._rate
        stream.time_base = stream.codec_context.time_base = time_base
        options = dict(encoding.options)
        if encoding.codec in DEFAULT_CRF:
            options |= {"crf": str(DEFAULT_CRF[encoding.codec] if crf is None else crf)}
            if most_bps and encoding.codec == "libx264":
                options |= {"maxrate": str(most_bps), "bufsize": str(2 * most_bps)}
            elif encoding.codec == "libvpx-vp9":
                options |= {"b": str(most_bps or 0)}
        if live:
            options |= {**LIVE.get(encoding.codec, {}), "g": str(max(1, round(LIVE_KEY_S * self._rate)))}
        stream.codec_context.options = options
        if not self._has_palette:
            tag_colours(stream.codec_context, self.size_wh, encoding)
        return stream

    def write(self, frame: np.ndarray, at_s: float | None = None) -> None:
        """Adds one frame.

        Args:
            frame: BGR uint8 (height, width, 3) of the file's size, BGRA if the video is transparent.
            at_s: When it is shown, in seconds from the file's start, later than the previous one; None for the next
                frame at the rate.

        Raises:
            TypeError: The frame has another type or shape.
            OutputError: It can't be written; what was written before is kept. Close the file.
        """
        shape = (self.size_wh[1], self.size_wh[0], 4 if self._transparent else 3)
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape != shape:
            raise TypeError(f"{self.path}: a uint8 frame of {shape} was expected, got {getattr(frame, 'shape', frame)}")
        at_s = float(self.frames / self._rate) if at_s is None else at_s
        if self._dated:
            pts = round(at_s * self._hertz)
            if pts > self._pts or not self._has_palette:  # else it is a GIF, on whose coarse clock it is not later
                self._pts = max(pts, self._pts + 1)
                self._encode(frame, self._pts)
            return
        # Off by up to one frame is a camera's jitter: then nothing is repeated or left out.
        late = at_s * float(self._rate) - self.frames
        if self._last is not None:
            for _ in range(math.floor(late)):
                self._encode(self._last, self.frames)
        if late >= -1:
            self._encode(frame, self.frames)
            self._last = frame

    def mux(self, packets: Any) -> None:
        """Adds packets of another stream of the container; errors as for `write`."""
        try:
            self.container.mux(packets)
        except (OSError, ValueError) as error:
            self._fail(error)

    def close(self) -> None:
        """Finishes the file. May be called twice.

        Raises:
            OutputError: It isn't complete; not raised after a failed `write`, which has reported it.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self.frames and not self._failed:
                for picture in self._convert.rest():
                    self.container.mux(self._stream.encode(picture))
                self.container.mux(self._stream.encode(None))
            self.container.close()
        except (OSError, ValueError) as error:
            if not self._failed:
                raise self._not_written(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._failed = self._failed or error is not None
        self.close()

    def _encode(self, frame: np.ndarray, pts: int) -> None:
        try:
            for picture in self._convert(frame[: self._stream.height, : self._stream.width], pts):
                self.container.mux(self._stream.encode(picture))
        except (OSError, ValueError) as error:
            self._fail(error)
        self.frames += 1

    def _fail(self, error: Exception) -> None:
        self._failed = True
        raise OutputError(
            f"{self._called}: the video stops after {self.frames} frames ({reason_of(error)})."
        ) from error

    def _not_written(self, error: Exception) -> OutputError:
        return OutputError(f"{self._called}: the video can't be written ({reason_of(error)}); choose another location.")
