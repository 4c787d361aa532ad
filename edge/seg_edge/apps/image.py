"""Many photos through one Segmenter: decoding, inference and writing overlap, memory stays bounded.

A few threads each process a photo from its file to its results (OpenCV releases Python's lock; the Segmenter runs one
photo at a time). There are never more photos in progress than threads, nor more than memory allows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from seg_edge.apps.image_jobs import DONE_BEFORE, MADE_BY_US, SHARP, ImageOptions, PhotoJob, PhotoResult
from seg_edge.apps.image_outputs import STREAM, is_result
from seg_edge.errors import OutputError, PhotoError, PhotoTooLargeError, SegEdgeError
from seg_edge.export import to_coco, to_via
from seg_edge.json_text import json_text
from seg_edge.photo.colour import profile_space
from seg_edge.photo.mark import mark_result
from seg_edge.photo.metadata import keep_metadata
from seg_edge.photo.read import Photo, load_photo, load_photo_bytes, one_line_name, read_header
from seg_edge.photo.write import LOSSLESS, WEBP_QUALITY, encode_picture
from seg_edge.regions import select_regions
from seg_edge.segmentation import Segmentation
from seg_edge.segmenter import Segmenter
from seg_edge.strips import Drawing
from seg_edge.system.files import write_file
from seg_edge.system.memory import available_bytes, keep_freed_memory
from seg_edge.tiling import segment_tiled
from seg_edge.timing import timed
from seg_edge.transparency import draw_transparent, find_seen, shows_alpha

WORKERS = 3
# Memory for each pixel of a photo in progress, slightly more than was measured: OpenCV holds what it decodes twice, PNG
# and TIFF may have 16 bits or transparency, and HEIC, AVIF and CMYK go through another library.
JPEG_BYTES, PROGRESSIVE_BYTES, OTHER_BYTES = 7, 10, 14
WEBP_BYTES, SHARP_WEBP_BYTES = 4, 26  # in addition, for the encoder: lossy, and lossless or transparent
BACKGROUND_BYTES = 3  # in addition, for a background picture that is shrunk to the photo's size
USABLE_SHARE = 0.8  # of the memory that is free at the start


def segment_photos(
    jobs: Sequence[PhotoJob], segmenter: Segmenter, options: ImageOptions, others: Set[Path] = frozenset()
) -> Iterator[PhotoResult]:
    """Segments photos in order; a photo that fails yields a result with its error, and the others continue.

    Args:
        jobs: The photos.
        segmenter: For all of them.
        options: What to make of them.
        others: Photos that no result may replace, besides the jobs' own.
    """
    inputs = {job.photo.absolute() for job in jobs} | others
    keep_freed_memory()
    free = available_bytes()
    background = options.settings.background
    # Held throughout; the free memory doesn't include it.
    held = background.nbytes if isinstance(background, np.ndarray) else 0
    budget = (
        max(0, options.memory_bytes - held) if options.memory_bytes else int(free * USABLE_SHARE) if free else 1 << 30
    )
    pending: deque[tuple[Future[PhotoResult], int]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for job in jobs:
            needed = _bytes_needed(job, options)
            while pending and (len(pending) == WORKERS or sum(n for _, n in pending) + needed > budget):
                yield pending.popleft()[0].result()
            if needed > budget:
                error = (
                    f"{one_line_name(job.photo)} needs about {needed / 1e6:.0f} MB of memory, but "
                    f"{budget / 1e6:.0f} MB may be used; raise --memory, close other programs or scale it down."
                )
                pending.append((pool.submit(PhotoResult, job.photo, error=error), 0))
            else:
                pending.append((pool.submit(_segment_photo, job, segmenter, options, inputs), needed))
        while pending:
            yield pending.popleft()[0].result()


def _bytes_needed(job: PhotoJob, options: ImageOptions) -> int:
    """An upper bound of the memory for a photo in progress; 0 if it can't be read."""
    try:
        if job.content is not None:
            return 0  # there is no other photo to wait for
        header = read_header(job.photo)
        plain = header.format == "JPEG" and profile_space(header.icc_profile) != "CMYK"
        pixel_bytes = (PROGRESSIVE_BYTES if header.progressive else JPEG_BYTES) if plain else OTHER_BYTES
        if options.suffix == ".webp":
            sharp = options.settings.transparent or options.settings.effect in SHARP
            pixel_bytes += SHARP_WEBP_BYTES if sharp else WEBP_BYTES
        if isinstance(options.settings.background, np.ndarray):
            pixel_bytes += BACKGROUND_BYTES
        return header.size_wh[0] * header.size_wh[1] * pixel_bytes + job.photo.stat().st_size
    except (PhotoError, OSError):
        return 0


