"""What the report says, in its order: each section from results and the runs before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reporting import plots, tables
from benchmarks.reporting.glossary import GLOSSARY
from benchmarks.reporting.parts import (
    Block,
    Code,
    Commands,
    Heading,
    Items,
    Link,
    Paragraph,
    Photos,
    Plot,
    Section,
    Terms,
)
from benchmarks.reporting.results import Result
from benchmarks.reporting.words import in_short, ordered, thread_count
from seg_edge.apps.bench.rounds import FRAME_STAGES


def sections(
    results: Sequence[Result],
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    photos: Sequence[Photos],
    how_to_pi: str,
) -> list[Section]:
    """All sections that there is something to say in.

    Args:
        results: See `read_results`.
        runs: See `read_runs`.
        photos: The worst of each suite.
        how_to_pi: Where it is said how a Raspberry Pi is measured.
    """
    made = [
        Section("In short", _short(results)),
        Section("What the words mean", [Terms(GLOSSARY)]),
        Section("Machine by machine", _side_by_side(results, how_to_pi)),
        Section("How fast", _latency(results)),
        Section("Where a frame's milliseconds go", _frames(results)),
        Section("Cold start and memory", _each(results, "cold_start", tables.cold_start)),
        Section("How accurate", _accuracy(results)),
        Section("What accuracy costs", _pareto(results)),
        Section("Flicker", _each(results, "flicker", tables.flicker)),
        Section("How cost grows", _growth(results)),
        Section("From run to run", _history(runs)),
        Section("The worst photos", _worst(photos)),
        Section("Machines and files", _made(results)),
        Section("What is missing", _missing(results, runs, how_to_pi)),
        Section("How this was made", _how(how_to_pi)),
    ]
    return [section for section in made if section.blocks]


def _short(results: Sequence[Result]) -> list[Block]:
    counted = next((result for result in results if not result.standing), None)
    if counted is None:
        return [Paragraph(["There is no result yet that counts: ", "run ", Code("make bench"), "."], loud=True)]
    where = f"Measured on {counted.machine}, {counted.document['created'][:10]}. Times are ratios to a fixed model; "
    return [
        *(Paragraph(sentence, loud=True) for sentence in in_short(counted)),
        Paragraph([where, Link("what the words mean", "#what-the-words-mean"), "."]),
        tables.summary(counted),
    ]


def _side_by_side(results: Sequence[Result], how_to: str) -> list[Block]:
    text = (
        "A file from another machine in this folder becomes a column. "
        "What is invalid, quick or made up says so, and is not in the summary. "
    )
    say = Paragraph([text, Link("What to run on a Raspberry Pi", how_to), "."])
    both = [tables.side_by_side(results, how_to, most) for most in (False, True)]
    return [say, *both] if any(len(result.threads) > 1 for result in results) else [say, *both[:1]]


def _latency(results: Sequence[Result]) -> list[Block]:
    blocks: list[Block] = []
    for result in results:
        blocks += [Heading(result.head)] if len(results) > 1 else []
        for threads in sorted({result.threads[0], result.threads[-1]}):
            samples = {
                name: [ms for one in entry["samples_ms"] for ms in one]
                for name in ordered(result.models)
                if (entry := result.timed(name, threads))
            }
            samples = {name: values for name, values in samples.items() if values}
            if samples:
                roles = {name: result.models[name]["role"] for name in samples}
                said = f"Every inference of each model on {thread_count(threads)}: {result.head}."
                alt = f"Distribution of latencies of {', '.join(samples)}; the table has the figures."
                blocks.append(Plot(plots.distributions(samples, roles), alt, said, wide=True))
        blocks.append(tables.latency(result))
    return blocks


def _frames(results: Sequence[Result]) -> list[Block]:
    blocks: list[Block] = []
    for result in results:
        names = [name for name in ordered(result.models) if name != result.reference] or [result.reference]
        medians = {
            threads: {
                name: {stage: entry["stages_ms"][stage]["p50"] for stage in FRAME_STAGES}
                for name in names
                if (entry := result.timed(name, threads))
            }
            for threads in sorted({result.threads[0], result.threads[-1]})
        }
        blocks += [Heading(result.head)] if len(results) > 1 else []
        if any(sum(parts.values()) for models in medians.values() for parts in models.values()):
            said = f"Median ms of the steps of a frame: {result.head}. Much longer bars are cut off, with ▸."
            alt = f"Stacked bars of {', '.join(FRAME_STAGES)} for {', '.join(names)}; the table has the figures."
            blocks.append(Plot(plots.frames(medians), alt, said, wide=True))
        blocks.append(tables.stages(result))
    return blocks


def _each(results: Sequence[Result], part: str, table: Any) -> list[Block]:
    return [table(result) for result in results if result.part(part)]


def _accuracy(results: Sequence[Result]) -> list[Block]:
    blocks: list[Block] = []
    for result in results:
        for suite in result.part("accuracy"):
            blocks.append(Heading(suite["data"] + (f": {result.head}" if len(results) > 1 else "")))
            blocks += [tables.accuracy(result, suite), tables.by_share(result, suite)]
    return blocks


def _pareto(results: Sequence[Result]) -> list[Block]:
    drawn: list[Block] = []
    for result in results:
        threads = result.threads[0]
        for suite in result.part("accuracy"):
            for by_time in (True, False):
                spots = [spot for name in suite["models"] if (spot := _spot(result, suite, name, threads, by_time))]
                if spots:
                    cost = f"time over the reference's, {thread_count(threads)}" if by_time else "file, MB"
                    alt = "; ".join(f"{s.name}: {s.cost:.3g}, Dice {s.quality:.3f}" for s in spots)
                    said = f"{suite['photos']} photos of {suite['data']}: Dice over {'time' if by_time else 'size'}"
                    svg = plots.pareto(spots, cost, f"mean Dice, {suite['data']}")
                    drawn.append(Plot(svg, f"{said}. {alt}.", f"{said}, {result.head}."))
    text = (
        "Up is more accurate, left is cheaper. No model beats those on the dashed line in both; the crosses are "
        "intervals. What has no file isn't in the plots of size."
    )
    return [Paragraph([text]), *drawn] if drawn else []


def _spot(result: Result, suite: dict[str, Any], name: str, threads: int, by_time: bool) -> plots.Spot | None:
    about, figures, entry = result.models[name], suite["models"][name], result.timed(name, threads)
    quality = figures["mean_dice"]
    sure = figures["intervals"]["mean_dice"] or (quality, quality)
    if quality is None or (entry is None if by_time else about["bytes"] is None):
        return None
    if by_time and entry:
        low, high = entry["ratio"]["interval"]
        return plots.Spot(name, about["role"], entry["ratio"]["median"], (low, high), quality, (sure[0], sure[1]))
    megabytes = about["bytes"] / 1e6
    return plots.Spot(name, about["role"], megabytes, (megabytes, megabytes), quality, (sure[0], sure[1]))


def _growth(results: Sequence[Result]) -> list[Block]:
    blocks: list[Block] = []
    for result in results:
        for curve in result.part("scale"):
            if curve["points"]:
                alt = ", ".join(f"{p['x']:g}: {p['y']:.3g}" for p in curve["points"])
                alt = f"{curve['name']}, {curve['unit_y']} by {curve['unit_x']}: {alt}."
                fit = curve["fit"]
                sure = f" (R² {fit['r2']:.3f})" if fit.get("r2") is not None else ""
                said = f"{curve['name']}: {fit['text']}{sure}. {result.head}."
                blocks.append(Plot(plots.curve(curve), alt, said))
    return blocks


def _history(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Block]:
    blocks: list[Block] = []
    for machine, past in runs.items():
        text = (
            f"{machine}: {len(past)} runs."
            if len(past) > 1
            else f"{machine}: one run so far; with the next there are lines."
        )
        labels = [f"{line['created'][:10]} {(line['commit'] or '')[:8]}" for line in past]
        latest = {name: model for line in past for name, model in line["models"].items()}
        names = [name for name in ordered(latest) if latest[name]["role"] != "reference"]
        panels: dict[str, dict[str, list[plots.Past]]] = {"file, MB": {}, "ratio, 1 thread": {}}
        for run, line in enumerate(past):
            for name in names:
                for title, point in _points(line["models"].get(name), run).items():
                    panels.setdefault(title, {}).setdefault(name, []).append(point)
        shown = {title: lines for title, lines in panels.items() if lines}
        blocks.append(Paragraph([text]))
        if shown:
            alt = f"Size, ratio and Dice of {', '.join(names)} over {len(past)} runs on {machine}."
            said = "A line a model, with the intervals; the legend names them."
            blocks.append(Plot(plots.over_time(shown, labels), alt, said, wide=True))
    return blocks


def _points(model: Mapping[str, Any] | None, run: int) -> dict[str, plots.Past]:
    """What a run says of a model, by panel."""
    points: dict[str, plots.Past] = {}
    if model is None:
        return points
    if model["bytes"]:
        points["file, MB"] = (run, model["bytes"] / 1e6, None)
    if alone := model["ratio"].get("1"):
        points["ratio, 1 thread"] = (run, alone["median"], alone["interval"])
    scored = {suite: figures for suite, figures in model["dice"].items() if figures["mean_dice"] is not None}
    return points | {f"Dice, {suite}": (run, f["mean_dice"], f["interval"]) for suite, f in scored.items()}


def _worst(photos: Sequence[Photos]) -> list[Block]:
    text = "On each suite, the photos that the smallest of our models did worst on, the worst first."
    return [Paragraph([text]), *photos] if photos else []


def _made(results: Sequence[Result]) -> list[Block]:
    return [tables.machines(results), tables.files(results)] if results else []


def _missing(results: Sequence[Result], runs: Mapping[str, Sequence[Mapping[str, Any]]], how_to: str) -> list[Block]:
    items: list[Any] = [
        ["Figures of a ", board, ": not measured. ", Link("What to run on one", how_to), "."]
        for board in tables.unmeasured(results)
    ]
    several = len(results) > 1
    for result in results:
        prefix = f"{result.head}: " if several else ""
        items += [[prefix + sentence] for sentence in result.part("missing")]
        for part, what in (("accuracy", "accuracy"), ("flicker", "flicker"), ("scale", "how cost grows")):
            if not result.part(part):
                items.append([f"{prefix}{what}: not measured."])
    items += [] if runs else [["No run was recorded yet, so there is no history."]]
    return [Items(items)] if items else []


def _how(how_to: str) -> list[Block]:
    return [
        Paragraph(["Everything above is made from the JSON files beside this page and the history, by:"]),
        Commands(
            "make bench                   # measures everything on this machine, and makes this report anew\n"
            "python benchmarks/report.py  # makes the report from what lies there\n"
            "seg-edge bench --json > benchmarks/results/my-machine.json  # a column of your own"
        ),
        Paragraph(
            [
                "How it is measured, and ",
                Link("what to run on a Raspberry Pi", how_to),
                ": docs/benchmarks.md.",
            ]
        ),
    ]
