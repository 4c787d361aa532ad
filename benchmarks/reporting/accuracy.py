"""The report's sections on accuracy: scores, and their cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.reporting import plots
from benchmarks.reporting.document import Accuracy, Document, Figures
from benchmarks.reporting.tables import NONE, escape, markdown_table, percent, thread_count, with_interval
from seg_edge.evaluation.scores import FOREGROUND_SHARES

SHARES = dict(zip(map(str, FOREGROUND_SHARES), ("all", "a tenth or more", "a fifth or more"), strict=True))
SCORES = {
    "mean_dice": "mean Dice",
    "mean_photo_dice": "mean over photos",
    "mean_iou": "IoU",
    "boundary_f": "boundary F",
}


def describe_accuracy(result: Document) -> list[str]:
    """The scores of every model on each suite, and by the share of foreground in a photo."""
    blocks = []
    for suite in result.accuracy:
        classes = suite.classes[1:] if len(suite.classes) > 2 else []
        has_agreement = any(figures.agreement for figures in suite.models.values())
        rows = []
        for name in result.ordered(suite.models):
            figures = suite.models[name]
            cells = [_score(figures, key) for key in SCORES]
            cells += [with_interval((figures.dice.get(known), None, None)) for known in classes]
            if has_agreement:
                agreement = figures.agreement
                cells += [
                    percent(agreement.same_pixels if agreement else None),
                    with_interval((agreement.mean_dice if agreement else None, None, None)),
                ]
            rows.append([name, *cells])
        heads = ["model", *SCORES.values(), *(f"Dice, {known}" for known in classes)]
        heads += ["same pixels as the full model", "Dice with it"] if has_agreement else []
        title = f"{suite.photos} photos of {suite.data} ({', '.join(suite.classes[1:])})"
        blocks += [f"**{escape(title)}**", markdown_table(heads, rows), *_by_foreground_share(result, suite)]
    return blocks


def _by_foreground_share(result: Document, suite: Accuracy) -> list[str]:
    all_parts = [figures.by_foreground_share for figures in suite.models.values()]
    shares = {share: text for share, text in SHARES.items() if any(share in parts for parts in all_parts)}
    photos = [max(parts[share].photos for parts in all_parts if share in parts) for share in shares]
    rows = []
    for name in result.ordered(suite.models):
        parts = suite.models[name].by_foreground_share
        rows.append([name, *(_score(parts[share], "mean_dice") if share in parts else NONE for share in shares)])
    heads = [f"{text} ({count} photos)" for text, count in zip(shares.values(), photos, strict=True)]
    return ["Mean Dice by the share of the photo that the foreground fills:", markdown_table(["model", *heads], rows)]


def describe_pareto(results: Sequence[Document], folder: Path) -> list[str]:
    """Accuracy over time and over file size, with plots in `plots/` of `folder`."""
    blocks = []
    for index, result in enumerate(results):
        threads = result.threads[0]
        for number, suite in enumerate(result.accuracy):
            for cost in (f"time / reference, {thread_count(threads)}", "file, MB"):
                found = (_spot(result, suite, name, None if cost == "file, MB" else threads) for name in suite.models)
                spots = [spot for spot in found if spot]
                if spots:
                    path = f"plots/pareto-{index}-{number}-{'size' if cost == 'file, MB' else 'time'}.svg"
                    plots.draw_pareto(folder / path, spots, cost, f"mean Dice, {plots.short_name(suite.data)}")
                    blocks.append(f"![Dice over {cost}: {escape(suite.data)}, {escape(result.title)}]({path})")
    text = "Up is more accurate, left is cheaper; no model beats those on the dashed line in both."
    return [text, *blocks] if blocks else []


def _spot(result: Document, suite: Accuracy, name: str, threads: int | None) -> plots.Spot | None:
    """A model in the plot over time, or without `threads` over size."""
    about, figures = result.models[name], suite.models[name]
    entry = result.timed(name, threads) if threads else None
    quality = figures.mean_dice
    if quality is None or not (entry if threads else about.bytes):
        return None
    size = (about.bytes or 0) / 1e6
    cost, cost_range = (entry.ratio.median, entry.ratio.interval) if entry else (size, (size, size))
    return plots.Spot(name, about.role, cost, cost_range, quality, figures.interval("mean_dice") or (quality, quality))


def _score(figures: Figures, score: str) -> str:
    low, high = figures.interval(score) or (None, None)
    return with_interval((getattr(figures, score), low, high))
