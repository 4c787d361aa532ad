"""One page about a model of one's own: its scores, what int8 cost, its time here, its photos, its curves."""

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
    """Writes `report.html` into the folder, its pictures inside.

    Args:
        folder: With `model.tflite`, `worst.jpg`, `data/` and `run/`.
        card: Of the model.
        scores: On the test part.
        timing: Of an inference on this machine, by number of threads.
    """
    split, val = card.data["split"], card.scores["val"]
    classes = "".join(
        f"<tr><th>{_square(info.colour)} {html.escape(info.name)}</th><td>{value:.3f}</td></tr>"
        for info, value in zip(card.classes[1:], dice(scores.matrix)[1:], strict=True)
    )
    times = "; ".join(
        f"{one.median_ms:.1f} ms with {threads} thread{'s' * (threads > 1)}" for threads, one in timing.items()
    )
    width, height = card.input_size_wh
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(card.name)}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(card.name)}</h1>
<p>Learnt from {split["train"]} photos; {split["val"]} chose the epoch, and {split["test"]} more were only scored.
The file has {(folder / "model.tflite").stat().st_size / 1000:.0f} kB and takes {width}x{height} pixels.</p>
<h2>How good it is</h2>
<table><tr><th>on the test photos</th><th>Dice</th></tr>{classes}<tr><th>mean</th><td>{scores.mean_dice:.3f}</td></tr>
<tr><th>edges (boundary F)</th><td>{scores.mean_boundary:.3f}</td></tr></table>
<p>As 8-bit integers it has a mean Dice of {val["int8"]["mean_dice"]:.3f} on the photos that chose the epoch,
before that {val["float"]["mean_dice"]:.3f}. If the test photos were taken on the same day as the others, expect less
on another day.
It knows only what it was shown. {_on_others(scores)}</p>
<h2>How fast it is here</h2>
<p>An inference takes {times} ({platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; median).</p>
<h2>Where it is worst</h2>{_picture(folder / "worst.jpg", "The test photos with the lowest scores")}
<h2>How it learnt</h2>{_picture(folder / "run" / "curves.png", "Loss and Dice over the epochs")}
<h2>What it learnt from</h2>{_picture(folder / "data" / "contact_sheet.jpg", "The photos with their masks")}
</body></html>
"""
    write_file(folder / "report.html", page.encode())


def _on_others(scores: Scores) -> str:
    """What the model makes of photos with none of its classes."""
    others = [photo.matrix for photo in scores.photos if not photo.matrix[1:].any()]
    if not others:
        return (
            "No test photo is without its classes, so it was not measured how often it takes somebody or something "
            "else for one of them; <code>--other FOLDER</code> adds such photos."
        )
    share = sum(matrix[0, 1:].sum() for matrix in others) / sum(matrix.sum() for matrix in others)
    return f"Of {len(others)} test photos that show none of its classes, it took {share:.1%} of the pixels for one."


def _square(colour: tuple[int, int, int]) -> str:
    """A square in the colour in which a class is drawn."""
    return f'<i style="background:rgb{tuple(colour)}"></i>'


def _picture(path: Path, what: str) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{what}" src="data:image/{kind};base64,{content}">'
