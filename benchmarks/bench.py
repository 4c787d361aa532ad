"""Everything that is measured, in one run: `make bench`, or `python benchmarks/bench.py [--suites FILE] [--quick]`.

Latency and cold starts of our models, of the full one and of the peers, accuracy and flicker on every suite whose
photos are there, and how cost grows. Writes `results/<machine>.json`, adds a line to `history/<machine>.jsonl`, and
makes the report anew from all results that lie there.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import history
from benchmarks.flicker import measure_flicker
from benchmarks.peers import default_cache, peer_candidates
from benchmarks.report import RESULTS, write_report
from benchmarks.scale import measure_scale
from benchmarks.suites import SUITES, Suite, read_suites, unique
from seg_edge.bench.accuracy import measure_accuracy
from seg_edge.bench.candidates import Candidate, check_names, describe, reference
from seg_edge.bench.cold_start import measure_cold_starts
from seg_edge.bench.document import describe_machine, make_document
from seg_edge.bench.figures import latency
from seg_edge.bench.rounds import encode, measure_rounds
from seg_edge.bench.run import drawn_frame
from seg_edge.bench.watch import Watch
from seg_edge.commands.console import StatusLine, exit_codes
from seg_edge.files import write_file
from seg_edge.interpreter import default_threads
from seg_edge.scores import PhotoScore, Scores
from train.evaluate import draw_worst

HERE = Path(__file__).parent
ROUNDS, RUNS, COLD_STARTS = 7, 60, 5
LIVE_MS = 100.0  # a frame; what takes longer is no live picture, and its flicker isn't measured
WORST = 6  # photos shown of each suite
QUICK = (2, 5, 1)  # the same, to see whether everything works

Log = Callable[[str], None]


def measure(
    suites: Sequence[Suite],
    peers: Sequence[Candidate],
    threads: Sequence[int],
    quick: bool,
    log: Log,
    *,
    with_scale: bool = True,
) -> dict[str, Any]:
    """The document of one run, without what is missing in it.

    Args:
        suites: What is scored, with our models.
        peers: Other people's.
        threads: Numbers of threads.
        quick: Few runs and few points, to see whether everything works; the document says so.
        log: Is given a line now and then.
        with_scale: Also how cost grows.

    Raises:
        SegEdgeError: Something can't be measured.
    """
    models = [reference(), *unique([which for suite in suites for which in suite.candidates]), *peers]
    check_names(models)
    frame, watch = drawn_frame(), Watch()
    rounds, runs, cold_starts = QUICK if quick else (ROUNDS, RUNS, COLD_STARTS)

    def between(done: int, total: int) -> None:
        watch.look()
        log(f"latency: {done} of {total} rounds")

    taken = measure_rounds(models, frame, threads, rounds, runs, between=between)
    log("cold starts")
    ours = [which for which in models if which.role != "reference"]
    cold = measure_cold_starts(ours, encode(frame), threads[-1], cold_starts)
    verdict = watch.verdict()  # of the part whose figures depend on it
    timed = latency(taken, models[0].name)
    live = {entry["model"] for entry in timed if entry["frame_ms"]["p50"] <= LIVE_MS}
    accuracy, flicker = [], []
    for suite in suites:
        candidates = [*suite.candidates, *(peers if suite.peers else ())]
        progress = partial(_progress, log, f"accuracy on {suite.name}")
        accuracy.append(
            measure_accuracy(suite.name, candidates, suite.examples, suite.classes, threads[-1], progress=progress)
        )
        for clip in suite.clips:
            log(f"flicker on {clip.name}")
            flicker.append(measure_flicker(suite.name, clip, [which for which in candidates if which.name in live]))
    return make_document(
        commit=commit(),
        quick=quick,
        machine=describe_machine(),
        watch=verdict,
        settings={
            "threads": list(threads),
            "rounds": rounds,
            "runs": runs,
            "frame_wh": [frame.shape[1], frame.shape[0]],
            "reference": models[0].name,
        },
        models={which.name: describe(which) for which in models},
        latency=timed,
        cold_start=cold,
        accuracy=accuracy,
        flicker=flicker,
        scale=measure_scale(quick, log) if with_scale else [],
    )


def draw_worst_photos(suites: Sequence[Suite], document: dict[str, Any], folder: Path) -> None:
    """For each suite a picture of the photos that our smallest model did worst on, beside the full one's answer."""
    for suite, scored in zip(suites, document["accuracy"], strict=True):
        ours = [which for which in suite.candidates if which.role == "model"]
        if not ours:
            continue
        last = min(ours, key=lambda which: document["models"][which.name]["bytes"])
        photos = tuple(PhotoScore.from_json(photo) for photo in scored["models"][last.name]["per_photo"])
        full = [which for which in suite.candidates if which.role == "full"]
        shown = {which.name: which.open(1) for which in (*full, last)}
        path = folder / f"{suite.name}.jpg"
        draw_worst(shown, suite.examples, Scores(suite.classes, photos), path, WORST)


def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; empty outside of one."""
    try:
        git = ["git", "-C", str(HERE)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _progress(log: Log, what: str, done: int, total: int) -> None:
    log(f"{what}: {done} of {total} photos")


def main(
    suites: Annotated[Path, typer.Option(help="What is scored.")] = SUITES,
    results: Annotated[Path, typer.Option(help="Folder of results; the report is made of all in it.")] = RESULTS,
    records: Annotated[Path, typer.Option("--history", help="Folder of a line a run.")] = history.FOLDER,
    peers: Annotated[Path | None, typer.Option(help="Cache of peers.", show_default="$SEG_EDGE_PEERS")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=64, help="At most so many threads.")] = None,
    scale: Annotated[bool, typer.Option(help="Also how cost grows, which takes two minutes.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="Few runs, to see whether all works; not recorded.")] = False,
) -> None:
    """Measures everything, records it and writes the report."""
    line = StatusLine()
    with exit_codes():
        others, missing = peer_candidates(peers or default_cache())
        with tempfile.TemporaryDirectory() as work:
            found, absent = read_suites(suites, Path(work))
            counts = range(1, (threads or default_threads()) + 1)
            document = measure(found, others, counts, quick, line.show, with_scale=scale)
            document["missing"] = [*absent, *missing]
            place = results / f"{document['machine']['key']}.json"
            draw_worst_photos(found, document, results / "photos" / place.stem)
        line.show("")
        write_file(place, history.dump(document))
        if document["watch"]["valid"] and not quick:
            history.append(records / f"{place.stem}.jsonl", history.entry(document))
        written = write_report(results, records)
    for sentence in [*document["missing"], *document["watch"]["notes"]]:
        line.tell(f"note: {sentence}")
    typer.echo(f"Written: {place}, {', '.join(str(path) for path in written)}")
    if not document["watch"]["valid"]:
        typer.echo(f"error: these figures don't count: {'; '.join(document['watch']['reasons'])}.", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
