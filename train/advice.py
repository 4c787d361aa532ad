"""Advice after a training: it learnt nothing, or more epochs would help."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from train.blind_guess import BETTER, no_better_than_guessing
from train.runs import RUN_NAME

RISING = 0.005  # gain in validation Dice over the last tenth of the epochs: more epochs would help


def learnt_nothing(out: Path) -> str:
    """Why a finished run's model is no better than guessing on the val part, and what to do; empty if it is better."""
    scores = json.loads((out / RUN_NAME).read_text(encoding="utf-8"))["scores"]
    blind = scores.get("blind_dice", 0.0)
    failure = no_better_than_guessing(scores["val_dice"], blind)
    if not failure:
        return ""
    last = _rows(out)[-1]
    if last["dice"] > blind + 2 * BETTER:
        advice = (
            f"It scores {last['dice']:.2f} on its augmented training photos: the validation photos show something "
            "else, or the training was too short; check the masks, and try more --epochs"
        )
    else:
        advice = "Check the masks, and try more --epochs or another --learning-rate"
    return f"{failure}. {advice}."


def more_epochs_would_help(out: Path, command: str = "--resume") -> str:
    """A hint to continue, if validation Dice was still rising at the end; else empty.

    `command` is what continues the training, if followed by `--epochs`.
    """
    values = [row["val_dice"] for row in _rows(out)]
    tenth = max(1, len(values) // 10)
    before = max(values[:-tenth], default=0.0)
    if len(values) < 2 or max(values[-tenth:]) < before + RISING:
        return ""
    return (
        f"Validation Dice was still rising at the end (from {before:.3f} to {max(values[-tenth:]):.3f}): "
        f"try {command} --epochs {2 * len(values)}."
    )


def _rows(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open(encoding="utf-8", newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
