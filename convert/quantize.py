"""A trained `.keras` to an int8 `.tflite`: `python convert/quantize.py MODEL.keras --data DIR`.

Post-training quantisation to full integers: uint8 in and out, int8 inside, one weight scale a channel. Activation
ranges are calibrated on photos of the train part. Float and int8 are scored on the validation part through the runtime
itself, and the file is refused when it lost accuracy. What was done, and the scores, are in the card inside the file.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import train.quiet  # noqa: F401

# isort: split

import keras
import numpy as np
import tensorflow as tf
import typer

from convert.verify import accuracy_drop, check_full_integer, gate
from seg_edge import Segmenter, __version__
from seg_edge.card import ModelCard, append_card, make_classes
from seg_edge.errors import DataError, ModelError, OutputError, SegEdgeError
from seg_edge.files import write_file
from seg_edge.interpreter import find_runtime
from seg_edge.native_log import without_native_log
from seg_edge.preprocess import Preprocessor
from seg_edge.sources.photo import read_photo
from train.dataset import Dataset, open_split
from train.evaluate import KerasBackend, Scores, keras_segmenter, load_keras, score
from train.folder import Example

CALIBRATION_PHOTOS = 200


def convert_int8(model: keras.Model, photos: Sequence[Example]) -> bytes:
    """Post-training full-integer quantisation.

    Args:
        model: Input float32 (batch, height, width, 3), RGB 0..1.
        photos: To calibrate the activations' ranges on; at least one.

    Returns:
        The flatbuffer: uint8 (1, height, width, 3) in, where a pixel's value is itself, uint8 logits out.

    Raises:
        ModelError: What came out is not full-integer.
    """
    height, width = model.input_shape[1:3]
    # A fixed batch of 1: an open one leaves SHAPE and PACK around every transposed convolution.
    inputs = keras.Input((height, width, 3), batch_size=1, name="image")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _calibration_batches(model, photos)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    with without_native_log(), redirect_stdout(StringIO()):
        content: bytes = converter.convert()
    check_full_integer(content)
    return content


def _calibration_batches(model: keras.Model, photos: Sequence[Example]) -> Iterator[list[np.ndarray]]:
    preprocess = Preprocessor(KerasBackend(model).input, scale=1 / 255, offset=0.0)
    for index, example in enumerate(photos):
        tensor = preprocess(read_photo(example.image))
        if index == 0:  # black and white are seen, so the input's range is 0..1 and a pixel quantises to itself
            tensor[0, 0, 0], tensor[0, 0, 1] = 0.0, 1.0
        yield [tensor]


def quantize(
    source: Path,
    data: Dataset,
    out: Path,
    *,
    name: str,
    licence: str = "",
    notes: str = "",
    accept_drop: bool = False,
    calibration: int = CALIBRATION_PHOTOS,
    log: Any = print,
) -> dict[str, Any]:
    """Converts, scores, refuses or writes; returns the scores that went into the card.

    Raises:
        ModelError: The int8 model lost more than `convert.verify` allows and `accept_drop` isn't set.
    """
    model = load_keras(source)
    photos = _spread(data.parts["train"], calibration)
    log(f"Calibrating on {len(photos)} photos of the train part")
    content = convert_int8(model, photos)

    run = _training_of(source)
    card = ModelCard(
        name=name,
        classes=make_classes(data.classes),
        input_size_wh=(model.input_shape[2], model.input_shape[1]),
        version=datetime.date.today().isoformat(),
        parent_sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        recipe={
            "training": run.get("recipe", {}),
            "training started from": run.get("initial"),
            "quantisation": {
                "method": "post-training int8",
                "calibration_photos": len(photos),
                "part": "train",
            },
        },
        seed=run.get("seed"),
        data={"fingerprint": data.fingerprint, "split": {p: len(e) for p, e in data.parts.items()}},
        versions={
            "seg-edge": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
            "scored with": f"{find_runtime().name} {find_runtime().version}",
        },
        licence=licence,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=notes,
    )
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        unscored = Path(scratch, out.name)
        unscored.write_bytes(append_card(content, card))
        before, after = _score_both(model, unscored, data, "val", log)
        refusal = gate(before, after)
        if refusal and not accept_drop:
            raise ModelError(
                f"{source}: refused, {refusal}. Train longer or with more varied photos, calibrate on more "
                "(--calibration), or take it as it is with --accept-drop."
            )
        drop = {name: round(value, 4) for name, value in accuracy_drop(before, after).items()}
        tested_before, tested_after = _score_both(model, unscored, data, "test", log)
    scores = {
        "val": {
            "float": before.summary(),
            "int8": after.summary(),
            "drop": drop,
        },
        "test": {"float": tested_before.summary(), "int8": tested_after.summary()},
    }
    recipe = {
        **card.recipe,
        "quantisation": {**card.recipe["quantisation"], "drop_accepted": refusal},
    }
    final = ModelCard(**{**vars(card), "scores": scores, "recipe": recipe})
    write_file(out, append_card(content, final))
    return scores


def _spread(examples: Sequence[Example], count: int) -> list[Example]:
    """At most `count` examples, evenly over the part."""
    if not examples:
        raise DataError("the train part is empty; calibration needs photos.")
    picked = np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int)
    return [examples[index] for index in picked]


def _score_both(model: keras.Model, tflite: Path, data: Dataset, part: str, log: Any) -> tuple[Scores, Scores]:
    examples = data.parts[part]
    log(f"Scoring float and int8 on the {len(examples)} photos of the {part} part")
    return score(keras_segmenter(model, data.classes), examples), score(Segmenter(tflite), examples)


def _training_of(source: Path) -> dict[str, Any]:
    """What train/fit.py wrote beside the model; empty for a model from elsewhere."""
    path = source.parent / "run.json"
    if not path.is_file():
        return {}
    try:
        run: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        return run
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not what train/fit.py wrote ({error}); train again.") from error


def main(
    model: Annotated[Path, typer.Argument(help="The .keras to convert.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained on.")],
    out: Annotated[Path | None, typer.Option(help="The .tflite to write; by default beside the model.")] = None,
    name: Annotated[str, typer.Option(help="What the model is called; by default its folder's name.")] = "",
    split: Annotated[Path | None, typer.Option(help="split.json; by default the one beside the model.")] = None,
    calibration: Annotated[int, typer.Option(min=1, help="Photos to calibrate on.")] = CALIBRATION_PHOTOS,
    accept_drop: Annotated[bool, typer.Option(help="Write it although it lost accuracy; the card says so.")] = False,
    licence: Annotated[str, typer.Option(help="Of the model, for its card.")] = "",
    notes: Annotated[str, typer.Option(help="What a user should know, for its card.")] = "",
    force: Annotated[bool, typer.Option(help="Replace the file that is there.")] = False,
) -> None:
    """Quantises a trained U-Net to int8, and refuses if it lost accuracy."""
    target = out or model.with_suffix(".tflite")
    try:
        if not model.is_file():
            raise ModelError(f"{model}: no such file; give the .keras that train/fit.py wrote.")
        if target.is_dir() or (target.exists() and not force):
            what = "is a folder; give a file with --out" if target.is_dir() else "is there already; --force replaces it"
            raise OutputError(f"{target} {what}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        dataset = open_split(data, split or model.parent / "split.json")
        scores = quantize(
            model,
            dataset,
            target,
            name=name or model.resolve().parent.name,
            licence=licence,
            notes=notes,
            accept_drop=accept_drop,
            calibration=calibration,
            log=typer.echo,
        )
    except (SegEdgeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{'':8}{'float Dice':>12}{'int8 Dice':>12}{'float edges':>13}{'int8 edges':>12}")
    for part, both in scores.items():
        values = [both[kind][figure] for figure in ("mean_dice", "boundary_f") for kind in ("float", "int8")]
        typer.echo(f"{part:8}{values[0]:12.4f}{values[1]:12.4f}{values[2]:13.4f}{values[3]:12.4f}")
    typer.echo(f"{target}: {target.stat().st_size / 1000:.0f} kB, the full-integer model with its card")


if __name__ == "__main__":
    typer.run(main)
