"""A benchmark's document as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from seg_edge.apps.bench.rounds import FRAME_STAGES

BAR = 30  # characters of the longest bar
MARKS = "█▓▒░"  # of the stages of a frame


def tables(document: dict[str, Any]) -> Iterator[Table]:
    """One table for each measurement that was made."""
    yield _latency(document)
    yield _frames(document)
    if document["cold_start"]:
        yield _cold_starts(document)
    for scored in document["accuracy"]:
        yield _accuracy(scored)


def headline(document: dict[str, Any]) -> str:
    """A line about the machine."""
    machine, watch = document["machine"], document["watch"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = "unknown" if watch["load"][0] is None else f"{watch['load'][0]:.1f} before"
    hot = watch["temperature_c"][1]
    heat = f", at most {hot:.0f} °C" if hot is not None else ""
    drawn = f", {watch['watts']:g} W" if watch["watts"] is not None else ""
    return f"{machine['name']}, {machine['arch']}; load {load}{heat}{drawn}; {versions}"


def _latency(document: dict[str, Any]) -> Table:
    table = Table(title="The model alone, in ms", title_justify="left")
    for head in ("model", "threads", "median", "95 %", "99 %", "min", "runs", "to the reference", "interval"):
        table.add_column(head, justify="left" if head == "model" else "right")
    for entry in document["latency"]:
        ms, ratio = entry["inference_ms"], entry["ratio"]
        low, high = ratio["interval"]
        table.add_row(
            entry["model"],
            str(entry["threads"]),
            *(_number(ms[key]) for key in ("p50", "p95", "p99", "min")),
            str(ms["n"]),
            f"{ratio['median']:.2f}",
            f"{low:.2f}..{high:.2f}",
        )
    return table


def _frames(document: dict[str, Any]) -> Table:
    width, height = document["settings"]["frame_wh"]
    table = Table(title=f"Where the ms of a {width}x{height} frame go (medians)", title_justify="left")
    for head in ("model", "threads", *FRAME_STAGES, "all"):
        table.add_column(head, justify="left" if head == "model" else "right")
    table.add_column(" ".join(f"{mark} {stage}" for mark, stage in zip(MARKS, FRAME_STAGES, strict=True)))
    entries = [entry for entry in document["latency"] if entry["model"] != document["settings"]["reference"]]
    longest = max((entry["frame_ms"]["p50"] for entry in entries), default=1.0)
    for entry in entries:
        medians = [entry["stages_ms"][stage]["p50"] for stage in FRAME_STAGES]
        bar = "".join(mark * round(BAR * ms / longest) for mark, ms in zip(MARKS, medians, strict=True))
        whole = _number(entry["frame_ms"]["p50"])
        table.add_row(entry["model"], str(entry["threads"]), *(_number(ms) for ms in medians), whole, bar)
    return table


def _cold_starts(document: dict[str, Any]) -> Table:
    table = Table(title="One photo from a cold start, the whole process", title_justify="left")
    for head in ("model", "threads", "median s", "min s", "runs", "peak MB"):
        table.add_column(head, justify="left" if head == "model" else "right")
    for entry in document["cold_start"]:
        ms = entry["ms"]
        seconds = (f"{ms[key] / 1000:.2f}" for key in ("p50", "min"))
        table.add_row(entry["model"], str(entry["threads"]), *seconds, str(ms["n"]), _number(entry["peak_mb"]))
    return table


def _accuracy(scored: dict[str, Any]) -> Table:
    title = f"{scored['photos']} photos of {scored['data']}, with the middle 95 % over resampled photos"
    table = Table(title=title, title_justify="left")
    heads = ("model", "mean Dice", "", "mean over photos", "", "IoU", "", "boundary F", "", *scored["classes"][1:])
    for head in heads:
        table.add_column(head, justify="left" if head == "model" else "right")
    for name, figures in scored["models"].items():
        cells = []
        for key in ("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f"):
            interval = figures["intervals"][key]
            cells += [_number(figures[key]), f"{interval[0]:.3f}..{interval[1]:.3f}" if interval else ""]
        table.add_row(name, *cells, *(_number(value) for value in figures["dice"].values()))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
