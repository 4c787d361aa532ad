"""Turns decoded frames of any format into upright BGR frames with square pixels.

As in players, interlaced frames are deinterlaced, pixels made square, pictures turned upright, and colour tags
respected; wide-gamut and HDR colours are converted to BT.709.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

# libavutil/pixfmt.h: AVColorSpace, AVColorPrimaries, AVColorTransferCharacteristic.
UNTAGGED = {2, 3}
BT2020_PRIMARIES, PQ, HLG = 9, 16, 18
# libavutil/display.h: signs of a display matrix's a, b, c, d; and the filters equivalent to it.
TURNS = {
    (0, 1, -1, 0): ["transpose=clock"],
    (-1, 0, 0, -1): ["hflip", "vflip"],
    (0, -1, 1, 0): ["transpose=cclock"],
    (-1, 0, 0, 1): ["hflip"],
    (1, 0, 0, -1): ["vflip"],
    (0, 1, 1, 0): ["transpose=cclock_flip"],
    (0, -1, -1, 0): ["transpose=clock_flip"],
}


class Filters:
    """Turns decoded frames of any format into upright BGR frames with square pixels."""

    def __init__(self, av: Any, aspect: Fraction | None):
        self._av, self._aspect = av, aspect
        self._form: tuple[Any, ...] = ()
        self._graph: Any = None
        self.interlaced = False

    def push(self, frame: Any) -> Iterator[Any]:
        """The frames that are ready, bgr24, or bgra if they may be transparent; the deinterlacer holds one back."""
        self.interlaced |= frame.interlaced_frame
        form = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, self.interlaced)
        if form != self._form:
            yield from self.flush()
            self._form, self._graph = form, self._build(frame)
        self._graph.push(frame)
        yield from self._pull()

    def flush(self) -> Iterator[Any]:
        """The frame that was held back."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()

    def _pull(self) -> Iterator[Any]:
        while True:
            try:
                yield self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return

    def _build(self, frame: Any) -> Any:
        properties = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={frame.time_base}"
        if self._av.library_versions["libavfilter"] >= (10,):  # earlier versions read them only from each frame
            properties += f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        steps = [f"buffer={properties}"]
        if self.interlaced:
            steps.append("bwdif=mode=send_frame:deint=interlaced")
        steps += [_scale(frame, self._aspect), "setsar=1", *_turn(frame), f"format={_pixels(frame)}", "buffersink"]
        graph = self._av.filter.Graph()
        graph.link_nodes(*(graph.add(*step.split("=", 1)) for step in steps)).configure()
        return graph


def _scale(frame: Any, aspect: Fraction | None) -> str:
    """The filter that makes pixels square and sets the colour tags."""
    ratio = aspect if aspect and 0.1 < aspect < 10 else 1  # anything beyond is an error in the container
    size = f"scale=w={max(1, round(frame.width * ratio))}:h={frame.height}"
    if frame.colorspace in UNTAGGED:  # as mpv guesses
        size += f":in_color_matrix={'bt709' if frame.width >= 1280 or frame.height > 576 else 'bt601'}"
    if frame.color_trc in (PQ, HLG) or frame.color_primaries == BT2020_PRIMARIES:
        size += ":out_primaries=bt709:out_transfer=bt709"
    return size


def _pixels(frame: Any) -> str:
    return "bgra" if any(part.is_alpha for part in frame.format.components) else "bgr24"


def _turn(frame: Any) -> list[str]:
    """The filters that turn a frame upright: phones store the rotation as metadata."""
    data = frame.side_data.get("DISPLAYMATRIX")  # iterating gives only the kinds from PyAV 19 on
    if data is None:
        return []
    matrix = np.frombuffer(bytes(data), "<i4").reshape(3, 3)
    return TURNS.get(tuple(np.sign(matrix[:2, :2]).ravel().tolist()), [])
