"""Makes a `.tflite` trainable: `python convert/from_tflite.py MODEL --data DIR --out RUN`.

A bundled model, or one that was published as a `.tflite`, such as MediaPipe's selfie segmentation (Apache-2.0), is
converted to a network that `train/fit.py --network RUN/model.keras` can train further: the same weights, with batch
normalisation where conversion had folded it away, ReLU instead of hard swish, and logits on a scale that suits the
loss. Activation statistics are measured on the photos of DIR's train part; there is no gradient step.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Annotated

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import keras
import numpy as np
import typer

from convert.tflite_to_keras import MOMENTUM, Statistics, to_keras, to_trainable
from seg_edge.commands.console import exit_codes
from seg_edge.errors import DataError
from seg_edge.evaluation.metrics import IGNORE
from seg_edge.models import open_model
from train.dataset import Dataset, open_dataset, open_split
from train.options import (
    INPUT,
    OUTPUT,
    TRAINING,
    ClassName,
    DrawnSplit,
    Holdout,
    PhotoNames,
    comma_separated,
    run_command,
    use_threads,
)
from train.runs import MODEL_NAME, RUN_NAME, SPLIT_NAME, require_empty, versions

PHOTOS = 96  # to measure activations on
BATCH = 8
MEASURING_MOMENTUM = 0.9  # of the moving statistics while they are measured
SCALES = 2.0 ** -np.arange(0, 12, 0.5)  # candidates for the scale of the logits


def make_trainable(source: Path, data: Dataset, out: Path, *, widen: float = 1.0, seed: int = 0) -> keras.Model:
    """Reads the file, fits it to the photos and writes the run folder.

    Args:
        source: A float or int8 `.tflite` of one class, or a bundled model's name.
        data: The split photos, of one class; activations are measured on the train part.
        out: Folder to write; empty or missing.
        widen: See `convert.tflite_to_keras.to_trainable`.
        seed: Seed of the choice of photos and of the new channels' weights.

    Returns:
        The network, in the form of `train.lite0.lite0_unet`.

    Raises:
        ModelError: The file holds another kind of model.
        DataError: The data has several classes.
        OutputError: The folder isn't empty.
    """
    require_empty(out)
    if len(data.classes) != 2:
        raise DataError(f"the model has one class, the data has {len(data.classes) - 1}; give data with one class.")
    file = open_model(str(source))
    original = to_keras(file.content)
    height, width = original.input_shape[1:3]
    examples = data.parts["train"]
    chosen = random.Random(seed).sample(examples, min(PHOTOS, len(examples)))
    images = np.stack([example.load((width, height))[0] for example in chosen]).astype(np.float32) / 255
    model = to_trainable(file.content, output_statistics(original, images), widen, seed)
    match_pools(model, original, images)
    measure_statistics(model, images)
    height, width = model.output_shape[1:3]
    masks = np.stack([example.load((width, height))[1] for example in chosen])
    scale = scale_logits(model, images, masks)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / MODEL_NAME)
    data.save_split(out / SPLIT_NAME)
    made = {"sha256": file.sha256, "file": file.path.name, "widen": widen, "logits": scale, "seed": seed}
    record = {"classes": data.classes, "from_tflite": made, "versions": versions()}
    (out / RUN_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return model


def output_statistics(model: keras.Model, images: np.ndarray) -> dict[str, Statistics]:
    """Statistics of each convolution's output for these images, float32 (n, height, width, 3) in 0..1, by its name."""
    names = [layer.name for layer in model.layers if layer.name.startswith(("conv", "depthwise"))]
    if not names:
        return {}
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in names])
    sums = {name: np.zeros((3, 1)) for name in names}
    for batch in _batches(images):
        for name, values in zip(names, outputs(batch), strict=True):
            flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
            sums[name] = sums[name] + [np.full(flat.shape[1], len(flat)), flat.sum(axis=0), np.square(flat).sum(axis=0)]
    return {
        name: Statistics(total / count, np.maximum(squares / count - np.square(total / count), 1e-6))
        for name, (count, total, squares) in sums.items()
    }


