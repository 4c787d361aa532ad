"""Endless scenes from folders of pictures with soft masks, for `train/fit.py --scenes FOLDER`.

Such a folder holds `images/` and `masks/`, 8-bit PNGs of the photo's size in which 0 to 255 is the share of person in a
pixel, as convert/soft_labels.py writes them. A model of one class learns these shares at its input size.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from seg_edge.errors import DataError, UsageError
from seg_edge.evaluation.data_folder import Example, find_examples
from seg_edge.photo.read import read_header, read_photo
from seg_edge.preprocess import resize_to_input
from train.compositing import Compositor, Picture
from train.dataset import Dataset, fixed_stream, held_out_photos
from train.photos import photos_in
from train.recipes import Recipe
from train.runs import sha256_of
from train.strategy import EVERYTHING

CAN_BE_CUT_OUT = 0.03  # least share of the picture that the people must fill to be cut out


@dataclass(frozen=True)
class PictureFolder:
    """A folder of pictures with soft masks.

    Attributes:
        folder: Holds `images/` and `masks/`.
        weight: How often its pictures are drawn, relative to other folders.
    """

    folder: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> PictureFolder:
        """`FOLDER` or `FOLDER:WEIGHT`, as on the command line.

        Raises:
            UsageError: The weight isn't above 0.
        """
        folder, colon, number = text.rpartition(":")
        if not colon:
            return cls(Path(text))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise UsageError(f"--scenes must be FOLDER or FOLDER:WEIGHT with a weight above 0, got {text!r}.")
        return cls(Path(folder), weight)


@dataclass(frozen=True)
class EmptyPlace(Example):
    """A picture without people."""

    mask: Path = Path()

    def load_mask(self) -> np.ndarray:
        """Zeros, uint8 (height, width), at the upright photo's size."""
        width, height = read_header(self.image).upright_size_wh
        return np.zeros((height, width), np.uint8)


