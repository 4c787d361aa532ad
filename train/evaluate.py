"""Scores a model on photos it never saw: `python train/evaluate.py MODEL --data DIR`.

MODEL is a `.keras` or a `.tflite`; both go through the runtime's own pre- and postprocessing and are judged at the
photo's size. Prints Dice, IoU and boundary F of each class, and writes `scores.json` (with every photo's raw counts),
`confusion.png` and `worst.jpg`, the photos it did worst on, to look at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import train.quiet  # noqa: F401

# isort: split

import cv2
import keras
import numpy as np
import typer

from seg_edge import Segmenter
from seg_edge.card import ModelCard, make_classes
from seg_edge.errors import DataError, ModelError, SegEdgeError
from seg_edge.files import whole_file, write_file
from seg_edge.interpreter import TensorSpec
from seg_edge.metrics import IGNORE, boundary_f, confusion_matrix, dice, iou, mean_foreground
from seg_edge.photos import write_picture
from seg_edge.render import OVERLAY_OPACITY
from seg_edge.sources.photo import read_photo
from train.dataset import open_split
from train.folder import PARTS, Example, check_examples, class_names, find_examples
from train.options import words

# Foreground shares from which scores are also given: small people are harder.
SHARES = (0.0, 0.1, 0.2)


class KerasBackend:
    """A Keras U-Net where the runtime expects a `.tflite`: the float model scored as the int8 one is."""

    def __init__(self, model: keras.Model):
        height, width = model.input_shape[1:3]
        self.model = model
        self.input = TensorSpec("image", (1, height, width, 3), np.float32)
        self.output = TensorSpec("logits", (1, *model.output_shape[1:]), np.float32)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Logits float32 (1, h, w, classes) of an image float32 (1, height, width, 3)."""
        return self.model(tensor, training=False).numpy()


def load_keras(path: Path) -> keras.Model:
    """The `.keras` model, for inference.

    Raises:
        ModelError: It isn't there or isn't one.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a model that train/fit.py wrote ({str(error).splitlines()[0]}).") from error
    # One that was saved with a list of one input warns whenever it is given the image itself.
    alone = isinstance(model, keras.Model) and isinstance(model.input, list) and len(model.input) == 1
    return keras.Model(model.input[0], model.outputs[0], name=model.name) if alone else model


def keras_segmenter(model: keras.Model, names: Sequence[str]) -> Segmenter:
    """A Segmenter that runs the Keras model, with the runtime's pre- and postprocessing."""
    backend = KerasBackend(model)
    if backend.output.shape[3] != len(names):
        raise ModelError(f"the model has {backend.output.shape[3]} classes, the data {len(names)}: {', '.join(names)}.")
    size_wh = (backend.input.shape[2], backend.input.shape[1])
    return Segmenter.around(backend, ModelCard("float", make_classes(tuple(names)), size_wh))


@dataclass(frozen=True, eq=False)
class PhotoScore:
    """One photo's raw counts.

    Attributes:
        name: Of the photo.
        matrix: Confusion matrix, int64 (classes, classes), rows are the truth.
        boundary: Boundary F of each class, float64 (classes,), NaN for an absent one.
        share: Foreground pixels of the truth as a share of the photo's.
    """

    name: str
    matrix: np.ndarray
    boundary: np.ndarray
    share: float

    @property
    def dice(self) -> float:
        """Mean Dice over the classes that are in this photo's truth or prediction; NaN when none is."""
        return mean_foreground(dice(self.matrix))


