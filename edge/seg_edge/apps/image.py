"""Many photos through one Segmenter: decoding, inference and writing overlap, memory stays constant.

A small pool of threads decodes the next photos and renders and writes the last ones (OpenCV releases Python's lock),
while the calling thread runs the model. No more than a handful of photos are in memory, however many there are.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from seg_edge.effects import EffectSettings, render
from seg_edge.errors import SegEdgeError
from seg_edge.export import to_coco, to_via
from seg_edge.photo.read import read_photo
from seg_edge.photo.write import write_picture
from seg_edge.regions import select_regions
from seg_edge.segmentation import Segmentation
from seg_edge.segmenter import Segmenter
from seg_edge.system.files import write_file
from seg_edge.tiling import Tiles, check_tiles, segment_tiled

# Photographs are JPEG; what has sharp edges or transparency is PNG.
PNG_EFFECTS = ("mask", "matte")
RESULT = re.compile(r"\.(overlay|blur|replace|anonymize)\.jpg$|\.(mask|matte|cutout|replace|labels)\.png$")
AHEAD = 2  # photos decoded ahead of the model, and again rendered behind it
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class ImageOptions:
    """What to make of each photo.

    Attributes:
        settings: The effect, and which regions count.
        tiles: See `seg_edge.tiling.segment_tiled`.
        out: Folder to write to; beside each photo when None.
        labels: Also write the label map, an 8-bit PNG at the photo's size.
        polygons: Also write the outlines: `via`, `coco` or None.
        force: Replace what is there.
    """

    settings: EffectSettings = field(default_factory=EffectSettings)
    tiles: Tiles = "auto"
    out: Path | None = None
    labels: bool = False
    polygons: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        check_tiles(self.tiles)

    def outputs_of(self, photo: Path) -> dict[str, Path]:
        """The files a photo's results go to, by kind."""
        effect = self.settings.effect
        suffix = ".png" if self.settings.transparent or effect in PNG_EFFECTS else ".jpg"
        names = {effect: f"{photo.stem}.{effect}{suffix}"}
        if self.labels:
            names["labels"] = f"{photo.stem}.labels.png"
        if self.polygons:
            names["polygons"] = f"{photo.stem}.{self.polygons}.json"
        return {kind: (self.out or photo.parent) / name for kind, name in names.items()}


@dataclass
class PhotoResult:
    """What became of one photo: `error` is empty when it was done.

    `timing_ms` holds `decode`, `preprocess`, `inference`, `postprocess`, `render` (with encoding and writing) and
    their sum, `total`; as photos overlap, a folder takes less than the sum of its totals.
    """

    photo: Path
    size_wh: tuple[int, int] = (0, 0)
    areas: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)
    timing_ms: dict[str, float] = field(default_factory=dict)
    error: str = ""

    def to_json(self, segmenter: Segmenter) -> dict[str, Any]:
        """The object that `seg-edge image --json` prints."""
        if self.error:
            return {"photo": str(self.photo), "error": self.error}
        return {
            "photo": str(self.photo),
            "size_wh": list(self.size_wh),
            "classes": {name: round(share, 6) for name, share in self.areas.items()},
            "outputs": {kind: str(path) for kind, path in self.outputs.items()},
            "timing_ms": {stage: round(value, 3) for stage, value in self.timing_ms.items()},
            "model": {"name": segmenter.file.name, "sha256": segmenter.file.sha256},
        }


def segment_photos(photos: Sequence[Path], segmenter: Segmenter, options: ImageOptions) -> Iterator[PhotoResult]:
    """Segments photos in order; a photo that fails yields a result with its error and the rest goes on."""
    taken: dict[Path, Path] = {}

    def plan(photo: Path) -> PhotoResult:
        outputs = options.outputs_of(photo)
        for path in outputs.values():
            if path in taken:
                return PhotoResult(
                    photo,
                    error=f"{photo}: {path.name} is the result of {taken[path]} already; rename one.",
                )
            if os.path.exists(path) and not options.force:  # False, not an error, where a folder can't be entered
                return PhotoResult(photo, error=f"{photo}: {path} is there already; --force replaces it.")
        taken.update(dict.fromkeys(outputs.values(), photo))
        return PhotoResult(photo, outputs=outputs)

    def decode(result: PhotoResult) -> tuple[PhotoResult, np.ndarray | None]:
        return result, None if result.error else _attempt(result, "decode", lambda: read_photo(result.photo))

    def infer(
        item: tuple[PhotoResult, np.ndarray | None],
    ) -> tuple[PhotoResult, np.ndarray | None, Segmentation | None]:
        result, frame = item
        if frame is None:
            return result, frame, None
        return result, frame, _attempt(result, "segment", lambda: segment(frame))

    def finish(item: tuple[PhotoResult, np.ndarray | None, Segmentation | None]) -> PhotoResult:
        result, frame, answer = item
        if frame is not None and answer is not None:
            del result.timing_ms["segment"]  # the Segmenter says it stage by stage
            result.timing_ms.update(answer.timing_ms)
            _attempt(result, "render", lambda: _write_all(result, frame, answer, options))
            result.timing_ms["total"] = sum(result.timing_ms.values())
        return result

    def segment(frame: np.ndarray) -> Segmentation:
        return select_regions(segment_tiled(segmenter, frame, options.tiles), options.settings)

    with ThreadPoolExecutor(AHEAD) as pool:
        frames = _ahead(pool, decode, map(plan, photos))
        yield from _ahead(pool, finish, map(infer, frames))


def is_result(path: Path) -> bool:
    """Whether the file's name is one that an earlier run gives to its results."""
    return RESULT.search(path.name) is not None


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """`map(work, items)` in order, at most `AHEAD` results ahead of the reader."""
    pending: deque[Future[Made]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) > AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _attempt(result: PhotoResult, stage: str, work: Callable[[], Made]) -> Made | None:
    """Runs and times one stage of a photo; an error becomes the photo's."""
    began = time.perf_counter()
    try:
        return work()
    except SegEdgeError as error:
        result.error = str(error)
    except (cv2.error, OSError) as error:
        result.error = f"{result.photo}: {str(error).splitlines()[0]}"
    except MemoryError:
        result.error = f"{result.photo}: too large for this machine's memory; make the photo smaller."
    finally:
        result.timing_ms[stage] = (time.perf_counter() - began) * 1000
    return None


def _write_all(result: PhotoResult, frame: np.ndarray, answer: Segmentation, options: ImageOptions) -> None:
    result.size_wh, result.areas = (frame.shape[1], frame.shape[0]), answer.areas
    for kind, path in result.outputs.items():
        if kind == "labels":
            write_picture(path, answer.labels)
        elif kind == "polygons":
            document = _polygons(result, answer, str(options.polygons))
            write_file(path, json.dumps(document).encode())
        else:
            write_picture(path, render(frame, answer, options.settings))


def _polygons(result: PhotoResult, answer: Segmentation, form: str) -> dict[str, Any]:
    name, outlines = result.photo.name, answer.polygons()
    if form == "via":
        return to_via(name, result.photo.stat().st_size, outlines)
    return to_coco(name, result.size_wh, outlines, [info.name for info in answer.classes])
