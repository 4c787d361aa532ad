"""The report's tables, from results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.reporting.parts import Code, Inline, Link, Table
from benchmarks.reporting.results import Result
from benchmarks.reporting.words import NONE, number, ordered, percent, role, score, size, sureness, thread_count, times
from seg_edge.apps.bench.rounds import STAGES

BOARDS = ("Raspberry Pi 4", "Raspberry Pi 5")
SHARES = {"0.0": "all", "0.1": "a tenth or more", "0.2": "a fifth or more"}


def summary(result: Result) -> Table:
    """How small, how fast, how accurate: a line a model."""
    threads = result.threads[0]
    suites = sorted(result.part("accuracy"), key=lambda suite: (suite["data"] == "drawn", -suite["photos"]))
    rows = []
    for name in ordered(result.models):
        about, entry = result.models[name], result.timed(name, threads)
        scored = [suite["models"].get(name) for suite in suites]
        rows.append(
            [
                name,
                role(about),
                f"{about['input_wh'][0]}x{about['input_wh'][1]}",
                size(about["bytes"]),
                number(entry["inference_ms"]["p50"]) if entry else NONE,
                times(entry and entry["ratio"]),
                *(score(f["mean_dice"], f["intervals"]["mean_dice"]) if f else NONE for f in scored),
            ]
        )
    heads = ["model", "whose", "input", "file"]
    heads += [f"ms, {thread_count(threads)}", f"ratio, {thread_count(threads)}"]
    heads += [f"Dice, {suite['photos']} of {suite['data']}" for suite in suites]
    return Table(f"Small, fast, accurate: {result.machine}", heads, rows, sureness(result), words=frozenset({1, 2}))


def side_by_side(results: Sequence[Result], how_to: str, most: bool) -> Table:
    """A column a machine: the model alone as a ratio and in milliseconds, on the fewest threads or on the most."""
    missing = unmeasured(results)
    keys = list(dict.fromkeys(_key(result, name) for result in results for name in ordered(result.models)))
    names = [name for name, _ in keys]
    rows: list[list[Inline]] = []
    for name, digest in keys:
        row: list[Inline] = [f"{name} {digest[:8]}" if names.count(name) > 1 else name]
        for result in results:
            threads = result.threads[-1 if most else 0]
            entry = result.timed(name, threads) if (name, digest) == _key(result, name) else None
            row.append(f"{times(entry['ratio'])}; {number(entry['inference_ms']['p50'])} ms" if entry else NONE)
        rows.append([*row, *("not measured" for _ in missing)])
    counts = [result.threads[-1 if most else 0] for result in results]
    columns = [f"{result.head}: {thread_count(count)}" for result, count in zip(results, counts, strict=True)]
    heads: list[Inline] = ["model", *columns, *(Link(board, how_to) for board in missing)]
    caption = f"The same models on each machine, on {'all its threads' if most else 'the fewest threads measured'}"
    return Table(caption, heads, rows, "The ratio to the reference with its interval; the median of an inference.")


def unmeasured(results: Sequence[Result]) -> list[str]:
    """The boards that no file is of; made-up figures don't make one measured."""
    real = [result.document["machine"]["model"] for result in results if not result.standing]
    return [board for board in BOARDS if not any(re.match(rf"{board}\b", model) for model in real)]


def latency(result: Result) -> Table:
    """The model alone."""
    rows = []
    for name in ordered(result.models):
        for threads in result.threads:
            if entry := result.timed(name, threads):
                ms = entry["inference_ms"]
                figures = (number(ms[key]) for key in ("p50", "p95", "p99", "min"))
                rows.append([name, str(threads), *figures, str(ms["n"]), times(entry["ratio"])])
    heads = ("model", "threads", "median", "95 %", "99 %", "min", "samples", "ratio")
    return Table(f"The model alone, ms: {result.head}", heads, rows, f"{NONE}: too few samples. {sureness(result)}")


def stages(result: Result) -> Table:
    """Where a frame's milliseconds go."""
    rows = []
    for name in ordered(result.models):
        for threads in sorted({result.threads[0], result.threads[-1]}):
            if entry := result.timed(name, threads):
                medians = [number(entry["stages_ms"][stage]["p50"]) for stage in STAGES]
                whole = entry["frame_ms"]
                rows.append([name, str(threads), *medians, number(whole["p50"]), number(whole["p95"]), str(whole["n"])])
    width, height = result.document["settings"]["frame_wh"]
    heads = ("model", "threads", *STAGES, "frame", "frame, 95 %", "samples")
    note = "'frame' is what a live picture goes through, so without decode and encode, which only a file needs."
    return Table(f"Median ms of each step for a {width}x{height} picture: {result.head}", heads, rows, note)


def cold_start(result: Result) -> Table:
    """One photo, the whole process."""
    rows = [
        [
            entry["model"],
            str(entry["threads"]),
            *(f"{entry['ms'][key] / 1000:.2f}" for key in ("p50", "min")),
            number(entry["peak_mb"]),
            str(entry["ms"]["n"]),
        ]
        for name in ordered(result.models)
        for entry in result.part("cold_start")
        if entry["model"] == name
    ]
    heads = ("model", "threads", "median s", "min s", "peak memory, MB", "samples")
    return Table(f"One photo from a cold start: {result.head}", heads, rows)


