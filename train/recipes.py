"""Training recipes: every choice a training makes, as named functions. `train/fit.py --recipe NAME` runs one.

Any value can be overridden there by an option of the same name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from train.augment import Augmentation
from train.unet import FULL_WIDTHS


@dataclass(frozen=True)
class Recipe:
    """All values of a training.

    Attributes:
        widths: Channels of each level, the finest first.
        stem_stride: 2 halves the resolution in the first convolution.
        decoder: `concatenate` or `add`, see `train.unet`.
        dropout: Share of the coarsest level's channels dropped.
        size: Width and height of the input in pixels.
        loss: A name in `train.losses.LOSSES`.
        class_weights: One a class, background first; empty for equal ones.
        optimizer: `adam` or `adamw`.
        learning_rate: The highest of the schedule.
        schedule: `constant`, or `cosine`: a warm-up over the first 5 % of the steps, then a cosine to a hundredth.
        weight_decay: Of `adamw`.
        batch: Photos a step.
        epochs: Rounds over the training part.
        ema: Momentum of the moving average of the weights that is validated and kept; 0 for none.
        cache_zoom: Photos are cached at this multiple of `size`, to be magnified without blur.
        seed: Of everything random but the split.
        augmentation: How photos are varied.
    """

    widths: tuple[int, ...] = FULL_WIDTHS
    stem_stride: int = 1
    decoder: str = "concatenate"
    dropout: float = 0.0
    size: int = 256
    loss: str = "cross_entropy_dice"
    class_weights: tuple[float, ...] = ()
    optimizer: str = "adamw"
    learning_rate: float = 0.002
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    batch: int = 8
    epochs: int = 100
    ema: float = 0.98
    cache_zoom: float = 1.0
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is at least 0 and below 1, got {self.ema}")

    def replace(self, **values: object) -> Recipe:
        """A copy with some values changed, those of the augmentation by their own names."""
        names = {f.name for f in dataclasses.fields(Augmentation)}
        inner = {name: value for name, value in values.items() if name in names}
        outer = {name: value for name, value in values.items() if name not in names}
        augmentation = dataclasses.replace(self.augmentation, **inner)  # type: ignore[arg-type]
        return dataclasses.replace(self, augmentation=augmentation, **outer)  # type: ignore[arg-type]


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
    """A narrow U-Net for one class of students, or anything as simple: minutes on a laptop without a GPU."""
    return Recipe(widths=(8, 16, 32, 64, 96), stem_stride=2, decoder="add", learning_rate=0.006, epochs=120)


def person() -> Recipe:
    """The bundled `person` model: more channels and coarser levels, and photos varied as a webcam would."""
    return Recipe(
        widths=(12, 24, 40, 64, 96, 128),
        stem_stride=2,
        decoder="add",
        learning_rate=0.004,
        batch=16,
        epochs=60,
        ema=0.995,
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


RECIPES: dict[str, Callable[[], Recipe]] = {f.__name__: f for f in (default, full, original, person)}
