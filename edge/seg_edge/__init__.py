"""On-device segmentation: a frame goes in, the class of every pixel comes out.

from seg_edge import Segmenter, read_photo, render
frame = read_photo("photo.jpg")
result = Segmenter("person")(frame)
print(result.areas)
picture = render(frame, result, "blur")
"""

import importlib
from typing import TYPE_CHECKING, Any

from seg_edge.errors import (
    DataError,
    ModelError,
    OutputError,
    PhotoError,
    PhotoTooLargeError,
    RuntimeMissingError,
    SegEdgeError,
    SourceError,
    UsageError,
)

if TYPE_CHECKING:
    from seg_edge.effects import render
    from seg_edge.models import bundled_models
    from seg_edge.photo.read import read_photo
    from seg_edge.segmentation import Segmentation
    from seg_edge.segmenter import Segmenter

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "ModelError",
    "OutputError",
    "PhotoError",
    "PhotoTooLargeError",
    "RuntimeMissingError",
    "SegEdgeError",
    "Segmentation",
    "Segmenter",
    "SourceError",
    "UsageError",
    "__version__",
    "bundled_models",
    "read_photo",
    "render",
]

_LAZY = {
    "Segmentation": "seg_edge.segmentation",
    "Segmenter": "seg_edge.segmenter",
    "bundled_models": "seg_edge.models",
    "read_photo": "seg_edge.photo.read",
    "render": "seg_edge.effects",
}


def __getattr__(name: str) -> Any:
    """Loads NumPy and OpenCV when they are first needed, so that `seg-edge doctor` can say why they don't load."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
