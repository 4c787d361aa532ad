"""Makes the pictures of the documentation with the bundled models: `python docs/make_pictures.py`.

It uses photos that anyone may publish. The failures also need two webcam photos (docs/data.md: `cohort`, CC BY 4.0);
without these next to the checkout, that picture isn't updated.
"""

from pathlib import Path

import cv2
import numpy as np

from seg_edge import Segmenter
from seg_edge.effects import render
from seg_edge.photo.read import read_photo
from seg_edge.sinks.legend import TextRenderer, draw_legend, draw_text
from seg_edge.sources.source import SourceRequest
from seg_edge.sources.synthetic import SyntheticSource

ROOT = Path(__file__).resolve().parents[1]
COHORT = ROOT.parent / "shared" / "data" / "cohort" / "photos"
HEIGHT = 360


def chequered(shape_hw: tuple[int, int], side: int = 12) -> np.ndarray:
    """The grey squares that stand for transparency, BGR uint8."""
    rows, columns = np.indices(shape_hw) // side
    return np.where(((rows + columns) % 2)[..., np.newaxis], 255, 215).astype(np.uint8).repeat(3, axis=2)


def portrait() -> np.ndarray:
    """Photo, overlay, cut-out on squares and blurred background, side by side."""
    frame = read_photo(ROOT / "tests" / "data" / "grace_hopper.jpg")
    result = Segmenter("person-fine")(frame)
    shown = [
        frame,
        render(frame, result, "overlay"),
        render(frame, result, "replace", chequered(frame.shape[:2])),
        render(frame, result, "blur"),
    ]
    row = np.hstack(shown)
    return cv2.resize(row, (round(row.shape[1] * HEIGHT / row.shape[0]), HEIGHT), interpolation=cv2.INTER_AREA)


def camera() -> np.ndarray:
    """What the window of `seg-edge camera --source synthetic` shows, with a made-up rate and age."""
    segmenter = Segmenter("person")
    frame = SyntheticSource(SourceRequest("synthetic", segmenter.card.input_size_wh)).frame(60)
    result = segmenter(frame)
    picture = render(frame, result)
    letters = TextRenderer(picture.shape[0])
    margin = letters.size // 2
    draw_text(picture, letters, [[("30 fps", True), ("9 ms", False)]], (margin, margin))
    draw_legend(picture, letters, segmenter.classes, result.areas)
    return picture


def failures() -> np.ndarray:
    """Where the model fails: each photo, and below it what the model labels as people."""
    frames = [read_photo(ROOT / "tests" / "data" / "grace_hopper.jpg")[:360, :480]]
    frames += [read_photo(COHORT / name) for name in ("photo_050.jpg", "photo_027.jpg")]
    frames.append((frames[1] * 0.12).astype(np.uint8))  # as in a room without light
    segment, columns = Segmenter("person"), []
    for frame in frames:
        both = np.vstack([frame, render(frame, segment(frame), "overlay")])
        columns.append(cv2.resize(both, (320, 480), interpolation=cv2.INTER_AREA))
    return np.hstack(columns)


def main() -> None:
    """Writes all pictures."""
    pictures = {"portrait": portrait(), "camera": camera()}
    if COHORT.is_dir():
        pictures["person_failures"] = failures()
    for name, picture in pictures.items():
        cv2.imwrite(str(ROOT / "docs" / "pictures" / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
