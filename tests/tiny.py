"""The tiny models of `tests/data`, made by its `make_tiny_models.py`, and frames with a known result."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg_edge.card import ModelCard, append_card, make_classes

DATA = Path(__file__).parent / "data"
GRACE_HOPPER = DATA / "grace_hopper.jpg"

TWO_UINT8 = DATA / "tiny_two_uint8.tflite"
TWO_INT8 = DATA / "tiny_two_int8.tflite"
FOUR_UINT8 = DATA / "tiny_four_uint8.tflite"
SIGMOID_FLOAT32 = DATA / "tiny_sigmoid_float32.tflite"
RAW_UINT8 = DATA / "tiny_raw_uint8.tflite"
TWO_OUTPUTS = DATA / "tiny_two_outputs.tflite"
GREY = DATA / "tiny_grey.tflite"
ANY_SIZE = DATA / "tiny_any_size.tflite"

# Each of these labels bright pixels as foreground.
BRIGHTNESS_MODELS = (TWO_UINT8, TWO_INT8, SIGMOID_FLOAT32)
MODELS = (*BRIGHTNESS_MODELS, FOUR_UINT8)

TWO_CARD = ModelCard("tiny", make_classes(["background", "bright"]), (32, 32))
FOUR_CARD = ModelCard("colours", make_classes(["dark", "red", "green", "blue"]), (32, 32))


def carded(source: Path, folder: Path, card: ModelCard = TWO_CARD, **changes: object) -> Path:
    """A copy of the model `source` in `folder`, with a card."""
    path = folder / "carded.tflite"
    path.write_bytes(append_card(source.read_bytes(), replace(card, **changes)))
    return path


def grey_frame(shape_hw: tuple[int, int], value: int = 0) -> np.ndarray:
    return np.full((*shape_hw, 3), value, np.uint8)


def bright_square(shape_hw: tuple[int, int] = (64, 96)) -> np.ndarray:
    """White in the middle half of each dimension, black around it."""
    frame = grey_frame(shape_hw)
    height, width = shape_hw
    frame[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
    return frame


def noise(shape_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape_hw, 3), np.uint8)


# Makes frames that aren't laid out in memory as OpenCV's are.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda frame: frame[:, ::-1],
    "upside down": lambda frame: frame[::-1],
    "channels reversed": lambda frame: frame[..., ::-1],
    "transposed": lambda frame: frame.transpose(1, 0, 2),
    "every third": lambda frame: frame[::3, ::3],
    "Fortran order": lambda frame: np.asfortranarray(frame),
}
