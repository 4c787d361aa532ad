"""However many photos some clients send, and however slowly they read, another one gets its response."""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import pytest

from seg_edge.serve.answer import PhotoResponse
from seg_edge.serve.client import client_of, client_of_request
from seg_edge.serve.connection import Connection
from seg_edge.serve.problem import Problem
from seg_edge.serve.settings import ServeSettings
from seg_edge.serve.transfers import MAX_OF_CLIENT, MAX_TRANSFERS, STALLED_S, Transfer, Transfers
from seg_edge.serve.turns import Turns
from seg_edge.serve.workers import Workers
from tests.edge.serve.conftest import Server
from tests.tiny import bright_square, noise


def put_all(*entries: tuple[str, float, str]) -> Turns[str]:
    turns = Turns[str]()
    for entry in entries:
        turns.put(*entry)
    return turns


def take_all(turns: Turns[str]) -> str:
    return "".join(turns.take() for _ in range(len(turns)))


def test_clients_take_turns() -> None:
    assert take_all(put_all(("a", 1, "1"), ("a", 2, "2"), ("a", 3, "3"), ("b", 9, "4"), ("c", 9, "5"))) == "14523"


def test_one_clients_items_are_taken_in_the_order_they_are_due() -> None:
    assert take_all(put_all(("a", 3, "1"), ("a", 1, "2"), ("a", 1, "3"))) == "231"


def test_a_new_client_comes_after_those_that_wait() -> None:
    turns = put_all(("a", 1, "1"), ("a", 2, "2"))
    assert turns.take() == "1"
    turns.put("b", 9, "3")
    turns.put("a", 0, "4")
    assert take_all(turns) == "432"


def test_discarded_items_are_skipped() -> None:
    turns = put_all(("a", 1, "1"), ("b", 1, "2"), ("b", 2, "3"))
    turns.discard("a", "1")
    turns.discard("b", "3")
    turns.discard("b", "4")
    assert take_all(turns) == "2"


def test_the_client_with_the_most_makes_room_and_equals_do_not() -> None:
    turns = put_all(("a", 1, "1"), ("a", 2, "2"), ("b", 1, "3"))
    assert turns.make_room_for("a") is None
    assert turns.make_room_for("b") is None
    assert turns.make_room_for("c") == "2"
    assert turns.make_room_for("c") is None
    assert Turns[str]().make_room_for("c") is None


class Queue:
    """A queue of photos for one worker, which is busy until the test lets it go."""

    def __init__(self, waiting: int) -> None:
        self.workers, self.order = Workers([{}], waiting), list[str]()
        self.go, self._busy = threading.Event(), threading.Event()

    async def ask(self, client: str, size: int = 0) -> PhotoResponse:
        name = f"{client}{size or ''}"

        def work(_: object) -> PhotoResponse:
            self._busy.set()
            assert self.go.wait(60)
            self.order.append(name)
            return PhotoResponse(b"", {})

        return await self.workers.run(client, size, work)

    async def start(self, *asked: tuple[str, int]) -> list[asyncio.Task[PhotoResponse]]:
        """The first is being processed, the others wait."""
        tasks = [asyncio.create_task(self.ask(*asked[0]))]
        await asyncio.to_thread(self._busy.wait)
        for photo in asked[1:]:
            tasks.append(asyncio.create_task(self.ask(*photo)))
            await asyncio.sleep(0)
        return tasks


def test_one_photo_of_another_client_overtakes_eighteen_of_one() -> None:
    async def run() -> list[str]:
        queue = Queue(64)
        tasks = await queue.start(*[("a", 0)] * 19, ("b", 0))
        queue.go.set()
        await asyncio.gather(*tasks)
        assert queue.workers.inside == 0
        return queue.order

    assert asyncio.run(run())[:3] == ["a", "a", "b"]


def test_a_small_photo_overtakes_large_ones_of_its_own_client_but_not_for_ever() -> None:
    large = 12_000_000

    async def run() -> list[str]:
        queue = Queue(64)
        tasks = await queue.start(*[("a", large)] * 3, ("a", 1000))
        queue.go.set()
        await asyncio.gather(*tasks)
        return queue.order

    assert asyncio.run(run()) == [f"a{large}", "a1000", f"a{large}", f"a{large}"]


def test_a_full_queue_makes_room_for_a_client_with_fewer() -> None:
    async def run() -> tuple[list[object], list[str]]:
        queue = Queue(3)
        tasks = await queue.start(*[("a", 0)] * 4, ("a", 0), ("b", 0))
        queue.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [result.status if isinstance(result, Problem) else 200 for result in results], queue.order

    statuses, order = asyncio.run(run())
    assert statuses == [200, 200, 200, 429, 429, 200]  # the fifth found no room, and the fourth had to make room
    assert order == ["a", "a", "b", "a"]


