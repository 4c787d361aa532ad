"""Sound, which OpenCV can't carry: copied from the original by the program `ffmpeg`, where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from seg_edge.errors import OutputError
from seg_edge.system.files import atomic_write

NO_FFMPEG = "any sound was left out, for ffmpeg is not installed (sudo apt install ffmpeg)"
# An MP4's index at the front: it plays before it is all there. Other containers don't know the option.
FAST_START = ("-movflags", "+faststart")


def copy_audio(original: Path, silent: Path, out: Path) -> str:
    """Makes `out` of the pictures of one video and the sound of another; neither is encoded anew if it can be helped.

    Args:
        original: Has the sound.
        silent: Has the pictures; moved to `out` where there is no sound to add.
        out: Written, or replaced. Its suffix is the container. Give a temporary name and rename it
            (`seg_edge.system.files.atomic_write`): a kill leaves it half-written.

    Returns:
        What became of the sound, for the user, without a capital or a full stop.

    Raises:
        OutputError: `out` can't be written.
    """
    if not has_ffmpeg():
        _move(silent, out)
        return NO_FFMPEG
    # Decodes nothing: FFmpeg maps the streams first and fails if there is none.
    found = run_ffmpeg("-i", _name(original), "-map", "0:a", "-c", "copy", "-t", "0", "-f", "null", "-")
    if found:
        _move(silent, out)
        return "the original has no sound" if "matches no streams" in found else f"its sound can't be read ({found})"
    pictures, sound = ("-itsoffset", str(_lead_s(original)), "-i", _name(silent)), ("-i", _name(original))
    both = (*pictures, *sound, "-map", "0:v", "-map", "1:a", "-c:v", "copy")
    end = (*_options(out), _name(out))
    codec = "libopus" if out.suffix.lower() == ".webm" else "aac"
    why = ""
    for audio, outcome in (("copy", "the sound was kept"), (codec, f"the sound was kept, encoded anew as {codec}")):
        why = run_ffmpeg(*both, "-c:a", audio, *end)
        if not why:
            return outcome
    _move(silent, out)
    return f"the sound was left out, for ffmpeg can't put it into {out.suffix} ({why})"


def rewrap(film: Path, out: Path) -> None:
    """Puts a video into another container, by the suffix of `out`, without encoding it anew.

    Raises:
        OutputError: It can't be done; `film` and `out` are as they were.
    """
    with atomic_write(out) as temporary:
        why = run_ffmpeg("-i", _name(film), "-map", "0", "-c", "copy", *_options(out), _name(temporary))
        if why:
            raise OutputError(f"{out}: ffmpeg can't write it ({why}); the video is in {film}.")


def has_ffmpeg() -> bool:
    """Whether the program is there."""
    return shutil.which("ffmpeg") is not None


def run_ffmpeg(*arguments: str) -> str:
    """Runs ffmpeg, however long it takes; existing files are replaced.

    Returns:
        The first line of its complaint, which is the cause; empty when all went well.
    """
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        return f"ffmpeg doesn't start: {error.strerror or error}"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    # Without "[mp4 @ 0x55d0c8e4d2c0]", the part of FFmpeg that speaks.
    return re.sub(r"^\[.*? @ 0x\w+\] ", "", lines[0]).rstrip(".") if lines else f"ffmpeg ended with {done.returncode}"


def _lead_s(original: Path) -> float:
    """How many seconds its sound begins before its pictures; below 0 for the opposite, 0 where it can't be told."""
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,start_time", "-of", "csv=p=0"]
    try:
        done = subprocess.run([*command, _name(original)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return 0.0
    starts = dict(re.findall(r"^(video|audio),(-?[\d.]+)", done.stdout, re.MULTILINE))
    return float(starts["video"]) - float(starts["audio"]) if len(starts) == 2 else 0.0


def _name(path: Path) -> str:
    # As a URL of its own kind: no leading "-" is an option then, and no colon a protocol.
    return f"file:{path}"


def _options(out: Path) -> tuple[str, ...]:
    return FAST_START if out.suffix.lower() in (".mp4", ".mov", ".m4v") else ()


def _move(silent: Path, out: Path) -> None:
    try:
        shutil.move(silent, out)
    except OSError as error:
        raise OutputError(f"{out}: can't be written ({error.strerror or error}); choose another place.") from error
