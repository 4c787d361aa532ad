"""How does `seg-edge video` handle all kinds of clips? `python benchmarks/studies/clips.py FILE... --out FOLDER`.

Runs `seg-edge video` on each file in this process, reads the result back with PyAV, and prints a table: frames, size,
rate, colours and streams of both, how far flash and beep drifted apart if the clip has them, and the command's
messages. Next to each result it writes a picture of its middle frame, to check by eye. `make_clips.sh` makes clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import typer

from seg_edge.apps.video import segment_video
from seg_edge.commands.console import exit_codes
from seg_edge.effects import EffectSettings
from seg_edge.errors import SegEdgeError
from seg_edge.photo.write import write_picture
from seg_edge.segmenter import Segmenter

MATRICES = {1: "709", 2: "-", 5: "601", 6: "601", 9: "2020"}
LOUD, BRIGHT = 0.1, 120


@dataclass
class Clip:
    """The contents of a file: decoded pictures, streams, and when it flashes and beeps (None: never)."""

    frames: int = 0
    format: str = ""
    streams: str = ""
    flash_s: float | None = None
    beep_s: float | None = None
    middle: np.ndarray | None = None


def inspect(path: Path) -> Clip:
    """Decodes a file. Raises OSError if it can't be opened."""
    clip = Clip()
    with av.open(str(path)) as container:
        video = next(s for s in container.streams.video if "attached_pic" not in repr(s.disposition))
        audio = [s.codec_context.name for s in container.streams.audio if s.codec_context]
        subtitles = [s.codec_context.name for s in container.streams.subtitles if s.codec_context]
        chapters = len(container.chapters())
        clip.streams = ", ".join([*audio, *subtitles, *([f"{chapters} chapters"] if chapters else [])]) or "-"
        dark_before = False
        for packet in container.demux():
            try:
                frames: list[Any] = packet.decode() if packet.stream in (video, *container.streams.audio) else []
            except (OSError, ValueError):
                continue
            for frame in frames:
                if isinstance(frame, av.AudioFrame):
                    clip.beep_s = _beep(frame) if clip.beep_s is None else clip.beep_s
                    continue
                if not isinstance(frame, av.VideoFrame):
                    continue
                clip.frames += 1
                bright = frame.to_ndarray(format="gray").mean() > BRIGHT
                if bright and dark_before and clip.flash_s is None:
                    clip.flash_s = frame.time
                dark_before |= not bright
                if clip.frames in (1, 20):
                    clip.middle = frame.to_ndarray(format="bgr24")
                rate = float(video.average_rate or 0)
                matrix = MATRICES.get(int(frame.colorspace), "?")
                clip.format = f"{video.codec_context.name} {frame.width}x{frame.height} {rate:.5g} fps {matrix}"
    return clip


def _beep(frame: av.AudioFrame) -> float | None:
    samples = np.abs(frame.to_ndarray().astype(np.float64)).max(axis=0)
    loud = samples > LOUD * {"s16": 2**15, "s32": 2**31}.get(frame.format.name.rstrip("p"), 1)
    if not loud.any() or frame.time is None:
        return None
    channels = 1 if frame.format.is_planar else len(frame.layout.channels)
    return frame.time + int(np.argmax(loud)) / channels / frame.sample_rate


def main(
    files: Annotated[list[Path], typer.Argument(help="Video files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    suffix: Annotated[str, typer.Option(help="Suffix of the results.")] = ".mp4",
    model: Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")] = "person-fast",
) -> None:
    """Runs clips through `seg-edge video` and prints a table of the results."""
    with exit_codes():
        print("| clip | in | out | frames | audio, subtitles | drift ms | messages |\n|---|---|---|---|---|---|---|")
        for file in files:
            result = out / f"{file.name}{suffix}"
            try:
                outcome = segment_video(file, result, Segmenter(model, 1), EffectSettings("overlay"), force=True)
                before, after = inspect(file), inspect(result)
            except (SegEdgeError, OSError) as error:
                print(f"| {file.name} | | | | | | {error} |", flush=True)
                continue
            if after.middle is not None:
                write_picture(result.with_suffix(".png"), after.middle)
            drift_ms = "-"
            if before.beep_s is not None and None not in (before.flash_s, after.flash_s, after.beep_s):
                drift = (after.beep_s - after.flash_s) - (before.beep_s - before.flash_s)  # type: ignore[operator]
                drift_ms = f"{drift * 1000:.0f}"
            messages = "; ".join(text for text in (outcome.sound, outcome.complaint) if text)
            print(
                f"| {file.name} | {before.format} | {after.format} | {before.frames} → {after.frames} "
                f"| {before.streams} → {after.streams} | {drift_ms} | {messages} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
