"""TIFFs with separate planes, where OpenCV garbles 16 bits and drops the alpha of grey.

Each plane is a grey picture of its own, stored in the next strips or tiles. So the file is relabelled as that grey
picture, plane by plane, and OpenCV decodes it whatever its compression. Facts are from TIFF 6.0, sections 8,
15 and 18.
"""

from __future__ import annotations

import io

import cv2
import numpy as np

from seg_edge.photo.tiff_tags import TiffTags
from seg_edge.system.native_log import without_native_log

_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _SAMPLE_FORMAT = 258, 262, 277, 284, 338, 339
_WHITE_IS_0, _BLACK_IS_0, _RGB = 0, 1, 2
_SEPARATE = 2
_SHORT, _LONG = 3, 4
_PARTS = (273, 279, 324, 325)  # offsets and byte counts of strips, and of tiles


def decode_planes(data: np.ndarray) -> np.ndarray | None:
    """Decodes a TIFF of separate planes that OpenCV would get wrong.

    Args:
        data: The file's bytes, uint8 (n,), which are changed if it is such a TIFF.

    Returns:
        BGR (height, width, 3) or BGRA (height, width, 4), uint8 or uint16, as stored: not turned, not divided by
        alpha. None for any other TIFF.

    Raises:
        ValueError: A plane is damaged; the message continues after the file's name.
    """
    tags = TiffTags(io.BytesIO(data.data))
    bits, samples, photometric = tags.first(_BITS, 1), tags.first(_SAMPLES, 1), tags.first(_PHOTOMETRIC)
    grey_alpha = samples == 2 and photometric in (_WHITE_IS_0, _BLACK_IS_0) and bits in (8, 16)
    deep = samples in (3, 4) and photometric == _RGB and bits == 16
    if tags.first(_PLANAR) != _SEPARATE or tags.first(_SAMPLE_FORMAT, 1) != 1 or not (grey_alpha or deep):
        return None
    parts = {tag: (tags.entries[tag], tags.numbers(tag)) for tag in _PARTS if tag in tags.entries}
    grey_tags = {_BITS: bits, _PHOTOMETRIC: _BLACK_IS_0, _SAMPLES: 1, _PLANAR: 1, _EXTRA: 0, _SAMPLE_FORMAT: 1}
    for tag, value in grey_tags.items():
        tags.rewrite(data, tag, value)
    planes: list[np.ndarray] = []
    for plane in range(samples):
        for tag, ((kind, _, at), values) in parts.items():
            count = len(values) // samples
            if count == 1:
                tags.rewrite(data, tag, int(values[plane]))
            else:
                tags.rewrite(data, tag, at + plane * count * {_SHORT: 2, _LONG: 4}[kind], kind, count)
        with without_native_log():
            image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if image is None or image.dtype != (np.uint8 if bits == 8 else np.uint16):
            raise ValueError("is damaged, or has planes that can't be decoded; save it again as PNG")
        planes.append(image)
    if deep:
        return cv2.merge([planes[2], planes[1], planes[0], *planes[3:]])
    grey, alpha = planes
    if photometric == _WHITE_IS_0:
        grey = cv2.bitwise_not(grey)
    return cv2.merge([grey, grey, grey, alpha])
