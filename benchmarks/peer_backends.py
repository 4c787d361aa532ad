"""Backends for peers that LiteRT doesn't run: ISNet with ONNX Runtime, and GrabCut with OpenCV."""

from __future__ import annotations

import importlib
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np

from seg_edge.card import ModelCard, make_classes
from seg_edge.errors import ModelError, UsageError
from seg_edge.interpreter import TensorSpec

# They segment what stands out, person or not; the class is named as in the data, to be scored against it.
CLASSES = make_classes(("background", "person"))
ISNET_SIDE = 1024
# The package's own preprocessing (its dist/index.mjs, tensorHWCtoBCHW): (pixel - 128) / 256, of a stretched photo.
ISNET_CARD = ModelCard("ISNet", CLASSES, (ISNET_SIDE, ISNET_SIDE), scale=1 / 256, offset=-0.5, output="probabilities")
GRABCUT_SIDE = 256
GRABCUT_CARD = ModelCard("GrabCut", CLASSES, (GRABCUT_SIDE, GRABCUT_SIDE), scale=1.0, output="probabilities")
# The share of a side between the edge and the rectangle. Of 2, 5, 10 and 15 %, with 1 or 5 iterations, this with 5 was
# best on 60 photos of `person` train (Dice 0.74): people reach the edge, and the outside counts as background.
MARGIN = 0.02
ITERATIONS = 5


class ISNet:
    """ISNet (Qin et al., 2022, arXiv:2203.03041), run by ONNX Runtime.

    Args:
        content: The `.onnx` file: one image float32 (1, 3, 1024, 1024) in; its first output is the alpha map.
        threads: CPU threads of one inference.

    Raises:
        ModelError: ONNX Runtime can't load it.
        UsageError: `threads` is below 1.
    """

    def __init__(self, content: bytes, threads: int):
        if threads < 1:
            raise UsageError(f"threads is {threads}; it must be 1 or more.")
        onnxruntime = importlib.import_module("onnxruntime")  # not a dependency, so mypy can't check it
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors
        # Its threads would spin while waiting for the next run, on a core that the next model needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes, which have no common base
            raise ModelError(f"ISNet: ONNX Runtime can't load it ({str(error).splitlines()[0]}).") from error
        self._names = (self._session.get_inputs()[0].name, self._session.get_outputs()[0].name)
        self.threads = threads
        self.input = TensorSpec("image", (1, ISNET_SIDE, ISNET_SIDE, 3), np.float32)
        self.output = TensorSpec("alpha", (1, ISNET_SIDE, ISNET_SIDE, 1), np.float32)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Alpha 0..1, float32 (1, 1024, 1024, 1), of an image float32 (1, 1024, 1024, 3), RGB -0.5..0.5."""
        planes = np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))
        (alpha,) = self._session.run([self._names[1]], {self._names[0]: planes})
        return alpha.reshape(self.output.shape)  # with one channel, (1, 1, h, w) and (1, h, w, 1) have the same layout


class GrabCut:
    """GrabCut (Rother et al., SIGGRAPH 2004) from a rectangle in the middle; deterministic.

    Args:
        threads: CPU threads that OpenCV may use; most of the work runs on one.

    Raises:
        UsageError: `threads` is below 1.
    """

    def __init__(self, threads: int):
        if threads < 1:
            raise UsageError(f"threads is {threads}; it must be 1 or more.")
        self.threads = threads
        self.input = TensorSpec("image", (1, GRABCUT_SIDE, GRABCUT_SIDE, 3), np.uint8)
        self.output = TensorSpec("foreground", (1, GRABCUT_SIDE, GRABCUT_SIDE, 1), np.float32)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """1 for foreground, else 0, float32 (1, 256, 256, 1), of an image uint8 (1, 256, 256, 3), RGB."""
        edge = round(MARGIN * GRABCUT_SIDE)
        rectangle = (edge, edge, GRABCUT_SIDE - 2 * edge, GRABCUT_SIDE - 2 * edge)
        mask = np.zeros((GRABCUT_SIDE, GRABCUT_SIDE), np.uint8)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        threads = cv2.getNumThreads()
        cv2.setRNGSeed(0)  # its k-means starts at random
        cv2.setNumThreads(self.threads)
        try:
            cv2.grabCut(tensor[0], mask, rectangle, *models, ITERATIONS, cv2.GC_INIT_WITH_RECT)
        finally:
            cv2.setNumThreads(threads)
        # Sure and likely foreground are the odd values, GC_FGD and GC_PR_FGD.
        return (mask & 1).astype(np.float32).reshape(self.output.shape)


def assemble(archive: Path, resource: str) -> bytes:
    """Joins a file such as `/models/small` from its chunks in IMG.LY's package, a `.tgz`.

    Raises:
        KeyError: It isn't in there; `tarfile` raises others if the archive is damaged.
    """
    with tarfile.open(archive, "r:gz") as package:
        members = {member.name: member for member in package.getmembers()}

        def read(name: str) -> bytes:
            file = package.extractfile(members[f"package/dist/{name}"])
            if file is None:
                raise KeyError(name)
            return file.read()

        chunks = json.loads(read("resources.json"))[resource]["chunks"]
        ordered = sorted(chunks, key=lambda chunk: chunk["offsets"][0])
        return b"".join(read(chunk["hash"]) for chunk in ordered)
