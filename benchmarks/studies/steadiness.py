"""What does smoothing gain and cost? `python benchmarks/studies/steadiness.py CLIP... [--reference FILE.tflite]`

For each setting of `--smooth` it prints the flicker score (`seg_edge.evaluation.flicker`), its ratio to no smoothing,
and the Dice against reference labels where the picture moved recently, which is where a mask would lag. The frames
aren't labelled by hand: the references are models on single frames, namely the model averaged over the frame and its
mirror image, and the model given with --reference. This Dice shows the cost of smoothing, not the quality of the masks.
"""

from __future__ import annotations

import platform
import statistics
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from benchmarks.flicker import read_frames
from benchmarks.reporting.tables import markdown_table
from seg_edge import Segmentation, Segmenter
from seg_edge.commands.console import exit_codes
from seg_edge.evaluation.flicker import FlickerMeter
from seg_edge.evaluation.metrics import confusion_matrix, dice, mean_foreground
from seg_edge.lookahead import Lookahead
from seg_edge.models import DEFAULT_MODEL
from seg_edge.smooth import DEFAULT_SMOOTH, TemporalSmoother
from seg_edge.timing import timed

SETTINGS = tuple(sorted({0.0, 0.25, DEFAULT_SMOOTH, 0.75, 1.0}))
AHEAD = (2, 4, 8)
RECENT = 6  # frames, 0.2 s; a longer lag shows on the frames before
MOVED = 10  # levels of 255 between blurred frames
NEAR = np.ones((31, 31), np.uint8)  # 15 pixels to each side


class Setting:
    """A value of `smooth`, with or without lookahead, and its scores."""

    def __init__(self, smooth: float, references: list[str], classes: int, ahead: int = 0):
        self.smooth, self.classes, self.ahead = smooth, classes, ahead
        self.lookahead = Lookahead(ahead, smooth) if ahead else None
        self.waiting: deque[tuple[dict[str, np.ndarray], np.ndarray]] = deque()
        self.smoother, self.meter = TemporalSmoother(smooth), FlickerMeter()
        self.matrices = {name: np.zeros((classes, classes), np.int64) for name in references}
        self.smoothing_ms: list[float] = []
        self.meter_ms: list[float] = []

    def add(self, result: Segmentation, references: dict[str, np.ndarray], moved: np.ndarray) -> None:
        """Adds a frame: the unsmoothed result, reference labels, and where to compare, bool (h, w)."""
        self.waiting.append((references, moved))
        timing_ms: dict[str, float] = {}
        if self.lookahead:
            with timed(timing_ms, "smoothing"):
                smoothed = self.lookahead.add(result)
        else:
            with timed(timing_ms, "smoothing"):
                scores = self.smoother(result.score_map, result.pixels)
            smoothed = replace(result, score_map=scores, labels=scores.labels(result.labels.shape))  # type: ignore[arg-type]
        self.smoothing_ms.append(timing_ms["smoothing"])
        if smoothed is not None:
            self._score(smoothed)

    def finish(self) -> None:
        """Scores the frames that are still waiting."""
        for smoothed in self.lookahead.rest() if self.lookahead else ():
            self._score(smoothed)

    def _score(self, smoothed: Segmentation) -> None:
        references, moved = self.waiting.popleft()
        timing_ms: dict[str, float] = {}
        with timed(timing_ms, "meter"):
            self.meter.add(smoothed)
        self.meter_ms.append(timing_ms["meter"])
        for name, labels in references.items():
            self.matrices[name] += confusion_matrix(labels[moved], smoothed.labels[moved], self.classes)


class Motion:
    """Where the picture moved recently."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._moved: deque[np.ndarray] = deque(maxlen=RECENT)

    def add(self, frame: np.ndarray) -> np.ndarray:
        """For a frame BGR uint8 (height, width, 3), bool (height, width): near recent changes."""
        blurred = cv2.blur(frame, (5, 5))
        if self._last is not None:
            moved = (cv2.absdiff(blurred, self._last).max(axis=2) > MOVED).astype(np.uint8)
            self._moved.append(cv2.morphologyEx(moved, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
        self._last = blurred
        if not self._moved:
            return np.zeros(frame.shape[:2], bool)
        return cv2.dilate(np.maximum.reduce(list(self._moved)), NEAR) > 0


def mirrored_mean(segment: Segmenter, frame: np.ndarray) -> np.ndarray:
    """Labels from the model's mean probabilities on the frame and its mirror image."""
    plain, mirrored = segment(frame).probabilities(), segment(frame[:, ::-1]).probabilities()
    return (plain + mirrored[:, ::-1]).argmax(axis=2).astype(np.uint8)


def measure(clip: Path, segment: Segmenter, reference: Segmenter | None) -> tuple[list[Setting], int, float]:
    """All settings over a clip, its number of frames, and the mean share of a frame that moved recently."""
    own = f"{segment.card.name}, mirrored mean"
    names = [own, *([reference.card.name] if reference else [])]
    settings = [Setting(smooth, names, len(segment.classes)) for smooth in SETTINGS]
    settings += [Setting(DEFAULT_SMOOTH, names, len(segment.classes), ahead) for ahead in AHEAD]
    motion, shares = Motion(), []
    for frame in read_frames(clip):
        result, moved = segment(frame), motion.add(frame)
        references = {own: mirrored_mean(segment, frame)}
        if reference:
            references[reference.card.name] = reference(frame).labels
        for setting in settings:
            setting.add(result, references, moved)
        shares.append(float(moved.mean()))
    for setting in settings:
        setting.finish()
    return settings, len(shares), statistics.mean(shares)


def main(
    clips: Annotated[list[Path], typer.Argument(help="Video files.")],
    model: Annotated[str, typer.Option(help="The model whose masks are smoothed.")] = DEFAULT_MODEL,
    reference: Annotated[Path | None, typer.Option(help="Better model with the same classes, as reference.")] = None,
) -> None:
    """Prints flicker, and Dice where the picture moves, for several settings of smoothing."""
    with exit_codes():
        segment, compared = Segmenter(model), Segmenter(reference) if reference else None
        typer.echo(f"{platform.machine()}, model {segment.card.name} (sha256 {segment.file.sha256[:12]})")
        if compared:
            typer.echo(f"reference {compared.card.name} (sha256 {compared.file.sha256[:12]})")
        for clip in clips:
            settings, frames, share = measure(clip, segment, compared)
            typer.echo(
                f"\n{clip.name}: {frames} frames; {share:.0%} of the picture moved recently, where Dice is measured"
            )
            heads = [
                "smooth",
                "flicker",
                "ratio",
                *(f"Dice, {name}" for name in settings[0].matrices),
                "ms",
                "meter ms",
            ]
            typer.echo(markdown_table(heads, [row(setting, settings[0].meter.score) for setting in settings]))


def row(setting: Setting, unsmoothed: float | None) -> list[str]:
    """One row of the table; `unsmoothed` is the flicker without smoothing."""
    score = setting.meter.score
    flicker = "-" if score is None else f"{score:.4%}"
    ratio = "-" if score is None or not unsmoothed else f"{score / unsmoothed:.2f}"
    scores = [f"{mean_foreground(dice(matrix)):.4f}" for matrix in setting.matrices.values()]
    times = [f"{statistics.median(times):.2f}" for times in (setting.smoothing_ms, setting.meter_ms)]
    ahead = f", {setting.ahead} ahead" if setting.ahead else ""
    return [f"{setting.smooth:g}{ahead}", flicker, ratio, *scores, *times]


if __name__ == "__main__":
    typer.run(main)
