"""Training recipes: every choice a training makes, as named functions. `train/fit.py --recipe NAME` runs one.

- `default`: a narrow U-Net for one class of students, or anything as simple; minutes on a laptop without a GPU.
- `pretrained`: a U-Net over an encoder that has seen ImageNet; ten times the file, slower to train and on the device.
- `full`: the full U-Net of 31 million parameters.
- `original`: the course project as it was, with the full U-Net.
- `person`: the network of the bundled `person` model, with photos varied as a webcam would.

Any value can be overridden by an option of the same name, see `train.recipe_options`. To add a recipe, write a function
that returns one and add it to `RECIPES`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seg_edge.errors import DataError, UsageError
from train.augment import Augmentation
from train.compositing import Scenery
from train.losses import LOSSES
from train.unet import FULL_WIDTHS

PARTS = ("augmentation", "scenery")  # of a recipe, with values of their own
ARCHITECTURE = ("encoder", "encoder_rows", "widths", "stem_stride", "decoder", "dropout", "size", "height")


@dataclass(frozen=True)
class Recipe:
    """All values of a training.

    Attributes:
        encoder: `plain`, see `train.unet`, or `lite0`, which has seen ImageNet, see `train.lite0`.
        encoder_rows: How many rows of blocks of `lite0` are kept.
        frozen_rows: How many of them, with the convolution before them, keep their pretrained weights; each makes a
            step faster, and the first see what all pictures have in common.
        widths: Channels of each level, the finest first; with `lite0` those of the decoder.
        stem_stride: 2 halves the resolution in the first convolution.
        decoder: `concatenate` or `add`, see `train.unet`.
        dropout: Share of the coarsest level's channels dropped.
        size: Width of the input in pixels, and its height.
        height: Height of the input where it is another, as for wide pictures; 0 for `size`.
        loss: A name in `train.losses.LOSSES`.
        class_weights: One a class, background first; empty for equal ones.
        tversky_alpha: Weight of false positives in the loss `tversky`; Salehi et al. (2017) found 0.3 and 0.7 best.
        tversky_beta: Weight of false negatives in it.
        edge_weight: How much more a pixel at an outline counts in the cross-entropy of `cross_entropy_dice`.
        focal_gamma: How strongly the loss `focal` turns to hard pixels; Lin et al. (2017) found 2 best.
        optimizer: `adam` or `adamw`.
        learning_rate: The highest of the schedule.
        schedule: `constant`, or `cosine`: a warm-up over the first 5 % of the steps, then a cosine to a hundredth.
        weight_decay: Of `adamw`.
        batch: Photos a step.
        epochs: Rounds over the training part, or of `steps`.
        steps: Batches an epoch; 0 for one round over the training part, within the next two.
        least_steps: Few photos are seen several times an epoch, so that it has so many batches.
        most_steps: Many photos are seen over several epochs, so that one has no more batches; 0 for no limit.
        ema: Momentum of the moving average of the weights that is validated and kept, which starts quickly
            (`train.optimizers`); 0 for none.
        keep: Which epoch's model: `best` by validation Dice; or `last`, for a schedule that has an end and few photos
            to judge by.
        cache_zoom: Photos are cached at this multiple of `size`, to be magnified without blur.
        seed: Of everything random but the split.
        augmentation: How photos are varied.
        scenery: How scenes are made, see `train.scene_stream`; only for a training on these.
        consistency: Weight of the squared difference between the answers to two pictures of the same scene, which
            differ in noise, compression and a fraction of a pixel; 0 to see each scene once. Only with scenes.
    """

    encoder: str = "plain"
    encoder_rows: int = 7
    frozen_rows: int = 0
    widths: tuple[int, ...] = FULL_WIDTHS
    stem_stride: int = 1
    decoder: str = "concatenate"
    dropout: float = 0.0
    size: int = 256
    height: int = 0
    loss: str = "cross_entropy_dice"
    class_weights: tuple[float, ...] = ()
    tversky_alpha: float = 0.3
    tversky_beta: float = 0.7
    edge_weight: float = 0.0
    focal_gamma: float = 2.0
    optimizer: str = "adamw"
    learning_rate: float = 0.002
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    batch: int = 8
    epochs: int = 100
    steps: int = 0
    least_steps: int = 1
    most_steps: int = 0
    ema: float = 0.98
    keep: str = "best"
    cache_zoom: float = 1.0
    consistency: float = 0.0
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    scenery: Scenery = field(default_factory=Scenery)

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is at least 1, got {getattr(self, name)}")
        if self.keep not in ("best", "last"):
            raise UsageError(f"keep is best or last, got {self.keep!r}")
        for name in ("steps", "height"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is at least 0, got {getattr(self, name)}")
        if self.consistency < 0 or (self.consistency and self.batch % 2):
            raise UsageError(
                f"consistency is at least 0, and with it batch is even, got {self.consistency} and {self.batch}"
            )
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema is at least 0 and below 1, got {self.ema}")
        for name in ("tversky_alpha", "tversky_beta", "edge_weight", "focal_gamma"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} is at least 0, got {getattr(self, name)}")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the input in pixels."""
        return self.size, self.height or self.size

    def steps_an_epoch(self, photos: int) -> int:
        """Batches an epoch, for so many photos in the training part."""
        if self.steps:
            return self.steps
        steps = max(self.least_steps, math.ceil(photos / self.batch))
        return min(steps, self.most_steps) if self.most_steps else steps

    @property
    def loss_options(self) -> dict[str, float]:
        """What its loss takes besides the classes and their weights."""
        if self.loss == "tversky":
            return {"alpha": self.tversky_alpha, "beta": self.tversky_beta}
        if self.loss == "cross_entropy_dice":
            return {"edge_weight": self.edge_weight}
        return {"gamma": self.focal_gamma} if self.loss == "focal" else {}

    def make_loss(self, classes: int) -> Callable[[Any, Any], Any]:
        """The loss that it names, for this many classes."""
        if self.loss not in LOSSES:
            raise UsageError(f"loss is one of {', '.join(LOSSES)}, got {self.loss!r}")
        return LOSSES[self.loss](classes, self.class_weights or None, **self.loss_options)

    def training_values(self) -> dict[str, Any]:
        """All values but the architecture's, for a model that comes from elsewhere."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ARCHITECTURE}

    def replace(self, **values: object) -> Recipe:
        """A copy with some values changed, those of the augmentation and the scenery by their own names."""
        for part in PARTS:
            whole = getattr(self, part)
            inner = {f.name: values.pop(f.name) for f in dataclasses.fields(whole) if f.name in values}
            if inner:
                values[part] = dataclasses.replace(values.get(part, whole), **inner)  # type: ignore[type-var]
        return dataclasses.replace(self, **values)  # type: ignore[arg-type]


def saved_recipe(run: Mapping[str, Any], base: Recipe) -> Recipe:
    """The recipe that a `run.json` holds; values that this version no longer has are left out.

    Args:
        run: What `run.json` says; one without a recipe gives `base`.
        base: Has the values that the run doesn't name.

    Raises:
        DataError: A value isn't one that a recipe can have.
    """
    known = {field.name for owner in (Recipe, Augmentation, Scenery) for field in dataclasses.fields(owner)}
    try:
        saved = dict(run.get("recipe") or {})
        for part in PARTS:
            saved |= saved.pop(part, {})
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items() if name in known}
        return base.replace(**values)
    except (TypeError, ValueError, UsageError) as error:
        raise DataError(f"run.json: its recipe is not one of train/fit.py's ({error}).") from error


def original() -> Recipe:
    """The course project as it was: the full U-Net, squared error, learning rate 0.005, batch 3, 300 epochs."""
    return Recipe(
        loss="mse",
        optimizer="adam",
        learning_rate=0.005,
        schedule="constant",
        weight_decay=0.0,
        batch=3,
        epochs=300,
        ema=0.0,
        augmentation=Augmentation(
            rotate_degrees=0.0, stretch=0.0, saturation=0.0, brightness=0.0, contrast=0.0, noise=0.0
        ),
    )


def full() -> Recipe:
    """The full U-Net with what works better: cross-entropy + Dice, a schedule, averaged weights, more variation."""
    return Recipe(learning_rate=0.001)


def default() -> Recipe:
    """A narrow U-Net for one class of students, or anything as simple: minutes on a laptop, for 10 to 2,000 photos."""
    return Recipe(
        widths=(8, 16, 32, 64, 96),
        stem_stride=2,
        decoder="add",
        learning_rate=0.006,
        epochs=120,
        least_steps=8,
        most_steps=24,
    )


def pretrained() -> Recipe:
    """A U-Net over EfficientNet-Lite0 with its ImageNet weights; slower to train and on the device than `default`."""
    return Recipe(
        encoder="lite0",
        frozen_rows=2,
        widths=(32, 48, 64, 128),
        learning_rate=0.001,
        epochs=40,
        least_steps=8,
        most_steps=24,
    )


def person() -> Recipe:
    """The bundled `person` model: a level more than `default`, and photos varied as a webcam would."""
    return Recipe(
        widths=(8, 16, 32, 64, 96, 56),
        stem_stride=2,
        decoder="add",
        learning_rate=0.004,
        batch=16,
        epochs=60,
        ema=0.998,
        cache_zoom=1.5,
        augmentation=Augmentation(
            zoom_in=1.0,
            zoom_out=0.2,
            stretch=0.35,
            shift_x=0.1,
            shift_y=0.1,
            rotate_degrees=10.0,
            grey=0.1,
            noise=0.06,
        ),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {f.__name__: f for f in (default, pretrained, full, original, person)}
