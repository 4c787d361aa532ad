"""Room for one item between two threads: the newest wins, or the sender waits."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Room for one item between two threads.

    Args:
        keep_all: `put` waits for room; otherwise it replaces the waiting item.

    Attributes:
        replaced: How many items were replaced before they were taken.
    """

    def __init__(self, keep_all: bool):
        self._keep_all = keep_all
        self._change = threading.Condition()
        self._item: Item | None = None
        self._ended = False
        self.replaced = 0

    def put(self, item: Item) -> None:
        """Puts an item in; after `end` it is dropped."""
        with self._change:
            while self._keep_all and self._item is not None and not self._ended:
                self._change.wait()
            if self._ended:
                return
            self.replaced += self._item is not None
            self._item = item
            self._change.notify_all()

    def take(self, seconds: float | None = None) -> Item | None:
        """Waits for an item and takes it; None after `seconds`, or when there will be no more."""
        with self._change:
            self._change.wait_for(lambda: self._item is not None or self._ended, seconds)
            item, self._item = self._item, None
            self._change.notify_all()
            return item

    def end(self) -> None:
        """Ends it: nothing more is put in, but a waiting item can still be taken. Wakes all waiting threads."""
        with self._change:
            self._ended = True
            self._change.notify_all()

    @property
    def exhausted(self) -> bool:
        """Whether it has ended and is empty."""
        with self._change:
            return self._ended and self._item is None
