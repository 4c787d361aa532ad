"""Chooses the channels to keep within a budget of parameters or multiply-accumulates.

All channels of a layer (or of a set of tied layers) cost the same, so a plan is a number of channels per layer; the
scores decide which ones. Costs depend only on these numbers, so thousands of plans can be compared in a second.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from convert.pruning.channels import Channels
from convert.pruning.cost import MACS_PER_VALUE, pixels, positions
from seg_edge.errors import ModelError

UNITS = {"params": "parameters", "mmac": "MMAC", "work": "million units of work"}


class Layout:
    """The layers that can be narrowed, and the cost of the model for any number of channels in each.

    Attributes:
        names: For each, the layers that produce its channels.
        members: For each, the numbers of its channel groups.
        sizes: For each, its number of channels, int (layers,).
    """

    def __init__(self, model: keras.Model, channels: Channels):
        by_layers = channels.by_layers()
        if not by_layers:
            raise ModelError(f"model {model.name!r} has no removable channel.")
        self.names, self.members = list(by_layers), list(by_layers.values())
        self.sizes = np.array([len(numbers) for numbers in self.members])
        self._costs = [_cost_of(model.get_layer(name)) for name in channels.inputs]
        self._inputs = [self._counts_in(ids) for ids in channels.inputs.values()]
        self._outputs = [self._counts_in(ids) for ids in channels.outputs.values()]

    def _counts_in(self, ids: np.ndarray) -> tuple[np.ndarray, int]:
        """How many times each layer's channels occur in `ids`, and how many channels always stay."""
        times = [np.isin(ids, numbers).sum() / len(numbers) for numbers in self.members]
        return np.array(times), int((ids < 0).sum())

    def cost(self, counts: np.ndarray, unit: str) -> np.ndarray:
        """Parameters, or millions of MACs or units of work, of int (..., layers) channels: float (...,)."""
        total = np.zeros(np.shape(counts)[:-1])
        for cost, (times_in, more_in), (times_out, more_out) in zip(
            self._costs, self._inputs, self._outputs, strict=True
        ):
            into, out = counts @ times_in + more_in, counts @ times_out + more_out
            kernels = cost.pairs * into * out + cost.inputs * into
            macs = cost.positions * kernels
            values = MACS_PER_VALUE * cost.pixels * out
            total += {"params": kernels + cost.outputs * out, "mmac": macs, "work": macs + values}[unit]
        return total if unit == "params" else total / 1e6


@dataclass(frozen=True)
class _Cost:
    """The weights of a layer with i input and o output channels.

    `pairs * i * o + inputs * i` of them are multiplied `positions` times each, `outputs * o` are not. The output has
    `pixels` pixels. See `convert.pruning.cost`.
    """

    pairs: int
    inputs: int
    outputs: int
    positions: int
    pixels: int


def _cost_of(layer: keras.Layer) -> _Cost:
    shapes = [tuple(weight.shape) for weight in layer.weights]
    vectors = sum(len(shape) == 1 for shape in shapes)
    if type(layer) is layers.BatchNormalization:
        return _Cost(0, 0, vectors, 0, 0)
    height, width = next(shape for shape in shapes if len(shape) == 4)[:2]
    if type(layer) is layers.DepthwiseConv2D:
        return _Cost(0, height * width * layer.depth_multiplier, vectors, positions(layer), pixels(layer))
    if type(layer) is layers.SeparableConv2D:
        depth = layer.depth_multiplier
        return _Cost(depth, height * width * depth, vectors, positions(layer), pixels(layer))
    return _Cost(height * width, 0, vectors, positions(layer), pixels(layer))


