"""Loads TensorFlow quickly and without its start-up lines. Imported by the commands before anything that imports it.

Before TensorFlow has set its log up it writes lines about oneDNN and CUDA to stderr, whatever the level; after
that, `TF_CPP_MIN_LOG_LEVEL` is obeyed, and 3 leaves fatal errors. An exception in the import is raised as ever.
"""

import gc
import os
import sys

from seg_edge.system.native_log import without_native_log

# Keras imports these where they are installed, for wrappers and galleries that nothing here uses: a third of its time.
UNUSED = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
gc.disable()  # all of the import stays; to look again and again for what doesn't takes a fifth of its time
sys.modules.update(dict.fromkeys(UNUSED))  # type: ignore[arg-type] # None: not installed
try:
    with without_native_log():
        import tensorflow  # noqa: F401
finally:
    for name in UNUSED:
        del sys.modules[name]
    gc.freeze()
    gc.enable()
