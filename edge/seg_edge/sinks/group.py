"""All sinks of a camera as one: when one fails, the others go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from seg_edge.errors import OutputError
from seg_edge.sinks.sink import Controls, OutputFrame, Sink
from seg_edge.sinks.snapshots import Snapshots


class SinkGroup:
    """The sinks that still work; one that fails is closed and reported, the others go on.

    When only the snapshots are left, the camera is stopped.

    Args:
        controls: The camera's controls.
        log: Receives messages for the user.

    Attributes:
        failures: The errors, one sentence each.
    """

    def __init__(self, controls: Controls, log: Callable[[str], None]):
        self._controls, self._log = controls, log
        self._open: list[Sink] = []
        self.failures: list[str] = []

    def add(self, sink: Sink) -> None:
        """Adds a sink, which is closed with the others."""
        self._open.append(sink)

    def publish(self, item: OutputFrame) -> None:
        """Gives every sink the frame."""
        for sink in tuple(self._open):
            try:
                sink.publish(item)
            except OutputError as error:
                self._fail(error)
                with contextlib.suppress(OutputError):  # its failure is reported already
                    self._close(sink)
                if all(isinstance(remaining, Snapshots) for remaining in self._open):
                    self._controls.stop("nothing is left to publish to")

    def idle(self, message: str) -> None:
        """Tells every sink that there is no frame, and why."""
        for sink in self._open:
            sink.idle(message)

    def close(self) -> None:
        """Closes all. May be called twice."""
        while self._open:
            try:
                self._close(self._open[-1])
            except OutputError as error:
                self._fail(error)

    def _close(self, sink: Sink) -> None:
        self._open.remove(sink)
        try:
            sink.close()
        finally:
            if dropped := getattr(sink, "dropped", 0):
                self._log(f"{sink.name} dropped {dropped} frame{'s' * (dropped > 1)}: it could not keep up")

    def _fail(self, error: OutputError) -> None:
        self.failures.append(str(error))
        self._log(f"error: {error}")