def _segment_photo(job: PhotoJob, segmenter: Segmenter, options: ImageOptions, inputs: Set[Path]) -> PhotoResult:
    result = PhotoResult(job.photo, outputs=job.outputs)
    try:
        if job.content is None and not job.again and read_header(job.photo).is_result:
            return replace(result, skipped=MADE_BY_US, outputs={})
        for path in job.outputs.values():
            if path.absolute() in inputs and path != STREAM and not is_result(path):
                raise OutputError(f"{one_line_name(job.photo)}: its result would replace the photo {path}.")
        existing = [path for path in job.outputs.values() if path != STREAM and path.exists()]
        if options.skip_existing and len(existing) == len(job.outputs):
            return replace(result, skipped=DONE_BEFORE)
        if existing and not options.force and not options.skip_existing:
            message = f"{one_line_name(job.photo)}: {existing[0]} already exists; --force replaces it."
            return replace(result, error=message, blocked=True)
        with timed(result.timing_ms, "decode"):
            photo = _load(job)
        segmentation = select_regions(segment_tiled(segmenter, photo.frame, options.tiles), options.settings)
        segmentation = find_seen(segmentation, photo.alpha, options.settings.effect)
        result.timing_ms.update(segmentation.timing_ms)
        with timed(result.timing_ms, "render"):
            _write_all(job, result, photo, segmentation, options)
        result.timing_ms["total"] = sum(result.timing_ms.values())
    except SegEdgeError as problem:
        result.error = str(problem)
    except MemoryError:
        result.error = str(_too_large(job.photo))
    except (cv2.error, OSError) as problem:
        no_memory = isinstance(problem, cv2.error) and problem.code == cv2.Error.StsNoMem
        first_line = (str(problem).splitlines() or [type(problem).__name__])[0]
        result.error = str(_too_large(job.photo)) if no_memory else f"{one_line_name(job.photo)}: {first_line}"
    return result


def _too_large(photo: Path) -> PhotoTooLargeError:
    return PhotoTooLargeError(f"{one_line_name(photo)} doesn't fit in the free memory; scale it down.")


def _load(job: PhotoJob) -> Photo:
    if job.content is None:
        return load_photo(job.photo)
    # A copy, as the bytes of a TIFF may be changed.
    return load_photo_bytes(np.frombuffer(bytearray(job.content), np.uint8), "the photo on standard input")


def _draw(photo: Photo, segmentation: Segmentation, options: ImageOptions) -> Drawing | np.ndarray:
    """The picture, not drawn yet for a PNG, which is encoded strip by strip. May overwrite the photo's pixels."""
    drawing = draw_transparent(photo.frame, photo.colour, photo.alpha, segmentation, options.settings)
    if options.suffix == ".png":
        return drawing
    frame = photo.colour if shows_alpha(options.settings) else photo.frame
    return drawing.whole(frame if drawing.shape == frame.shape else None)


def _write_all(
    job: PhotoJob, result: PhotoResult, photo: Photo, segmentation: Segmentation, options: ImageOptions
) -> None:
    height, width = segmentation.labels.shape
    result.size_wh, result.areas = (width, height), segmentation.areas
    classes = [info.name for info in segmentation.classes]
    outlines = segmentation.polygons() if options.polygons or options.collect_coco else []
    if options.collect_coco:
        result.coco = to_coco(job.name, result.size_wh, outlines, classes)
    exif = keep_metadata(photo.header.exif) if options.keep_metadata and photo.header.exif else b""
    for kind, path in job.outputs.items():
        if kind == "polygons":
            file_bytes = len(job.content) if job.content is not None else job.photo.stat().st_size
            document = (
                to_via(job.name, file_bytes, outlines)
                if options.polygons == "via"
                else to_coco(job.name, result.size_wh, outlines, classes)
            )
            content = json_text(document).encode()
        else:
            picture = segmentation.labels if kind == "labels" else _draw(photo, segmentation, options)
            suffix = ".png" if kind == "labels" else options.suffix
            quality = LOSSLESS if options.settings.effect in SHARP else WEBP_QUALITY
            try:
                content = mark_result(encode_picture(picture, suffix, webp_quality=quality), exif)
            except SegEdgeError as problem:
                raise type(problem)(f"{one_line_name(job.photo)}: {problem}") from problem
        if path == STREAM:
            result.content = content
        else:
            write_file(path, content)
