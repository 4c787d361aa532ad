"""Makes the model that every latency is divided by: `python benchmarks/studies/make_reference.py reference.tflite`.

It costs as much as our models: a narrow U-Net, 256x256, int8. It is untrained: its weights repeat a short pattern,
which a wheel compresses to a few kilobytes, and the time of arithmetic doesn't depend on values. The file in
`seg_edge/apps/bench` was made once and is kept: ratios to another model can't be compared with ratios to this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import train.quiet  # noqa: F401

# isort: split

import keras
import numpy as np
import typer

from convert.quantisation.converter import converter_of, to_full_integer
from seg_edge.card import ModelCard, append_card, make_classes
from seg_edge.commands.console import exit_codes
from seg_edge.system.files import write_file
from train.unet import unet

SIZE = 256
WIDTHS = (8, 16, 32, 64, 96)
PATTERN = np.array([0.5, -0.25, 0.125, -0.5, 0.25, 1.0, -1.0, -0.125])  # sums to 0, so nothing grows without bound
IMAGES = 4


def make() -> bytes:
    """The flatbuffer with its card."""
    model = unet((SIZE, SIZE), 2, WIDTHS, stem_stride=2, decoder="add")
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, *biases = layer.get_weights()
            fan_in = kernel.shape[0] * kernel.shape[1] * kernel.shape[2]
            layer.set_weights([np.resize(PATTERN, kernel.shape) / np.sqrt(fan_in), *biases])
    converter = converter_of(model)
    images = np.random.default_rng(0).random((IMAGES, 1, SIZE, SIZE, 3), np.float32)
    converter.representative_dataset = lambda: ([image] for image in images)
    notes = "Untrained; the model that latencies are divided by. It segments nothing."
    card = ModelCard("reference", make_classes(("background", "nothing")), (SIZE, SIZE), version="1", notes=notes)
    return append_card(to_full_integer(converter), card)


def main(out: Annotated[Path, typer.Argument(help="The file to write.")]) -> None:
    """Writes the reference model."""
    with exit_codes():
        write_file(out, make())


if __name__ == "__main__":
    typer.run(main)
