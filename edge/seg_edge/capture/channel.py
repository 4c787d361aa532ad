"""Messages between the program and its capture process: Python objects, each whole, in order, over a socket pair.

As `multiprocessing.Pipe`, but that one waits through a selector that is made anew each time, and reads a message in two
parts, which costs a tenth of a millisecond a frame.
"""

from __future__ import annotations

import pickle
import socket

LARGEST = 1 << 16  # bytes of a message; ours have some hundred


class Channel:
    """One end; only for two processes that trust each other, since it pickles. One thread sends, one receives."""

    def __init__(self, end: socket.socket):
        self._end = end

    @classmethod
    def of(cls, descriptor: int) -> Channel:
        """The end that this process was given by its parent."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Its file descriptor."""
        return self._end.fileno()

    def send(self, message: object) -> None:
        """Sends a message.

        Raises:
            OSError: Nobody is at the other end.
        """
        self._end.sendall(pickle.dumps(message))

    def receive(self, seconds: float | None = None) -> object:
        """The next message.

        Raises:
            TimeoutError: None came within `seconds`.
            EOFError: The other end is closed.
            OSError: The connection is broken.
        """
        self._end.settimeout(seconds)
        try:
            content = self._end.recv(LARGEST)
        except BlockingIOError:  # that is what a limit of 0 seconds gives
            raise TimeoutError from None
        except ConnectionResetError:  # it went with something unread; what it had sent is still to be had
            content = self._end.recv(LARGEST)
        if not content:
            raise EOFError
        return pickle.loads(content)

    def close(self) -> None:
        """Closes this end; the other one's `receive` raises EOFError. May be called twice."""
        self._end.close()


def channel_pair() -> tuple[Channel, Channel]:
    """Two ends that are connected; messages keep their boundaries."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)
