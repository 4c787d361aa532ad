"""Which layers lose accuracy in int8: each place that is rounded, rounded alone, against the float network.

The error that one place puts into the logits is measured as signal to quantisation noise. The noises of several places
nearly add up, so a place's share of their sum says what keeping it in float, or a better range, would gain. Mean Dice
is shown beside it: it moves only where a place alone does visible harm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from convert.quantisation.fake_quant import IMAGE, Range, kernel_names, with_fake_quant
from seg_edge.evaluation.data_folder import Example
from train.losses import DiceCoefficient

PHOTOS = 16
EXPLAINED_SHARE = 0.8  # of the noise: the fewest places that cause it together are the most sensitive ones
MAX_NAMED = 4
ROWS = 12


@dataclass(frozen=True)
class Sensitivity:
    """What rounding one place alone does.

    Attributes:
        layer: The layer's name.
        what: `weights`, or `output`: the tensor behind it.
        sqnr_db: Signal to quantisation noise of the logits in decibels; infinite where they don't change.
        dice: Mean Dice at the input's size.
        dice_drop: How much lower that is than the float network's.
        share: Of the noise that all places make, each alone, 0..1.
    """

    layer: str
    what: str
    sqnr_db: float
    dice: float
    dice_drop: float
    share: float

    @property
    def place(self) -> str:
        """The place as text."""
        return f"{self.layer} ({self.what})"


def sensitivities(
    folded: keras.Model, ranges: Mapping[str, Range], examples: Sequence[Example], classes: int, photos: int = PHOTOS
) -> list[Sensitivity]:
    """Rounds each kernel and each tensor alone and compares with none rounded; the most harmful first.

    Args:
        folded: Without batch normalisation.
        ranges: Of the tensors, see `convert.quantisation.ranges.choose_ranges`.
        examples: Of the val part; `photos` of them are used, evenly spaced.
        classes: With the background.
        photos: How many, at most.
    """
    height, width = folded.input_shape[1:3]
    stride = -(-len(examples) // photos)  # photos with neighbouring names may look alike
    pairs = [example.load((width, height)) for example in examples[::stride]]
    images = np.stack([image for image, _ in pairs]).astype(np.float32) / 255
    masks = np.stack([mask for _, mask in pairs])
    reference = _logits(folded, images)
    unrounded = _dice(reference, masks, classes)

    found = []
    for layer, what in [*((name, "weights") for name in kernel_names(folded)), *((name, "output") for name in ranges)]:
        if layer == IMAGE:  # photos hold whole pixel values already
            continue
        kernels, activations = ((layer,), {}) if what == "weights" else ((), {layer: ranges[layer]})
        logits = _logits(with_fake_quant(folded, activations, kernels), images)
        found.append((layer, what, float(np.mean((logits - reference) ** 2)), _dice(logits, masks, classes)))
    signal, noises = float(np.mean(reference**2)), sum(noise for *_, noise, _ in found)
    rows = [
        Sensitivity(
            layer,
            what,
            10 * math.log10(signal / noise) if noise and signal else math.inf,
            dice,
            unrounded - dice,
            noise / noises if noises else 0.0,
        )
        for layer, what, noise, dice in found
    ]
    return sorted(rows, key=lambda row: row.sqnr_db)


def most_sensitive(rows: Sequence[Sensitivity]) -> list[Sensitivity]:
    """The fewest places that cause `EXPLAINED_SHARE` of the noise, at most `MAX_NAMED`."""
    named: list[Sensitivity] = []
    for row in rows[:MAX_NAMED]:
        if sum(r.share for r in named) >= EXPLAINED_SHARE:
            break
        named.append(row)
    return named


def table(rows: Sequence[Sensitivity]) -> str:
    """The worst `ROWS` of them, one a line."""
    lines = [f"{'rounded alone':<40}{'share of the noise':>20}{'SQNR dB':>9}{'mean Dice':>11}{'drop':>9}"]
    for row in rows[:ROWS]:
        lines.append(f"{row.place:<40}{row.share:20.1%}{row.sqnr_db:9.1f}{row.dice:11.4f}{row.dice_drop:9.4f}")
    if len(rows) > ROWS:
        rest = rows[ROWS:]
        lines.append(f"{f'the other {len(rest)} together':<40}{sum(row.share for row in rest):20.1%}")
    return "\n".join(lines)


def _logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.concatenate([np.asarray(model(image[np.newaxis], training=False)) for image in images])


def _dice(logits: np.ndarray, masks: np.ndarray, classes: int) -> float:
    metric = DiceCoefficient(classes)
    metric.update_state(masks, logits)
    return float(metric.result())
