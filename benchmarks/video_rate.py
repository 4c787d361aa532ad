"""How near a video comes to the bare model's rate: `python benchmarks/video_rate.py CLIP`.

In turns, in one process: the model alone on the clip's frames, already at its size, and the same frames through the
whole of `seg-edge video`: decoded, shrunk, segmented, steadied, drawn and, in the third case, encoded. Prints the
medians of the rates over the rounds, and the ratios of each round.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from seg_edge.apps.video import segment_video
from seg_edge.capture.pipeline import Pipeline
from seg_edge.effects import render
from seg_edge.preprocess import Preprocessor, resize_to_input
from seg_edge.segmenter import Segmenter
from seg_edge.smooth import DEFAULT_SMOOTH
from seg_edge.sources.source import SourceRequest
from seg_edge.system.board import Machine, read_board


def bare_rate(segmenter: Segmenter, pictures: list[np.ndarray]) -> float:
    """Inferences a second on pictures at the model's size."""
    preprocess = Preprocessor(segmenter.backend.input, segmenter.card.scale, segmenter.card.offset)
    tensors = [preprocess.quantise(picture) for picture in pictures]
    began = time.perf_counter()
    for tensor in tensors:
        segmenter.backend.run(tensor)
    return len(tensors) / (time.perf_counter() - began)


def drawn_rate(segmenter: Segmenter, clip: Path) -> float:
    """Frames a second from the file to the drawn picture, from the first one that comes out to the last."""
    times: list[float] = []
    request = SourceRequest(str(clip), segmenter.card.input_size_wh, live=False)
    with Pipeline(request, segmenter, lambda news: None) as pipeline:
        while not pipeline.exhausted():
            if item := pipeline.take(1.0):
                render(item.source.frame, item.answer)
                times.append(time.perf_counter())
    return (len(times) - 1) / (times[-1] - times[0])


def written_rate(segmenter: Segmenter, clip: Path, out: Path) -> float:
    """The same, and encoded."""
    stats = segment_video(clip, out, segmenter, "overlay", None, True).stats
    return float(stats["fps"])


def lengthen(clip: Path, frames: int, out: Path) -> list[np.ndarray]:
    """Writes the clip over and over, lossless enough, and gives its frames at the size they have, BGR uint8."""
    video = cv2.VideoCapture(str(clip))
    pictures: list[np.ndarray] = []
    while (frame := video.read()[1]) is not None:
        pictures.append(frame)
    if not pictures:
        raise typer.BadParameter(f"{clip} is no video.")
    size_wh = (pictures[0].shape[1], pictures[0].shape[0])
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), 30, size_wh)
    for index in range(frames):
        writer.write(pictures[index % len(pictures)])
    writer.release()
    return [pictures[index % len(pictures)] for index in range(frames)]


def main(
    clip: Annotated[Path, typer.Argument(help="A short video.")],
    frames: Annotated[int, typer.Option(min=10, help="Frames of each measurement.")] = 600,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each kind, in turns.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Of the model.")] = 1,
) -> None:
    """Prints, as JSON, the rates and their ratios."""
    segmenter = Segmenter(threads=threads, smooth=DEFAULT_SMOOTH)
    rates: dict[str, list[float]] = {"bare": [], "drawn": [], "written": []}
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.mkv"
        pictures = [resize_to_input(frame, segmenter.card.input_size_wh) for frame in lengthen(clip, frames, long)]
        for _ in range(rounds + 1):
            rates["bare"].append(bare_rate(segmenter, pictures))
            rates["drawn"].append(drawn_rate(segmenter, long))
            rates["written"].append(written_rate(segmenter, long, Path(folder) / "out.mkv"))
    counted = {kind: values[1:] for kind, values in rates.items()}
    ratios = {
        kind: [value / bare for value, bare in zip(counted[kind], counted["bare"], strict=True)]
        for kind in ("drawn", "written")
    }
    board = read_board(Machine())
    document = {
        "machine": {"cpu": board.cpu, "cores": os.cpu_count(), "load": board.load},
        "clip": clip.name,
        "frames": frames,
        "rounds": rounds,
        "threads": threads,
        "fps": {kind: round(statistics.median(values), 1) for kind, values in counted.items()},
        "ratio_to_bare": {
            kind: {
                "median": round(statistics.median(values), 3),
                "min": round(min(values), 3),
                "max": round(max(values), 3),
            }
            for kind, values in ratios.items()
        },
    }
    typer.echo(json.dumps(document, indent=1))


if __name__ == "__main__":
    typer.run(main)
