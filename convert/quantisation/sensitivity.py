"""Which layers lose accuracy in int8: each kernel and tensor is rounded separately and compared with float.

The error in the logits is measured as signal to quantisation noise. The noise of several roundings nearly adds up, so
the share of one shows the gain of keeping it in float, or of a better range. Mean Dice is shown too: it changes only
if a rounding does visible harm by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from convert.quantisation.fake_quant import IMAGE, Range, kernel_names, with_fake_quant
from seg_edge.evaluation.data_folder import Example
from train.keras_model import compiled
from train.losses import DiceCoefficient

PHOTOS = 16
EXPLAINED_SHARE = 0.8  # share of the noise; the fewest roundings that cause it are the most sensitive ones
MAX_NAMED = 4
ROWS = 12


@dataclass(frozen=True)
class Sensitivity:
    """The effect of rounding a single kernel or tensor.

    Attributes:
        layer: The layer's name.
        kind: `weights` or `output`.
        sqnr_db: Signal to quantisation noise of the logits in decibels; infinite if they don't change.
        dice: Mean Dice at the input size.
        dice_drop: How much lower it is than the float network's.
        share: Share of the summed noise of all roundings, 0..1.
    """

    layer: str
    kind: str
    sqnr_db: float
    dice: float
    dice_drop: float
    share: float

    @property
    def name(self) -> str:
        """Layer and kind as text."""
        return f"{self.layer} ({self.kind})"


def sensitivities(
    folded: keras.Model, ranges: Mapping[str, Range], examples: Sequence[Example], classes: int, photos: int = PHOTOS
) -> list[Sensitivity]:
    """Rounds each kernel and each tensor separately and compares with float; the most harmful first.

    Args:
        folded: The network without batch normalisation.
        ranges: The tensors' ranges, see `convert.quantisation.ranges.choose_ranges`.
        examples: The val part; evenly spaced photos of it are used.
        classes: Number of classes with the background.
        photos: Maximum number of photos to use.
    """
    height, width = folded.input_shape[1:3]
    stride = -(-len(examples) // photos)  # photos with neighbouring names may look alike
    pairs = [example.load((width, height)) for example in examples[::stride]]
    images = np.stack([image for image, _ in pairs]).astype(np.float32) / 255
    masks = np.stack([mask for _, mask in pairs])
    reference = _logits(folded, images)
    float_dice = _dice(reference, masks, classes)

    found = []
    for layer, kind in [*((name, "weights") for name in kernel_names(folded)), *((name, "output") for name in ranges)]:
        if layer == IMAGE:  # pixels are integers already
            continue
        kernels, activations = ((layer,), {}) if kind == "weights" else ((), {layer: ranges[layer]})
        logits = _logits(with_fake_quant(folded, activations, kernels), images)
        found.append((layer, kind, float(np.mean((logits - reference) ** 2)), _dice(logits, masks, classes)))
    signal, noises = float(np.mean(reference**2)), sum(noise for *_, noise, _ in found)
    rows = [
        Sensitivity(
            layer,
            kind,
            10 * math.log10(signal / noise) if noise and signal else math.inf,
            dice,
            float_dice - dice,
            noise / noises if noises else 0.0,
        )
        for layer, kind, noise, dice in found
    ]
    return sorted(rows, key=lambda row: row.sqnr_db)


def most_sensitive(rows: Sequence[Sensitivity]) -> list[Sensitivity]:
    """The fewest roundings that cause `EXPLAINED_SHARE` of the noise, at most `MAX_NAMED`."""
    worst: list[Sensitivity] = []
    for row in rows[:MAX_NAMED]:
        if sum(r.share for r in worst) >= EXPLAINED_SHARE:
            break
        worst.append(row)
    return worst


def table(rows: Sequence[Sensitivity]) -> str:
    """The worst `ROWS` as lines of text."""
    lines = [f"{'rounded alone':<40}{'share of the noise':>20}{'SQNR dB':>9}{'mean Dice':>11}{'drop':>9}"]
    for row in rows[:ROWS]:
        lines.append(f"{row.name:<40}{row.share:20.1%}{row.sqnr_db:9.1f}{row.dice:11.4f}{row.dice_drop:9.4f}")
    if len(rows) > ROWS:
        rest = rows[ROWS:]
        lines.append(f"{f'the other {len(rest)} together':<40}{sum(row.share for row in rest):20.1%}")
    return "\n".join(lines)


def _logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    infer = compiled(model)
    return np.concatenate([infer(image[np.newaxis]).numpy() for image in images])


def _dice(logits: np.ndarray, masks: np.ndarray, classes: int) -> float:
    metric = DiceCoefficient(classes)
    metric.update_state(masks, logits)
    return float(metric.result())
