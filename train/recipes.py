"""Training recipes: all settings of a training, as named functions. `train/fit.py --recipe NAME` uses one.

- `default`: a narrow U-Net for one class of students, or anything as simple; minutes on a laptop without a GPU.
- `pretrained`: a U-Net with an encoder pretrained on ImageNet; ten times the file size, slower to train and to run.
- `full`: the full U-Net of 31 million parameters.
- `original`: the original course project, with the full U-Net.
- `person`: the network of the bundled `person` model, with webcam-like augmentation.

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

PARTS = ("augmentation", "scenery")  # of a recipe, each with its own values
ARCHITECTURE = ("encoder", "encoder_rows", "widths", "stem_stride", "decoder", "dropout", "size", "height")


@dataclass(frozen=True)
class Recipe:
    """All values of a training.

    Attributes:
        encoder: `plain` (see `train.unet`), or `lite0`, pretrained on ImageNet (see `train.lite0`).
        encoder_rows: How many rows of blocks of `lite0` to keep.
        frozen_rows: How many of them, with the convolution before them, to freeze: each makes a step faster, and the
            first learn features common to all pictures.
        widths: Channels of each level, finest first; with `lite0`, of the decoder.
        stem_stride: 2 halves the resolution in the first convolution.
        decoder: `concatenate` or `add`, see `train.unet`.
        dropout: Share of the coarsest level's channels to drop.
        size: Width of the input in pixels, and its height unless `height` is set.
        height: Height of the input, e.g. for wide pictures; 0 for `size`.
        loss: A name in `train.losses.LOSSES`.
        class_weights: One per class, background first; empty for equal weights.
        tversky_alpha: Weight of false positives in the loss `tversky`; Salehi et al. (2017) found 0.3 and 0.7 best.
        tversky_beta: Weight of false negatives in the loss `tversky`.
        edge_weight: Additional weight of edge pixels in the cross-entropy of `cross_entropy_dice`.
        focal_gamma: How strongly the loss `focal` favours hard pixels; Lin et al. (2017) found 2 best.
        optimizer: `adam` or `adamw`.
        learning_rate: The schedule's maximum.
        schedule: `constant`, or `cosine`: a warm-up over the first 5 % of the steps, then a cosine to a hundredth.
        weight_decay: Weight decay of `adamw`.
        batch: Photos per step.
        epochs: Passes over the training part, or over `steps` batches.
        steps: Batches per epoch; 0 for one pass over the training part, within `least_steps` and `most_steps`.
        least_steps: Minimum batches per epoch; few photos are then seen several times per epoch.
        most_steps: Maximum batches per epoch; many photos are then spread over several epochs. 0 for no limit.
        ema: Momentum of the moving average of the weights that is validated and kept, with a warm-up
            (`train.optimizers`); 0 for none.
        keep: Which epoch's model to keep: `best` by validation Dice, or `last`, if the schedule decays and there are
            few validation photos.
        cache_zoom: Photos are cached at this multiple of `size`, to zoom in without blur.
        seed: Seed of all randomness except the split.
        augmentation: How photos are varied.
        scenery: How scenes are made, see `train.scene_stream`; only with scenes.
        consistency: Weight of the squared difference between the outputs for two views of the same scene, which
            differ in noise, compression and a fraction of a pixel; 0 for one view. Only with scenes.
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
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.keep not in ("best", "last"):
            raise UsageError(f"keep must be best or last, got {self.keep!r}")
        for name in ("steps", "height"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.consistency < 0 or (self.consistency and self.batch % 2):
            raise UsageError(
                f"consistency must be at least 0, and with it batch even, got {self.consistency} and {self.batch}"
            )
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema must be at least 0 and below 1, got {self.ema}")
        for name in ("tversky_alpha", "tversky_beta", "edge_weight", "focal_gamma"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be at least 0, got {getattr(self, name)}")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the input in pixels."""
        return self.size, self.height or self.size

    def steps_per_epoch(self, photos: int) -> int:
        """Batches per epoch for this many training photos."""
        if self.steps:
            return self.steps
        steps = max(self.least_steps, math.ceil(photos / self.batch))
        return min(steps, self.most_steps) if self.most_steps else steps

    @property
    def loss_options(self) -> dict[str, float]:
        """The loss's options apart from the classes and their weights."""
        if self.loss == "tversky":
            return {"alpha": self.tversky_alpha, "beta": self.tversky_beta}
        if self.loss == "cross_entropy_dice":
            return {"edge_weight": self.edge_weight}
        return {"gamma": self.focal_gamma} if self.loss == "focal" else {}

    def make_loss(self, classes: int) -> Callable[[Any, Any], Any]:
        """The recipe's loss, for this many classes."""
        if self.loss not in LOSSES:
            raise UsageError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        return LOSSES[self.loss](classes, self.class_weights or None, **self.loss_options)

    def training_values(self) -> dict[str, Any]:
        """All values except the architecture's, for a model with its own."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ARCHITECTURE}

    def replace(self, **values: object) -> Recipe:
        """A copy with some values changed, including those of augmentation and scenery by name."""
        for part in PARTS:
            current = getattr(self, part)
            changed = {f.name: values.pop(f.name) for f in dataclasses.fields(current) if f.name in values}
            if changed:
                values[part] = dataclasses.replace(values.get(part, current), **changed)  # type: ignore[type-var]
        return dataclasses.replace(self, **values)  # type: ignore[arg-type]


def saved_recipe(run: Mapping[str, Any], base: Recipe) -> Recipe:
    """The recipe in a `run.json`; values that no longer exist are ignored.

    Args:
        run: The `run.json`; without a recipe it gives `base`.
        base: Values that the run doesn't have.

    Raises:
        DataError: A value is invalid.
    """
    known = {field.name for owner in (Recipe, Augmentation, Scenery) for field in dataclasses.fields(owner)}
    try:
        saved = dict(run.get("recipe") or {})
        for part in PARTS:
            saved |= saved.pop(part, {})
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items() if name in known}
        return base.replace(**values)
    except (TypeError, ValueError, UsageError) as error:
        raise DataError(f"run.json: not a recipe written by train/fit.py ({error}).") from error


def original() -> Recipe:
    """The original course project: the full U-Net, squared error, learning rate 0.005, batch 3, 300 epochs."""
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
    """The full U-Net with better settings: cross-entropy + Dice, a schedule, averaged weights, more augmentation."""
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
    """A U-Net over EfficientNet-Lite0 with ImageNet weights; slower to train and to run than `default`."""
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
    """The bundled `person` model: one level more than `default`, and webcam-like augmentation."""
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


def named_recipe(name: str) -> Recipe:
    """The recipe of this name, for an option `--recipe`.

    Raises:
        UsageError: There is none.
    """
    if name not in RECIPES:
        raise UsageError(f"--recipe must be one of {', '.join(RECIPES)}, got {name!r}.")
    return RECIPES[name]()
