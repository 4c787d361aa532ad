"""What a video's suffix stands for: container, codec, whether it can be transparent, which sound it holds."""

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
    """A codec as FFmpeg calls it, the pixel format it gets, and its options."""

    codec: str
    pixels: str
    options: Mapping[str, str] = field(default_factory=dict)


# Half the time of `superfast`; files are a quarter to a third larger. CABAC: a tenth smaller, but a fifth more time.
X264 = "deblock=1"
H264 = Encoding("libx264", "yuv420p", {"preset": "ultrafast", "x264-params": f"{X264}:mbtree=1:rc-lookahead=10"})
# Without alternate references, which its transparency doesn't take.
VP9 = {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "auto-alt-ref": "0"}
MJPEG_QUANTISER = "3"  # a little better than OpenCV's
TEXT = ("subrip", "ass", "webvtt", "text")


@dataclass(frozen=True)
class Format:
    """What a suffix stands for.

    Attributes:
        container: FFmpeg's name of it.
        opaque: How pictures are encoded.
        transparent: How those with transparency are; None where there is none.
        sound: Codecs that are taken as they are, as FFmpeg calls them; the first is what others are encoded to. None of
            them: it is silent.
        subtitles: Codecs of subtitles that it holds.
        dated: Whether each frame has its own time; else the rate is constant, and frames are repeated.
        chapters: Whether it holds chapters.
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
        # A quantiser as a bound: FFmpeg's fixed quality is a frame's, which PyAV doesn't set. Own Huffman tables save a
        # twentieth, and take a fifth of the time.
        Encoding("mjpeg", "yuvj420p", {"qmin": MJPEG_QUANTISER, "qmax": MJPEG_QUANTISER, "huffman": "default"}),
        sound=("mp3",),
        dated=False,
        chapters=False,
    ),
    ".gif": Format("gif", Encoding("gif", "pal8"), Encoding("gif", "pal8"), chapters=False),
}
PICTURES = (".png", ".jpg")


def video_format(path: Path) -> Format:
    """What will be written to `path`, by its suffix.

    Raises:
        UsageError: The suffix is none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a video's name ends with one of {', '.join(FORMATS)}, or is f%04d.png or .jpg.")
    return FORMATS[path.suffix.lower()]


def check_video(path: Path, transparent: bool, crf: int | None) -> None:
    """Refuses what a file can't hold, before hours of work go there.

    Raises:
        UsageError: An unknown suffix, transparency where there is none, or a quality that the codec doesn't know.
    """
    numbered = is_sequence(path) and path.suffix.lower() in PICTURES
    form = None if numbered else video_format(path)
    if transparent and not (path.suffix.lower() == ".png" if form is None else form.transparent):
        raise UsageError(
            f"{path}: {path.suffix} can't be transparent; name it .webm, .mov or f%04d.png, or ask for green with "
            "--effect replace --background green."
        )
    encoding = form and (form.transparent if transparent else form.opaque)
    largest = LARGEST_CRF.get(encoding.codec) if encoding else None
    if crf is not None and (largest is None or not 0 <= crf <= largest):
        allowed = f"--crf goes from 0 to {largest} there" if largest else "--crf is not for it; leave it out"
        raise UsageError(f"{path}: {allowed}.")
