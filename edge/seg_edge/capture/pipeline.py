"""Capture, segmentation and output at the same time: the newest frame wins, and nothing queues up.

    capture process --> [newest] --> segmenting thread --> [newest] --> the caller's thread

Between two stages there is room for one frame. With a live source, a newer frame replaces one that hasn't been taken
yet, so the age of the output stays bounded on a machine of any speed; every frame dropped this way is counted. With a
file that is read to its end, the earlier stage waits instead, and every frame comes out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from seg_edge.capture.supervisor import OPENER, Capture, CapturedFrame
from seg_edge.effects import EffectSettings
from seg_edge.lookahead import Lookahead
from seg_edge.regions import select_regions
from seg_edge.segmentation import Segmentation
from seg_edge.segmenter import Segmenter
from seg_edge.sources.source import SourceInfo, SourceRequest
from seg_edge.system.mailbox import Mailbox

STOP_S = 5.0  # an inference is not interrupted; one that never returns must not keep the program from ending
ALL_REGIONS = EffectSettings()


@dataclass(frozen=True, eq=False)
class SegmentedFrame:
    """A frame, its segmentation, and the time spent in each stage.

    Attributes:
        source: The frame.
        result: The segmentation.
        stages_ms: Milliseconds spent in `capture`, `preprocess`, `inference`, `postprocess` and, until the
            result was taken, in `wait`.
        done: `time.monotonic()` when the segmentation was ready.
    """

    source: CapturedFrame
    result: Segmentation
    stages_ms: dict[str, float]
    done: float


class Pipeline:
    """Runs a source and a Segmenter; use it in a `with` block, and `take` the results.

    Args:
        request: What to open.
        segmenter: Used from the pipeline's own thread until the block ends.
        log: Receives messages for the user, from any thread.
        opener: The function that opens the source; see `Capture`.
        effects: Settings that say which regions are kept.
        lookahead: Steadies results by the following ones, for which frames wait; the Segmenter must not smooth as
            well.

    Raises:
        SourceError: The source can't be opened.
    """

    def __init__(
        self,
        request: SourceRequest,
        segmenter: Segmenter,
        log: Callable[[str], None],
        opener: str = OPENER,
        effects: EffectSettings = ALL_REGIONS,
        lookahead: Lookahead | None = None,
    ):
        self._segmenter, self._effects, self._lookahead = segmenter, effects, lookahead
        self._frames: Mailbox[CapturedFrame] = Mailbox(keep_all=not request.live)
        self._results: Mailbox[SegmentedFrame] = Mailbox(keep_all=not request.live)
        self._failure: Exception | None = None
        self._capture = Capture(request, self._frames.put, self._frames.end, log, opener)
        self._thread = threading.Thread(target=self._segment, name="segment", daemon=True)
        self.segmented = 0

    def __enter__(self) -> Pipeline:
        self._capture.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops everything and releases the source; may be called twice."""
        self._frames.end()
        self._results.end()
        self._capture.close()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def want(self, wanted: bool) -> None:
        """Pauses capture (closing the camera) or resumes it. For endless sources."""
        self._capture.want(wanted)

    @property
    def info(self) -> SourceInfo:
        """The source that was opened."""
        return self._capture.info

    @property
    def captured(self) -> int:
        """Frames that the source delivered."""
        return self._capture.received + self._capture.missed

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced, at any of the three stages."""
        return self._capture.missed + self._frames.replaced + self._results.replaced

    @property
    def reconnects(self) -> int:
        """How often the camera was lost and came back."""
        return self._capture.reconnects

    @property
    def capture_peak_mb(self) -> float:
        """The largest resident set of the capture process, in 10^6 bytes."""
        return self._capture.peak_mb

    @property
    def complaint(self) -> str:
        """For a file that was read to its end: which part could not be shown, empty if none."""
        return self._capture.complaint

    @property
    def trouble(self) -> str:
        """Why there is no new frame, for the user; empty while frames come."""
        return self._capture.trouble

    @property
    def stall_s(self) -> float | None:
        """Seconds without a frame after which the source counts as lost; None for no limit."""
        return self._capture.stall_s

    def take(self, seconds: float) -> SegmentedFrame | None:
        """The newest result, or the next one if a file is read to its end; None if there is none within `seconds`."""
        item = self._results.take(seconds)
        if item is not None:
            item.stages_ms["wait"] += (time.monotonic() - item.done) * 1000
        return item

    def exhausted(self) -> bool:
        """Whether the source has ended and every result has been taken.

        Raises:
            SourceError: A file or folder failed before its end.
        """
        if not self._results.exhausted:
            return False
        failure = self._failure or self._capture.failure
        if failure:
            raise failure
        return True

    def _segment(self) -> None:
        waiting: deque[tuple[CapturedFrame, float]] = deque()
        try:
            while (source_frame := self._frames.take()) is not None:
                began = time.monotonic()
                result: Segmentation | None = self._segmenter(source_frame.frame, source_frame.small)
                self.segmented += 1
                waiting.append((source_frame, began))
                if self._lookahead is not None and result is not None:
                    result = self._lookahead.add(result)
                if result is not None:
                    self._hand_on(*waiting.popleft(), result)
            for result in self._lookahead.rest() if self._lookahead is not None else ():
                self._hand_on(*waiting.popleft(), result)
        except Exception as error:  # raised again by `exhausted`
            self._failure = error
        finally:
            self._results.end()

    def _hand_on(self, source_frame: CapturedFrame, began: float, result: Segmentation) -> None:
        result = select_regions(result, self._effects)
        stages_ms = _stages_ms(source_frame, began, result, self._lookahead is not None)
        self._results.put(SegmentedFrame(source_frame, result, stages_ms, time.monotonic()))


def _stages_ms(source_frame: CapturedFrame, began: float, result: Segmentation, held_back: bool) -> dict[str, float]:
    capture_s = source_frame.arrived - source_frame.captured - source_frame.resize_s
    stages = {"capture": capture_s * 1000, "wait": (began - source_frame.arrived) * 1000, **result.timing_ms}
    if held_back:
        stages["wait"] += max(0.0, (time.monotonic() - began) * 1000 - sum(result.timing_ms.values()))
    stages["preprocess"] += source_frame.resize_s * 1000
    return stages
