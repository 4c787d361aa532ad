"""Whatever is sent, the server stays within its limits, and reports which one was reached."""

import asyncio
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from unittest.mock import AsyncMock

import cv2
import h11
import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from seg_edge.serve import api
from seg_edge.serve.answer import PhotoResponse
from seg_edge.serve.connection import SHUTDOWN_S
from seg_edge.serve.transfers import MAX_OF_CLIENT
from tests.edge.serve.conftest import MakeClient, Server
from tests.tiny import GRACE_HOPPER, bright_square, noise

PNG = cv2.imencode(".png", bright_square((60, 80)))[1].tobytes()


class Gate:
    """Stands in for the work on a photo, which ends when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        monkeypatch.setattr(api, "answer_photo", self)

    def __call__(self, *_: object) -> PhotoResponse:
        self.entered.release()
        assert self.open.wait(20)
        return PhotoResponse(b"{}", {})


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def inside(client: TestClient) -> float:
    match = re.search(r"^seg_edge_requests_inside (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert match
    return float(match[1])


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_too_many_bytes_are_refused_before_they_are_read(make_client: MakeClient) -> None:
    client = make_client(max_bytes=1000)
    assert client.post("/v1/segment", content=bytes(1001)).status_code == 413
    in_pieces = client.post("/v1/segment", content=iter([bytes(600), bytes(600)]))  # no length is declared
    assert in_pieces.status_code == 413
    assert "0.001 MB" in in_pieces.json()["detail"]


def test_too_many_pixels_are_refused_before_they_are_decoded(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(max_pixels=4000)
    assert client.post("/v1/segment", content=cv2.imencode(".png", noise((40, 100)))[1].tobytes()).status_code == 200
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    response = client.post("/v1/segment", content=PNG)
    assert response.status_code == 413
    assert "80x60" in response.json()["detail"]


def test_a_limited_number_waits_for_the_workers(make_client: MakeClient, gate: Gate) -> None:
    client = make_client(workers=2, queue=3)
    with ThreadPoolExecutor(5) as pool:
        responses = [pool.submit(client.post, "/v1/segment", content=PNG) for _ in range(5)]
        for _ in range(2):
            assert gate.entered.acquire(timeout=60)
        wait_until(lambda: inside(client) == 5)
        assert not gate.entered.acquire(timeout=0.1)  # as many at once as there are workers
        refused = client.post("/v1/segment", content=PNG)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        gate.open.set()
        assert [response.result().status_code for response in responses] == [200] * 5
    assert inside(client) == 0
    assert client.post("/v1/segment", content=PNG).status_code == 200


def test_a_request_that_takes_too_long_is_refused_and_holds_its_slot_until_done(
    make_client: MakeClient, gate: Gate
) -> None:
    client = make_client(workers=1, queue=1, seconds=0.3)
    with ThreadPoolExecutor(2) as pool:
        responses = [pool.submit(client.post, "/v1/segment", content=PNG) for _ in range(2)]
        assert [response.result().status_code for response in responses] == [503, 503]
    assert "0.3 s" in responses[0].result().json()["detail"]
    # The one that waited is gone; the other is still being segmented, as a thread can't be stopped.
    wait_until(lambda: inside(client) == 1)
    gate.open.set()
    wait_until(lambda: inside(client) == 0)
    assert client.post("/v1/segment", content=PNG).status_code == 200


def test_a_client_that_disconnects_leaves_the_queue(make_client: MakeClient, gate: Gate) -> None:
    client = make_client(workers=1, queue=1)
    messages = [{"type": "http.request", "body": PNG}, {"type": "http.disconnect"}]
    scope = {"type": "http", "method": "POST", "path": "/v1/segment", "raw_path": b"/v1/segment", "query_string": b""}
    scope |= {"headers": [(b"host", b"localhost")], "root_path": "", "scheme": "http", "server": ("localhost", 80)}

    async def receive() -> dict:
        return messages.pop(0)

    async def ask_and_go() -> None:
        await client.app(scope, receive, AsyncMock())

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/segment", content=PNG)
        assert gate.entered.acquire(timeout=60)
        client.portal.call(ask_and_go)
        assert inside(client) == 1
        gate.open.set()
        assert first.result().status_code == 200
    assert not gate.entered.acquire(timeout=0.1)
    assert inside(client) == 0


def test_refused_requests_leave_no_slot_occupied(make_client: MakeClient) -> None:
    client = make_client(queue=0, max_bytes=1000)
    for _ in range(5):
        assert client.post("/v1/segment", content=bytes(1001)).status_code == 413
        assert client.post("/v1/segment", content=b"nonsense").status_code == 422
    assert client.post("/v1/segment", content=PNG).status_code == 200


def test_an_internal_error_reveals_nothing_and_the_worker_survives(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(api, "answer_photo", lambda *_: 1 / 0)
        response = client.post("/v1/segment", content=PNG)
    assert response.status_code == 500
    assert "ZeroDivision" not in response.text
    assert client.post("/v1/segment", content=PNG).status_code == 200


@pytest.fixture(scope="module")
def live(start: Callable[..., Server], models: tuple[str, str]) -> Server:
    return start("--model", models[0], "--workers", "1", "--timeout", "1")


def talk(port: int, content: bytes, seconds: float = 15) -> bytes:
    """The server's response to some bytes, up to when it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(content)
        received = b""
        with suppress(ConnectionResetError):  # it closed with bytes unread
            while chunk := client.recv(65536):
                received += chunk
        return received


