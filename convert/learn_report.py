"""An HTML report on the user's own model: scores, the cost of int8, time on this machine, photos, curves."""

from __future__ import annotations

import base64
import html
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from seg_edge.card import ModelCard
from seg_edge.evaluation.latency import Timing
from seg_edge.evaluation.metrics import dice
from seg_edge.evaluation.scores import Scores
from seg_edge.system.files import write_file

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%}td,th{padding:.2rem 1rem;text-align:right}th{font-weight:normal;text-align:left}"
    "i{display:inline-block;width:.8em;height:.8em}"
)


def write_report(folder: Path, card: ModelCard, scores: Scores, timing: Mapping[int, Timing]) -> None:
    """Writes `report.html` with embedded pictures into the folder.

    Args:
        folder: Holds `model.tflite`, `worst.jpg`, `data/` and `run/`.
        card: The model's card.
        scores: Scores on the test part.
        timing: Inference time on this machine, by number of threads.
    """
    split, val = card.data["split"], card.scores["val"]
    classes = "".join(
        f"<tr><th>{_square(info.colour)} {html.escape(info.name)}</th><td>{value:.3f}</td></tr>"
        for info, value in zip(card.classes[1:], dice(scores.matrix)[1:], strict=True)
    )
    times = "; ".join(
        f"{time.median_ms:.1f} ms with {threads} thread{'s' * (threads > 1)}" for threads, time in timing.items()
    )
    width, height = card.input_size_wh
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(card.name)}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(card.name)}</h1>
<p>Trained on {split["train"]} photos; {split["val"]} chose the epoch, and {split["test"]} more were only scored.
The file has {(folder / "model.tflite").stat().st_size / 1000:.0f} kB; its input is {width}x{height} pixels.</p>
<h2>How good it is</h2>
<table><tr><th>on the test photos</th><th>Dice</th></tr>{classes}<tr><th>mean</th><td>{scores.mean_dice:.3f}</td></tr>
<tr><th>edges (boundary F)</th><td>{scores.mean_boundary:.3f}</td></tr></table>
<p>On the photos that chose the epoch, the int8 model has a mean Dice of {val["int8"]["mean_dice"]:.3f}, the float
model {val["float"]["mean_dice"]:.3f}. If all photos were taken on the same day, expect less on another day.
The model knows only what it was shown. {_on_others(scores)}</p>
<h2>How fast it is here</h2>
<p>An inference takes {times} ({platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; median).</p>
<h2>Where it is worst</h2>{_picture(folder / "worst.jpg", "The test photos with the lowest scores")}
<h2>How it was trained</h2>{_picture(folder / "run" / "curves.png", "Loss and Dice over the epochs")}
<h2>What it was trained on</h2>{_picture(folder / "data" / "contact_sheet.jpg", "The photos with their masks")}
</body></html>
"""
    write_file(folder / "report.html", page.encode())


def _on_others(scores: Scores) -> str:
    """How the model does on photos that show none of its classes."""
    others = [photo.matrix for photo in scores.photos if not photo.matrix[1:].any()]
    if not others:
        return (
            "Every test photo shows one of its classes, so false positives on other people or things weren't measured; "
            "<code>--other FOLDER</code> adds such photos."
        )
    share = sum(matrix[0, 1:].sum() for matrix in others) / sum(matrix.sum() for matrix in others)
    photos = "1 test photo that shows" if len(others) == 1 else f"{len(others)} test photos that show"
    return f"On {photos} none of its classes, it labels {share:.1%} of the pixels as one."


def _square(colour: tuple[int, int, int]) -> str:
    """A square in a class's colour."""
    return f'<i style="background:rgb{tuple(colour)}"></i>'


def _picture(path: Path, alt: str) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{alt}" src="data:image/{kind};base64,{content}">'
