"""The report as Markdown: its sections from the results and the history."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import history
from benchmarks.reporting import plots
from benchmarks.reporting.accuracy import describe_accuracy, describe_pareto
from benchmarks.reporting.curves import describe_curve
from benchmarks.reporting.document import Document
from benchmarks.reporting.tables import (
    NONE,
    ROLES,
    Markdown,
    escape,
    file_size,
    markdown_table,
    number,
    percent,
    thread_count,
    with_interval,
)
from seg_edge.apps.bench.rounds import STAGES
from seg_edge.apps.doctor_board import INT8_SPEED

TITLE = "seg-edge: how small, how fast, how accurate"
DOT_PRODUCTS = INT8_SPEED[0][0]
BOARDS = ("Raspberry Pi 4", "Raspberry Pi 5")
GLOSSARY = """
- **Dice**: twice the pixels shared by the mask and the true mask, over the pixels of both: 1 for identical masks, 0 for
  nothing in common. Here per class over the pixels of all photos, then the mean of the classes.
- **Mean over photos**: the Dice of each photo, then their mean: a small person counts as much as a large one.
- **IoU**: the shared pixels over the pixels in either mask; stricter than Dice.
- **Boundary F**: how much of each outline is close to the other. It shows frayed edges, which Dice hardly does.
- **Time / reference**: a model's time over that of a fixed model, run alternately with it. It depends far less than
  milliseconds on the machine and its load. Below 1 is faster than the fixed model.
- **In brackets**: the likely range if measured again: of a score on other photos (the middle 95 % over resampled
  photos), of a time in other rounds. If two ranges overlap, the difference isn't significant.
- **95 %, 99 %**: the time that 95 or 99 of 100 inferences stay below; – if there are too few samples.
- **Flicker**: the share of still pixels that change class from one frame to the next, without smoothing.
- **Cold start**: `seg-edge image` on one photo as a new process, from the command to the picture.
- **Agreement**: the same scores with the full model's result as the true mask.
"""
COMMANDS = """
```console
make bench                   # measures everything on this machine and writes this report
python benchmarks/report.py  # writes the report from existing results
seg-edge bench --json > benchmarks/results/my-machine.json  # adds a column for another machine
```
"""


def report(
    results: Sequence[Document],
    runs: Mapping[str, Sequence[history.Row]],
    pictures: Sequence[str],
    pi_link: str,
    folder: Path,
) -> str:
    """The whole report.

    Args:
        results: See `read_results`.
        runs: Rows of the history by machine.
        pictures: Paths of pictures of the worst photos, relative to `folder`.
        pi_link: Link to how to measure a Raspberry Pi.
        folder: The report's folder; its plots are written to `plots/` there.
    """
    sections: dict[str, list[str]] = {
        "Summary": _summary(results),
        "Machine by machine": _machine_by_machine(results, pi_link),
        "How fast": _for_each(results, _latency),
        "Where the milliseconds of a frame go": _for_each(results, _stages),
        "Cold start and memory": _for_each(results, _cold_start),
        "How accurate": _for_each(results, describe_accuracy),
        "What accuracy costs": describe_pareto(results, folder),
        "Flicker": _for_each(results, _flicker),
        "How cost grows": _for_each(results, _growth),
        "From run to run": _history(runs, folder),
        "The worst photos": [f"![The worst photos of {escape(Path(path).stem)}]({path})" for path in pictures],
        "Machines and files": _machines(results),
        "What is missing": _missing(results, pi_link),
        "Glossary": [GLOSSARY.strip()],
        "How this was made": [COMMANDS.strip(), f"[Method, and what to run on a Raspberry Pi]({pi_link})."],
    }
    parts = [f"# {TITLE}"]
    for title, blocks in sections.items():
        parts += [f"## {title}", *blocks] if blocks else []
    return "\n\n".join(parts) + "\n"


def _for_each(results: Sequence[Document], part: Callable[[Document], list[str]]) -> list[str]:
    """A section of each result, under the machine's name if there are several."""
    blocks = []
    for result in results:
        found = part(result)
        if found:
            blocks += [*([f"### {escape(result.title)}"] if len(results) > 1 else []), *found]
    return blocks


