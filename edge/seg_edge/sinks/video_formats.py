"""The formats that a video's suffix stands for: container, codecs, transparency, sound and subtitles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seg_edge.errors import UsageError
from seg_edge.sources.names import is_sequence

DEFAULT_CRF = {"libx264": 23, "libvpx-vp9": 33}
LARGEST_CRF = {"libx264": 51, "libvpx-vp9": 63}


@dataclass(frozen=True)
class Encoding:
    """A codec by FFmpeg's name, its pixel format, and its options."""

    codec: str
    pixels: str
    options: Mapping[str, str] = field(default_factory=dict)


# Half the time of `superfast`; files are a quarter to a third larger. CABAC would save a tenth but take a fifth longer.
X264 = "deblock=1"
H264 = Encoding("libx264", "yuv420p", {"preset": "ultrafast", "x264-params": f"{X264}:mbtree=1:rc-lookahead=10"})
# Without alternate reference frames, which it doesn't support with transparency.
VP9 = {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "auto-alt-ref": "0"}
MJPEG_QUANTISER = "3"  # a little better than OpenCV's
TEXT = ("subrip", "ass", "webvtt", "text")


@dataclass(frozen=True)
class Format:
    """The format that a suffix stands for.

    Attributes:
        container: FFmpeg's name for it.
        opaque: How pictures are encoded.
        transparent: How pictures with transparency are encoded; None if it doesn't support any.
        sound: FFmpeg's names of audio codecs that are copied; others are re-encoded to the first. Empty if it can't
            hold sound.
        subtitles: Codecs of subtitles that it supports.
        dated: Whether each frame has its own time; else the rate is constant, and frames are repeated.
        chapters: Whether it supports chapters.
    """

    container: str
    opaque: Encoding
    transparent: Encoding | None = None
    sound: tuple[str, ...] = ()
    subtitles: tuple[str, ...] = ()
    dated: bool = True
    chapters: bool = True


_MP4 = Format("mp4", H264, sound=("aac", "mp3"), subtitles=("mov_text",))
FORMATS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Format(
        "mov",
        H264,
        Encoding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
        sound=("aac", "mp3", "alac", "pcm_s16le", "pcm_s24le"),
        subtitles=("mov_text",),
    ),
    ".mkv": Format(
        "matroska",
        H264,
        sound=("aac", "mp3", "mp2", "ac3", "eac3", "dts", "truehd", "flac", "opus", "vorbis", "pcm_s16le", "pcm_s24le"),
        subtitles=(*TEXT, "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"),
    ),
    ".webm": Format(
        "webm",
        Encoding("libvpx-vp9", "yuv420p", VP9),
        Encoding("libvpx-vp9", "yuva420p", VP9),
        sound=("opus", "vorbis"),
        subtitles=("webvtt",),
    ),
    ".ts": Format("mpegts", H264, sound=("aac", "mp3", "mp2", "ac3"), chapters=False),
    ".avi": Format(
        "avi",
        # The quantiser is bounded, as FFmpeg's fixed quality is set on each frame, which PyAV doesn't do. Optimal
        # Huffman tables would save a twentieth but take a fifth of the time.
        Encoding("mjpeg", "yuvj420p", {"qmin": MJPEG_QUANTISER, "qmax": MJPEG_QUANTISER, "huffman": "default"}),
        sound=("mp3",),
        dated=False,
        chapters=False,
    ),
    ".gif": Format("gif", Encoding("gif", "pal8"), Encoding("gif", "pal8"), chapters=False),
}
PICTURES = (".png", ".jpg")


def video_format(path: Path) -> Format:
    """The format of a video at `path`, by its suffix.

    Raises:
        UsageError: The suffix isn't one of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a video's name ends with one of {', '.join(FORMATS)}, or is f%04d.png or .jpg.")
    return FORMATS[path.suffix.lower()]


def check_video(path: Path, transparent: bool, crf: int | None) -> None:
    """Refuses options that a format doesn't support, before hours of work.

    Raises:
        UsageError: The suffix is unknown, or the format doesn't support transparency or the quality.
    """
    numbered = is_sequence(path) and path.suffix.lower() in PICTURES
    form = None if numbered else video_format(path)
    if transparent and not (path.suffix.lower() == ".png" if form is None else form.transparent):
        raise UsageError(
            f"{path}: {path.suffix} can't be transparent; name it .webm, .mov or f%04d.png, or use a green background "
            "with --effect replace --background green."
        )
    encoding = form and (form.transparent if transparent else form.opaque)
    largest = LARGEST_CRF.get(encoding.codec) if encoding else None
    if crf is not None and (largest is None or not 0 <= crf <= largest):
        allowed = f"--crf must be 0 to {largest}" if largest else "--crf is not supported; leave it out"
        raise UsageError(f"{path}: {allowed}.")
