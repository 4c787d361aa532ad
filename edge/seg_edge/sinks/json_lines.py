"""Areas and outlines of every frame for other programs: one JSON object a line."""

from __future__ import annotations

import contextlib
import io
import os
import select
import threading
import time
from typing import Any, BinaryIO, TextIO

from seg_edge.errors import OutputError
from seg_edge.export import to_points
from seg_edge.json_text import json_text
from seg_edge.sinks.sink import Controls, OutputFrame
from seg_edge.system.mailbox import Mailbox

AT_ONCE = 4096  # PIPE_BUF on Linux: a pipe that poll calls writable takes this many bytes without blocking (pipe(7))
LAST_LINE = 2.0  # seconds a reader has, at the end, to take the last line


class JsonLines:
    """Writes one line a frame, each at once:

    `{"frame": number, "time": s, "age_ms": ms, "size_wh": [w, h], "classes": {name: share},
    "polygons": [{"class": name, "area": pixels, "points": [[x, y], ...]}]}`

    `time` is when the picture was taken, in seconds since 1970 by the system's clock; points are in the camera's own
    picture, not in the mirrored one. A slow reader gets the newest frame next and misses those in between. When the
    reader goes away, the camera is stopped through `controls`.

    Args:
        stream: The output, such as `sys.stdout`. It stays open; its buffer is flushed first, and nothing else may be
            written to it until `close`.
        controls: Stopped when the reader has gone.

    Attributes:
        name: `--json`.
        written: Lines written so far.
    """

    def __init__(self, stream: TextIO | BinaryIO, controls: Controls):
        self.name = "--json"
        self.written = 0
        self._controls, self._stream = controls, stream
        self._lines: Mailbox[OutputFrame] = Mailbox(keep_all=False)
        self._closed = False
        self._give_up = float("inf")
        self._failure = ""
        self._flush()
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, AttributeError):  # a stream in memory
            self._fd = None
        # A daemon, and past the stream's own lock: a reader that never reads can't keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="json lines", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that the reader was too slow for."""
        return self._lines.replaced

    def publish(self, item: OutputFrame) -> None:
        """Hands one frame over.

        Raises:
            OutputError: An earlier one could not be written.
        """
        self._check()
        self._lines.put(item)

    def idle(self, message: str) -> None:
        """Writes nothing: no frame, no line."""

    def close(self) -> None:
        """Writes the last frame, if the reader takes it within 2 s. May be called twice.

        Raises:
            OutputError: A frame could not be written.
        """
        if self._closed:
            return
        self._closed = True
        self._give_up = time.monotonic() + LAST_LINE
        self._lines.end()
        self._thread.join(LAST_LINE + 1)
        self._check()

    def _check(self) -> None:
        if self._failure:
            raise OutputError(self._failure)

    def _run(self) -> None:
        try:
            while (item := self._take()) is not None:
                line = json_text(to_json(item), separators=(",", ":")) + "\n"
                if not self._write(line):
                    return
                self.written += 1
        except BrokenPipeError:
            self._reader_gone()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            reason = getattr(error, "strerror", None) or error
            self._failure = f"--json: can't be written ({reason}); choose another output."

    def _take(self) -> OutputFrame | None:
        while (item := self._lines.take(0.5)) is None and not self._lines.exhausted:
            if self._fd is not None:
                self._writable(0)  # also notices a reader that goes away while there are no frames
        return item

    def _write(self, line: str) -> bool:
        """Whether the whole line was written; the reader may take as long as it likes until `close`."""
        if self._fd is None:
            text = isinstance(self._stream, io.TextIOBase)
            self._stream.write(line if text else line.encode())  # type: ignore[arg-type]
            self._stream.flush()
            return True
        left = memoryview(line.encode())
        while left:
            if self._writable(100):
                with contextlib.suppress(BlockingIOError):  # a terminal that ssh has set to non-blocking
                    left = left[os.write(self._fd, left[:AT_ONCE]) :]
            elif time.monotonic() > self._give_up:
                return False
        return True

    def _writable(self, timeout_ms: int) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)  # type: ignore[arg-type]
        found = poll.poll(timeout_ms)
        if found and found[0][1] & (select.POLLERR | select.POLLHUP):
            raise BrokenPipeError
        return bool(found)

    def _flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._reader_gone()
        except (OSError, ValueError) as error:
            raise OutputError(f"--json: can't be written ({error}); choose another output.") from error

    def _reader_gone(self) -> None:
        self._lines.end()
        # Python flushes its standard streams when it exits, which would fail again and be reported; so the rest is
        # discarded ("Note on SIGPIPE" in the documentation of `signal`).
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        self._controls.stop("the reader of --json has gone")


def to_json(item: OutputFrame) -> dict[str, Any]:
    """The object of one line."""
    height, width = item.frame.shape[:2]
    return {
        "frame": item.number,
        "time": round(item.wall_time, 3),
        "age_ms": round(item.age_ms, 1),
        "size_wh": [width, height],
        "classes": {name: round(share, 6) for name, share in item.result.areas.items()},
        "polygons": to_points(item.result.polygons()),
    }
