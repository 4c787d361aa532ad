"""JSON that every parser accepts: always valid Unicode, without NaN and infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(document: Any, **layout: Any) -> str:
    r"""The document as JSON.

    A file name that is not UTF-8 reaches Python with lone surrogates; they become a backslash and their number
    (`caf\udce9.jpg`), as UTF-8 has no form for them. NaN and infinity become null.

    Args:
        document: Dicts, lists, tuples, strings, numbers, booleans and None.
        layout: `indent` or `separators` of `json.dumps`.
    """
    return json.dumps(_valid(document), ensure_ascii=False, allow_nan=False, **layout)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_valid(key): _valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
