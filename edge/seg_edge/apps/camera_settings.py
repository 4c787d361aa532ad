"""What `seg-edge camera` was asked for."""

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
    """Everything `seg-edge camera` was asked for; see its options.

    Attributes:
        controls: See `SourceRequest`.
        effects: What is made of the picture.
        backdrop: A video that plays as its background.
        rotate: Turn the picture clockwise by so many degrees: 0, 90, 180 or 270.
        flip: Exchange top and bottom, after that.
        frame_origins: Web sites, such as `http://hass.local:8123`, that may show the page in a frame.
        names: What else the page's machine is called, by a proxy before it.
        segment_s: Record in pieces of so many seconds.
        keep_bytes: Delete the oldest pieces beyond so much.
        on_demand: The camera is open only while somebody looks at the page.
        view: `window`, `http`, `none`, or empty for a window where there can be one, else the page.
        lookahead: Steady masks with so many following frames too, which every frame waits for.
        seconds: End after so long, counted from the start.
        frames: End after so many published frames.
        mqtt: Address of an MQTT broker, `mqtt://user:password@host:port`, to which the classes' shares go.
        mqtt_name: What the camera is called there.
        as_json: One JSON object a frame on standard output.
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
        always = (self.record, self.virtual_camera, self.as_json, self.mqtt, self.collect)
        if self.on_demand and (self.view != "http" or any(always)):
            raise UsageError(
                "--on-demand is for --view http alone: recordings, --virtual-camera, --json, --mqtt and --collect "
                "would miss what nobody watches."
            )