@dataclass(frozen=True)
class Scores:
    """Scores over some photos. `NaN` where a class is nowhere."""

    classes: tuple[str, ...]
    photos: tuple[PhotoScore, ...]

    @property
    def matrix(self) -> np.ndarray:
        """Sum of the photos' confusion matrices."""
        return np.sum([photo.matrix for photo in self.photos], axis=0)

    @property
    def mean_dice(self) -> float:
        """Mean over the foreground classes of the Dice of all photos' pixels together."""
        return mean_foreground(dice(self.matrix))

    @property
    def mean_photo_dice(self) -> float:
        """Mean over the photos of each photo's own Dice; photos with no class in truth or prediction are left out."""
        return float(np.nanmean([photo.dice for photo in self.photos]))

    @property
    def boundary(self) -> np.ndarray:
        """Boundary F of each class, mean over the photos it is in, float64 (classes,)."""
        stacked = np.array([photo.boundary for photo in self.photos])
        there = ~np.isnan(stacked)
        with np.errstate(invalid="ignore"):
            return np.nansum(stacked, axis=0) / there.sum(axis=0)

    @property
    def mean_boundary(self) -> float:
        """Mean of `boundary` over the foreground classes."""
        return mean_foreground(self.boundary)

    def at_least(self, share: float) -> Scores:
        """The photos that the foreground fills by at least `share`."""
        return Scores(self.classes, tuple(photo for photo in self.photos if photo.share >= share))

    def summary(self) -> dict[str, Any]:
        """The figures that go into a card."""
        per_class = zip(self.classes[1:], dice(self.matrix)[1:], strict=True)
        return {
            "photos": len(self.photos),
            "mean_dice": _rounded(self.mean_dice),
            "mean_photo_dice": _rounded(self.mean_photo_dice),
            "boundary_f": _rounded(self.mean_boundary),
            "dice": {name: _rounded(value) for name, value in per_class},
        }


def score(segmenter: Segmenter, examples: Iterable[Example]) -> Scores:
    """Segments every photo at its own size and counts."""
    names = segmenter.card.class_names
    photos = []
    for example in examples:
        truth = example.load_mask()
        predicted = segmenter(read_photo(example.image)).labels
        if truth.shape != predicted.shape:
            raise DataError(f"{example.mask}: the mask's size is not its upright photo's.")
        matrix = confusion_matrix(truth, predicted, len(names))
        share = float(matrix[1:].sum() / truth.size)
        photos.append(PhotoScore(example.name, matrix, boundary_f(truth, predicted, len(names)), share))
    return Scores(names, tuple(photos))


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def table(scores: Scores) -> str:
    """Dice, IoU and boundary F of each class, and of photos by how much the foreground fills."""
    matrix = scores.matrix
    lines = [f"{'class':<16}{'Dice':>8}{'IoU':>8}{'boundary F':>12}{'pixels':>12}"]
    for index, name in enumerate(scores.classes[1:], 1):
        lines.append(
            f"{name:<16}{dice(matrix)[index]:8.4f}{iou(matrix)[index]:8.4f}{scores.boundary[index]:12.4f}"
            f"{matrix[index].sum():12,}"
        )
    lines.append(f"{'mean':<16}{scores.mean_dice:8.4f}{mean_foreground(iou(matrix)):8.4f}{scores.mean_boundary:12.4f}")
    lines += ["", f"{'foreground fills':<20}{'photos':>8}{'mean photo Dice':>18}{'boundary F':>12}"]
    for share in SHARES:
        part = scores.at_least(share)
        if part.photos:
            what = f">= {share:.0%}" if share else "any share"
            lines.append(f"{what:<20}{len(part.photos):8}{part.mean_photo_dice:18.4f}{part.mean_boundary:12.4f}")
    return "\n".join(lines)


