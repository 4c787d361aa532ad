"""Messages between the program and its capture process: Python objects, complete and in order, over a socket pair.

Like `multiprocessing.Pipe`, but without a new selector for every wait and two reads for every message, which cost a
tenth of a millisecond per frame.
"""

from __future__ import annotations

import pickle
import socket

LARGEST = 1 << 16  # bytes of a message; most take a few hundred


class Channel:
    """One end; only for two processes that trust each other, since it pickles. One thread sends, one receives."""

    def __init__(self, end: socket.socket):
        self._end = end

    @classmethod
    def of(cls, descriptor: int) -> Channel:
        """The end that the parent process passed to this one, by its file descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Its file descriptor."""
        return self._end.fileno()

    def send(self, message: object) -> None:
        """Sends a message.

        Raises:
            OSError: The other end is closed.
        """
        self._end.sendall(pickle.dumps(message))

    def receive(self, seconds: float | None = None) -> object:
        """The next message.

        Raises:
            TimeoutError: No message came within `seconds`.
            EOFError: The other end is closed.
            OSError: The connection is broken.
        """
        self._end.settimeout(seconds)
        try:
            content = self._end.recv(LARGEST)
        except BlockingIOError:  # raised when the timeout is 0
            raise TimeoutError from None
        except ConnectionResetError:  # the other process ended with a message unread; its own can still be received
            content = self._end.recv(LARGEST)
        if not content:
            raise EOFError
        return pickle.loads(content)

    def close(self) -> None:
        """Closes this end; `receive` at the other end then raises EOFError. May be called twice."""
        self._end.close()


def channel_pair() -> tuple[Channel, Channel]:
    """Two connected ends; messages keep their boundaries."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)
