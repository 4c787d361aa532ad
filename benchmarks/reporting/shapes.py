"""The shape of a benchmark's document, down to every figure that the report shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seg_edge.apps.bench.rounds import STAGES


@dataclass(frozen=True)
class Maybe:
    """A shape, or None."""

    of: Any


def _text(value: object) -> bool:
    return isinstance(value, str)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15  # and so no NaN


def _above_0(value: object) -> bool:
    return _number(value) and value >= 1e-6  # type: ignore[operator]


def _not_below_0(value: object) -> bool:
    return _number(value) and value >= 0  # type: ignore[operator]


def _share(value: object) -> bool:
    return _number(value) and 0 <= value <= 1  # type: ignore[operator]


def _some(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(_above_0(one) for one in value)


def _pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_number(one) for one in value)


# Shapes: a function that says whether a value fits, [of each item], {key: of its value}, where "key?" may be absent and
# "*" stands for any key.
PERCENTILES = {"n": _above_0, "min": _above_0, "p50": _above_0, "p95": Maybe(_above_0), "p99": Maybe(_above_0)}
# A peer may have no such stage, which then takes no time.
STAGE = {"n": _above_0, "min": _not_below_0, "p50": _not_below_0, "p95": Maybe(_not_below_0)}
RATIO = {"median": _above_0, "interval": _pair, "confidence": _share, "rounds": _some}
FIGURES = {
    "photos": _above_0,
    "mean_dice": Maybe(_share),
    "mean_photo_dice": Maybe(_share),
    "mean_iou": Maybe(_share),
    "boundary_f": Maybe(_share),
    "dice": {"*": Maybe(_share)},
    "intervals": {key: Maybe(_pair) for key in ("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f")}
    | {"dice?": {"*": Maybe(_pair)}},
}
ACCURACY = {
    "data": _text,
    "photos": _above_0,
    "classes": [_text],
    "full": Maybe(_text),
    "models": {
        "*": {
            **FIGURES,
            "by_foreground_share": {"*": FIGURES},
            "agreement?": {"same_pixels": Maybe(_share), "mean_dice": Maybe(_share)},
        }
    },
}
POINT = {"x": _above_0, "y": _above_0, "n": _above_0, "p5": _above_0, "p95": _above_0}
CURVE = dict.fromkeys(("name", "x", "unit_x", "y", "unit_y"), _text) | {
    "points": [POINT],
    "fit": {"kind": _text, "r2?": Maybe(_number), "text": _text},
}
MODEL = {
    "role": _text,
    "about?": Maybe(_text),
    "bytes": Maybe(_above_0),
    "sha256": Maybe(_text),
    "input_wh": _pair,
    "dtype": _text,
}
DOCUMENT = {
    "created": _text,
    "commit?": Maybe(_text),
    "quick?": _flag,
    "made_up?": _flag,
    "machine": {"name": _text, "model": _text, "arch": _text, "kernel?": _text, "versions": {"*": _text}},
    "watch": {
        "valid": _flag,
        "reasons": [_text],
        "notes": [_text],
        "load": [Maybe(_number)],
        "temperature_c": [Maybe(_number)],
        "watts?": Maybe(_number),
    },
    "settings": {"threads": [_above_0], "rounds": _number, "runs": _number, "frame_wh": _pair, "reference": _text},
    "models": {"*": MODEL},
    "latency": [
        {
            "model": _text,
            "threads": _above_0,
            "inference_ms": PERCENTILES,
            "frame_ms": PERCENTILES,
            "ratio": RATIO,
            "frame_ratio": RATIO,
            "stages_ms": dict.fromkeys(STAGES, STAGE),
            "samples_ms": [[_above_0]],
        }
    ],
    "cold_start?": [{"model": _text, "threads": _above_0, "ms": PERCENTILES, "peak_mb": Maybe(_number)}],
    "accuracy?": [ACCURACY],
    "flicker?": [{"data": _text, "clip": _text, "frames": _number, "models": {"*": Maybe(_number)}}],
    "scale?": [CURVE],
    "missing?": [_text],
}
RUN = {
    "created": _text,
    "commit": Maybe(_text),
    "models": {
        "*": {
            "role": _text,
            "bytes": Maybe(_above_0),
            "ratio": {"*": {"median": _above_0, "interval": _pair}},
            "frame_ratio": {"*": {"median": _above_0, "interval": _pair}},
            "dice": {
                "*": {
                    "mean_dice": Maybe(_share),
                    "mean_photo_dice": Maybe(_share),
                    "classes": {"*": Maybe(_share)},
                    "interval": Maybe(_pair),
                    "fingerprint": _text,
                }
            },
        }
    },
}


def misfit(value: Any, shape: Any, where: str = "") -> str | None:
    """Where `value` is first not of the shape; None where it fits."""
    if isinstance(shape, Maybe):
        return None if value is None else misfit(value, shape.of, where)
    inner: list[tuple[Any, Any, str]] = []
    if isinstance(shape, list):
        if not isinstance(value, list):
            return where
        inner = [(item, shape[0], f"{where}[{index}]") for index, item in enumerate(value)]
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            return where
        for key, of in shape.items():
            name = key.removesuffix("?")
            if key == "*":
                inner += [(item, of, f"{where}[{name!r}]") for name, item in value.items()]
            elif name in value:
                inner.append((value[name], of, f"{where}.{name}"))
            elif name == key:
                return f"{where}.{name}"
    else:
        fits: Callable[[object], bool] = shape
        return None if fits(value) else where
    return next((wrong for item, of, place in inner if (wrong := misfit(item, of, place))), None)
