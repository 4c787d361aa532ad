"""Where the camera's pictures go: the sinks that the settings ask for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from seg_edge.apps.camera_settings import CameraSettings
from seg_edge.callbacks import Log
from seg_edge.segmenter import Segmenter
from seg_edge.sinks.http.view import HttpView
from seg_edge.sinks.record import Record
from seg_edge.sinks.sink import Controls, Sink
from seg_edge.sources.source import SourceInfo
from seg_edge.system.board import Machine


def choose_view(log: Log) -> str:
    """A window if one can be shown, else the page."""
    from seg_edge.sinks.display import look_for_windows

    why_not = look_for_windows(Machine()).why_not
    if not why_not:
        return "window"
    log(f"no window, as {why_not}; the picture is shown on a page")
    return "http"


def open_sinks(
    settings: CameraSettings,
    view: str,
    info: SourceInfo,
    controls: Controls,
    segmenter: Segmenter,
    log: Log,
) -> Iterator[Sink]:
    """Opens the sinks one after another, so that the caller can close those already open if one fails."""
    effects = settings.effects.effects()
    fps = info.fps or 30.0
    if settings.record:
        yield _open_record(settings, settings.record, fps)
    if settings.virtual_camera:
        from seg_edge.sinks.virtual_camera import VirtualCamera

        yield VirtualCamera(settings.virtual_camera, info.size_wh, fps)
    if settings.as_json:
        from seg_edge.sinks.json_lines import JsonLines

        yield JsonLines(sys.stdout, controls)
    if settings.collect:
        from seg_edge.sinks.collect import Collect

        yield Collect(settings.collect, log)
    if settings.mqtt:
        from seg_edge.sinks.mqtt import Mqtt

        yield Mqtt(settings.mqtt, settings.mqtt_name, segmenter.classes, log)
    if view == "http":
        page = HttpView(settings.host, settings.port, controls, effects, settings.frame_origins, settings.names)
        log(f"open {page.url} in a browser")
        yield page
    if view == "window":
        from seg_edge.sinks.window import Window

        yield Window(controls, segmenter.classes, effects)
    from seg_edge.sinks.snapshots import Snapshots

    yield Snapshots(settings.snapshots, controls, lambda path: log(f"snapshot: {path}"))


def _open_record(settings: CameraSettings, path: Path, fps: float) -> Sink:
    from seg_edge.sinks.segments import RecordingSegments

    if not settings.segment_s:
        return Record(Path(time.strftime(str(path))), fps, settings.force)
    segments = RecordingSegments(path, settings.keep_bytes)
    return Record(
        segments.next_path(), fps, settings.force, settings.segment_s, segments.next_path, segments.delete_oldest
    )
