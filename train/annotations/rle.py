"""Run lengths to a bitmap, as COCO, CVAT and Label Studio write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.annotations.region import BrokenRowError


def bitmap_of(runs: Sequence[int] | np.ndarray, shape_hw: tuple[int, int], *, by_column: bool) -> np.ndarray:
    """Run lengths, zeros first, as uint8 `shape_hw` of 0 and 1.

    Args:
        runs: Lengths of alternating runs of 0 and 1, covering all pixels.
        shape_hw: Height and width.
        by_column: Down the columns, as COCO does; else along the rows.

    Raises:
        BrokenRowError: The lengths don't add up to the pixels.
    """
    lengths = np.asarray(runs, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != shape_hw[0] * shape_hw[1]:
        raise BrokenRowError(f"the run lengths don't add up to {shape_hw[1]}x{shape_hw[0]} pixels")
    values = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(np.uint8)
    return values.reshape(shape_hw[::-1]).T if by_column else values.reshape(shape_hw)


def uncompressed(text: str) -> list[int]:
    """COCO's compressed run lengths (`rleFrString` of its maskApi.c).

    A number is 5-bit groups, lowest first, each written as a character counted from '0'; bit 5 is set if more follow.
    From the fourth on, a number is the difference to the one two before it.

    Raises:
        BrokenRowError: The text has another form.
    """
    numbers: list[int] = []
    value, shift = 0, 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            raise BrokenRowError(f"{text[:20]!r} are not compressed run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:  # the highest bit is the sign
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise BrokenRowError(f"{text[:20]!r} are not compressed run lengths")
    return numbers


def bitmap_of_rle_pack(content: Any, shape_hw: tuple[int, int]) -> np.ndarray:
    """The area of a brush in Label Studio: the alpha of an RGBA image packed by `rle-pack`, as uint8 of 0 and 1.

    A bit stream (thi.ng/umbrella, packages/rle-pack): the count of values in 32 bits, their width minus 1 in 5, four
    widths of run lengths minus 1 in 4 each; then the runs: 1 bit set if all values are equal, 2 for the index of the
    width, the length minus 1, the value or values.

    Args:
        content: The bytes, as a list of numbers.
        shape_hw: Height and width.

    Raises:
        BrokenRowError: The content has another form or another number of pixels.
    """
    try:
        bits, at = "".join(f"{byte:08b}" for byte in bytes(content)), 0

        def read(width: int) -> int:
            nonlocal at
            at += width
            return int(bits[at - width : at], 2)

        if read(32) != 4 * shape_hw[0] * shape_hw[1]:
            raise ValueError("the size differs")
        width, lengths = read(5) + 1, [read(4) + 1 for _ in range(4)]
        values, end = np.zeros(4 * shape_hw[0] * shape_hw[1], np.uint8), 0
        while end < values.size:
            equal, start = read(1), end
            end += read(lengths[read(2)]) + 1
            values[start:end] = read(width) if equal else [read(width) for _ in range(end - start)]
    except (TypeError, ValueError, OverflowError) as error:
        raise BrokenRowError(f"its brush strokes are not run lengths of {shape_hw[1]}x{shape_hw[0]} pixels") from error
    return (values.reshape(*shape_hw, 4)[..., 3] > 127).astype(np.uint8)