def draw_confusion(scores: Scores, path: Path) -> None:
    """The confusion matrix as a picture, each row in per cent of the true class's pixels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matrix = scores.matrix
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    side = 2.5 + 0.8 * len(scores.classes)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(scores.classes))
    axis.set_xticks(ticks, scores.classes, rotation=45)
    axis.set_yticks(ticks, scores.classes)
    axis.set(xlabel="predicted", ylabel="true", title="Share of the true class's pixels")
    for row in ticks:
        for column in ticks:
            shade = "white" if shares[row, column] > 0.6 else "black"
            axis.text(column, row, f"{shares[row, column]:.1%}", ha="center", va="center", color=shade)
    with whole_file(path) as place:
        figure.savefig(place, dpi=110)
    plt.close(figure)


def draw_worst(segmenter: Segmenter, examples: Sequence[Example], scores: Scores, path: Path, count: int = 8) -> None:
    """The photos with the lowest Dice, each as photo, truth and prediction side by side, worst first."""
    by_name = {example.name: example for example in examples}
    ranked = sorted((photo for photo in scores.photos if not np.isnan(photo.dice)), key=lambda photo: photo.dice)
    colours = np.array([info.colour[::-1] for info in segmenter.classes], np.uint8)
    rows = []
    for photo in ranked[:count]:
        example = by_name[photo.name]
        frame, truth = read_photo(example.image), example.load_mask()
        shown = [frame]
        for labels in (truth, segmenter(frame).labels):
            tinted = cv2.addWeighted(
                colours[np.where(labels == IGNORE, 0, labels)], OVERLAY_OPACITY, frame, OVERLAY_OPACITY, 0
            )
            tinted[labels == IGNORE] = 127
            shown.append(np.where((labels > 0)[..., np.newaxis], tinted, frame))
        row = cv2.resize(np.hstack(shown), (960, round(960 * frame.shape[0] / (3 * frame.shape[1]))))
        caption = np.full((26, 960, 3), 255, np.uint8)
        text = f"{photo.name}: Dice {photo.dice:.3f}    photo | truth (grey: does not count) | model"
        cv2.putText(caption, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        rows += [caption, row]
    if rows:
        write_picture(path, np.vstack(rows))


def write_scores(scores: Scores, about: Mapping[str, Any], path: Path) -> None:
    """All figures and each photo's raw counts as JSON."""
    photos = [
        {
            "name": photo.name,
            "matrix": photo.matrix.tolist(),
            "boundary_f": [_rounded(v) for v in photo.boundary],
        }
        for photo in scores.photos
    ]
    by_share = {str(share): scores.at_least(share).summary() for share in SHARES if scores.at_least(share).photos}
    document = {
        **about,
        "summary": scores.summary(),
        "by_foreground_share": by_share,
        "photos": photos,
    }
    write_file(path, json.dumps(document, indent=1).encode())


def main(
    model: Annotated[Path, typer.Argument(help="A .keras or .tflite file, or a bundled model's name.")],
    data: Annotated[Path, typer.Option(help="Data folder with images/ and masks/.")],
    part: Annotated[str, typer.Option(help="train, val, test, or all photos of the folder.")] = "val",
    split: Annotated[Path | None, typer.Option(help="split.json; by default the one beside the model.")] = None,
    classes: Annotated[str, typer.Option(help="Names, where the data folder has no labels.txt: cat,dog")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default beside the model.")] = None,
) -> None:
    """Scores a model on one part of a data folder."""
    if part not in (*PARTS, "all"):
        raise typer.BadParameter(f"train, val, test or all, got {part!r}", param_hint="--part")
    try:
        if part == "all":
            examples, names = find_examples(data), class_names(data, words(classes) or None)
            check_examples(examples, names)
        else:
            dataset = open_split(data, split or model.parent / "split.json")
            examples, names = dataset.parts[part], dataset.classes
        segmenter = keras_segmenter(load_keras(model), names) if model.suffix == ".keras" else Segmenter(model)
        if len(segmenter.classes) != len(names):
            raise ModelError(f"{model} has {len(segmenter.classes)} classes, the data {len(names)}.")
        if segmenter.file.card and segmenter.card.class_names != names:
            said, wanted = ", ".join(segmenter.card.class_names), ", ".join(names)
            raise ModelError(f"{model} knows the classes {said}; the data has {wanted}.")
        with typer.progressbar(examples, label=f"Scoring {len(examples)} photos") as shown:
            scores = score(segmenter, shown)
        folder = out or model.parent / f"scores_{part}"
        folder.mkdir(parents=True, exist_ok=True)
        about = {"model": str(model), "sha256": segmenter.file.sha256, "part": part}
        write_scores(scores, about, folder / "scores.json")
        draw_confusion(scores, folder / "confusion.png")
        draw_worst(segmenter, examples, scores, folder / "worst.jpg")
    except (SegEdgeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(table(scores))
    typer.echo(f"Written to {folder}: scores.json, confusion.png, worst.jpg")


if __name__ == "__main__":
    typer.run(main)
