"""Runs all benchmarks: `make bench`, or `python benchmarks/bench.py [--suites FILE] [--quick]`.

Measures latency and cold starts of our models, the full one and the peers, accuracy and flicker on every suite whose
photos are available, and how cost grows. Writes `results/<machine>.json`, adds the figures to `history/<machine>.csv`,
and writes the report of all available results.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import history
from benchmarks.check import measure_ours, ours
from benchmarks.flicker import measure_flicker
from benchmarks.peers import default_cache, peer_candidates
from benchmarks.report import RESULTS, write_report
from benchmarks.studies.scale import measure_scale
from benchmarks.suites import SUITES, Suite, read_suites, unique
from seg_edge.apps.bench.accuracy import measure_accuracy
from seg_edge.apps.bench.candidates import Candidate
from seg_edge.apps.bench.figures import latency
from seg_edge.apps.bench.run import BenchSettings, run_bench
from seg_edge.apps.bench.watch import Watch
from seg_edge.callbacks import Log
from seg_edge.commands.console import StatusLine, exit_codes
from seg_edge.errors import SegEdgeError
from seg_edge.evaluation.scores import PhotoScore, Scores
from seg_edge.interpreter import default_threads
from seg_edge.system.files import write_file
from train.worst_photos import draw_worst

HERE = Path(__file__).parent
LIVE_MS = 100.0  # per frame; flicker is measured only for models this fast
WORST = 6  # photos to show per suite
QUICK: dict[str, Any] = {"rounds": 1, "runs": 2}  # to see that it works


def measure(
    suites: Sequence[Suite],
    peers: Sequence[Candidate],
    threads: Sequence[int],
    watch: Watch,
    quick: bool,
    log: Log,
) -> dict[str, Any]:
    """The document of one run, without `scale` and `missing`; `watch` is the verdict so far.

    Args:
        suites: The photos to score, with our models.
        peers: Other people's models.
        threads: Numbers of threads.
        watch: Created before anything is measured.
        quick: Few runs, to see that it works; marked in the document.
        log: Shows what is being measured.

    Raises:
        SegEdgeError: Something can't be measured.
    """
    models = unique([model for suite in suites for model in suite.candidates])
    settings = BenchSettings((*models, *peers), tuple(threads))
    if quick:
        settings = replace(settings, **QUICK, cold_starts=1)
    tree = {"commit": commit(), "quick": quick}
    document = run_bench(settings, log, watch) | tree
    log("latency of our models only, as for the check")
    with watch.watching():
        alone = measure_ours(ours(suites), threads, **(QUICK if quick else {}))
    document["check"] = latency(alone, document["settings"]["reference"])
    live = {entry["model"] for entry in document["latency"] if entry["frame_ms"]["p50"] <= LIVE_MS}
    document["flicker"] = []
    for suite in suites:
        scored = [*suite.candidates, *(peers if suite.peers else ())]

        def show_photos(done: int, total: int, name: str = suite.name) -> None:
            log(f"accuracy on {name}: {done} of {total} photos")

        figures = measure_accuracy(suite.name, scored, suite.examples, suite.classes, threads[-1], progress=show_photos)
        document["accuracy"].append(figures)
        for clip in suite.clips:
            log(f"flicker on {clip.name}")
            fast = [model for model in scored if model.name in live]
            document["flicker"].append(measure_flicker(suite.name, clip, fast))
    return document


def grow(document: dict[str, Any], watch: Watch, quick: bool, log: Log) -> list[str]:
    """Adds how cost grows; returns what couldn't be measured."""
    missing: list[str] = []
    try:
        with watch.watching():
            document["scale"], missing = measure_scale(quick, log)
    except SegEdgeError as error:  # the rest of the run is still valid
        document["scale"], missing = [], [f"how cost grows: {error}"]
    return missing


def draw_worst_photos(suites: Sequence[Suite], document: dict[str, Any], folder: Path) -> None:
    """For each suite, draws the photos on which our smallest model is worst, next to the full model's result."""
    shutil.rmtree(folder, ignore_errors=True)  # pictures of suites that are no longer measured
    for suite, scored in zip(suites, document["accuracy"], strict=True):
        candidates = ours([suite])
        if not candidates:
            continue
        smallest = min(candidates, key=lambda model: document["models"][model.name]["bytes"])
        photos = tuple(PhotoScore.from_json(photo) for photo in scored["models"][smallest.name]["per_photo"])
        full = [model for model in suite.candidates if model.role == "full"][:1]
        shown = {model.name: model.open(1) for model in (*full, smallest)}
        path = folder / f"{suite.name}.jpg"
        draw_worst(shown, suite.examples, Scores(suite.classes, photos), path, WORST)


def commit() -> str:
    """The checkout's commit, with `+` if files differ from it; empty outside a checkout."""
    try:
        git = ["git", "-C", str(HERE)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        status = [*git, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":!results", ":!history"]
        changed = subprocess.run(status, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def main(
    suites: Annotated[Path, typer.Option(help="TOML file of what to score.")] = SUITES,
    results: Annotated[Path, typer.Option(help="Folder for results and report.")] = RESULTS,
    records: Annotated[Path, typer.Option("--history", help="Folder of the history.")] = history.FOLDER,
    peers: Annotated[
        Path | None,
        typer.Option(help="Peers' cache.", show_default="$SEG_EDGE_PEERS or ~/.cache/seg-edge/peers"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=64, help="Measure with 1 to this many threads.")] = None,
    scale: Annotated[bool, typer.Option(help="Also measure how cost grows; takes two minutes.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="Few runs, to see that it works; not recorded.")] = False,
) -> None:
    """Measures everything, records it and writes the report."""
    line, watch = StatusLine(), Watch()
    with exit_codes():
        peer_models, absent = peer_candidates(peers or default_cache())
        with tempfile.TemporaryDirectory() as work:
            found, missing = read_suites(suites, Path(work))
            counts = range(1, (threads or default_threads()) + 1)
            document = measure(found, peer_models, counts, watch, quick, line.show)
            left_out = grow(document, watch, quick, line.show) if scale else ["how cost grows: not requested"]
            document["missing"] = [*missing, *absent, *left_out]
            verdict = document["watch"] = watch.verdict()
            suffix = "-quick" if quick else "" if verdict["valid"] else "-invalid"
            path = results / f"{document['machine']['key']}{suffix}.json"
            write_file(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            if not suffix:
                history.append(records / f"{path.stem}.csv", history.rows(document))
            draw_worst_photos(found, document, results / "photos" / path.stem)
        line.show("")
        written = write_report(results, records)
        for sentence in [*document["missing"], *verdict["notes"]]:
            line.log(f"note: {sentence}")
        typer.echo(f"Written: {path}, {', '.join(map(str, written))}")
        if not verdict["valid"]:
            raise SegEdgeError(f"these figures are not reliable: {'; '.join(verdict['reasons'])}.")


if __name__ == "__main__":
    typer.run(main)
