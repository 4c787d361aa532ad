"""Loads TensorFlow without its start-up lines. Imported by the commands before anything that imports TensorFlow.

Before TensorFlow has set its log up it writes lines about oneDNN and CUDA to stderr, whatever the level; after
that, `TF_CPP_MIN_LOG_LEVEL` is obeyed, and 3 leaves fatal errors. An exception in the import is raised as ever.
"""

import gc
import os

from seg_edge.system.native_log import without_native_log

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
gc.disable()  # all of the import stays; to look again and again for what doesn't takes a fifth of its time
try:
    with without_native_log():
        import tensorflow  # noqa: F401
finally:
    gc.freeze()
    gc.enable()