def test_an_upload_that_never_arrives_ends(live: Server) -> None:
    head = b"POST /v1/segment HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
    assert talk(live.port, head + bytes(10)).startswith(b"HTTP/1.1 408 ")


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"GET /"
UNREAD = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n" + bytes(1000)
SWITCHES = """
import sys
from seg_edge.serve import connection
connection.HEAD_S, connection.SEND_S, connection.MAX_CONNECTIONS = 0.5, 1.5, 8
from seg_edge.commands.cli import main
main()
"""


@pytest.fixture(scope="module")
def impatient(models: tuple[str, str]) -> Iterator[int]:
    """The port of a server with short timeouts."""
    command = [sys.executable, "-c", SWITCHES, "serve", "--port", "0", "--model", models[0], "--workers", "1"]
    with subprocess.Popen([*command, "--queue", "0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        yield int(process.stderr.readline().strip().rstrip("/").rpartition(":")[2])
        process.terminate()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("sent", [b"POST /v1/seg", HEALTH + b"POST /v1/seg", UNREAD], ids=["first", "second", "body"])
def test_half_a_request_ends(impatient: int, sent: bytes) -> None:
    talk(impatient, sent, seconds=60)  # raises if the server never closes the connection


def test_an_endless_unread_body_ends(impatient: int) -> None:
    with socket.create_connection(("127.0.0.1", impatient), timeout=60) as client:
        client.sendall(UNREAD)

        def send_for_ever() -> None:
            for _ in range(3000):
                client.sendall(bytes(100))
                time.sleep(0.02)

        with pytest.raises(ConnectionError):
            send_for_ever()


def test_an_unread_response_blocks_no_one_and_ends(impatient: int) -> None:
    photo = cv2.imencode(".png", noise((1500, 2000)))[1].tobytes()
    request = b"POST /v1/segment?output=cutout HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", impatient))
        client.sendall(request % len(photo) + photo)
        client.recv(100)
        assert talk(impatient, request % 1 + b"x" + HALF).startswith(b"HTTP/1.1 422 ")
        wait_until(lambda: transfers_of(impatient) == 0)


def transfers_of(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    match = re.search(r"^seg_edge_transfers (\S+)$", connection.getresponse().read().decode(), re.MULTILINE)
    assert match
    return float(match[1])


def test_idle_connections_between_requests_stay_open(impatient: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", impatient, timeout=60)
    for _ in range(2):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"ok":true}'
        kept = connection.sock
        time.sleep(2.2)
    assert kept is connection.sock


def test_oldest_idle_connection_is_closed_when_full(impatient: int) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", impatient), timeout=60)) for _ in range(9)
        ]
        assert clients[0].recv(100) == b""
        clients[8].sendall(HEALTH)
        assert clients[8].recv(100).startswith(b"HTTP/1.1 200 ")


def test_broken_requests_write_nothing(start: Callable[..., Server], models: tuple[str, str]) -> None:
    running = start("--model", models[0], "--workers", "1")
    for _ in range(3):
        talk(running.port, b"\x16\x03\x01 nonsense\r\n\r\n")
    running.process.terminate()
    assert "Invalid" not in running.process.communicate(timeout=60)[1]


def test_uvicorn_has_the_attributes_that_are_used() -> None:
    config = uvicorn.Config(lambda: None, log_config=None)
    protocol = H11Protocol(config, ServerState(), {}, asyncio.new_event_loop())
    assert protocol.cycle is None
    assert protocol.conn.their_state is h11.IDLE
    assert protocol.conn.trailing_data == (b"", False)
    assert protocol.connections == set()
    assert {"response_started", "response_complete"} <= set(RequestResponseCycle.__init__.__code__.co_names)


def test_a_client_that_sends_everything_first_gets_the_reason_too(live: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=60)
    connection.request("POST", "/v1/segment", bytes(40_000_000))
    response = connection.getresponse()
    assert response.status == 413
    assert b"16 MB" in response.read()


def test_broken_requests_are_refused(live: Server) -> None:
    for content in (b"\x16\x03\x01 nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 100_000):
        received = talk(live.port, content)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert b"application/problem+json" in received


POST = b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nhello", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 60_000, 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"X: y\r\n" * 5000, 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Expect: 100-continue\r\nContent-Length: 400000000\r\n\r\n", 413),
        (POST + b"Content-Length: -5\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (POST + b"Host: localhost\r\n\r\n", 400),
        (POST + b"X: a\0b\r\n\r\n", 400),
        (POST + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
    ],
)
def test_requests_that_no_browser_sends_get_a_reason(live: Server, content: bytes, status: int) -> None:
    received = talk(live.port, content)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in received