def _summary(results: Sequence[Document]) -> list[str]:
    counted = next((result for result in results if not result.objections), None)
    if counted is None:
        return ["**There is no valid result yet; run `make bench`.**"]
    return [
        history.summary(history.rows(counted.model_dump())),
        f"Measured on {escape(counted.machine.name)}, {escape(counted.created[:10])}.",
    ]


def _machine_by_machine(results: Sequence[Document], pi_link: str) -> list[str]:
    """A column per machine: ratio and milliseconds of an inference, on the fewest and on the most threads."""
    missing = _unmeasured(results)
    keys = list(dict.fromkeys((name, r.models[name].sha256 or "") for r in results for name in r.ordered()))
    names = [name for name, _ in keys]
    blocks = []
    for most in (False, True):
        columns = [(result, result.threads[-1 if most else 0]) for result in results]
        rows = []
        for name, digest in keys:
            row = [f"{name} {digest[:8]}" if names.count(name) > 1 else name]
            for result, threads in columns:
                is_same = name in result.models and (result.models[name].sha256 or "") == digest
                entry = result.timed(name, threads) if is_same else None
                row.append(f"{_times(result, name, threads)}; {number(entry.inference_ms.p50)} ms" if entry else NONE)
            rows.append([*row, *("not measured" for _ in missing)])
        heads = ["model", *(f"{result.title}: {thread_count(threads)}" for result, threads in columns)]
        blocks.append(markdown_table([*heads, *(Markdown(f"[{board}]({pi_link})") for board in missing)], rows))
        if all(len(result.threads) == 1 for result in results):
            break
    return ["Time / reference with its interval, and the median inference time.", *blocks]


def _latency(result: Document) -> list[str]:
    rows = []
    for name in result.ordered():
        for threads in result.threads:
            if entry := result.timed(name, threads):
                ms = entry.inference_ms
                figures = (number(value) for value in (ms.p50, ms.p95, ms.p99, ms.min))
                rows.append([name, str(threads), *figures, str(ms.n), _times(result, name, threads)])
    heads = ("model", "threads", "median ms", "95 %", "99 %", "min", "samples", "time / reference")
    return [markdown_table(heads, rows), confidence_note(result)]


def confidence_note(result: Document) -> str:
    """The confidence of the ratios' intervals."""
    ratios = [entry.ratio for entry in result.latency]
    lowest = min(ratio.confidence or 0.0 for ratio in ratios)
    rounds = len(ratios[0].rounds)
    return f"In brackets: the interval of the median over {rounds} rounds, at {100 * lowest:.0f} % confidence."


def _stages(result: Document) -> list[str]:
    rows = []
    for name in result.ordered():
        for threads in sorted({result.threads[0], result.threads[-1]}):
            if entry := result.timed(name, threads):
                medians = [number(entry.stages_ms[stage].p50) if stage in entry.stages_ms else NONE for stage in STAGES]
                whole = entry.frame_ms
                rows.append([name, str(threads), *medians, number(whole.p50), number(whole.p95), str(whole.n)])
    width, height = result.settings.frame_wh
    heads = ("model", "threads", *STAGES, "frame", "frame, 95 %", "samples")
    text = f"Median milliseconds of each step for {width}x{height}. A live frame needs neither decoding nor encoding."
    return [text, markdown_table(heads, rows)]


def _cold_start(result: Document) -> list[str]:
    rows = []
    for entry in sorted(result.cold_start, key=lambda entry: result.ordered().index(entry.model)):
        seconds = (f"{ms / 1000:.2f}" for ms in (entry.ms.p50, entry.ms.min))
        rows.append([entry.model, str(entry.threads), *seconds, number(entry.peak_mb), str(entry.ms.n)])
    heads = ("model", "threads", "median s", "min s", "peak memory, MB", "samples")
    return [markdown_table(heads, rows)] if rows else []


def _flicker(result: Document) -> list[str]:
    clips = result.flicker
    names = result.ordered(dict.fromkeys(name for clip in clips for name in clip.models))
    heads = ["model", *(f"{clip.data}: {clip.clip}, {clip.frames} frames" for clip in clips)]
    rows = [[name, *(percent(clip.models.get(name)) for clip in clips)] for name in names]
    return [markdown_table(heads, rows)] if clips else []