@dataclass(frozen=True)
class Limits:
    """Constraints on the channels that each layer keeps.

    Attributes:
        minimum: Minimum number; a layer with fewer keeps all.
        multiple: The number is a multiple of this, or all.
        only: Regular expression; layers whose name doesn't match keep all.
    """

    minimum: int = 4
    multiple: int = 1
    only: str = ""

    def levels(self, size: int, names: Sequence[str]) -> np.ndarray:
        """The possible numbers of channels, ascending, for tied layers of these names with `size` channels."""
        if not all(re.search(self.only, name) for name in names):
            return np.array([size])
        least = max(1, -(-self.minimum // self.multiple)) * self.multiple
        return np.array([*range(least, size, self.multiple), size])


def choose(
    model: keras.Model,
    channels: Channels,
    scores: np.ndarray,
    criterion: str,
    *,
    budget: float,
    unit: str,
    limits: Limits | None = None,
) -> np.ndarray:
    """The channel groups to keep within a budget: the same share of each layer, as far as whole channels allow.

    Args:
        model: The model to prune.
        channels: Its channel groups.
        scores: The groups' scores, by `criterion`.
        criterion: A name in `convert.pruning.importance.CRITERIA`.
        budget: The maximum cost.
        unit: `params`, `mmac` or `work`.
        limits: Constraints on each layer.

    Returns:
        bool (groups,), all True if the model is already within the budget.

    Raises:
        ModelError: The budget can't be met (the message gives the minimum), or a score isn't finite.
    """
    if not np.isfinite(scores).all():
        raise ModelError(
            f"the criterion {criterion} gives no finite score for some channels; are the model's weights finite?"
        )
    layout, limits = Layout(model, channels), limits or Limits()
    require_possible(model, channels, budget, unit, limits)
    levels = [limits.levels(*layer) for layer in zip(layout.sizes, layout.names, strict=True)]
    plan = _Plan(layout, levels, scores, budget, unit)
    counts = plan.even()
    keep = np.zeros(len(scores), bool)
    for numbers, count in zip(layout.members, counts, strict=True):
        keep[numbers[np.argsort(-scores[numbers], kind="stable")[:count]]] = True
    return keep


def least_cost(model: keras.Model, channels: Channels, unit: str, limits: Limits) -> float:
    """The model's cost with the fewest channels that `limits` allow; see `choose`."""
    layout = Layout(model, channels)
    fewest = [limits.levels(*layer)[0] for layer in zip(layout.sizes, layout.names, strict=True)]
    return float(layout.cost(np.array(fewest), unit))


def require_possible(model: keras.Model, channels: Channels, budget: float, unit: str, limits: Limits) -> None:
    """Checks that the fewest channels that `limits` allow are within the budget; see `choose`.

    Raises:
        ModelError: They aren't; the message gives the minimum.
    """
    least = least_cost(model, channels, unit, limits)
    if least > budget:
        raise ModelError(
            f"a budget of {budget:,.6g} {UNITS[unit]} can't be met: with at least {limits.minimum} channels per "
            f"layer (multiples of {limits.multiple}) it is {least:,.6g}; raise the budget, or lower --minimum."
        )


class _Plan:
    """Finds the number of channels of each layer.

    A channel's cost is its cost in the whole model, not what removing it saves in the current one: then a layer
    that has lost channels would make its neighbours cheap, and every second layer would shrink to the minimum.
    """

    def __init__(self, layout: Layout, levels: Sequence[np.ndarray], scores: np.ndarray, budget: float, unit: str):
        self.layout, self.levels, self.budget, self.unit = layout, levels, budget, unit
        self.ranked = [np.sort(scores[numbers])[::-1] for numbers in layout.members]
        without_one = layout.sizes - np.eye(len(layout.sizes), dtype=int)
        self.channel_cost = np.maximum(layout.cost(layout.sizes, unit) - layout.cost(without_one, unit), 1e-12)

    def even(self) -> np.ndarray:
        """The largest share that fits, plus some channels of the next larger share."""
        shares = np.unique(np.concatenate([level / level[-1] for level in self.levels]))
        plans = [self._at_share(share) for share in shares]
        best = self._last_that_fits(plans)
        return self._fill(plans[best], plans[min(best + 1, len(plans) - 1)])

    def _at_share(self, share: float) -> np.ndarray:
        """The highest level of each layer within this share of its channels, or its lowest level."""
        indices = [np.searchsorted(level, share * level[-1] + 1e-9, "right") - 1 for level in self.levels]
        return np.array([level[max(0, index)] for level, index in zip(self.levels, indices, strict=True)])

    def _last_that_fits(self, plans: Sequence[np.ndarray]) -> int:
        """Index of the last plan within the budget; plans are in ascending order of cost, and the first fits."""
        low, high = 0, len(plans)
        while high - low > 1:
            middle = (low + high) // 2
            fits = self.layout.cost(plans[middle], self.unit) <= self.budget
            low, high = (middle, high) if fits else (low, middle)
        return low

    def _fill(self, counts: np.ndarray, most: np.ndarray) -> np.ndarray:
        """Adds channels while they fit, best score per cost first, up to `most` in each layer."""
        while True:
            steps = zip(self.levels, counts, most, strict=True)
            upper = np.array([min(end, *level[level > now], end) if now < end else now for level, now, end in steps])
            plans = np.where(np.eye(len(counts), dtype=bool), upper, counts)
            fits = self.layout.cost(plans, self.unit) <= self.budget
            candidates = np.flatnonzero(fits & (upper > counts))
            if not len(candidates):
                return counts
            worth = [self._worth(int(i), int(counts[i]), int(upper[i])) for i in candidates]
            counts = plans[candidates[np.argmax(worth)]]

    def _worth(self, layer: int, low: int, high: int) -> float:
        """Mean score of a layer's channels of rank `low` to `high`, per cost of a channel."""
        return float(self.ranked[layer][low:high].mean() / self.channel_cost[layer])