def test_a_client_that_asks_first_may_continue(live: Server) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=60) as client:
        client.sendall(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(PNG))
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(PNG)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_it_still_works_after_all_that_and_ends_cleanly(live: Server) -> None:
    request = b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    assert talk(live.port, request % len(PNG) + PNG).startswith(b"HTTP/1.1 200 ")
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(10) == 0


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_stays_flat(start: Callable[..., Server]) -> None:
    running = start("--model", "person", "--workers", "2")
    connection = http.client.HTTPConnection("127.0.0.1", running.port)
    frame = cv2.resize(cv2.imread(str(GRACE_HOPPER)), (320, 240))
    photos = [cv2.imencode(".jpg", frame)[1].tobytes(), np.random.default_rng(0).bytes(40_000)]

    def ask(times: int) -> None:
        for number in range(times):
            connection.request("POST", "/v1/segment?output=labels", photos[number % 2])
            response = connection.getresponse()
            response.read()
            assert response.status in (200, 422)

    ask(100)
    before = resident_mb(running.process.pid)
    ask(400)  # a picture kept from each would be 90 MB
    assert resident_mb(running.process.pid) - before < 6


HEAD = b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def test_idle_uploads_do_not_block_others(start: Callable[..., Server], models: tuple[str, str]) -> None:
    running = start("--model", models[0], "--workers", "1", "--queue", "0")
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=60))
            for _ in range(MAX_OF_CLIENT)
        ]
        for client in idle:
            client.sendall(HEAD % 100_000 + PNG[:10])
        wait_until(lambda: transfers_of(running.port) == len(idle))
        refused = talk(running.port, HEAD % len(PNG) + PNG)
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1" in refused.lower()
        time.sleep(2.5)
        assert talk(running.port, HEAD % len(PNG) + PNG + HALF).startswith(b"HTTP/1.1 200 ")  # the stillest was ended
        assert idle[0].recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_class_on_a_slow_network_gets_its_masks(start: Callable[..., Server], models: tuple[str, str]) -> None:
    running = start("--model", models[0], "--workers", "1", "--timeout", "1")
    photo = cv2.imencode(".png", noise((150, 200)))[1].tobytes()

    def phone(_: int) -> bytes:
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
            client.sendall(HEAD % len(photo))
            for at in range(0, len(photo), 9000):  # at 45 kB a second it takes two seconds, and the limit is one
                client.sendall(photo[at : at + 9000])
                time.sleep(0.2)
            return client.recv(100)

    with ThreadPoolExecutor(25) as pool:
        assert {received[:12] for received in pool.map(phone, range(25))} == {b"HTTP/1.1 200"}


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_an_unfinished_upload_gets_a_response_on_shutdown(
    start: Callable[..., Server], models: tuple[str, str], sign: signal.Signals
) -> None:
    running = start("--model", models[0], "--workers", "1")
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
        client.sendall(HEAD % 100_000 + PNG[:10])
        wait_until(lambda: transfers_of(running.port) == 1)
        running.process.send_signal(sign)
        received = b""
        while chunk := client.recv(4096):
            received += chunk
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"application/problem+json" in received
    assert running.process.stderr
    logged = running.process.stderr.read()  # `communicate` would miss what was read along with the address
    assert "Traceback" not in logged
    assert logged.count("\n") == 1  # the list of models


def test_it_ends_in_time_whatever_its_clients_do(start: Callable[..., Server], models: tuple[str, str]) -> None:
    running = start("--model", models[0], "--workers", "1")
    photo = cv2.imencode(".png", noise((1000, 1500)))[1].tobytes()
    with ExitStack() as stack:

        def send(content: bytes) -> socket.socket:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", running.port))
            client.sendall(content)
            return stack.enter_context(client)

        send(b"")
        send(HALF)
        send(HEALTH).recv(1000)  # idle between two requests
        send(UNREAD)
        send(HEAD % 100_000 + PNG[:10])
        send(HEAD.replace(b"segment", b"segment?output=cutout") % len(photo) + photo).recv(100)  # a slow reader
        running.process.terminate()
        # Without a limit it would wait for ever; the margin is for load.
        assert running.process.wait(SHUTDOWN_S + 15) in (0, -signal.SIGTERM)
    assert running.process.stderr
    assert "Traceback" not in running.process.stderr.read()


ENDLESS = """
import time
from seg_edge.serve import api
api.answer_photo = lambda *_: time.sleep(60)
from seg_edge.commands.cli import main
main()
"""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_time_whatever_is_being_segmented(models: tuple[str, str], sign: signal.Signals) -> None:
    command = [sys.executable, "-c", ENDLESS, "serve", "--port", "0", "--model", models[0], "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        port = int(process.stderr.readline().strip().rstrip("/").rpartition(":")[2])
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(talk, port, HEAD % len(PNG) + PNG)
            wait_until(lambda: transfers_of(port) == 1)
            time.sleep(0.3)
            process.send_signal(sign)
            assert process.wait(SHUTDOWN_S + 2) in (0, -sign)
            assert response.result().startswith(b"HTTP/1.1 503 ")
        assert "Traceback" not in process.stderr.read()
