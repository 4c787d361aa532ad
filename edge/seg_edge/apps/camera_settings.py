"""The settings of `seg-edge camera`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seg_edge.effects import EffectSettings
from seg_edge.errors import UsageError
from seg_edge.models import DEFAULT_MODEL
from seg_edge.smooth import DEFAULT_SMOOTH
from seg_edge.system.files import check_writable


@dataclass(frozen=True)
class CameraSettings:
    """The settings of `seg-edge camera`; see its options.

    Attributes:
        controls: See `SourceRequest`.
        effects: The effect and its options.
        backdrop: A video that plays as the background.
        rotate: Degrees to turn the picture clockwise: 0, 90, 180 or 270.
        flip: Swap top and bottom, after turning.
        frame_origins: Web sites, such as `http://hass.local:8123`, that may show the page in a frame.
        names: Further host names of the page, used by a proxy in front of it.
        segment_s: Length of a recording's segments in seconds; None for one file.
        keep_bytes: Size limit; the oldest segments are deleted.
        on_demand: The camera is open only while someone views the page.
        view: `window`, `http`, `none`, or empty for a window if one can be shown, else the page.
        lookahead: Number of future frames used for smoothing; delays every frame.
        seconds: When to stop, counted from the start.
        frames: Number of published frames after which to stop.
        mqtt: Address of an MQTT broker, `mqtt://user:password@host:port`, that receives the classes' shares.
        mqtt_name: The camera's name there.
        as_json: Print one JSON object a frame on standard output.
        collect: Keep photos to annotate, see `seg_edge.sinks.collect`.
    """

    source: str = "auto"
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    controls: Mapping[str, object] = field(default_factory=dict)
    effects: EffectSettings = field(default_factory=EffectSettings)
    backdrop: Path | None = None
    rotate: int = 0
    flip: bool = False
    mirror: bool = False
    view: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    frame_origins: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    record: Path | None = None
    segment_s: float | None = None
    keep_bytes: int | None = None
    on_demand: bool = False
    force: bool = False
    virtual_camera: str | None = None
    as_json: bool = False
    mqtt: str | None = None
    mqtt_name: str = "seg-edge"
    snapshots: Path = Path()
    collect: Path | None = None
    smooth: float = DEFAULT_SMOOTH
    lookahead: int = 0
    seconds: float | None = None
    frames: int | None = None
    stats: Path | None = None
    model: str = DEFAULT_MODEL
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.stats:
            check_writable(self.stats)
        outputs = (self.record, self.virtual_camera, self.as_json, self.mqtt, self.collect)
        if self.on_demand and (self.view != "http" or any(outputs)):
            raise UsageError(
                "--on-demand is for --view http alone: recordings, --virtual-camera, --json, --mqtt and --collect "
                "would have gaps while there are no viewers."
            )
