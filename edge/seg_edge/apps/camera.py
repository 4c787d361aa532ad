"""`seg-edge camera`: segments a live source and sends the pictures to every sink, until the user stops it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from seg_edge.apps.backdrop import Backdrop
from seg_edge.apps.camera_settings import CameraSettings
from seg_edge.apps.camera_sinks import choose_view, open_sinks
from seg_edge.callbacks import Log
from seg_edge.capture.pipeline import Pipeline, SegmentedFrame
from seg_edge.capture.stats import RunStats
from seg_edge.capture.supervisor import OPENER
from seg_edge.effects import EffectSettings, flatten, render
from seg_edge.errors import OutputError, UsageError
from seg_edge.json_text import json_text
from seg_edge.lookahead import Lookahead
from seg_edge.segmenter import Segmenter
from seg_edge.sinks.group import SinkGroup
from seg_edge.sinks.http.view import HttpView
from seg_edge.sinks.record import Record
from seg_edge.sinks.sink import Controls, OutputFrame
from seg_edge.sources.names import shown_name
from seg_edge.sources.source import SourceRequest
from seg_edge.system.files import write_file
from seg_edge.system.memory import keep_freed_memory
from seg_edge.system.systemd import ServiceManager
from seg_edge.timing import timed

IDLE_S = 0.05  # how often a window is kept alive while no frame comes
STUCK_S = 10.0  # a frame that takes longer has hung: systemd's watchdog is no longer notified
STATUS_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """How the run ended: the reason, what failed meanwhile, and the object that `--stats` writes."""

    reason: str
    failures: list[str]
    stats: dict[str, Any]


def run_camera(settings: CameraSettings, log: Log, status: Log = lambda text: None, opener: str = OPENER) -> Outcome:
    """Runs until the source or the settings end it, a signal arrives, or the user closes the window.

    A sink that fails is closed and reported, and the others go on.

    Args:
        settings: What to do.
        log: Receives lines for the user, from any thread.
        status: Receives a line about once a second, which replaces the last one.
        opener: See `seg_edge.capture.supervisor.Capture`.

    Raises:
        SourceError: The source can't be opened, or one that has an end failed before it.
        OutputError: A sink can't be opened, or the stats can't be written.
    """
    keep_freed_memory()
    segmenter = Segmenter(settings.model, settings.threads, 0.0 if settings.lookahead else settings.smooth)
    lookahead = Lookahead(settings.lookahead, settings.smooth) if settings.lookahead else None
    request = SourceRequest(
        settings.source,
        segmenter.card.input_size_wh,
        settings.size_wh,
        settings.fps,
        controls=settings.controls,
        rotate=settings.rotate,
        flip=settings.flip,
    )
    controls = Controls(settings.effects.effect, settings.mirror)
    view = settings.view or choose_view(log)
    recordings: list[Path] = []
    try:
        with contextlib.ExitStack() as stack:
            # Until it is open, Ctrl-C does what it does in any program.
            pipeline = Pipeline(request, segmenter, log, opener, settings.effects, lookahead)
            stack.callback(pipeline.close)
            stack.enter_context(_stopped_by_signals(controls))
            log(f"camera: {pipeline.info.description}")
            if lookahead:
                delay_ms = lookahead.frames / (pipeline.info.fps or 30.0) * 1000
                frames = f"{lookahead.frames} frame{'s' * (lookahead.frames > 1)}"
                log(f"--lookahead delays every picture by {frames}, about {delay_ms:.0f} ms")
            backdrop = Backdrop(settings.effects, pipeline.info.size_wh[::-1], settings.backdrop)
            stack.callback(backdrop.close)
            if settings.on_demand and not pipeline.info.endless:
                raise UsageError(f"{settings.source}: has an end; --on-demand is for cameras.")
            sinks = SinkGroup(controls, log)
            stack.callback(sinks.close)
            page: HttpView | None = None
            for sink in open_sinks(settings, view, pipeline.info, controls, segmenter, log):
                sinks.add(sink)
                page = sink if settings.on_demand and isinstance(sink, HttpView) else page
                recordings += [sink.path] if isinstance(sink, Record) else []
            stats = RunStats(flicker=settings.stats is not None)
            try:
                with pipeline:
                    _publish_all(settings, backdrop, page, pipeline, controls, sinks, stats, status)
            finally:
                document = stats.to_json(pipeline, segmenter)
                if settings.stats:  # before the sinks are closed: a long recording takes its time
                    write_file(settings.stats, json_text(document, indent=1).encode() + b"\n")
                sinks.close()
    except KeyboardInterrupt:  # a second Ctrl-C
        if not recordings:
            raise
        raise OutputError(
            f"stopped at once; the recording up to then is in {recordings[0]} and can be played."
        ) from None
    failures = list(sinks.failures)
    if pipeline.complaint:
        failures.append(f"{shown_name(settings.source)}: {pipeline.complaint}.")
        log(f"error: {failures[-1]}")
    return Outcome(controls.reason, failures, document)


def _publish_all(
    settings: CameraSettings,
    backdrop: Backdrop,
    page: HttpView | None,
    pipeline: Pipeline,
    controls: Controls,
    sinks: SinkGroup,
    stats: RunStats,
    status: Log,
) -> None:
    manager = ServiceManager()
    deadline = None if settings.seconds is None else time.monotonic() + settings.seconds
    first: float | None = None
    wanted = True
    manager.ready()
    line, next_status, last = "waiting for the first frame", 0.0, time.monotonic()
    while not controls.stopped.is_set() and stats.published != settings.frames:
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            break
        paused = page is not None and not wanted
        if page is not None and page.wanted(paused) != wanted:
            wanted = not wanted
            pipeline.want(wanted)
        item = pipeline.take(IDLE_S)
        if item is not None:
            last = now
            first = first or item.source.captured
            _publish(item, backdrop.at(item.source.captured - first), controls, sinks, stats)
        elif pipeline.exhausted():
            break
        else:
            sinks.idle("Camera paused: no viewers." if paused else pipeline.trouble)
        if now >= next_status:
            next_status = now + STATUS_S
            line = "camera paused: no viewers" if paused else pipeline.trouble or _status(stats, pipeline)
            status(line)
        # A lost camera is reopened and a slow one is waited for; a frame that never finishes is a fault.
        if paused or pipeline.trouble or now - last < STUCK_S + (pipeline.stall_s or 0):
            manager.alive(line)
    manager.stopping()


def _publish(
    item: SegmentedFrame, settings: EffectSettings, controls: Controls, sinks: SinkGroup, stats: RunStats
) -> None:
    timing_ms: dict[str, float] = {}
    with timed(timing_ms, "render"):
        picture = flatten(render(item.source.frame, item.result, replace(settings, effect=controls.effect)))
        if controls.mirror:
            picture = cv2.flip(picture, 1)
    with timed(timing_ms, "publish"):
        captured, number = item.source.captured, stats.published + 1
        age_ms = (time.monotonic() - captured) * 1000
        sinks.publish(OutputFrame(number, captured, age_ms, stats.fps, item.source.frame, item.result, picture))
    stats.add(item, timing_ms["render"], timing_ms["publish"])


def _status(stats: RunStats, pipeline: Pipeline) -> str:
    return f"{stats.fps:.1f} frames/s, {stats.age_ms:.0f} ms old, {pipeline.dropped} dropped"


@contextmanager
def _stopped_by_signals(controls: Controls) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the run cleanly, a second one at once; SIGUSR1 takes a snapshot."""

    def stop(number: int, frame: object) -> None:
        controls.stop()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    # Signals that are ignored from the start, as under nohup, stay ignored.
    caught = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in caught}
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: controls.snapshot.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
