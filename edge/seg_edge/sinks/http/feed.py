"""The newest frame, as a JPEG for every client."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from seg_edge.errors import OutputError
from seg_edge.photo.write import encode_picture
from seg_edge.sinks.sink import OutputFrame

JPEG_QUALITY = 80
REPEAT = 1.0  # seconds after which a picture is sent again: clients don't time out, and closed connections are noticed
HEALTHY = 10.0  # seconds without a frame after which the view isn't healthy
WAITING = "Waiting for the first picture."
LINGER_S = 10.0  # the camera stays open this long after the last client has gone
FRESH_S = 20.0  # a request for one picture waits this long for a camera that is being opened


class Feed:
    """The newest frame, shared by the publishing thread and the clients' threads.

    Each client gets the newest frame when it is ready for it. The first that requests a frame encodes it for all: a
    frame that no client requests costs nothing, and none is encoded twice.

    Attributes:
        item: The newest frame; None before the first.
        message: Why no frame comes; empty while frames come.
        watchers: The number of clients inside `watching`.
        resting: The camera is closed until a client watches, so the newest frame may be old.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._encoding = threading.Lock()  # always acquired before `_changed`
        self.item: OutputFrame | None = None
        self.message = WAITING
        self.watchers = 0
        self._serial = 0  # number of the picture to show
        self._jpeg, self._encoded = b"", -1  # the JPEG, and its serial
        self._published = float("-inf")
        self._failure = ""
        self._closed = False
        self._asked = float("-inf")
        self.resting = False

    def publish(self, item: OutputFrame) -> None:
        """Makes a frame the newest.

        Raises:
            OutputError: An earlier one could not be encoded.
        """
        with self._changed:
            if self._failure:
                raise OutputError(self._failure)
            self.item, self.message, self._published = item, "", time.monotonic()
            self._serial += 1
            self._changed.notify_all()

    def idle(self, message: str) -> None:
        """Sets why no frame comes. Before the first frame, the message is shown as the picture."""
        with self._changed:
            if self.item is not None:
                self.message = message
            elif (message := message or WAITING) != self.message:
                self.message = message
                self._serial += 1
                self._changed.notify_all()

    def alive(self) -> bool:
        """Whether a frame came in the last `HEALTHY` seconds, or the camera rests."""
        return self.resting or time.monotonic() - self._published < HEALTHY

    def wanted(self) -> bool:
        """Whether there are clients, or were in the last `LINGER_S` seconds."""
        with self._changed:
            return self.watchers > 0 or time.monotonic() - self._asked < LINGER_S

    def fresh(self) -> tuple[int, bytes] | None:
        """As `newer`, for a single picture; waits for a new one if the camera rests."""
        with self._changed:
            self._asked = time.monotonic()
            if self.resting:
                self._changed.wait_for(lambda: self._closed or self._published > self._asked, FRESH_S)
        return self.newer(-1)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts as a client inside the block."""
        with self._changed:
            self.watchers += 1
        try:
            yield
        finally:
            with self._changed:
                self.watchers -= 1
                self._asked = time.monotonic()

    def newer(self, than: int) -> tuple[int, bytes] | None:
        """Waits for the picture after a serial.

        Args:
            than: The serial last shown; -1 for none, which doesn't wait.

        Returns:
            The newest serial and its JPEG, the same again if nothing came for `REPEAT` seconds; None once closed.

        Raises:
            OutputError: It can't be encoded; `publish` raises that too.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._serial != than, REPEAT)
        with self._encoding:
            with self._changed:
                if self._closed:
                    return None
                serial, item, message = self._serial, self.item, self.message
            if serial != self._encoded:
                picture = _placeholder(message) if item is None else item.picture
                self._jpeg, self._encoded = self._encode(picture), serial
            return serial, self._jpeg

    def _encode(self, picture: np.ndarray) -> bytes:
        try:
            return encode(picture)
        except OutputError as error:
            with self._changed:
                self._failure = str(error)
            raise

    def close(self) -> None:
        """Ends every client's wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def encode(picture: np.ndarray) -> bytes:
    """BGR uint8 (height, width, 3) as a JPEG.

    Raises:
        OutputError: OpenCV can't, as with a side of more than 65,500 pixels.
    """
    try:
        return encode_picture(picture, ".jpg", JPEG_QUALITY)
    except cv2.error as error:
        reason = getattr(error, "err", error)
        raise OutputError(f"--view http: the picture can't be encoded ({reason}); make --size smaller.") from error


def _placeholder(message: str) -> np.ndarray:
    """A picture with the message, until there is a frame. OpenCV's font has only ASCII."""
    picture = np.full((480, 640, 3), 32, np.uint8)
    for row, line in enumerate(textwrap.wrap(message, 44)[:8]):
        position = (40, 220 + 32 * row)
        cv2.putText(picture, line, position, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (220, 220, 220), 1, cv2.LINE_AA)
    return picture
