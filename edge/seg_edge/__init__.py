"""On-device segmentation: a frame goes in, the class of every pixel comes out.

import cv2
from seg_edge import Segmenter
print(Segmenter("person")(cv2.imread("photo.jpg")).areas)
"""

from typing import TYPE_CHECKING, Any

from seg_edge.errors import SegEdgeError

if TYPE_CHECKING:
    from seg_edge.segmentation import Segmentation
    from seg_edge.segmenter import Segmenter

__version__ = "0.1.0"
__all__ = ["SegEdgeError", "Segmentation", "Segmenter", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads NumPy and OpenCV when they are first needed, so that `seg-edge doctor` can say why they don't load."""
    if name in ("Segmentation", "Segmenter"):
        from seg_edge import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
