"""Everything that is measured, in one run: `make bench`, or `python benchmarks/bench.py [--suites FILE] [--quick]`.

Latency and cold starts of our models, of the full one and of the peers, accuracy and flicker on every suite whose
photos are there, and how cost grows. Writes `results/<machine>.json`, adds a line to `history/<machine>.jsonl`, and
makes the report anew from all results that lie there.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import history
from benchmarks.check import measure_ours, ours
from benchmarks.flicker import measure_flicker
from benchmarks.peers import default_cache, peer_candidates
from benchmarks.report import RESULTS, write_report
from benchmarks.scale import measure_scale
from benchmarks.suites import SUITES, Suite, read_suites, unique
from seg_edge.apps.bench.accuracy import measure_accuracy
from seg_edge.apps.bench.candidates import Candidate, check_names, describe, reference
from seg_edge.apps.bench.cold_start import measure_cold_starts
from seg_edge.apps.bench.document import describe_machine, make_document
from seg_edge.apps.bench.figures import latency
from seg_edge.apps.bench.rounds import measure_rounds
from seg_edge.apps.bench.run import drawn_frame
from seg_edge.apps.bench.watch import Watch
from seg_edge.commands.console import StatusLine, exit_codes
from seg_edge.errors import SegEdgeError
from seg_edge.evaluation.scores import PhotoScore, Scores
from seg_edge.interpreter import default_threads
from seg_edge.photo.write import encode_picture
from seg_edge.system.files import write_file

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
    watch: Watch,
    quick: bool,
    log: Log,
) -> dict[str, Any]:
    """The document of one run, but for how cost grows and for what is missing.

    Args:
        suites: What is scored, with our models.
        peers: Other people's.
        threads: Numbers of threads.
        watch: Made before anything worked.
        quick: Few runs, to see whether everything works; the document says so.
        log: Is given a line now and then.

    Raises:
        SegEdgeError: Something can't be measured.
    """
    checked = ours(suites)
    models = [reference(), *unique([which for suite in suites for which in suite.candidates]), *peers]
    check_names(models)
    frame = drawn_frame()
    rounds, runs, cold_starts = QUICK if quick else (ROUNDS, RUNS, COLD_STARTS)
    document = make_document(
        commit=commit(),
        quick=quick,
        machine=describe_machine(),
        settings={
            "threads": list(threads),
            "rounds": rounds,
            "runs": runs,
            "frame_wh": [frame.shape[1], frame.shape[0]],
            "reference": models[0].name,
        },
        models={which.name: describe(which) for which in models},
    )
    with watch.watching():
        taken = measure_rounds(models, frame, threads, rounds, runs, between=partial(_rounds, log))
        log("latency of ours alone, as it will be checked")
        alone = measure_ours(checked, threads, *(QUICK[:2] if quick else ()))
        log("cold starts")
        document["cold_start"] = measure_cold_starts(
            models[1:], encode_picture(frame, ".jpg"), threads[-1], cold_starts
        )
    document["latency"] = latency(taken, models[0].name)
    document["check"] = latency(alone, models[0].name)
    live = {timed["model"] for timed in document["latency"] if timed["frame_ms"]["p50"] <= LIVE_MS}
    document["accuracy"], document["flicker"] = [], []
    for suite in suites:
        scored = [*suite.candidates, *(peers if suite.peers else ())]
        document["accuracy"].append(
            measure_accuracy(
                suite.name,
                scored,
                suite.examples,
                suite.classes,
                threads[-1],
                progress=partial(_photos, log, suite.name),
            )
        )
        for clip in suite.clips:
            log(f"flicker on {clip.name}")
            moving = [which for which in scored if which.name in live]
            document["flicker"].append(measure_flicker(suite.name, clip, moving))
    return document


def grow(document: dict[str, Any], watch: Watch, quick: bool, log: Log) -> list[str]:
    """Adds how cost grows, and what was seen of the board until then; returns what couldn't be measured."""
    said: list[str] = []

    def tell(text: str) -> None:
        log(text)
        said.append(text)

    try:
        with watch.watching():
            document["scale"] = measure_scale(quick, tell)
    except SegEdgeError as error:  # the rest of the run is no worse for that
        document["scale"], said = [], [f"how cost grows is left out: {error}"]
    document["watch"] = watch.verdict()
    return [text for text in said if "left out" in text]


def draw_worst_photos(suites: Sequence[Suite], document: dict[str, Any], folder: Path) -> None:
    """For each suite a picture of the photos that our smallest model did worst on, beside the full one's answer."""
    # Here, as the processes that are measured import this file, and TensorFlow would be in what they measure.
    from train.evaluate import draw_worst

    shutil.rmtree(folder, ignore_errors=True)  # those of suites that aren't measured any more
    for suite, scored in zip(suites, document["accuracy"], strict=True):
        small = ours([suite])
        if not small:
            continue
        last = min(small, key=lambda which: document["models"][which.name]["bytes"])
        photos = tuple(PhotoScore.from_json(photo) for photo in scored["models"][last.name]["per_photo"])
        full = [which for which in suite.candidates if which.role == "full"][:1]
        shown = {which.name: which.open(1) for which in (*full, last)}
        path = folder / f"{suite.name}.jpg"
        draw_worst(shown, suite.examples, Scores(suite.classes, photos), path, WORST)


def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; empty outside of one."""
    try:
        git = ["git", "-C", str(HERE)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        status = [*git, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":!results", ":!history"]
        changed = subprocess.run(status, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _photos(log: Log, what: str, done: int, total: int) -> None:
    log(f"accuracy on {what}: {done} of {total} photos")


def _rounds(log: Log, done: int, total: int) -> None:
    log(f"latency: {done} of {total} rounds")


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
    line, watch = StatusLine(), Watch()
    with exit_codes():
        others, absent = peer_candidates(peers or default_cache())
        with tempfile.TemporaryDirectory() as work:
            found, missing = read_suites(suites, Path(work))
            counts = range(1, (threads or default_threads()) + 1)
            document = measure(found, others, counts, watch, quick, line.show)
            left_out = grow(document, watch, quick, line.show) if scale else ["how cost grows: not asked for"]
            document["missing"] = [*missing, *absent, *left_out]
            verdict = document.setdefault("watch", watch.verdict())
            standing = "-quick" if quick else "" if verdict["valid"] else "-invalid"
            place = results / f"{document['machine']['key']}{standing}.json"
            write_file(place, history.dump(document))
            if not standing:
                history.append(records / f"{place.stem}.jsonl", history.entry(document))
            draw_worst_photos(found, document, results / "photos" / place.stem)
        line.show("")
        written = write_report(results, records)
        for sentence in [*document["missing"], *verdict["notes"]]:
            line.log(f"note: {sentence}")
        typer.echo(f"Written: {place}, {', '.join(str(path) for path in written)}")
        if not verdict["valid"]:
            raise SegEdgeError(f"these figures don't count: {'; '.join(verdict['reasons'])}.")


if __name__ == "__main__":
    typer.run(main)
