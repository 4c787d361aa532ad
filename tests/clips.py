"""Video clips for tests, made by PyAV: interlaced, rotated, with unusual pixels, colours, times, sound and covers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

SD = (320, 240)
MPEG, JPEG = 1, 2  # AVColorRange


@dataclass(frozen=True)
class Clip:
    """A clip's properties.

    `turn` is the rotation in the display matrix, in degrees anticlockwise; `matrix` is an AVColorSpace. With a `beep_s`
    there is sound from `sound_from_s` on, silent except for 0.2 s from `beep_s`. A title comes with two chapters.
    """

    frames: int = 10
    fps: int = 25
    size_wh: tuple[int, int] = SD
    codec: str = ""
    pixels: str = "yuv420p"
    interlaced: bool = False
    aspect: tuple[int, int] = (1, 1)
    matrix: int = 2
    full_range: bool = False
    turn: int = 0
    times_s: list[float] | None = None
    cover: bool = False
    texture: bool = False
    beep_s: float | None = None
    sound_from_s: float = 0.0
    sound: str = ""
    sounds: int = 1
    title: str = ""


CODECS = {".webm": "libvpx", ".avi": "mpeg4"}


def bars_bgr(size_wh: tuple[int, int]) -> np.ndarray:
    """Eight bars of strong colours."""
    colours = np.array(
        [
            [
                [191, 191, 191],
                [0, 191, 191],
                [191, 191, 0],
                [0, 191, 0],
                [191, 0, 191],
                [0, 0, 191],
                [191, 0, 0],
                [30, 60, 90],
            ]
        ],
        np.uint8,
    )
    return cv2.resize(colours, size_wh, interpolation=cv2.INTER_NEAREST)


def interlaced_bgr(field: int) -> np.ndarray:
    """A bright disc on a textured wall; its position shows the field's number: it moves by 4 pixels per field."""
    picture = np.full((SD[1], SD[0], 3), 60, np.uint8)
    picture[:, ::32] = 90
    cv2.circle(picture, (40 + 4 * field % 240, 120), 30, (80, 160, 240), -1)
    return picture


def write_video(path: Path, clip: Clip, picture: Callable[[int], np.ndarray]) -> Path:
    """Writes a clip of BGR uint8 pictures by number; each frame of an interlaced clip is made of two."""
    options = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(clip.codec or CODECS.get(path.suffix, "libx264"), rate=clip.fps)
        stream.width, stream.height = clip.size_wh
        stream.pix_fmt = clip.pixels
        context = stream.codec_context
        stream.time_base = context.time_base = Fraction(1, 1000 if clip.times_s else clip.fps)
        context.sample_aspect_ratio = Fraction(*clip.aspect)
        context.colorspace, context.color_range = clip.matrix, JPEG if clip.full_range else MPEG
        if context.name == "libx264":
            context.options = {"preset": "veryfast", "crf": "12", "x264-params": "tff=1" if clip.interlaced else ""}
        if clip.turn:
            stream.set_display_rotation(clip.turn)
        cover = None
        if clip.cover:
            cover = container.add_stream("mjpeg")
            cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
        beeps = [
            _add_sound(container, clip, language) for language in ("eng", "deu")[: clip.sounds if clip.beep_s else 0]
        ]
        if clip.title:
            container.metadata["title"] = clip.title
            halves = [{"id": n, "start": 500 * n, "end": 500 * (n + 1), "time_base": Fraction(1, 1000)} for n in (0, 1)]
            texts = ({"title": "one"}, {"title": "two"})
            container.set_chapters([{**half, "metadata": text} for half, text in zip(halves, texts, strict=True)])
        shown_s = clip.times_s or [number / clip.fps for number in range(clip.frames)]
        for number, at_s in enumerate(shown_s):
            frame = _frame(clip, picture, number)
            frame.pts, frame.time_base = round(at_s / stream.time_base), stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for beep in beeps:
            _write_beep(container, beep, clip, shown_s[-1])
        if cover is not None:
            container.mux(cover.encode(av.VideoFrame(64, 48, "yuvj420p")))
    return path


def _frame(clip: Clip, picture: Callable[[int], np.ndarray], number: int) -> av.VideoFrame:
    if clip.interlaced:
        bgr = picture(2 * number).copy()
        bgr[1::2] = picture(2 * number + 1)[1::2]
    else:
        bgr = picture(number)
    if clip.texture:
        noise = np.random.default_rng(number).integers(0, 40, (*bgr.shape[:2], 1), np.uint8)
        bgr = cv2.add(bgr, np.repeat(noise, 3, axis=2))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), "bgr24")
    hd = clip.size_wh[1] > 576
    matrix = clip.matrix if clip.matrix != 2 else 1 if hd else 6
    made = frame.reformat(
        format=clip.pixels, dst_colorspace={1: "ITU709", 6: "ITU601"}[matrix],
        dst_color_range=JPEG if clip.full_range else MPEG,
    )  # fmt: skip
    made.colorspace = clip.matrix
    made.color_range = JPEG if clip.full_range else MPEG
    return made


def _add_sound(container: av.container.OutputContainer, clip: Clip, language: str) -> av.AudioStream:
    sound = container.add_stream(clip.sound or {"webm": "libopus"}.get(container.format.name, "aac"), rate=48000)
    sound.codec_context.layout = "stereo"
    sound.metadata["language"] = language
    return sound


def _write_beep(container: av.container.OutputContainer, sound: av.AudioStream, clip: Clip, end_s: float) -> None:
    times = np.arange(round(clip.sound_from_s * 48000), round((end_s + 0.04) * 48000)) / 48000
    assert clip.beep_s is not None
    loud = (times >= clip.beep_s) & (times < clip.beep_s + 0.2)
    wave = (np.sin(2 * np.pi * 1000 * times) * loud * 20000).astype(np.int16)
    for start in range(0, len(wave), 1024):
        samples = np.repeat(wave[np.newaxis, start : start + 1024], 2, axis=0).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout="stereo")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = round(clip.sound_from_s * 48000) + start
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
