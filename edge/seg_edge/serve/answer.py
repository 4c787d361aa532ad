"""From one photo to one response: decoded, segmented and encoded in the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from seg_edge.errors import OutputError, PhotoError, PhotoTooLargeError
from seg_edge.export import to_coco, to_points
from seg_edge.photo.mark import mark_result
from seg_edge.photo.read import Photo, load_photo_bytes
from seg_edge.photo.write import encode_picture
from seg_edge.segmentation import Segmentation
from seg_edge.segmenter import Segmenter
from seg_edge.serve.problem import Problem
from seg_edge.tiling import segment_tiled
from seg_edge.timing import timed
from seg_edge.transparency import draw_transparent, find_seen

# What browsers and phones send. The decoders of other formats are fuzzed far less.
FORMATS = ("JPEG", "PNG", "WebP")
MAX_JPEG_SIDE = 65_500  # libjpeg's
MOST_TILES = 6  # of a long photo: more would cost more than docs/serve.md promises


class Output(StrEnum):
    """The kinds of result."""

    json = "json"
    labels = "labels"
    coco = "coco"
    overlay = "overlay"
    mask = "mask"
    matte = "matte"
    cutout = "cutout"
    blur = "blur"
    anonymize = "anonymize"


MEDIA_TYPES = {
    Output.json: "application/json",
    Output.coco: "application/json",
    Output.labels: "image/png",
    Output.mask: "image/png",
    Output.matte: "image/png",
    Output.cutout: "image/png",
    Output.overlay: "image/jpeg",
    Output.blur: "image/jpeg",
    Output.anonymize: "image/jpeg",
}


@dataclass(frozen=True)
class PhotoResponse:
    """The response to a photo: the result in the form that was asked for.

    Attributes:
        content: In the output's media type.
        timing_ms: Milliseconds of each stage.
    """

    content: bytes
    timing_ms: Mapping[str, float]


def answer_photo(segmenter: Segmenter, photo: bytearray, output: Output, max_pixels: int) -> PhotoResponse:
    """Segments a photo and encodes the result.

    Raises:
        Problem: 413 or 422 if it is too large or can't be decoded, 503 if there is too little memory.
    """
    timing_ms: dict[str, float] = {}
    try:
        with timed(timing_ms, "decode"):
            decoded = load_photo_bytes(np.frombuffer(photo, np.uint8), "the file", max_pixels, FORMATS)
        if MEDIA_TYPES[output] == "image/jpeg" and max(decoded.frame.shape[:2]) > MAX_JPEG_SIDE:
            raise Problem(422, "A JPEG has at most 65,500 pixels a side; ask for a PNG: labels, mask or cutout.")
        segmentation = segment_tiled(segmenter, decoded.frame, most=MOST_TILES)
        segmentation = find_seen(segmentation, decoded.alpha, output.value)
        timing_ms.update(segmentation.timing_ms)
        with timed(timing_ms, "encode"):
            result = _result(segmenter, decoded, segmentation, output)
        if isinstance(result, bytes):
            return PhotoResponse(result, timing_ms)
        if output == Output.json:
            result["timing_ms"] = {stage: round(value, 3) for stage, value in timing_ms.items()}
        return PhotoResponse(json.dumps(result).encode(), timing_ms)
    except PhotoTooLargeError as error:
        raise Problem(413, _sentence(error)) from error
    except (PhotoError, OutputError) as error:
        raise Problem(422, _sentence(error)) from error
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        raise Problem(503, "There is not enough memory for this photo at the moment; make it smaller.") from error


def _result(segmenter: Segmenter, photo: Photo, segmentation: Segmentation, output: Output) -> bytes | dict:
    """An encoded picture, or a JSON document."""
    if output == Output.json:
        return _describe(segmenter, segmentation)
    if output == Output.coco:
        return _coco(segmentation)
    picture = segmentation.labels
    if output != Output.labels:
        picture = draw_transparent(photo.frame, photo.colour, photo.alpha, segmentation, output.value).whole()
    return mark_result(encode_picture(picture, ".jpg" if MEDIA_TYPES[output] == "image/jpeg" else ".png"))


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _describe(segmenter: Segmenter, segmentation: Segmentation) -> dict:
    height, width = segmentation.labels.shape
    return {
        "size_wh": [width, height],
        "classes": {name: round(share, 6) for name, share in segmentation.areas.items()},
        "polygons": to_points(segmentation.polygons()),
        "model": {"name": segmenter.file.name, "sha256": segmenter.file.sha256},
    }


def _coco(segmentation: Segmentation) -> dict:
    height, width = segmentation.labels.shape
    return to_coco("photo", (width, height), segmentation.polygons(), [info.name for info in segmentation.classes])
