"""Imports TensorFlow without its start-up messages. The commands import it before anything that needs TensorFlow.

Until its log is set up, TensorFlow writes lines about oneDNN and CUDA to stderr at any level; after that it obeys
`TF_CPP_MIN_LOG_LEVEL`, where 3 leaves fatal errors. An exception in the import is raised as usual.
"""

import gc
import os

from seg_edge.system.native_log import without_native_log

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
gc.disable()  # the import leaves no garbage, and searching for it takes a fifth of the time
try:
    with without_native_log():
        import tensorflow  # noqa: F401
finally:
    gc.freeze()
    gc.enable()
