"""The order of work: clients take turns, and of one client's photos the one that is due first is next."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """A fair queue: clients take turns."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, list[tuple[float, int, Item]]] = OrderedDict()
        self._number = count()  # of two photos due at once, the first

    def __len__(self) -> int:
        return sum(map(len, self._clients.values()))

    def put(self, client: str, due: float, item: Item) -> None:
        """Adds an item; a client without others is served after the clients that wait."""
        heapq.heappush(self._clients.setdefault(client, []), (due, next(self._number), item))

    def take(self) -> Item:
        """Removes and returns the next item.

        Raises:
            KeyError: There is none.
        """
        client, items = self._clients.popitem(last=False)
        item = heapq.heappop(items)[2]
        if items:
            self._clients[client] = items
        return item

    def discard(self, client: str, item: Item) -> None:
        """Removes an item if it is still queued."""
        left = [entry for entry in self._clients.get(client, []) if entry[2] is not item]
        if left:
            heapq.heapify(left)
            self._clients[client] = left
        else:
            self._clients.pop(client, None)

    def make_room_for(self, client: str) -> Item | None:
        """Removes and returns the last item of the client with the most; None if this client would have as many."""
        most = max(self._clients, key=lambda name: len(self._clients[name]), default=client)
        if len(self._clients.get(most, [])) <= len(self._clients.get(client, [])) + 1:
            return None
        item = max(self._clients[most])[2]
        self.discard(most, item)
        return item