def match_pools(model: keras.Model, original: keras.Model, images: np.ndarray) -> None:
    """Adjusts the convolutions that read a global average, so that their input has its original mean and variance.

    ReLU changes these averages where it replaces hard swish, and no batch normalisation compensates for it.
    """
    for pool in [layer for layer in model.layers if layer.name.startswith("pool")]:
        wanted = _pooled(original, pool.name, images, training=False)
        count = wanted.shape[1]  # new channels follow the old ones
        found = _pooled(model, pool.name, images, training=True)[:, :count]
        factor = np.clip(wanted.std(axis=0) / (found.std(axis=0) + 1e-4), 0.3, 3)
        for reader in [layer for layer in model.layers if layer.name.startswith("conv") and layer.input is pool.output]:
            kernel, bias = reader.get_weights()
            scaled = kernel.copy()
            scaled[0, 0, :count] *= factor[:, np.newaxis]
            shift = wanted.mean(axis=0) @ kernel[0, 0, :count] - found.mean(axis=0) @ scaled[0, 0, :count]
            reader.set_weights([scaled, bias + shift])


def _pooled(model: keras.Model, name: str, images: np.ndarray, *, training: bool) -> np.ndarray:
    """The output of a pooling layer, float32 (n, channels)."""
    part = keras.Model(model.input, model.get_layer(name).output)
    return np.concatenate([np.asarray(part(batch, training=training)) for batch in _batches(images)])[:, 0, 0]


def measure_statistics(model: keras.Model, images: np.ndarray) -> None:
    """Measures the moving statistics of the batch normalisations; the trainable weights don't change."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = MEASURING_MOMENTUM
    for batch in [*_batches(images)] * 2:
        model(batch, training=True)
    for norm in norms:
        norm.momentum = MOMENTUM


def scale_logits(model: keras.Model, images: np.ndarray, masks: np.ndarray) -> float:
    """Scales the logits by the factor with the lowest cross-entropy (temperature scaling), and returns it.

    Args:
        model: Its last layer is called `logits`.
        images: float32 (n, height, width, 3) in 0..1.
        masks: uint8 (n, height', width'), at the output's size, 255 for ignored pixels.
    """
    logits = np.concatenate([np.asarray(model(batch)) for batch in _batches(images)])
    counts = masks != IGNORE
    margin = np.where(masks == 1, 1, -1)[counts] * (logits[..., 1] - logits[..., 0])[counts]
    entropies = [float(np.logaddexp(0, -scale * margin).mean()) for scale in SCALES]
    best = float(SCALES[int(np.argmin(entropies))])
    layer = model.get_layer("logits")
    layer.set_weights([weights * best for weights in layer.get_weights()])
    return best


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


def main(
    model: Annotated[Path, typer.Argument(help="A float or int8 .tflite of one class, or a bundled model's name.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Data folder of that class; activations are measured on its train part.", rich_help_panel=INPUT
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run folder to write.", rich_help_panel=OUTPUT)],
    split: DrawnSplit = None,
    classes: ClassName = "",
    names: PhotoNames = "",
    holdout: Holdout = 0.15,
    widen: Annotated[
        float,
        typer.Option(
            min=1,
            help="Factor for the channels inside the coarsest blocks; new ones start untrained.",
            rich_help_panel=TRAINING,
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.", rich_help_panel=TRAINING)] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for all cores.", rich_help_panel=TRAINING)] = 0,
) -> None:
    """Converts a .tflite of one class to a network that can be trained further."""
    use_threads(threads)
    with exit_codes():
        if split:
            dataset = open_split(data, split)
        else:
            dataset = open_dataset(data, classes=comma_separated(classes) or None, holdout=holdout, names=names)
        made = make_trainable(model, dataset, out, widen=widen, seed=seed)
    typer.echo(f"Written to {out}: {made.count_params():,} parameters")
    typer.echo(f"Next: python train/fit.py --data {data} --network {out / MODEL_NAME} --out RUN")


if __name__ == "__main__":
    run_command(main)