def accuracy(result: Result, suite: dict[str, Any]) -> Table:
    """Scores over a suite's photos."""
    classes = suite["classes"][1:]
    agrees = any("agreement" in figures for figures in suite["models"].values())
    rows = []
    for name in ordered(result.models, suite["models"]):
        figures = suite["models"][name]
        keys = ("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f")
        cells = [score(figures[key], figures["intervals"][key]) for key in keys]
        cells += [score(figures["dice"].get(one)) for one in classes] if len(classes) > 1 else []
        if agrees:
            same = figures.get("agreement") or {}
            cells += [percent(same.get("same_pixels")), score(same.get("mean_dice"))]
        rows.append([name, *cells])
    heads = ["model", "mean Dice", "mean over photos", "IoU", "boundary F"]
    heads += [f"Dice, {one}" for one in classes] if len(classes) > 1 else []
    heads += ["same pixels as full", "Dice with full"] if agrees else []
    caption = f"{suite['photos']} photos of {suite['data']} ({', '.join(classes)}): {result.head}"
    return Table(caption, heads, rows, "In brackets: the middle 95 % over resampled photos.")


def by_share(result: Result, suite: dict[str, Any]) -> Table:
    """Dice by how much of a photo is foreground."""
    shares = [share for share in SHARES if any(share in f["by_foreground_share"] for f in suite["models"].values())]
    rows = []
    for name in ordered(result.models, suite["models"]):
        parts = [suite["models"][name]["by_foreground_share"].get(share) for share in shares]
        rows.append([name, *(score(p["mean_dice"], p["intervals"]["mean_dice"]) if p else NONE for p in parts)])
    first: dict[str, Any] = next((f["by_foreground_share"] for f in suite["models"].values()), {})
    heads = [f"{SHARES[share]} ({first[share]['photos'] if share in first else 0} photos)" for share in shares]
    return Table(f"Mean Dice of {suite['data']} by how much of the photo the foreground fills", ["model", *heads], rows)


def flicker(result: Result) -> Table:
    """Still pixels that change class, a column a clip."""
    clips = result.part("flicker")
    names = ordered(result.models, dict.fromkeys(name for clip in clips for name in clip["models"]))
    heads = ["model", *(f"{clip['data']}: {clip['clip']}, {clip['frames']} frames" for clip in clips)]
    rows = [[name, *(percent(clip["models"].get(name)) for clip in clips)] for name in names]
    return Table(f"Still pixels that change their class from one frame to the next: {result.head}", heads, rows)


def machines(results: Sequence[Result]) -> Table:
    """What the figures depend on, a column a file."""
    facts = [_facts(result) for result in results]
    heads = ["what", *(result.head for result in results)]
    rows: list[list[Inline]] = [[key, *(fact[key] for fact in facts)] for key in facts[0]] if facts else []
    return Table("Where, when and how the figures were made", heads, rows, words=frozenset(range(1, len(heads))))


def files(results: Sequence[Result]) -> Table:
    """Each file that was measured."""
    rows: dict[tuple[str, str], list[Inline]] = {}
    for result in results:
        for name in ordered(result.models):
            about = result.models[name]
            row = [name, role(about), about["dtype"], size(about["bytes"]), Code(about["sha256"] or NONE)]
            rows.setdefault(_key(result, name), [*row, about.get("about") or ""])
    heads = ("model", "whose", "input type", "file", "SHA-256", "what it is")
    return Table("The files", heads, list(rows.values()), words=frozenset({1, 2, 4, 5}))


def _key(result: Result, name: str) -> tuple[str, str]:
    """A model, and its file."""
    return name, (result.models[name]["sha256"] or "") if name in result.models else ""


def _facts(result: Result) -> dict[str, str]:
    document, machine, watch = (result.document, result.document["machine"], result.document["watch"])
    load = [NONE if value is None else f"{value:.1f}" for value in watch["load"]]
    hottest = max((value for value in watch["temperature_c"] if value is not None), default=None)
    return {
        "counts": "yes" if not result.standing else f"no: {'; '.join([result.standing, *watch['reasons']])}",
        "what to know": "; ".join(watch["notes"]) or "nothing strange was seen",
        "load before, highest, after": ", ".join(load) or NONE,
        "hottest": NONE if hottest is None else f"{hottest:.0f} °C",
        "power": NONE if watch.get("watts") is None else f"{watch['watts']:g} W",
        "threads": ", ".join(str(threads) for threads in result.threads),
        "rounds and runs in each": f"{document['settings']['rounds']}, {document['settings']['runs']}",
        "ratios": sureness(result),
        "date": document["created"],
        "commit": document.get("commit") or NONE,
        "architecture": machine["arch"],
        "system": machine.get("kernel") or NONE,
        "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "reference, SHA-256": f"{(result.models[result.reference]['sha256'] or NONE)[:12]}…",
        "file": result.path.name,
    }
