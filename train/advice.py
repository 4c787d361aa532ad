"""What the curves of a training say: that it learnt nothing, or would go on learning."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from train.blind_guess import BETTER
from train.runs import RUN_NAME

RISING = 0.005  # of validation Dice over the last tenth of the epochs: more epochs would gain


def learnt_nothing(out: Path) -> str:
    """Why the model of a finished run knows nothing of the val part, and what to do; empty where it does."""
    scores = json.loads((out / RUN_NAME).read_text(encoding="utf-8"))["scores"]
    blind = scores.get("blind_dice", 0.0)
    if scores["val_dice"] >= blind + BETTER:
        return ""
    last = _rows(out)[-1]
    if last["dice"] > blind + 2 * BETTER:
        do = (
            f"It has {last['dice']:.2f} on the varied photos it was trained on: the val part shows something else, or "
            "the training is too short; look at the masks, and try more --epochs"
        )
    else:
        do = "Look at the masks, and try more --epochs or another --learning-rate"
    return (
        f"the model knows nothing of the val part: its Dice is {scores['val_dice']:.2f}, where an answer that never "
        f"looks at the photo has {blind:.2f}. {do}."
    )


def would_go_on(out: Path) -> str:
    """A hint that more epochs would gain, where validation Dice still rose at the end; else empty."""
    values = [row["val_dice"] for row in _rows(out)]
    tenth = max(1, len(values) // 10)
    before = max(values[:-tenth], default=0.0)
    if len(values) < 2 or max(values[-tenth:]) < before + RISING:
        return ""
    return (
        f"Validation Dice still rose at the end (from {before:.3f} to {max(values[-tenth:]):.3f}): --resume --epochs "
        f"{2 * len(values)} would gain."
    )


def _rows(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open(encoding="utf-8", newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
