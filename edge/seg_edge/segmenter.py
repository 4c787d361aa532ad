"""The Segmenter: a frame goes in, a Segmentation comes out.

from seg_edge import Segmenter
segment = Segmenter("person")
result = segment(frame)          # BGR uint8 (height, width, 3), as OpenCV and picamera2 deliver it
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from seg_edge.callbacks import Log
from seg_edge.card import ClassInfo, ModelCard, make_classes
from seg_edge.errors import ModelError
from seg_edge.frame import as_frame
from seg_edge.interpreter import Backend, LiteRT, default_threads
from seg_edge.models import DEFAULT_MODEL, PHOTO_MODEL, ModelFile, bundled_models, open_model
from seg_edge.postprocess import ScoreMap
from seg_edge.preprocess import Preprocessor, resize_to_input
from seg_edge.segmentation import Segmentation
from seg_edge.smooth import TemporalSmoother
from seg_edge.timing import timed

MAX_PHOTO_MS = 200.0  # the longest inference with which `PHOTO_MODEL` is the default for photos


class Segmenter:
    """Segments frames with one model. Make it once, and call it for every frame.

    Threads may share one: the model runs one frame at a time. To run several at once, give each thread its own, with
    `threads=1`.

    Args:
        model: A bundled model's name, a `.tflite` file, or one that was opened already. Without a card its classes are
            numbered, its input is assumed to be RGB 0..1, and a single output channel to be a probability.
        threads: CPU threads; by default as many as there are cores, at most 4.
        smooth: For video: smooths the masks over time, from 0 (each frame on its own) to 1; see
            `seg_edge.smooth`. Unless it is 0, the frames must come in order and from one stream.

    Attributes:
        threads: CPU threads of one inference; None where the backend decides.

    Raises:
        ModelError: The model can't be used.
        RuntimeMissingError: No LiteRT runtime is installed.
        UsageError: `smooth` is outside 0..1.
    """

    def __init__(self, model: str | Path | ModelFile = DEFAULT_MODEL, threads: int | None = None, smooth: float = 0.0):
        self._smoother = TemporalSmoother(smooth)
        file = model if isinstance(model, ModelFile) else open_model(model)
        self._start(LiteRT(file.content, default_threads() if threads is None else threads, file.path.name), file)

    @classmethod
    def from_backend(cls, backend: Backend, card: ModelCard, smooth: float = 0.0) -> Segmenter:
        """A Segmenter with any backend, such as a Keras model to be scored."""
        segmenter = cls.__new__(cls)
        segmenter._smoother = TemporalSmoother(smooth)
        segmenter._start(backend, ModelFile(card.name, Path(card.name), b"", "", card))
        return segmenter

    def reset(self) -> None:
        """Forgets the frames so far, as before another stream; matters only with `smooth`."""
        self._smoother.reset()

    def _start(self, backend: Backend, file: ModelFile) -> None:
        self.backend, self.file = backend, file
        self.threads: int | None = getattr(backend, "threads", None)
        self.card = file.card or _default_card(backend, file.name)
        _check_card(self.card, backend, file.name)
        self._preprocess = Preprocessor(backend.input, self.card.scale, self.card.offset)
        self._lock = threading.Lock()  # of the backend and of what `smooth` remembers

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Names and colours of the classes, background first."""
        return self.card.classes

    def __call__(self, frame: Any, small: np.ndarray | None = None) -> Segmentation:
        """Segments a frame.

        Args:
            frame: BGR uint8 (height, width, 3) of any size, as OpenCV delivers it; or a PIL image, a grey or a BGRA
                array, see `seg_edge.frame.as_frame`.
            small: The same picture at the model's input size, RGB uint8, if it exists already: from a camera that
                makes it itself, or from `seg_edge.preprocess.resize_to_input` on another thread.

        Raises:
            TypeError: The frame is something else.
            UsageError: It is a PIL image that is not upright.
        """
        timing_ms: dict[str, float] = {}
        with timed(timing_ms, "preprocess"):
            frame = as_frame(frame)
            pixels = resize_to_input(frame, self.card.input_size_wh) if small is None else small
            tensor = self._preprocess.quantise(pixels)
        with self._lock:
            with timed(timing_ms, "inference"):
                scores = self.backend.run(tensor)
            with timed(timing_ms, "postprocess"):
                score_map = ScoreMap(scores[0], self.backend.output, self.card.output, self.card.specks)
                score_map = self._smoother(score_map, pixels)
        with timed(timing_ms, "postprocess"):
            labels = score_map.labels(frame.shape[:2])
        return Segmentation(labels, self.card.classes, score_map, pixels, timing_ms)


def default_photo_model(threads: int | None, log: Log) -> str:
    """The bundled model for photos if none was asked for: the most accurate one, if this machine is fast enough.

    Args:
        threads: See `Segmenter`.
        log: Receives a line if the machine is too slow.

    Returns:
        `PHOTO_MODEL` if it is bundled and an inference takes less than `MAX_PHOTO_MS`, else `DEFAULT_MODEL`.

    Raises:
        ModelError: The bundled file is missing or is not the one that was shipped.
    """
    if PHOTO_MODEL not in bundled_models():
        return DEFAULT_MODEL
    backend = Segmenter(PHOTO_MODEL, threads).backend
    blank = np.zeros(backend.input.shape, backend.input.dtype)
    backend.run(blank)  # the first run allocates
    timing_ms: dict[str, float] = {}
    with timed(timing_ms, "inference"):
        backend.run(blank)
    if timing_ms["inference"] < MAX_PHOTO_MS:
        return PHOTO_MODEL
    log(
        f"{PHOTO_MODEL} takes {timing_ms['inference']:.0f} ms here, more than {MAX_PHOTO_MS:.0f}, so "
        f"{DEFAULT_MODEL} is used; --model {PHOTO_MODEL} selects it anyway."
    )
    return DEFAULT_MODEL


def _default_card(backend: Backend, name: str) -> ModelCard:
    channels = backend.output.shape[3]
    names = ("background", *(f"class {index}" for index in range(1, max(channels, 2))))
    if len(names) > 256:
        raise ModelError(f"{name}: it has {channels} output channels; at most 256, one a class, were expected.")
    size_wh = (backend.input.shape[2], backend.input.shape[1])
    # An integer input that is not quantised expects the pixels as they are.
    is_pixels = backend.input.dtype != np.float32 and not backend.input.scale
    return ModelCard(
        name,
        make_classes(names),
        size_wh,
        scale=1.0 if is_pixels else 1 / 255,
        output="probabilities" if channels == 1 else "logits",
    )


def _check_card(card: ModelCard, backend: Backend, name: str) -> None:
    size_wh = (backend.input.shape[2], backend.input.shape[1])
    if card.input_size_wh != size_wh:
        raise ModelError(f"{name}: its card says input {card.input_size_wh}, the model expects {size_wh}.")
    channels, classes = backend.output.shape[3], len(card.classes)
    if channels != classes and (channels, classes) != (1, 2):
        raise ModelError(f"{name}: its card names {classes} classes, the model has {channels} output channels.")