class SceneTask:
    """Training a model of one class on scenes; see `train.training.TrainingTask`.

    Args:
        sources: Folders of pictures with soft masks.
        data: The dataset; its val part selects the model, and no val or test photo may be among the pictures.
        recipe: The scenery, batch size and seed.
        size_wh: The model's input size, a square.
        places: Folders of pictures without people.
        context: The share of each batch that this process reads.

    Raises:
        DataError: The data has several classes, or a picture is in its val or test part.
    """

    def __init__(
        self,
        sources: Sequence[PictureFolder],
        data: Dataset,
        recipe: Recipe,
        size_wh: tuple[int, int],
        places: Sequence[PictureFolder] = (),
        context: tf.distribute.InputContext = EVERYTHING,
    ):
        if len(data.classes) != 2:
            raise DataError(
                f"scenes teach one class, the data has {len(data.classes) - 1}: {', '.join(data.classes[1:])}."
            )
        if size_wh[0] != size_wh[1]:
            raise UsageError(f"scenes are square, but the model's input is {size_wh[0]}x{size_wh[1]}.")
        self.data, self.recipe, self.size_wh, self.context = data, recipe, size_wh, context
        folders: list[Sequence[Example]] = [find_examples(source.folder) for source in sources]
        folders += [find_places(place.folder) for place in places]
        sources = (*sources, *places)
        seen = [_hashes_not_held_out(examples, data) for examples in folders]
        self.about: dict[str, Any] = {
            "scenes": [
                {
                    "folder": source.folder.name,
                    "weight": source.weight,
                    "pictures": len(hashes),
                    "sha256": _joint_hash(hashes),
                }
                for source, hashes in zip(sources, seen, strict=True)
            ]
        }
        side = round(size_wh[0] * recipe.cache_zoom)
        with ThreadPoolExecutor() as pool:
            pictures = [list(pool.map(lambda photo: load_picture(photo, side), photos)) for photos in folders]
        weights = [source.weight for source in sources]
        cut_out = [[p for p in folder if (p.share > 127).mean() >= CAN_BE_CUT_OUT] for folder in pictures]
        self.compose = Compositor(
            size_wh[0],
            recipe.augmentation,
            recipe.scenery,
            PictureSampler(pictures, weights),
            PictureSampler(cut_out if any(cut_out) else pictures, weights),
        )

    def training_model(self, model: keras.Model) -> keras.Model:
        """The model itself, or with the consistency loss added."""
        if not self.recipe.consistency:
            return model
        return ConsistentModel(model.inputs, model.outputs, weight=self.recipe.consistency)

    def views(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Scene `number`: RGB uint8 (views, h, w, 3), and the shares uint8 (views, h, w).

        There is one view, or two with the consistency loss.
        """
        rng = np.random.default_rng((self.recipe.seed, number))
        *images, share = self.compose.twice(rng) if self.recipe.consistency else self.compose(rng)
        return np.stack(images), np.stack([share] * len(images))

    def training_batches(self, skip_batches: int) -> tf.data.Dataset:
        """Endless batches of (image float32 (b, h, w, 3) in 0..1, probabilities float32 (b, h, w, 2))."""
        width, height = self.size_wh

        def compose(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, shares = tf.numpy_function(self.views, [number], (tf.uint8, tf.uint8), stateful=False)
            return (
                tf.ensure_shape(images, (views, height, width, 3)),
                tf.ensure_shape(shares, (views, height, width)),
            )

        def to_float(images: tf.Tensor, shares: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            person = tf.cast(shares, tf.float32) / 255
            return tf.cast(images, tf.float32) / 255, tf.stack([1 - person, person], axis=-1)

        views = 2 if self.recipe.consistency else 1
        batch = self.recipe.batch
        return (
            tf.data.Dataset.range(skip_batches * batch // views, np.iinfo(np.int64).max)
            .shard(self.context.num_input_pipelines, self.context.input_pipeline_id)
            .map(compose, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .unbatch()
            .batch(self.context.get_per_replica_batch_size(batch), drop_remainder=True)
            .map(to_float)
            .prefetch(2)
        )

    def validation_batches(self) -> tf.data.Dataset:
        """The val part and its masks, not augmented."""
        return fixed_stream(self.data.parts["val"], self.size_wh, self.recipe.batch)


class ConsistentModel(keras.Model):
    """A model to train on batches in which the two views of each scene are neighbours."""

    def __init__(self, *args: Any, weight: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.weight = weight

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of the shares and, in training, the weighted squared difference of the two outputs."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        probabilities = tf.nn.softmax(tf.cast(y_pred, tf.float32))
        difference = probabilities[0::2] - probabilities[1::2]
        consistency = self.weight * tf.reduce_mean(tf.reduce_sum(tf.square(difference), axis=-1))
        return loss + consistency / tf.distribute.get_strategy().num_replicas_in_sync  # as `loss` is divided


class PictureSampler:
    """Draws a folder by weight, then one of its pictures."""

    def __init__(self, folders: Sequence[Sequence[Picture]], weights: Sequence[float]):
        self.folders = [folder for folder in folders if folder]
        weights_used = np.array([weight for folder, weight in zip(folders, weights, strict=True) if folder])
        self.cumulative = np.cumsum(weights_used / weights_used.sum())

    def __call__(self, rng: np.random.Generator) -> Picture:
        """A random picture."""
        folder = self.folders[min(int(np.searchsorted(self.cumulative, rng.random())), len(self.folders) - 1)]
        return folder[int(rng.integers(len(folder)))]


def find_places(folder: Path) -> tuple[EmptyPlace, ...]:
    """The pictures in the folder's `images/`, which show no people.

    Raises:
        PhotoError: There are none.
    """
    return tuple(EmptyPlace(path) for path in photos_in(folder / "images"))


def load_picture(example: Example, side: int) -> Picture:
    """The picture and its soft mask, resized to a square by the runtime's preprocessing."""
    image = resize_to_input(read_photo(example.image), (side, side))
    mask = example.load_mask()
    interpolation = cv2.INTER_AREA if side < min(mask.shape) else cv2.INTER_LINEAR
    return Picture.of(image, cv2.resize(mask, (side, side), interpolation=interpolation))


def _hashes_not_held_out(examples: Sequence[Example], data: Dataset) -> list[str]:
    """SHA-256 of each photo; refuses photos of the val or test part."""
    held_out = held_out_photos(data)
    hashes = [sha256_of(example.image) for example in examples]
    for example, digest in zip(examples, hashes, strict=True):
        if digest in held_out:
            raise DataError(f"{example.image} is the photo {held_out[digest]!r} of the val or test part; leave it out.")
    return hashes


def _joint_hash(hashes: Iterator[str] | Sequence[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