def _growth(result: Document) -> list[str]:
    return [block for curve in result.scale for block in describe_curve(curve)]


def _history(runs: Mapping[str, Sequence[history.Row]], folder: Path) -> list[str]:
    blocks = []
    for index, (machine, rows) in enumerate(runs.items()):
        created = list(dict.fromkeys(row.created for row in rows))
        panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for row in rows:
            if row.role != "reference" and row.value and row.figure in (history.RATIO, history.MEAN_DICE):
                title = f"{row.figure}, {row.of}{' threads' if row.figure == history.RATIO else ''}"
                point = (created.index(row.created) + 1, row.value)
                panels.setdefault(title, {}).setdefault(row.model, []).append(point)
        blocks.append(f"{escape(machine)}: {len(created)} run{'s' * (len(created) > 1)}.")
        if panels and len(created) > 1:
            path = f"plots/history-{index}.svg"
            plots.draw_history(folder / path, panels, len(created))
            blocks.append(f"![Ratios and Dice over the runs on {escape(machine)}]({path})")
    return blocks


def _machines(results: Sequence[Document]) -> list[str]:
    if not results:
        return []
    facts = [_facts(result) for result in results]
    rows = [[key, *(fact[key] for fact in facts)] for key in facts[0]]
    heads = ["", *(result.title for result in results)]
    files: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for name in result.ordered():
            about = result.models[name]
            row = [name, ROLES.get(about.role, about.role), f"{about.input_wh[0]}x{about.input_wh[1]} {about.dtype}"]
            row += [about.about or "", about.sha256 or NONE, file_size(about.bytes)]
            files.setdefault((name, about.sha256 or ""), row)
    file_heads = ("model", "origin", "input", "description", "SHA-256", "file")
    return [markdown_table(heads, rows, len(heads)), markdown_table(file_heads, list(files.values()), 5)]


def _facts(result: Document) -> dict[str, str]:
    machine, watch = result.machine, result.watch
    hottest = max((value for value in watch.temperature_c if value is not None), default=None)
    return {
        "counts": f"no: {'; '.join([result.objections, *watch.reasons])}" if result.objections else "yes",
        "notes": "; ".join(watch.notes) or NONE,
        "load before, highest, after": ", ".join(NONE if v is None else f"{v:.1f}" for v in watch.load) or NONE,
        "hottest": NONE if hottest is None else f"{hottest:.0f} °C",
        "power": NONE if watch.watts is None else f"{watch.watts:g} W",
        "threads": ", ".join(str(threads) for threads in result.threads),
        "rounds and runs in each": f"{result.settings.rounds}, {result.settings.runs}",
        "date": result.created,
        "commit": result.commit or NONE,
        "8-bit dot products": ", ".join(name for name in DOT_PRODUCTS if name in machine.features) or "none",
        "system": f"{machine.arch}, {machine.kernel or NONE}",
        "versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        "file": result.path.name,
    }


def _missing(results: Sequence[Document], pi_link: str) -> list[str]:
    items = [f"{board}: not measured. [What to run on one]({pi_link})." for board in _unmeasured(results)]
    for result in results:
        items += [f"{escape(result.title)}: {escape(sentence)}" for sentence in result.missing]
        for name, part in (
            ("accuracy", result.accuracy),
            ("flicker", result.flicker),
            ("how cost grows", result.scale),
        ):
            items += [] if part else [f"{escape(result.title)}: {name} not measured."]
    return ["\n".join(f"- {item}" for item in items)] if items else []


def _unmeasured(results: Sequence[Document]) -> list[str]:
    """The boards without a valid result."""
    real = [result.machine.model for result in results if not result.objections]
    return [board for board in BOARDS if not any(re.match(rf"{board}\b", model) for model in real)]


def _times(result: Document, name: str, threads: int) -> str:
    entry = result.timed(name, threads)
    return with_interval((entry.ratio.median, *entry.ratio.interval) if entry else None)
