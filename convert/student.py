"""A small network with what a large one has learnt: `python convert/student.py MODEL.keras --data DIR --out RUN`.

The first rows of an EfficientNet-Lite0 write more values than all others, and on a processor without int8 dot products
a value written takes as long as 32 multiplications (`convert.pruning.cost`). So in their place come three 3x3
convolutions, which are taught to answer like the rows they replace (their features, channel by channel: FitNets,
Romero et al., 2015, arXiv:1412.6550). The rows behind keep their weights, less the expanded channels that matter least
to the large model (`convert.pruning.importance`), and end at a stride of 16. The decoder is new, so the result is what
`train/fit.py --network RUN/model.keras` starts from.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import keras
import numpy as np
import tensorflow as tf
import typer

from convert.distillation.distill import check_unlabelled
from convert.distillation.teacher import Views
from convert.pruning.channels import find_channels
from convert.pruning.cost import mmac, parameters, work
from convert.pruning.importance import taylor
from convert.pruning.narrow import at_size
from convert.pruning.prune import SCORED_PHOTOS
from seg_edge.commands.console import exit_codes
from seg_edge.errors import ModelError, UsageError
from seg_edge.photo.find import find_photos
from train.augment import Augmentation
from train.dataset import Dataset, fixed_stream, open_split
from train.keras_model import TrainedModel
from train.lite0 import DENSE_BLOCKS, dense_front_unet
from train.options import run_command, use_threads
from train.recipe_options import number_list
from train.runs import MODEL_NAME, RUN_NAME, SPLIT_NAME, require_empty, versions

VIEWS = Augmentation(zoom_in=1.0, zoom_out=0.0, rotate_degrees=0.0, noise=0.05)
LAYERS = ("expand_conv", "expand_norm", "depthwise_conv", "depthwise_norm", "project_conv", "project_norm")


@dataclass(frozen=True)
class StudentConfig:
    """What the student looks like, and how its front learns.

    Attributes:
        size: Width and height of its input in pixels.
        widths: Channels of the decoder's levels, the finest first.
        front: Channels of the first two convolutions.
        expansions: Channels between the convolutions of each block of rows 3 to 5.
        steps: Batches that the front learns from.
        batch: Views a step.
        learning_rate: The highest; it falls along a cosine.
        seed: Of everything random.
    """

    size: int = 192
    widths: tuple[int, int, int] = (12, 24, 40)
    front: tuple[int, int] = (16, 24)
    expansions: tuple[int, ...] = (72, 112, 112, 208, 208, 208, 288, 288)
    steps: int = 700
    batch: int = 16
    learning_rate: float = 0.003
    seed: int = 0


def make_student(
    large: TrainedModel, data: Dataset, unlabelled: Sequence[Path], out: Path, config: StudentConfig
) -> keras.Model:
    """Builds the student, teaches its front and writes the run folder.

    Args:
        large: A U-Net over EfficientNet-Lite0 with 5 rows at least; it stays as it is.
        data: The split photos; the train part is looked at.
        unlabelled: More photos for the front to see; none may be in the val or test part.
        out: Folder to write; empty or not there yet.
        config: All choices.

    Raises:
        ModelError: The model is another network.
        DataError: A photo is held out.
        OutputError: The folder isn't empty.
    """
    require_empty(out)
    check_unlabelled(unlabelled, data)
    keras.utils.set_random_seed(config.seed)
    size_wh = (config.size, config.size)
    student = dense_front_unet(
        size_wh, len(data.classes), config.widths, front=config.front, expansions=config.expansions
    )
    teacher = at_size(large.model, size_wh)
    try:
        features = teacher.get_layer(f"block{DENSE_BLOCKS - 1}_add").output
        teacher.get_layer(f"block{DENSE_BLOCKS + len(config.expansions) - 1}_add")
    except ValueError as error:
        raise ModelError(f"{large.path}: no U-Net over EfficientNet-Lite0 of 5 rows or 7; train one first.") from error
    _copy_blocks(teacher, student, data, config)
    views = Views(data.parts["train"], unlabelled, size_wh, 1.5, VIEWS, config.seed, each=1)
    unexplained = teach_front(student, keras.Model(teacher.input, features), views, config)
    out.mkdir(parents=True, exist_ok=True)
    student.save(out / MODEL_NAME)
    data.save_split(out / SPLIT_NAME)
    record = {
        **{key: large.run[key] for key in ("recipe", "seed", "classes", "split") if key in large.run},
        "parent": large.provenance,
        "student": {**asdict(config), "unlabelled": len(unlabelled), "unexplained": unexplained},
        "versions": versions(),
    }
    (out / RUN_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return student


def _copy_blocks(teacher: keras.Model, student: keras.Model, data: Dataset, config: StudentConfig) -> None:
    """Gives the student's blocks the teacher's weights, of each the channels that matter most to the teacher."""
    channels = find_channels(teacher)
    blocks = dict(enumerate(config.expansions, DENSE_BLOCKS))
    for block, count in blocks.items():
        most = len(channels.outputs[f"block{block}_expand_conv"])
        if count > most:
            raise ModelError(f"block {block} of the large model has {most} channels, {count} are wanted.")
    examples = data.parts["train"]
    some = random.Random(config.seed).sample(examples, min(SCORED_PHOTOS, len(examples)))
    scores = taylor(teacher, channels, batches=fixed_stream(some, (config.size, config.size), 4))
    for block, count in blocks.items():
        of_block = scores[channels.outputs[f"block{block}_expand_conv"]]
        kept = np.sort(np.argsort(-of_block, kind="stable")[:count])
        for name in LAYERS:
            weights = teacher.get_layer(f"block{block}_{name}").get_weights()
            if name == "expand_conv":
                weights = [kernel[..., kept] for kernel in weights]
            elif name in ("depthwise_conv", "project_conv"):  # both (height, width, channels, n)
                weights = [kernel[:, :, kept] for kernel in weights]
            elif name != "project_norm":
                weights = [values[kept] for values in weights]
            student.get_layer(f"block{block}_{name}").set_weights(weights)


def teach_front(student: keras.Model, teacher: keras.Model, views: Views, config: StudentConfig) -> float:
    """Teaches the student's first three convolutions to answer like the teacher.

    Args:
        student: What `train.lite0.dense_front_unet` built.
        teacher: Its output are the features to be given, float32 (batch, height, width, channels).
        views: What both are shown.
        config: Steps, batch and learning rate.

    Returns:
        Share of the features' variance that is not explained, the mean over channels and the last tenth of the steps.
    """
    norm = student.get_layer("front2_norm")
    front = keras.Model(student.input, norm.output)
    indices = tf.data.Dataset.range(views.count).shuffle(views.count, seed=config.seed).repeat()
    images = indices.map(lambda n: views.draw(n)[0], num_parallel_calls=tf.data.AUTOTUNE)
    batches = iter(images.batch(config.batch).prefetch(2))
    some = teacher.predict(tf.concat([next(batches) for _ in range(4)], 0), verbose=0)
    variance = some.var(axis=(0, 1, 2)) + 1e-6
    norm.gamma.assign(np.sqrt(variance))
    norm.beta.assign(some.mean(axis=(0, 1, 2)))
    rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4)

    @tf.function(reduce_retracing=True)
    def step(batch: tf.Tensor) -> tf.Tensor:
        wanted = teacher(batch, training=False)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(front(batch, training=True) - wanted) / variance)
        gradients = tape.gradient(loss, front.trainable_variables)
        optimizer.apply_gradients(zip(gradients, front.trainable_variables, strict=True))
        return loss

    losses: list[float] = []
    with typer.progressbar(range(config.steps), label="Teaching the front") as shown:
        for _ in shown:
            losses.append(float(step(next(batches))))
    return float(np.mean(losses[-math.ceil(config.steps / 10) :]))


def _photos(folders: Sequence[Path]) -> list[Path]:
    found = find_photos([str(folder) for folder in folders])
    for error in found.failures.values():
        raise error
    return found.paths


def _channels(default: tuple[int, ...], text: str) -> Any:
    shown = ",".join(map(str, default))
    return typer.Option(parser=number_list(int), metavar="N,N,...", help=text, show_default=shown)


DEFAULT = StudentConfig()


def main(
    model: Annotated[Path, typer.Argument(help="A .keras that train/fit.py --encoder lite0 wrote.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained on.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    split: Annotated[Path | None, typer.Option(help="split.json; by default the one next to the model.")] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Folder of more photos for the front to see; none from val or test.")
    ] = None,
    size: Annotated[int, typer.Option(min=16, help="Width and height of the input in pixels.")] = DEFAULT.size,
    widths: Annotated[Any, _channels(DEFAULT.widths, "Channels of the decoder's levels, the finest first.")] = None,
    front: Annotated[Any, _channels(DEFAULT.front, "Channels of the front's first two convolutions.")] = None,
    expansions: Annotated[Any, _channels(DEFAULT.expansions, "Channels inside each of the eight blocks.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches that the front learns from.")] = DEFAULT.steps,
    batch: Annotated[int, typer.Option(min=1, help="Views a step.")] = DEFAULT.batch,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = DEFAULT.seed,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for all cores.")] = 0,
) -> None:
    """Makes a small network of a large one, ready to be trained."""
    use_threads(threads)
    with exit_codes():
        config = StudentConfig(
            size,
            widths or DEFAULT.widths,
            front or DEFAULT.front,
            expansions or DEFAULT.expansions,
            steps,
            batch,
            seed=seed,
        )
        if len(config.widths) != 3 or len(config.front) != 2:
            raise UsageError("--widths takes three numbers, and --front two.")
        large = TrainedModel.load(model)
        dataset = open_split(data, split or model.parent / SPLIT_NAME)
        student = make_student(large, dataset, _photos(unlabelled or ()), out, config)
    typer.echo(
        f"Written to {out}: {parameters(student):,} parameters, {mmac(student):,.1f} MMAC, {work(student):,.0f} work"
    )
    typer.echo(f"Next: python train/fit.py --data {data} --network {out / MODEL_NAME} --out RUN")


if __name__ == "__main__":
    run_command(main)
