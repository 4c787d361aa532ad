"""Grey TIFFs with transparency, whose second channel OpenCV drops.

Stored pixel by pixel, a row of grey and alpha is a row of twice as many grey pixels. So a copy of the file is
relabelled as that, and OpenCV decodes it whatever its compression. Facts are from TIFF 6.0, sections 8, 14, 15 and 18.
"""

from __future__ import annotations

import io

import cv2
import numpy as np

from seg_edge.photo.tiff_tags import TiffTags
from seg_edge.system.native_log import without_native_log

_WIDTH, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR = 256, 259, 262, 277, 284
_PREDICTOR, _TILE_WIDTH, _EXTRA = 317, 322, 338
_WHITE_IS_0, _INTERLEAVED, _DIFFERENCES = 0, 1, 2
_PREDICTED = (5, 8, 32946)  # LZW and both numbers of deflate; others ignore the predictor


def decode_grey_alpha(data: np.ndarray) -> np.ndarray | None:
    """Decodes a TIFF of two channels.

    Args:
        data: The file's bytes, uint8 (n,).

    Returns:
        BGRA uint8 or uint16 (height, width, 4), as stored: not turned, not divided by alpha. None for any other
        TIFF, or if its pixels can't be read this way.
    """
    tags = TiffTags(io.BytesIO(data.data))
    width, photometric = tags.first(_WIDTH), tags.first(_PHOTOMETRIC)
    interleaved = tags.first(_PLANAR, _INTERLEAVED) == _INTERLEAVED
    if tags.first(_SAMPLES, 1) != 2 or photometric not in (0, 1) or not interleaved:
        return None
    differences = tags.first(_PREDICTOR, 1) == _DIFFERENCES and tags.first(_COMPRESSION, 1) in _PREDICTED
    tile_width = tags.first(_TILE_WIDTH)
    changes = {_WIDTH: 2 * width, _PHOTOMETRIC: 1, _SAMPLES: 1, _PREDICTOR: 1, _TILE_WIDTH: 2 * tile_width, _EXTRA: 0}
    wide = data.copy()
    for tag, value in changes.items():
        tags.rewrite(wide, tag, value)
    with without_native_log():
        image = cv2.imdecode(wide, cv2.IMREAD_UNCHANGED)
    if image is None or image.shape[1] != 2 * width or image.dtype not in (np.uint8, np.uint16):
        return None
    pixels = image.reshape(len(image), width, 2)
    if differences:
        for left in range(0, width, tile_width or width):
            part = pixels[:, left : left + (tile_width or width)]
            np.cumsum(part, axis=1, dtype=part.dtype, out=part)
    grey, alpha = cv2.split(pixels)
    if photometric == _WHITE_IS_0:
        grey = cv2.bitwise_not(grey)
    return cv2.merge([grey, grey, grey, alpha])
