"""The split of a data folder, and the streams of examples for training and validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from seg_edge.callbacks import Log
from seg_edge.errors import DataError, UsageError
from seg_edge.evaluation.data_folder import PARTS, Example, assigned_splits, check_examples, class_names, find_examples
from seg_edge.system.files import write_file
from train.augment import Augmentation, augment
from train.runs import sha256_of
from train.split import (
    compile_pattern,
    groups_of,
    missing_classes,
    require_every_class,
    similar_groups,
    split_examples,
)
from train.strategy import EVERYTHING


@dataclass(frozen=True)
class Dataset:
    """Examples by part, and what identifies them.

    Attributes:
        classes: Class names, background first.
        parts: `train`, `val` and `test`; val selects the model, test is only ever scored.
        fingerprint: SHA-256 of all photos, masks and their parts.
        seed: Seed of the split.
        group: Which photos were kept in one part, see `open_dataset`.
        names: Which photos were used, see `open_dataset`.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, tuple[Example, ...]]
    fingerprint: str
    seed: int
    group: str = "none"
    names: str = ""

    @property
    def in_words(self) -> str:
        """How many photos are in each part: `56 train, 12 val, 12 test photos`."""
        return ", ".join(f"{len(examples)} {part}" for part, examples in self.parts.items()) + " photos"

    def save_split(self, path: Path) -> None:
        """Writes the split as JSON, the photos of each part by name."""
        document = {
            "seed": self.seed,
            "group": self.group,
            "names": self.names,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "parts": {part: [e.name for e in examples] for part, examples in self.parts.items()},
        }
        write_file(path, json.dumps(document, indent=1).encode())


def open_dataset(
    folder: Path,
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    holdout: float = 0.15,
    group: str = "similar",
    names: str = "",
    log: Log = print,
) -> Dataset:
    """Finds, checks and splits a data folder; the same folder and seed give the same split.

    Args:
        folder: Holds `images/` and `masks/`.
        classes: Foreground class names, if the folder has no `labels.txt`.
        seed: Seed of the split.
        holdout: Share of the photos in val, and again in test; above 0 and below 0.5.
        group: Which photos to keep in one part: `similar`, those that look alike, as far as every part still gets every
            class and no `index.csv` assigns the parts; `none`; or a regular expression whose first group is the clip
            or burst in the photo's name.
        names: Regular expression; photos whose name doesn't match are left out of each part. The split is made
            before that, so a training on some of the photos holds out the same ones.
        log: Receives a line if photos look alike.

    Raises:
        DataError: The folder can't be used, or a class is in too few photos for three parts.
        UsageError: `holdout` is out of range.
    """
    if not 0 < holdout < 0.5:
        raise UsageError(f"--holdout must be above 0 and below 0.5, got {holdout}.")
    examples = find_examples(folder)
    labels = class_names(folder, classes)
    present = dict(zip(examples, check_examples(examples, labels), strict=True))
    assigned = assigned_splits(folder, examples)
    if group == "similar" and assigned is None:
        parts = _split_by_similarity(present, seed, holdout, labels, log)
    else:
        groups = groups_of(examples, "none" if group == "similar" else group)
        parts = split_examples(present, groups, assigned, seed, holdout)
    pattern = compile_pattern(names, "--names")
    parts = {part: tuple(e for e in examples if pattern.search(e.name)) for part, examples in parts.items()}
    require_every_class(parts, present, labels)
    return Dataset(labels, parts, _fingerprint(parts), seed, group, names)


def _split_by_similarity(
    present: Mapping[Example, frozenset[int]],
    seed: int,
    holdout: float,
    labels: Sequence[str],
    log: Log,
) -> dict[str, tuple[Example, ...]]:
    """Keeps similar photos in one part, by the loosest threshold that still gives every part every class."""
    most = None
    for groups in similar_groups(tuple(present)):
        grouped = len(groups) - len(set(groups))
        most = grouped if most is None else most
        try:
            parts = split_examples(present, groups, None, seed, holdout)
        except DataError:
            continue
        # A large group may leave little to train on.
        enough = len(parts["train"]) >= 0.8 * (1 - 2 * holdout) * len(present)
        if enough and not missing_classes(parts, present, len(labels)):
            if grouped < most:
                log(
                    "Too many photos look alike to give every part every class, so only the most similar are kept "
                    f"together ({len(set(groups))} groups of {len(groups)} photos). Val and test hold near duplicates "
                    "of training photos: the scores say little about new photos."
                )
            elif grouped:
                log(f"Similar photos are kept in one part: {len(set(groups))} groups of {len(groups)} photos.")
            return parts
    return split_examples(present, list(range(len(present))), None, seed, holdout)


