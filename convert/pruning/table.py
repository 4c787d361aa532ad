"""A printable table of what pruning changed, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import keras

from convert.pruning.cost import LayerCost, layer_costs, parameters


def channels_of(before: keras.Model, after: keras.Model) -> dict[str, list[int]]:
    """Output channels of each convolution, before and after."""
    remaining = {cost.name: cost.channels for cost in _convolutions(after)}
    return {cost.name: [cost.channels, remaining.get(cost.name, 0)] for cost in _convolutions(before)}


def table(before: keras.Model, after: keras.Model, layer_ms: Mapping[str, float] | None = None) -> str:
    """Channels, MACs and share of the time of each convolution, and totals.

    Args:
        before: The original model, at the same input size.
        after: The pruned model.
        layer_ms: Milliseconds of each layer of the result, see `ms_by_layer`; None leaves out the column.
    """
    lines = [
        f"{'layer':<22}{'channels':>14}{'MMAC':>22}{'share of MACs':>15}" + (f"{'of time':>9}" if layer_ms else ""),
    ]
    old, new = layer_costs(before), layer_costs(after)
    total = max(1, sum(cost.macs for cost in new))
    whole = sum(layer_ms.values()) if layer_ms else 0.0
    remaining = {cost.name: cost for cost in _convolutions(after)}
    for layer in _convolutions(before):
        pruned = remaining.get(layer.name, LayerCost(layer.name, layer.kind, 0, 0, 0))
        line = f"{layer.name:<22}{f'{layer.channels} → {pruned.channels}':>14}{_mmacs(layer.macs, pruned.macs):>22}"
        line += f"{pruned.macs / total:15.1%}"
        lines.append(line + (f"{layer_ms.get(layer.name, 0.0) / whole:9.1%}" if layer_ms else ""))
    if layer_ms:
        rest = whole - sum(layer_ms.get(cost.name, 0.0) for cost in new)
        lines.append(f"{'everything else':<22}{'':51}{rest / whole:9.1%}")
    macs = _mmacs(sum(cost.macs for cost in old), sum(cost.macs for cost in new))
    lines.append(f"{'total':<22}{'':14}{macs:>22}")
    ratio = parameters(before) / parameters(after)
    lines.append(f"parameters: {parameters(before):,} → {parameters(after):,}, {ratio:.1f} times fewer")
    return "\n".join(lines)


def ms_by_layer(times: Iterable[tuple[str, str, float]], model: keras.Model) -> dict[str, float]:
    """Milliseconds of each Keras layer in a converted model; those of no layer are under an empty name.

    An operator's output is named after the layers fused into it
    (`unet_1/down0_a_relu_1/Relu;unet_1/down0_a_conv_1/convolution`). Only the last convolution's is named after the
    model's output.

    Args:
        times: Kind (e.g. `CONV_2D`), output name and milliseconds of each operator.
        model: The Keras model that was converted.
    """
    names = [cost.name for cost in _convolutions(model)]
    found: dict[str, float] = {}
    for kind, output, ms in times:
        parts = {re.sub(r"_\d+$", "", part) for part in re.split("[;/]", output)}
        parts |= set(re.split("[;/]", output))
        owner = next((name for name in names if name in parts), "")
        if not owner and "CONV" in kind.upper():
            owner = names[-1]
        found[owner] = found.get(owner, 0.0) + ms
    return found


def _convolutions(model: keras.Model) -> list[LayerCost]:
    return [cost for cost in layer_costs(model) if cost.macs]


def _mmacs(before: int, after: int) -> str:
    return f"{before / 1e6:,.2f} → {after / 1e6:,.2f}"
