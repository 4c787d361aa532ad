"""Makes the README's pictures with the bundled model: `python docs/make_pictures.py`.

From photos that anyone may show.
"""

from pathlib import Path

import cv2
import numpy as np

from seg_edge import Segmenter
from seg_edge.sources.photo import read_photo

ROOT = Path(__file__).resolve().parents[1]
HEIGHT = 360


def chequered(shape_hw: tuple[int, int], side: int = 12) -> np.ndarray:
    """The grey squares that stand for transparency, BGR uint8."""
    rows, columns = np.indices(shape_hw) // side
    return np.where(((rows + columns) % 2)[..., np.newaxis], 255, 215).astype(np.uint8).repeat(3, axis=2)


def main() -> None:
    """Photo, overlay, cut-out on squares, blurred background, side by side."""
    frame = read_photo(ROOT / "tests" / "data" / "grace_hopper.jpg")
    answer = Segmenter("person")(frame)
    shown = [
        frame,
        answer.draw(frame, "overlay"),
        answer.draw(frame, "replace", chequered(frame.shape[:2])),
        answer.draw(frame, "blur"),
    ]
    row = np.hstack(shown)
    row = cv2.resize(row, (round(row.shape[1] * HEIGHT / row.shape[0]), HEIGHT), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(ROOT / "docs" / "pictures" / "portrait.jpg"), row, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