def open_split(folder: Path, split_file: Path) -> Dataset:
    """The data folder with the split that a training saved.

    Raises:
        DataError: The file is missing, or the folder has changed since.
    """
    saved = _read_split(split_file)
    by_name = {example.name: example for example in find_examples(folder)}
    missing = [n for part in PARTS for n in saved["parts"][part] if n not in by_name]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} photos of the split {split_file} are missing, first {missing[0]!r}; "
            "give the folder it was trained on."
        )
    parts = {part: tuple(by_name[n] for n in saved["parts"][part]) for part in PARTS}
    fingerprint = _fingerprint(parts)
    if fingerprint != saved["fingerprint"]:
        raise DataError(
            f"{folder}: photos or masks have changed since {split_file} was written, so it is unknown what the model "
            "was trained on; train again, or restore the folder."
        )
    about = {key: saved[key] for key in ("group", "names") if key in saved}
    return Dataset(tuple(saved["classes"]), parts, fingerprint, saved["seed"], **about)


def _read_split(path: Path) -> dict[str, Any]:
    """What `Dataset.save_split` wrote; older files have no `group` and no `names`."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        texts = [saved["fingerprint"], saved.get("group", ""), saved.get("names", "")]
        lists = [saved["classes"], *(saved["parts"][part] for part in PARTS)]
        is_valid = all(isinstance(names, list) for names in lists) and isinstance(saved["seed"], int)
        if not is_valid or not all(isinstance(text, str) for names in (texts, *lists) for text in names):
            raise ValueError("a value has the wrong type")
        return saved
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; training writes it next to the model. Give it with --split.") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a split written by train/fit.py ({error}).") from error


def _fingerprint(parts: Mapping[str, Sequence[Example]]) -> str:
    def digest(item: tuple[str, Example]) -> str:
        part, example = item
        content = hashlib.sha256(example.image.read_bytes() + example.mask.read_bytes()).hexdigest()
        return f"{part} {example.name} {content}\n"

    items = [(part, example) for part in PARTS for example in parts[part]]
    with ThreadPoolExecutor() as pool:
        return hashlib.sha256("".join(pool.map(digest, items)).encode()).hexdigest()


def held_out_photos(data: Dataset) -> dict[str, str]:
    """The names of the val and test photos by SHA-256."""
    return {sha256_of(example.image): example.name for part in ("val", "test") for example in data.parts[part]}


def training_stream(
    examples: Sequence[Example],
    *,
    size_wh: tuple[int, int],
    cache_size_wh: tuple[int, int],
    batch: int,
    settings: Augmentation,
    seed: int,
    skip_batches: int = 0,
    context: tf.distribute.InputContext = EVERYTHING,
) -> tf.data.Dataset:
    """Endless batches of (image float32 (b, h, w, 3) in 0..1, mask uint8 (b, h, w)), shuffled and augmented.

    Photos are decoded once and cached at `cache_size_wh`, a little larger than the model's input, so that zooming in
    does not blur. The augmentation of an element depends only on `seed` and its position: with `skip_batches` the
    stream continues exactly where an interrupted one stopped. With `context` these are one process's shares of the
    same batches.
    """

    def vary(position: tf.Tensor, pair: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return augment(pair[0], pair[1], tf.stack([tf.constant(seed, tf.int64), position]), settings, size_wh)

    return (
        _cached(examples, cache_size_wh)
        .shuffle(len(examples), seed=seed, reshuffle_each_iteration=True)
        .repeat()
        .enumerate()
        .skip(skip_batches * batch)
        .shard(context.num_input_pipelines, context.input_pipeline_id)
        .map(tf.autograph.experimental.do_not_convert(vary), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(context.get_per_replica_batch_size(batch), drop_remainder=True)
        .prefetch(2)
    )


def fixed_stream(examples: Sequence[Example], size_wh: tuple[int, int], batch: int) -> tf.data.Dataset:
    """The examples in order, not augmented, in batches shaped like `training_stream`'s; the last may be smaller."""
    options = tf.data.Options()  # several workers share each batch
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return (
        _cached(examples, size_wh)
        .map(lambda image, mask: (tf.cast(image, tf.float32) / 255.0, mask))
        .batch(batch)
        .prefetch(1)
        .with_options(options)
    )


def _cached(examples: Sequence[Example], size_wh: tuple[int, int]) -> tf.data.Dataset:
    width, height = size_wh

    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = tf.numpy_function(
            lambda i: examples[i].load(size_wh), [index], (tf.uint8, tf.uint8), stateful=False
        )
        return tf.ensure_shape(image, (height, width, 3)), tf.ensure_shape(mask, (height, width))

    indices = tf.data.Dataset.range(len(examples))
    return indices.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).cache()
