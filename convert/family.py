"""Finds the widest network of the family that fits a budget of time and file size, before any training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convert.pruning.budget import int8_of
from seg_edge.callbacks import Log
from seg_edge.errors import UsageError
from seg_edge.evaluation.latency import measure
from train.dataset import Dataset
from train.network import build
from train.recipes import Recipe

WIDTHS = (2.0, 1.5, 1.0, 0.75, 0.5, 0.375, 0.25)  # times the recipe's
MULTIPLE = 8  # channels of a layer: processors compute 8 at once
CARD_KB = 3  # an upper limit for a card of a few classes


@dataclass(frozen=True)
class Member:
    """A network of the family, untrained.

    Attributes:
        widths: Channels of each level.
        ms: Median time of an inference, int8, one thread, on this machine.
        kb: Size of the int8 file in kilobytes, with its card.
    """

    widths: tuple[int, ...]
    ms: float
    kb: float


def fitting(data: Dataset, recipe: Recipe, max_ms: float | None, max_kb: float | None, log: Log = print) -> Recipe:
    """The recipe with the widest levels whose int8 model stays within the budget.

    All are converted untrained and timed alternately; training changes neither file size nor time.

    Args:
        data: The dataset; a few photos calibrate.
        recipe: The training's recipe.
        max_ms: Maximum inference time in milliseconds, one thread, on this machine; None for no limit.
        max_kb: Maximum file size in kilobytes; None for no limit.
        log: Receives the table.

    Raises:
        UsageError: None fits; the message gives the narrowest's figures.
    """
    family = _family(data, recipe)
    log(f"{'widths':<24}{'ms':>8}{'kB':>8}")
    chosen = None
    for member in family:
        fits = (max_ms is None or member.ms <= max_ms) and (max_kb is None or member.kb <= max_kb)
        is_chosen = fits and chosen is None
        chosen = member if is_chosen else chosen
        mark = "  chosen" if is_chosen else ""
        log(f"{' '.join(map(str, member.widths)):<24}{member.ms:8.2f}{member.kb:8.0f}{mark}")
    if chosen is None:
        narrowest = family[-1]
        raise UsageError(
            f"no network of the family is within the budget: the narrowest takes {narrowest.ms:.2f} ms and "
            f"{narrowest.kb:.0f} kB; raise the budget, or give a smaller --size."
        )
    return recipe.replace(widths=chosen.widths)


def _family(data: Dataset, recipe: Recipe) -> list[Member]:
    """The members, widest first."""
    all_widths = dict.fromkeys(
        tuple(max(MULTIPLE, round(width * times / MULTIPLE) * MULTIPLE) for width in recipe.widths) for times in WIDTHS
    )
    contents = {widths: _file(recipe.replace(widths=widths), data) for widths in all_widths}
    times = measure({str(widths): content for widths, content in contents.items()}, threads=1)
    return [
        Member(widths, times[str(widths)].median_ms, len(content) / 1000 + CARD_KB)
        for widths, content in contents.items()
    ]


def _file(recipe: Recipe, data: Dataset) -> bytes:
    """The recipe's network as an int8 file without a card, as large as after a training."""
    model, random = build(recipe, len(data.classes)), np.random.default_rng(0)
    for weight in model.weights:
        if not np.any(weight):  # a new network's biases are equal, and the converter stores equal tensors once
            weight.assign(random.normal(size=weight.shape))
    return int8_of(model, data)
