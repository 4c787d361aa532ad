"""Splits photos into train, val (to select the model) and test (only for scoring)."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from seg_edge.errors import DataError
from seg_edge.evaluation.data_folder import PARTS, Example
from seg_edge.photo.read import read_photo
from train.annotation_check import OTHER

# Photos whose 64-bit difference hashes differ in at most this many bits are one burst. If a class is then in too few
# bursts for three parts, the next number is tried; the last keeps only identical photos together.
SIMILAR_BITS = (6, 4, 2, 0)


def split_examples(
    present: Mapping[Example, frozenset[int]],
    groups: Sequence[int],
    assigned: Mapping[Example, str] | None,
    seed: int,
    holdout: float,
) -> dict[str, tuple[Example, ...]]:
    """Photos by part, as assigned or else drawn.

    Args:
        present: The foreground classes in each photo.
        groups: The group of each photo, see `groups_of`.
        assigned: Parts of photos that are already assigned.
        seed: Seed of the draw.
        holdout: Share of all photos in val, and again in test.
    """
    part_of = dict(assigned) if assigned else dict.fromkeys(present, "train")
    group = dict(zip(present, groups, strict=True))
    for part in ("test", "val"):
        if part not in part_of.values():
            train = [example for example in present if part_of[example] == "train"]
            share = holdout if assigned else holdout * len(present) / len(train)
            held_out = _one_fold([present[e] for e in train], [group[e] for e in train], share, seed)
            part_of.update({train[index]: part for index in held_out})
    return {part: tuple(e for e in present if part_of[e] == part) for part in PARTS}


def _one_fold(classes: Sequence[frozenset[int]], groups: Sequence[int], share: float, seed: int) -> Iterable[int]:
    """Indices of about `share` of the photos: the first fold that has every class and leaves every class.

    With long clips no fold of that size may qualify; then larger folds are tried.
    """
    labels = _rarest_class(classes)
    # scikit-learn needs at least as many photos of the commonest class, and as many groups, as folds.
    most_folds = min(round(1 / share), max(Counter(labels).values()), len(set(groups)))
    if most_folds < 2:
        raise DataError(
            f"{len(classes)} photos in {len(set(groups))} groups can't be split; "
            "annotate more photos, or group them less strictly with --group."
        )
    everything = frozenset().union(*classes)
    for folds in range(most_folds, 1, -1):
        splits = _folds(labels, groups, folds, seed)
        for kept, held_out in splits:
            if all(frozenset().union(*(classes[i] for i in half)) == everything for half in (kept, held_out)):
                return held_out
    return splits[0][1]  # no fold has every class; `require_every_class` reports the missing ones


def _folds(labels: Sequence[int], groups: Sequence[int], folds: int, seed: int) -> list[tuple[Iterable[int], ...]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # about classes with fewer photos than folds
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(labels, labels, groups))


def _rarest_class(classes: Sequence[frozenset[int]]) -> list[int]:
    """The rarest class in each photo, by which the split is balanced; 0 if it has none."""
    photos = Counter(number for in_photo in classes for number in in_photo)
    return [min(in_photo, key=lambda number: (photos[number], number), default=0) for in_photo in classes]


def groups_of(examples: Sequence[Example], group: str) -> list[int]:
    """A group number for each photo; a group stays in one part. See `train.dataset.open_dataset`."""
    if group == "none":
        return list(range(len(examples)))
    pattern = compile_pattern(group, "--group")
    matches = [pattern.search(example.name) for example in examples]
    is_other = [example.name.startswith(OTHER) for example in examples]  # renamed by masks.py
    if not pattern.groups or not all(match or other for match, other in zip(matches, is_other, strict=True)):
        raise DataError(
            f"--group {group!r} must be a regular expression with one group that matches every photo's name, "
            r"as in '(clip\d+)_'."
        )
    names = [match.group(1) if match else example.name for match, example in zip(matches, examples, strict=True)]
    order = sorted(set(names))
    return [order.index(name) for name in names]


def similar_groups(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Groups of similar photos for each of `SIMILAR_BITS`, by 64-bit difference hashes (Krawetz, 2013).

    Photos whose hashes are close, directly or through others, are in one group.
    """
    from scipy.sparse.csgraph import connected_components

    def hash_of(example: Example) -> np.ndarray:
        small = cv2.resize(read_photo(example.image), (9, 8), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(int)
        return (grey[:, 1:] > grey[:, :-1]).ravel()

    with ThreadPoolExecutor() as pool:
        bits = np.array(list(pool.map(hash_of, examples)))
    distances = np.array([np.count_nonzero(bits != row, axis=1) for row in bits])
    for threshold in SIMILAR_BITS:
        yield [int(number) for number in connected_components(distances <= threshold)[1]]


def missing_classes(
    parts: Mapping[str, Sequence[Example]], present: Mapping[Example, frozenset[int]], classes: int
) -> dict[str, list[int]]:
    """The numbers of the classes that each incomplete part lacks."""
    found = {}
    for part, examples in parts.items():
        in_part = frozenset().union(*(present[example] for example in examples))
        if lacking := [index for index in range(1, classes) if index not in in_part]:
            found[part] = lacking
    return found


def require_every_class(
    parts: Mapping[str, Sequence[Example]],
    present: Mapping[Example, frozenset[int]],
    names: Sequence[str],
) -> None:
    """Refuses a split in which a part lacks a class."""
    for part, missing in missing_classes(parts, present, len(names)).items():
        raise DataError(
            f"no photo of {', '.join(names[index] for index in missing)} in the {part} part; a class needs at least "
            "three photos (or bursts, with --group), or try another --split-seed."
        )


def compile_pattern(text: str, option: str) -> re.Pattern[str]:
    """Compiles the regular expression of an option."""
    try:
        return re.compile(text)
    except re.error as error:
        raise DataError(f"{option} {text!r} is not a regular expression: {error}.") from error
