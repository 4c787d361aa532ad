"""A data folder, its split, and the stream of examples a training reads.

A data folder holds `images/` and `masks/` (8-bit label maps, `<stem>.png`, at the upright photo's size; 0 is
background, 255 marks pixels that don't count) and `labels.txt`, one class name a line, background first: what
`train/masks.py` writes. An `index.csv` with the columns `name` and `split` is followed when there is one.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf
from sklearn.model_selection import StratifiedGroupKFold

from seg_edge.errors import DataError
from seg_edge.preprocess import resize_to_input
from seg_edge.sources.photo import PHOTO_SUFFIXES, read_header, read_photo
from train.augment import Augmentation, augment

PARTS = ("train", "val", "test")
IGNORE = 255
SIMILAR_BITS = 6  # of 64: photos whose difference hashes differ by no more are one burst


@dataclass(frozen=True)
class Example:
    """One annotated photo."""

    image: Path
    mask: Path

    @property
    def name(self) -> str:
        """The photo's file name without suffix."""
        return self.image.stem

    def load(self, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 (h, w, 3) preprocessed as at run time, and its label map uint8 (h, w), nearest neighbour."""
        image = resize_to_input(read_photo(self.image), size_wh)
        return image, cv2.resize(self.load_mask(), size_wh, interpolation=cv2.INTER_NEAREST_EXACT)

    def load_mask(self) -> np.ndarray:
        """The label map, uint8 (height, width), at the upright photo's size.

        Raises:
            DataError: It is not an 8-bit single-channel PNG.
        """
        content = np.fromfile(self.mask, np.uint8)
        mask = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
        if mask is None or mask.dtype != np.uint8 or mask.ndim != 2:
            raise DataError(
                f"{self.mask}: a mask is an 8-bit PNG with one channel holding class numbers; "
                "make it with train/masks.py, or save it without a palette."
            )
        return mask


@dataclass(frozen=True)
class Dataset:
    """Examples by part, and what identifies them.

    Attributes:
        classes: Class names, background first.
        parts: `train`, `val` and `test`: val chooses the model, test is only ever scored.
        fingerprint: SHA-256 over every photo's and mask's content and its part.
        seed: Of the split.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, tuple[Example, ...]]
    fingerprint: str
    seed: int

    def save_split(self, path: Path) -> None:
        """Writes the split as JSON: seed, fingerprint, classes and the names in each part."""
        document = {
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "parts": {part: [e.name for e in examples] for part, examples in self.parts.items()},
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
        temporary.replace(path)


def open_dataset(
    folder: Path,
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    holdout: float = 0.15,
    group: str = "none",
    names: str = "",
) -> Dataset:
    """Finds, checks and splits a data folder; the same folder and seed give the same split.

    Args:
        folder: With `images/` and `masks/`.
        classes: Foreground class names, where the folder has no `labels.txt`.
        seed: Of the split.
        holdout: Share of the photos in val, and again in test.
        group: What must stay in one part: `none`; `similar`, photos that look alike; or a regular expression whose
            first group, found in the photo's name, names the clip or burst.
        names: Regular expression; photos in whose name it isn't found are left out of each part. The split is made
            before, so a training on some of the photos keeps the same ones unseen.

    Raises:
        DataError: Something in the folder can't be used, or a class is in too few photos for three parts.
    """
    examples = _find_examples(folder)
    labels = _class_names(folder, classes)
    present = _check_examples(examples, labels)
    given = _given_parts(folder, examples)
    rarest = _rarest_class(present, len(labels))
    groups = _groups(examples, group)
    parts = _split(examples, rarest, groups, given, seed, holdout)
    wanted = _pattern(names, "--names")
    parts = {part: tuple(e for e in some if wanted.search(e.name)) for part, some in parts.items()}
    _require_every_class(parts, dict(zip(examples, present, strict=True)), labels)
    return Dataset(labels, parts, _fingerprint(parts), seed)


def open_split(folder: Path, split_file: Path) -> Dataset:
    """The data folder with the split that a training saved.

    Raises:
        DataError: The file is missing or the folder's content is no longer what it was.
    """
    try:
        saved = json.loads(split_file.read_text(encoding="utf-8"))
        by_name = {example.name: example for example in _find_examples(folder)}
        missing = [n for part in PARTS for n in saved["parts"][part] if n not in by_name]
        if missing:
            raise DataError(
                f"{folder}: {len(missing)} photos of the split {split_file} are gone, first {missing[0]!r}; "
                "give the folder it was trained on."
            )
        parts = {part: tuple(by_name[n] for n in saved["parts"][part]) for part in PARTS}
        dataset = Dataset(tuple(saved["classes"]), parts, _fingerprint(parts), int(saved["seed"]))
    except FileNotFoundError as error:
        raise DataError(
            f"{split_file}: no such file; it lies beside the trained model, and says which photos it never saw."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{split_file}: not a split that train/fit.py wrote ({error}).") from error
    if dataset.fingerprint != saved["fingerprint"]:
        raise DataError(
            f"{folder}: photos or masks have changed since {split_file} was written, so nobody can say what the model "
            "has seen; train again, or give the folder as it was."
        )
    return dataset


def training_stream(
    examples: Sequence[Example],
    *,
    size_wh: tuple[int, int],
    cache_size_wh: tuple[int, int],
    batch: int,
    settings: Augmentation,
    seed: int,
    skip_batches: int = 0,
) -> tf.data.Dataset:
    """Endless batches of (image float32 (b, h, w, 3) in 0..1, mask uint8 (b, h, w)), shuffled and varied.

    Photos are decoded once and cached at `cache_size_wh`, a little larger than the model's input, so that magnifying
    one does not blur it. Every element's variation depends on `seed` and its position alone: with `skip_batches`
    the stream goes on exactly where an interrupted one stopped.
    """

    def vary(position: tf.Tensor, pair: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return augment(pair[0], pair[1], tf.stack([tf.constant(seed, tf.int64), position]), settings, size_wh)

    return (
        _cached(examples, cache_size_wh)
        .shuffle(len(examples), seed=seed, reshuffle_each_iteration=True)
        .repeat()
        .enumerate()
        .skip(skip_batches * batch)
        .map(vary, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch, drop_remainder=True)
        .prefetch(2)
    )


def fixed_stream(examples: Sequence[Example], size_wh: tuple[int, int], batch: int) -> tf.data.Dataset:
    """The examples in order and unvaried, in batches shaped as `training_stream`'s; the last may be smaller."""
    return (
        _cached(examples, size_wh)
        .map(lambda image, mask: (tf.cast(image, tf.float32) / 255.0, mask))
        .batch(batch)
        .prefetch(1)
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


def _find_examples(folder: Path) -> tuple[Example, ...]:
    images, masks = folder / "images", folder / "masks"
    if not images.is_dir() or not masks.is_dir():
        raise DataError(
            f"{folder}: a data folder holds images/ and masks/; make one from annotations with train/masks.py."
        )
    photos = sorted(
        path for path in images.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")
    )
    if not photos:
        raise DataError(f"{images}: no photos in it.")
    without = [path.name for path in photos if not (masks / f"{path.stem}.png").is_file()]
    if without:
        raise DataError(
            f"{masks}: {len(without)} of {len(photos)} photos have no mask, first {without[0]!r}; "
            "a photo without any of the classes needs a mask of zeros."
        )
    stems = [path.stem for path in photos]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise DataError(f"{images}: two photos are called {twice!r}; rename one, they share a mask.")
    return tuple(Example(path, masks / f"{path.stem}.png") for path in photos)


def _class_names(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    path = folder / "labels.txt"
    if not path.is_file():
        if not classes:
            raise DataError(
                f"{folder}: no labels.txt, so the classes have no names; add one (background first, "
                "one name a line) or give --classes."
            )
        return ("background", *classes)
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(names) < 2 or names[0] != "background" or len(set(names)) < len(names):
        raise DataError(
            f"{path}: 'background' was expected in the first line and a different class in each other line."
        )
    if classes and names[1:] != tuple(classes):
        raise DataError(f"{path} names {', '.join(names[1:])}, but --classes says {', '.join(classes)}.")
    return names


def _check_examples(examples: Sequence[Example], names: Sequence[str]) -> list[frozenset[int]]:
    """The foreground classes in each mask; every mask that doesn't fit its photo or the classes is named."""

    def inspect(example: Example) -> tuple[frozenset[int], str]:
        mask = example.load_mask()
        shown = read_header(example.image).upright_size_wh
        if shown != (mask.shape[1], mask.shape[0]):
            problem = f"{example.mask.name} is {mask.shape[1]}x{mask.shape[0]}, its upright photo {shown[0]}x{shown[1]}"
            return frozenset(), problem
        values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        strange = [int(v) for v in values if len(names) <= v != IGNORE]
        if strange:
            return frozenset(), f"{example.mask.name} holds the value {strange[0]}"
        return frozenset(int(v) for v in values if 0 < v < len(names)), ""

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(inspect, examples))
    problems = [problem for _, problem in found if problem]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DataError(
            f"{examples[0].mask.parent}: masks hold class numbers 0 to {len(names) - 1} (255: doesn't count) at the "
            f"upright photo's size, but {shown}."
        )
    return [present for present, _ in found]


def _rarest_class(present: Sequence[frozenset[int]], count: int) -> list[int]:
    """For each photo the class of its that the fewest photos hold: what the split is balanced by."""
    photos = np.bincount([c for classes in present for c in classes], minlength=count)
    return [min(classes, key=lambda c: (photos[c], c), default=0) for classes in present]


def _given_parts(folder: Path, examples: Sequence[Example]) -> dict[Example, str] | None:
    """Parts by `index.csv`. Without a `test` there, its `val` is the test part: nothing is chosen by it."""
    path = folder / "index.csv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = {row.get("name"): row.get("split") for row in csv.DictReader(stream)}
    parts = {example: rows.get(example.name) or "" for example in examples}
    strange = [example.name for example, part in parts.items() if part not in PARTS]
    if strange:
        raise DataError(
            f"{path}: {len(strange)} photos have no split of train, val or test there, first {strange[0]!r}."
        )
    if "test" not in parts.values():
        parts = {example: "test" if part == "val" else part for example, part in parts.items()}
    return parts


def _groups(examples: Sequence[Example], group: str) -> list[int]:
    if group == "none":
        return list(range(len(examples)))
    if group == "similar":
        return _similar(examples)
    pattern = _pattern(group, "--group")
    found = [pattern.search(example.name) for example in examples]
    if not pattern.groups or not all(found):
        raise DataError(
            f"--group {group!r}: a regular expression with one group that is found in every photo's name was expected, "
            r"as in '(clip\d+)_'."
        )
    names = [match.group(1) for match in found if match]
    order = sorted(set(names))
    return [order.index(name) for name in names]


def _pattern(text: str, option: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise DataError(f"{option} {text!r} is not a regular expression: {error}.") from error


def _similar(examples: Sequence[Example]) -> list[int]:
    """Joins photos whose 64-bit difference hashes (Krawetz, 2013) are close, directly or through others."""
    hashes = []
    for example in examples:
        small = cv2.resize(read_photo(example.image), (9, 8), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(int)
        hashes.append((grey[:, 1:] > grey[:, :-1]).ravel())
    bits = np.array(hashes)
    group = np.arange(len(bits))
    for index in range(len(bits)):
        near = np.count_nonzero(bits != bits[index], axis=1) <= SIMILAR_BITS
        joined = np.isin(group, group[near])
        group[joined] = group[joined].min()
    return [int(g) for g in group]


def _split(
    examples: Sequence[Example],
    rarest: Sequence[int],
    groups: Sequence[int],
    given: Mapping[Example, str] | None,
    seed: int,
    holdout: float,
) -> dict[str, tuple[Example, ...]]:
    part_of = dict(given) if given else dict.fromkeys(examples, "train")
    label, group = (
        dict(zip(examples, rarest, strict=True)),
        dict(zip(examples, groups, strict=True)),
    )
    for part in ("test", "val"):
        if part not in part_of.values():
            train = [example for example in examples if part_of[example] == "train"]
            share = holdout * len(examples) / len(train) if not given else holdout
            for index in _one_fold([label[e] for e in train], [group[e] for e in train], share, seed):
                part_of[train[index]] = part
    return {part: tuple(e for e in examples if part_of[e] == part) for part in PARTS}


def _one_fold(labels: Sequence[int], groups: Sequence[int], share: float, seed: int) -> Iterable[int]:
    folds = max(2, round(1 / share))
    if len(set(groups)) < folds:
        raise DataError(
            f"{len(set(groups))} groups of photos can't be split into {folds}; "
            "annotate more photos, or group them less strictly with --group."
        )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # that a class has fewer photos than folds; checked by name afterwards
        warnings.simplefilter("ignore", UserWarning)
        return next(iter(splitter.split(np.zeros(len(labels)), labels, groups)))[1]


def _require_every_class(
    parts: Mapping[str, Sequence[Example]],
    present: Mapping[Example, frozenset[int]],
    names: Sequence[str],
) -> None:
    for part, examples in parts.items():
        there = frozenset().union(*(present[example] for example in examples))
        missing = [name for index, name in enumerate(names) if index and index not in there]
        if missing:
            raise DataError(
                f"no photo of {', '.join(missing)} in the {part} part; a class needs at least three photos "
                "(or bursts, with --group), or try another --seed."
            )


def _fingerprint(parts: Mapping[str, Sequence[Example]]) -> str:
    def digest(item: tuple[str, Example]) -> str:
        part, example = item
        content = hashlib.sha256(example.image.read_bytes() + example.mask.read_bytes()).hexdigest()
        return f"{part} {example.name} {content}\n"

    items = [(part, example) for part in PARTS for example in parts[part]]
    with ThreadPoolExecutor() as pool:
        return hashlib.sha256("".join(pool.map(digest, items)).encode()).hexdigest()
