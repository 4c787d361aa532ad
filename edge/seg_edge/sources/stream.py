"""Network streams by PyAV, for those that OpenCV can't read: interlaced ones, which are deinterlaced here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from seg_edge.errors import SourceError
from seg_edge.frame import as_frame
from seg_edge.sources.names import shown_name
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest
from seg_edge.sources.still import fit_inside
from seg_edge.sources.video_container import frame_rate, import_av, picture_stream, reason_of
from seg_edge.sources.video_filters import Filters

TIMEOUT_S = 4.0
OPTIONS = {"rtsp_transport": "tcp", "fflags": "nobuffer"}  # UDP loses packets, which shows as grey smears


class StreamSource:
    """A live stream; scaled down in proportion to fit `request.size_wh` if given.

    Raises:
        SourceError: It can't be opened, or gives no picture.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest):
        self._name, self._fit_wh = shown_name(request.name), request.size_wh
        self._av = import_av(SourceError)
        self._closed = False
        try:
            self._container = self._av.open(request.name, options=OPTIONS, timeout=TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self._name}: gives no video ({reason_of(error)}).") from error
        try:
            self._frames = self._decode()
            height, width = next(self._frames).frame.shape[:2]
        except BaseException:
            self.close()
            raise
        fps = float(frame_rate(self._stream) or 0)
        description = f"{self._name}, {width}x{height}{f' at {fps:g} fps' if fps else ''}"
        description += ", deinterlaced" if self._filters.interlaced else ", by PyAV"
        self.info = SourceInfo(description, (width, height), fps)

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames.

        Raises:
            SourceError: The stream was interrupted.
        """
        while not self._closed:
            yield next(self._frames)

    def _decode(self) -> Iterator[SourceFrame]:
        self._stream: Any = picture_stream(self._container)
        if self._stream is None:
            raise SourceError(f"{self._name}: gives no video; check its path.")
        self._filters = Filters(self._av, self._stream.sample_aspect_ratio)
        reason = "the stream was interrupted"
        try:
            for packet in self._container.demux(self._stream):
                for frame in self._delivered(packet):
                    for ready in self._filters.push(frame):
                        yield SourceFrame(
                            fit_inside(as_frame(ready.to_ndarray()), self._fit_wh), None, time.monotonic()
                        )
                if self._closed:
                    return
        except (OSError, ValueError) as error:
            reason += f" ({reason_of(error)})"
        raise SourceError(f"{self._name}: {reason}.")

    def _delivered(self, packet: Any) -> list[Any]:
        try:
            return [frame for frame in packet.decode() if not frame.is_corrupt]
        except (OSError, ValueError):  # a packet was lost or damaged; after the next key frame pictures are whole
            return []

    def close(self) -> None:
        """Closes the connection; ends the iteration."""
        self._closed = True
        self._container.close()
