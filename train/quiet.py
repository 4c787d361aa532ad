"""Imports TensorFlow fast, without its start-up messages, and lets it reuse freed memory.

Commands import it before anything that needs TensorFlow.

Until its log is set up, TensorFlow writes lines about oneDNN and CUDA to stderr at any level; after that it obeys
`TF_CPP_MIN_LOG_LEVEL`, where 3 leaves fatal errors. An exception in the import is raised as usual.
"""

import ctypes
import gc
import os
import sys

from seg_edge.system.native_log import without_native_log

# One arena, no mappings outside it, no trimming (numbers from glibc's malloc.h). Otherwise freed tensors go back to the
# system, which clears gigabytes again in each step: a sixth of the full U-Net's CPU time.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
if sys.platform == "linux" and hasattr(c_library := ctypes.CDLL(None), "mallopt"):
    for parameter, value in ((M_TRIM_THRESHOLD, 2**31 - 1), (M_MMAP_MAX, 0), (M_ARENA_MAX, 1)):
        c_library.mallopt(parameter, value)

# Keras imports these if installed, for features that aren't used here: a third of the import time.
UNUSED = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
gc.disable()  # the import leaves no garbage, and searching for some takes a fifth of the time
sys.modules.update(dict.fromkeys(UNUSED))  # type: ignore[arg-type] # None: not installed
try:
    with without_native_log():
        import tensorflow  # noqa: F401
finally:
    for name in UNUSED:
        del sys.modules[name]
    gc.freeze()
    gc.enable()
