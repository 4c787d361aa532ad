"""Converts frames to the pixel formats and colours of video encoders."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np

from seg_edge.sinks.video_formats import Encoding

MPEG_RANGE, JPEG_RANGE = 1, 2  # AVColorRange of libavutil/pixfmt.h, as are the numbers below
BT709, SMPTE170M = 1, 6


def is_hd(size_wh: tuple[int, int]) -> bool:
    """Whether untagged pictures of this size are read as BT.709 rather than BT.601, as mpv does."""
    return size_wh[0] >= 1280 or size_wh[1] > 576


def tag_colours(context: Any, size_wh: tuple[int, int], encoding: Encoding) -> None:
    """Sets the range and colour space of an encoder without a palette; `converter` converts to these."""
    hd = is_hd(size_wh) and encoding.codec != "mjpeg"  # JPEG is BT.601
    context.color_range = JPEG_RANGE if encoding.pixels.startswith("yuvj") else MPEG_RANGE
    context.colorspace = context.color_primaries = context.color_trc = BT709 if hd else SMPTE170M


class Converter(Protocol):
    """Converts frames for an encoder."""

    def __call__(self, frame: np.ndarray, pts: int) -> list[Any]:
        """Converts a frame, BGR or BGRA uint8, with its time; returns the pictures that are ready to be encoded."""

    def rest(self) -> list[Any]:
        """The pictures left after the last frame."""


def converter(av: Any, stream: Any, transparent: bool) -> Converter:
    """The converter of BGR frames, or BGRA if they are transparent, to a stream's pixel format."""
    if stream.pix_fmt == "pal8":
        return _Palette(av, stream)
    return _Alpha(av, stream) if transparent else _Planes(av, stream)


def _wrapped(av: Any, array: np.ndarray, form: str, pts: int, stream: Any) -> Any:
    """An array as a frame of PyAV, which shares its memory; an old PyAV copies it."""
    frame = getattr(av.VideoFrame, "from_numpy_buffer", av.VideoFrame.from_ndarray)(array, form)
    frame.pts, frame.time_base = pts, stream.codec_context.time_base
    return frame


class _Planes:
    """BGR frames as 4:2:0, with colours at half the size; by OpenCV, in half the time of swscale."""

    def __init__(self, av: Any, stream: Any):
        self._av, self._stream = av, stream
        context = stream.codec_context
        blue, red = (0.0722, 0.2126) if context.colorspace == BT709 else (0.114, 0.299)
        brightness = np.array([blue, 1 - blue - red, red])
        bluish = (np.array([1, 0, 0]) - brightness) / (2 - 2 * blue)
        reddish = (np.array([0, 0, 1]) - brightness) / (2 - 2 * red)
        full = context.color_range == JPEG_RANGE
        black, levels, colours = (0, 1.0, 1.0) if full else (16, 219 / 255, 224 / 255)
        rows = [(*levels * brightness, black), (*colours * bluish, 128), (*colours * reddish, 128)]
        self._matrix = np.array(rows, np.float32)

    def __call__(self, frame: np.ndarray, pts: int) -> list[Any]:
        height, width = frame.shape[:2]
        planes = np.empty((height * 3 // 2, width), np.uint8)
        colours = planes[height:].reshape(2, height // 2, width // 2)
        mixed = cv2.transform(frame, self._matrix)
        cv2.extractChannel(mixed, 0, planes[:height])
        small = cv2.resize(mixed, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        cv2.extractChannel(small, 1, colours[0])
        cv2.extractChannel(small, 2, colours[1])
        return [_wrapped(self._av, planes, self._stream.pix_fmt, pts, self._stream)]

    def rest(self) -> list[Any]:
        return []


class _Alpha:
    """BGRA frames in the encoder's pixel format and colours, by swscale."""

    def __init__(self, av: Any, stream: Any):
        self._av, self._stream = av, stream
        self._reformatter = av.video.reformatter.VideoReformatter()

    def __call__(self, frame: np.ndarray, pts: int) -> list[Any]:
        context = self._stream.codec_context
        picture = self._reformatter.reformat(
            _wrapped(self._av, np.ascontiguousarray(frame), "bgra", pts, self._stream),
            format=self._stream.pix_fmt,
            dst_colorspace="ITU709" if context.colorspace == BT709 else "ITU601",
            dst_color_range=context.color_range,
        )
        picture.pts, picture.time_base = pts, self._stream.codec_context.time_base
        return [picture]

    def rest(self) -> list[Any]:
        return []


class _Palette:
    """Frames with a palette of 256 colours, chosen for each frame."""

    def __init__(self, av: Any, stream: Any):
        self._av, self._stream = av, stream
        self._graph: Any = None

    def __call__(self, frame: np.ndarray, pts: int) -> list[Any]:
        form = "bgra" if frame.shape[2] == 4 else "bgr24"
        picture = _wrapped(self._av, np.ascontiguousarray(frame), form, pts, self._stream)
        if self._graph is None:
            self._graph = self._build(picture)
        self._graph.push(picture)
        return self._pull()

    def rest(self) -> list[Any]:
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> list[Any]:
        pictures = []
        while True:
            try:
                pictures.append(self._graph.pull())
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return pictures

    def _build(self, frame: Any) -> Any:
        graph = self._av.filter.Graph()
        base = frame.time_base
        arguments = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={base}"
        buffer, split = graph.add("buffer", arguments), graph.add("split")
        choose = graph.add("palettegen", "stats_mode=single:reserve_transparent=1")
        use, sink = graph.add("paletteuse", "new=1:alpha_threshold=128"), graph.add("buffersink")
        buffer.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(choose, 1, 0)
        choose.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        return graph
