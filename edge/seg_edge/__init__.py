"""On-device segmentation: a frame goes in, the class of every pixel comes out.

import cv2
from seg_edge import Segmenter
print(Segmenter("person")(cv2.imread("photo.jpg")).areas)
"""

from seg_edge.errors import SegEdgeError
from seg_edge.segmenter import Segmentation, Segmenter

__version__ = "0.1.0"
__all__ = ["SegEdgeError", "Segmentation", "Segmenter", "__version__"]
