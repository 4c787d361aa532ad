"""Pictures to files: encoded by their suffix, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from seg_edge.errors import OutputError
from seg_edge.system.files import write_file
from seg_edge.system.opencv_log import quiet_opencv

JPEG_QUALITY = 92


def encode_picture(picture: np.ndarray, suffix: str, jpeg_quality: int = JPEG_QUALITY) -> bytes:
    """Encodes a picture.

    Args:
        picture: BGR uint8 (height, width, 3), BGRA (height, width, 4) or grey (height, width).
        suffix: The format, `.jpg` or `.png`.
        jpeg_quality: 0 to 100.

    Raises:
        cv2.error: The format can't hold it, such as a JPEG with a side of more than 65,500 pixels.
    """
    parameters = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix == ".jpg" else []
    with quiet_opencv():
        done, content = cv2.imencode(suffix, picture, parameters)
    if not done:
        raise cv2.error(f"no {suffix} can hold it")
    return content.tobytes()


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Encodes a picture by its suffix and writes it whole or not at all.

    Raises:
        OutputError: It can't be encoded or written.
    """
    try:
        content = encode_picture(picture, path.suffix)
    except cv2.error as error:
        reason = getattr(error, "err", error)
        raise OutputError(f"{path}: can't be encoded ({reason}); make the photo smaller.") from error
    write_file(path, content)
