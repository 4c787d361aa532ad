"""From a frame to the model's input tensor: the same few lines in calibration, evaluation, benchmark and runtime.

The frame is stretched to the input size. A label map at the input's (or output's) proportions therefore covers the
whole frame, and the inverse geometry is one resize, done in `seg_edge.postprocess`. Stretching wastes no input pixel
on borders; training varies the proportions, so models tolerate it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from seg_edge.interpreter import TensorSpec


def check_frame(frame: np.ndarray) -> None:
    """Refuses what is not a BGR uint8 frame of shape (height, width, 3).

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(frame, np.ndarray):
        raise TypeError(f"a frame must be a NumPy array, got {type(frame).__name__}")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise TypeError(f"a frame must be BGR uint8 (height, width, 3), got {frame.dtype} of shape {frame.shape}")


def resize_to_input(frame: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Stretches a BGR uint8 frame (height, width, 3) to `size_wh`; returns RGB uint8 (size_h, size_w, 3).

    A frame that shrinks is resized bilinearly to twice the size and averaged by 2x2 pixels: nearly the area average,
    free of aliasing, in a third of its time. A side more than four times too long is first halved by means of two as
    long as it is even, else area averaged. A frame that grows along a side is resized bilinearly.
    """
    check_frame(frame)
    height, width = frame.shape[:2]
    if (width, height) != size_wh:
        if width < size_wh[0] or height < size_wh[1]:
            frame = cv2.resize(frame, size_wh, interpolation=cv2.INTER_LINEAR)
        else:
            frame = shrink(frame, size_wh)
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def shrink(frame: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Shrinks a picture as `resize_to_input` does, its channels as they are; no side may grow."""
    return _halve(resize_near(frame, (2 * size_wh[0], 2 * size_wh[1])))


def resize_near(frame: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Resizes a picture to `size_wh`: bilinearly where no side shrinks to less than half, else by area.

    Neither aliases. A picture is uint8 (height, width, ...) and stays so.
    """
    across, down = frame.shape[1] / size_wh[0], frame.shape[0] / size_wh[1]
    if min(across, down) >= 2 and frame.shape[0] % 2 == frame.shape[1] % 2 == 0:
        return resize_near(_halve(frame), size_wh)
    if across > 2 and frame.shape[1] % 2 == 0:
        # Bilinear at exactly one half is the mean of two, and OpenCV is quicker at it than at areas that aren't 2x2.
        return resize_near(cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0])), size_wh)
    if down > 2 and frame.shape[0] % 2 == 0:
        return resize_near(cv2.resize(frame, (frame.shape[1], frame.shape[0] // 2)), size_wh)
    by_area = max(across, down) > 2 and min(across, down) >= 1  # OpenCV's area average can't grow a side
    return cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA if by_area else cv2.INTER_LINEAR)


def _halve(frame: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; both sides must be even."""
    return cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0] // 2), interpolation=cv2.INTER_AREA)


class Preprocessor:
    """Frame to input tensor for one model.

    Normalisation and quantisation depend on the pixel's value alone, so both are one table of 256 entries, and for a
    uint8 model trained on 0..1 that table is the identity and is skipped.

    Args:
        spec: Of the model's input tensor, shape (1, height, width, 3).
        scale: The model was trained on `pixel * scale + offset`.
        offset: See `scale`.
    """

    def __init__(self, spec: TensorSpec, scale: float, offset: float):
        self.size_wh = (spec.shape[2], spec.shape[1])
        normalised = np.arange(256, dtype=np.float64) * scale + offset
        self._table = spec.quantise(normalised)
        self._identity = spec.dtype == np.uint8 and np.array_equal(self._table, np.arange(256))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Tensor (1, height, width, 3) in the model's dtype, of a BGR uint8 frame of any size."""
        return self.quantise(resize_to_input(frame, self.size_wh))

    def quantise(self, pixels: np.ndarray) -> np.ndarray:
        """The tensor of pixels from `resize_to_input`: RGB uint8 (height, width, 3) at the input's size.

        Raises:
            TypeError: It is something else.
        """
        width, height = self.size_wh
        if pixels.dtype != np.uint8 or pixels.shape != (height, width, 3):
            raise TypeError(f"RGB uint8 {(height, width, 3)} was expected, got {pixels.dtype} {pixels.shape}")
        return (pixels if self._identity else cv2.LUT(pixels, self._table))[np.newaxis]