def take_all_there_is(transfer: Transfer) -> int:
    with suppress(Problem):
        while True:
            transfer.arrived(10)
    transfer.held -= 10
    return transfer.held


def admitted(transfers: Transfers, held: ExitStack, clients: Sequence[str]) -> list[Transfer]:
    return [held.enter_context(transfers.admit(client)) for client in clients]


def test_stalled_downloads_give_their_memory_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        transfers = Transfers(100)
        now = [0.0]
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: now[0]))
        with ExitStack() as held:
            slow, lively, other = admitted(transfers, held, "abc")
            aborts = [Mock(), Mock()]
            slow.start_download(40, aborts[0])
            lively.start_download(30, aborts[1])
            with pytest.raises(Problem) as refused:
                other.arrived(20)
            assert refused.value.status == 503
            now[0] += STALLED_S
            lively.moved()
            other.arrived(0)  # asks again for what it holds
            aborts[0].assert_called_once()
            aborts[1].assert_not_called()
            assert len(transfers) == 2

    asyncio.run(run())


def test_a_client_can_hold_half_of_the_memory_and_there_is_some_left_for_each_new_one() -> None:
    async def run() -> None:
        transfers = Transfers(1000)
        with ExitStack() as held:
            for number in range(18):
                (greedy,) = admitted(transfers, held, [f"client {number}"])
                amount = take_all_there_is(greedy)
                assert amount >= {0: 500, 1: 240}.get(number, 0)
            assert sum(transfer.held for transfer in transfers._all) <= 1000

    asyncio.run(run())


def test_with_too_many_requests_the_client_with_the_most_makes_way() -> None:
    async def run() -> None:
        transfers = Transfers(1000)
        with ExitStack() as held:
            for client in "abc":
                admitted(transfers, held, client * MAX_OF_CLIENT)
            assert len(transfers) == MAX_TRANSFERS
            with pytest.raises(Problem) as refused:
                admitted(transfers, held, "a")
            assert refused.value.status == 429
            admitted(transfers, held, "d" * 40)
            counts = [len(transfers._of(client)) for client in "abcd"]
            assert sum(counts) == MAX_TRANSFERS
            assert counts[3] == 40
            assert max(counts[:3]) - min(counts[:3]) <= 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_all_addresses_of_a_client_count_as_one(address: str, client: str) -> None:
    assert client_of(address) == client


def test_forwarded_for_is_trusted_only_from_a_proxy() -> None:
    request = Mock(headers={"x-forwarded-for": "6.6.6.6, 10.0.0.9"})
    request.client.host = "127.0.0.1"
    assert client_of_request(request, ServeSettings()) == "127.0.0.1"
    assert client_of_request(request, ServeSettings(names=("seg.example.org",))) == "10.0.0.9"


def make_connection(client: str, opened: float, busy: bool) -> Connection:
    connection = Connection.__new__(Connection)
    connection._client, connection._opened = client, opened
    connection.cycle = Mock(response_complete=not busy)
    return connection


def test_the_busiest_client_loses_a_connection() -> None:
    greedy = [make_connection("a", opened, busy) for opened, busy in [(1, True), (2, False), (3, False)]]
    new = make_connection("b", 4, False)
    connections = {*greedy, new}
    for connection in connections:
        connection.connections = connections  # type: ignore[assignment]
    assert new._least_needed() is greedy[1]
    assert greedy[2]._least_needed() is greedy[1]
    connections -= {greedy[1], greedy[2]}
    assert new._least_needed() is new


HEAD = b"POST /v1/segment?output=%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def test_eighteen_slow_readers_lock_no_one_out(start: Callable[..., Server], models: tuple[str, str]) -> None:
    running = start("--model", models[0], "--workers", "1", "--max-mb", "1")
    photo = cv2.imencode(".png", noise((500, 600)))[1].tobytes()
    small = cv2.imencode(".png", bright_square((60, 80)))[1].tobytes()
    with ExitStack() as stack:

        def read_slowly(_: int) -> socket.socket:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", running.port))
            client.sendall(HEAD % (b"cutout", len(photo)) + photo)
            return stack.enter_context(client)

        with ThreadPoolExecutor(18) as pool:
            readers = list(pool.map(read_slowly, range(18)))
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        for _ in range(100):
            connection.request("POST", "/v1/segment?output=labels", small)
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                break
            assert response.status == 429  # the page also tries again after a second
            time.sleep(0.2)
        assert response.status == 200
        assert len(readers) == 18
