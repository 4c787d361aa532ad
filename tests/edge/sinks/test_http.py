"""The page as seen by browsers, other programs and attackers: a real server, real sockets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.http import feed as http_feed
from seg_edge.sinks.http import handler as http_handler
from seg_edge.sinks.http import server as http_server
from seg_edge.sinks.http import site as http_site
from seg_edge.sinks.http.view import HttpView
from seg_edge.sinks.sink import Controls
from tests.edge.sinks.output_frames import make_output_frame

EFFECTS = ["overlay", "mask", "cutout", "blur"]
SOON = 10.0  # the most seconds that anything takes on a busy machine


class Camera:
    """Publishes grey pictures, 50 a second, and counts them."""

    def __init__(self, view: HttpView, shape_hw: tuple[int, int] = (48, 64)):
        self.view, self.shape_hw = view, shape_hw
        self.published = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        items = [make_output_frame(1 + i, self.shape_hw) for i in range(100)]
        for i in range(100_000):
            if self._stop.wait(0.02):
                return
            self.view.publish(items[i % 100])
            self.published += 1

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def controls() -> Controls:
    return Controls()


@pytest.fixture
def view(controls: Controls) -> Iterator[HttpView]:
    view = HttpView("127.0.0.1", 0, controls, EFFECTS)
    yield view
    view.close()


def port_of(view: HttpView) -> int:
    return int(view.url.rstrip("/").rpartition(":")[2])


def ask(
    view: HttpView,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    host: str = "127.0.0.1",
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(host, port_of(view), timeout=SOON)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def change(view: HttpView, document: object, **headers: str) -> int:
    kinds = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(view, "/control", "POST", json.dumps(document).encode(), kinds)[0].status


def raw(view: HttpView, request: bytes) -> bytes:
    """The server's response to these bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port_of(view)), timeout=SOON) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        response = b""
        while part := connection.recv(65536):
            response += part
    return response


@contextmanager
def streaming(view: HttpView) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(view), timeout=SOON)
    connection.request("GET", "/stream.mjpg")
    response = connection.getresponse()
    try:
        yield response
    finally:
        response.close()
        connection.close()


def next_picture(response: http.client.HTTPResponse) -> np.ndarray:
    """The next part of a multipart stream, read as strictly as a parser does."""
    assert response.readline().strip() == b"--seg-edge-frame"
    head = {}
    while line := response.readline().strip():
        name, _, value = line.partition(b": ")
        head[name] = value
    assert head[b"Content-Type"] == b"image/jpeg"
    content = response.read(int(head[b"Content-Length"]))
    assert response.read(2) == b"\r\n"
    return decode(content)


def decode(content: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < until, "it didn't happen"
        time.sleep(0.01)


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]


def stats_of(view: HttpView) -> dict:
    return json.loads(ask(view, "/stats.json")[1])


def test_a_watcher_sees_what_is_published(view: HttpView) -> None:
    view.publish(make_output_frame(1, value=40))
    with streaming(view) as stream:
        assert stream.status == 200
        assert stream.getheader("Content-Type", "").startswith("multipart/x-mixed-replace; boundary=")
        assert abs(float(next_picture(stream).mean()) - 40) < 3
        view.publish(make_output_frame(2, value=200))
        assert abs(float(next_picture(stream).mean()) - 200) < 3


def test_opencv_reads_the_stream(view: HttpView) -> None:
    view.publish(make_output_frame())  # OpenCV scales all pictures to the size of the first
    with Camera(view):
        capture = cv2.VideoCapture(view.url + "stream.mjpg", cv2.CAP_FFMPEG)
        assert capture.isOpened()
        assert [capture.read()[1].shape for _ in range(3)] == [(48, 64, 3)] * 3
        capture.release()


def test_the_snapshot_is_the_newest_picture(view: HttpView) -> None:
    view.publish(make_output_frame(1, value=30))
    assert abs(float(decode(ask(view, "/snapshot.jpg")[1]).mean()) - 30) < 3
    view.publish(make_output_frame(2, value=220))
    response, content = ask(view, "/snapshot.jpg")
    assert response.getheader("Content-Type") == "image/jpeg"
    assert abs(float(decode(content).mean()) - 220) < 3


def test_the_stats_contain_what_the_page_shows(view: HttpView, controls: Controls) -> None:
    controls.mirror = True
    view.publish(make_output_frame(7, age_ms=21.04, fps=29.9))
    assert stats_of(view) == {
        "frame": 7,
        "fps": 29.9,
        "age_ms": 21.0,
        "size_wh": [64, 48],
        "classes": [
            {"name": info.name, "colour": "#{:02x}{:02x}{:02x}".format(*info.colour), "share": share}
            for info, share in zip(make_output_frame().result.classes[1:], (0.5, 0.0), strict=True)
        ],
        "message": "",
        "effect": "overlay",
        "effects": EFFECTS,
        "mirror": True,
        "watchers": 0,
    }


def test_before_the_first_picture_a_placeholder_says_why(view: HttpView) -> None:
    view.idle("")
    assert "first picture" in stats_of(view)["message"]
    assert stats_of(view)["frame"] is None
    with streaming(view) as stream:
        assert next_picture(stream).shape == (480, 640, 3)
        view.idle("The camera is gone.")
        assert next_picture(stream).shape == (480, 640, 3)
        view.publish(make_output_frame(1))
        assert next_picture(stream).shape == (48, 64, 3)
    assert stats_of(view)["message"] == ""


def test_a_lost_camera_keeps_its_watchers_and_its_last_picture(view: HttpView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_feed, "REPEAT", 0.05)
    view.publish(make_output_frame(1, value=77))
    with streaming(view) as stream:
        next_picture(stream)
        view.idle("The camera is gone; trying again in 4 s.")
        for _ in range(5):  # repeated, so that no client times out
            assert abs(float(next_picture(stream).mean()) - 77) < 3
        assert stats_of(view)["message"] == "The camera is gone; trying again in 4 s."
        assert ask(view, "/healthz")[0].status == 200
        monkeypatch.setattr(http_feed, "HEALTHY", 0.0)
        assert ask(view, "/healthz")[0].status == 503
        view.publish(make_output_frame(2, value=180))
        wait_until(lambda: abs(float(next_picture(stream).mean()) - 180) < 3)


def test_without_a_frame_it_is_not_healthy(view: HttpView) -> None:
    response, content = ask(view, "/healthz")
    assert response.status == 503
    assert json.loads(content)["ok"] is False


def test_each_frame_is_encoded_once_and_only_for_a_watcher(view: HttpView, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    encode = http_feed.encode
    monkeypatch.setattr(http_feed, "encode", lambda picture: (encoded.append(1), encode(picture))[1])
    for number in range(1, 20):
        view.publish(make_output_frame(number))
    time.sleep(0.2)
    assert not encoded
    with streaming(view) as first, streaming(view) as second, streaming(view) as third:
        for number in range(20, 25):
            view.publish(make_output_frame(number, value=number))
            for stream in (first, second, third):
                wait_until(lambda s=stream, n=number: abs(float(next_picture(s).mean()) - n) < 0.9)
        assert 5 <= len(encoded) <= 6  # one from before they came, and five


def test_clients_that_stall_or_vanish_do_not_slow_others(view: HttpView, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < (http_handler.Handler.timeout or 0) <= 30
    monkeypatch.setattr(http_handler.Handler, "timeout", 1.0)
    stuck = []
    with Camera(view, (480, 640)) as camera:
        for _ in range(3):
            connection = socket.create_connection(("127.0.0.1", port_of(view)))
            connection.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stuck.append(connection)
        for _ in range(3):
            with streaming(view) as stream:
                next_picture(stream)
        with streaming(view) as reader:
            for _ in range(30):
                next_picture(reader)
            # Clients that keep reading go on watching; the others lose their threads.
            wait_until(lambda: stats_of(view)["watchers"] == 1)
            next_picture(reader)
        wait_until(lambda: stats_of(view)["watchers"] == 0)
        published = camera.published
        wait_until(lambda: camera.published > published + 10)
    for connection in stuck:
        connection.close()


def test_nothing_is_encoded_without_a_watcher(view: HttpView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: pytest.fail("a picture was encoded without a watcher"))
    for number in range(1, 21):
        view.publish(make_output_frame(number, (480, 640)))


def test_the_number_of_watchers_is_limited(view: HttpView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_handler, "MAX_STREAMS", 2)
    with streaming(view) as first, streaming(view) as second:
        next_picture(first)
        next_picture(second)
        assert ask(view, "/stream.mjpg")[0].status == 503
        assert ask(view, "/")[0].status == 200
    wait_until(lambda: ask(view, "/stats.json")[0].status == 200 and stats_of(view)["watchers"] == 0)


def test_the_number_of_connections_is_limited(view: HttpView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 3)
    held = [socket.create_connection(("127.0.0.1", port_of(view))) for _ in range(3)]
    wait_until(lambda: len(client_threads()) == 3)
    assert ask(view, "/")[0].status == 503
    for connection in held:
        connection.close()
    wait_until(lambda: not client_threads())
    assert ask(view, "/")[0].status == 200


def test_the_buttons_work(view: HttpView, controls: Controls) -> None:
    assert change(view, {"effect": "blur"}) == 200
    assert (controls.effect, controls.mirror) == ("blur", False)
    assert change(view, {"mirror": True}, Origin=view.url.rstrip("/")) == 200
    assert (controls.effect, controls.mirror) == ("blur", True)
    assert change(view, {"effect": "mask", "mirror": False}) == 200
    assert (controls.effect, controls.mirror) == ("mask", False)


@pytest.mark.parametrize(
    "document",
    [
        {"effect": "replace"},
        {"effect": "nonsense"},
        {"effect": ["overlay"]},
        {"effect": None},
        {"mirror": "yes"},
        {"mirror": 1},
        {"effect": "blur", "mirror": 1},
        {"effect": "blur", "stop": True},
        {},
        [],
        "blur",
        None,
    ],
)
def test_nonsense_changes_nothing(view: HttpView, controls: Controls, document: object) -> None:
    assert change(view, document) == 400
    assert (controls.effect, controls.mirror) == ("overlay", False)


def test_replace_is_offered_where_there_is_a_background(controls: Controls) -> None:
    view = HttpView("127.0.0.1", 0, controls, ["overlay", "replace"])
    assert change(view, {"effect": "replace"}) == 200
    assert change(view, {"effect": "mask"}) == 400
    assert stats_of(view)["effects"] == ["overlay", "replace"]
    view.close()


def test_other_sites_can_neither_change_nor_see_anything(view: HttpView, controls: Controls) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://[", "https://localhost"):
        assert change(view, {"effect": "mask"}, Origin=origin) == 403
    form = {"Content-Type": "text/plain"}
    assert ask(view, "/control", "POST", b'{"effect": "mask"}', form)[0].status == 415
    assert controls.effect == "overlay"
    for path in ("/", "/stats.json", "/snapshot.jpg", "/stream.mjpg", "/healthz"):
        for host in (
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
        ):
            assert ask(view, path, headers={"Host": host})[0].status == 403
    assert change(view, {"effect": "mask"}, Host="evil.example") == 403
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:1234", "[::1]:9"):
        assert ask(view, "/stats.json", headers={"Host": host})[0].status == 200


@pytest.mark.parametrize("path", ["/", "/stats.json", "/snapshot.jpg", "/stream.mjpg", "/nothing"])
def test_every_response_has_the_security_headers(view: HttpView, path: str) -> None:
    view.publish(make_output_frame())
    connection = http.client.HTTPConnection("127.0.0.1", port_of(view), timeout=SOON)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Cache-Control") == "no-store"
    assert response.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert "default-src 'none'" in response.getheader("Content-Security-Policy", "")
    assert "Python" not in response.getheader("Server", "")
    response.close()
    connection.close()


def test_the_page_is_self_contained_and_matches_its_policy(view: HttpView) -> None:
    response, content = ask(view, "/")
    page, policy = content.decode(), response.getheader("Content-Security-Policy", "")
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    assert not re.search(r"https?://|@import|url\(|<link(?! rel=\"icon\" href=\"data:)| style=| on\w+=", page)
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_page_goes_into_the_wheel() -> None:
    # hatch packs everything in its packages, except what its configuration or git excludes.
    root = Path(__file__).parents[3]
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    assert (root / wheel["packages"][0] / "sinks" / "http" / "page.html").samefile(http_site.PAGE)
    assert not {"include", "only-include", "exclude"} & (build.keys() | wheel.keys())
    if (root / ".git").exists():
        assert subprocess.run(["git", "check-ignore", "-q", http_site.PAGE], cwd=root, check=False).returncode == 1


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.x\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET //[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n", 411),
        (
            b"POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: -1\r\n\r\n",
            400,
        ),
        (
            b"POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 200000\r\n\r\n" + b"a" * 200_000,
            413,
        ),
        (
            b"POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n" + b"[" * 1000,
            400,
        ),
    ],
)
def test_bad_requests_are_refused_quietly(
    view: HttpView, request_bytes: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    response = raw(view, request_bytes)
    assert re.match(rb"HTTP/1\.[01] %d " % status, response), response[:200]
    assert ask(view, "/")[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_errors_are_plain_text_that_quotes_nothing(view: HttpView) -> None:
    for request, status in ((b"BREW / HTTP/1.1", b"405"), (b"GET /<b>secret HTTP/1.1", b"404"), (b"<b>secret", b"400")):
        head, _, body = raw(view, request + b"\r\nHost: localhost\r\n\r\n").partition(b"\r\n\r\n")
        assert b"Content-Type: text/plain" in head
        assert (b"\r\nAllow: GET, POST\r\n" in head) == (status == b"405")
        assert body.startswith(status)
        assert b"secret" not in head + body
        assert b"BREW" not in head + body


def test_a_request_whose_body_never_comes_ends(view: HttpView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_handler.Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", port_of(view)), timeout=SOON) as connection:
        connection.sendall(
            b"POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
        )
        assert connection.recv(100) == b""
    wait_until(lambda: not client_threads())


def test_a_connection_serves_many_requests(view: HttpView) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(view), timeout=SOON)
    for _ in range(5):
        connection.request("GET", "/stats.json")
        assert connection.getresponse().read().startswith(b"{")
    assert len(client_threads()) == 1
    connection.close()


def test_closing_ends_every_client_and_thread(controls: Controls) -> None:
    before = set(threading.enumerate())
    view = HttpView("127.0.0.1", 0, controls, EFFECTS)
    stuck = socket.create_connection(("127.0.0.1", port_of(view)))
    stuck.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    silent = socket.create_connection(("127.0.0.1", port_of(view)))
    with Camera(view, (480, 640)), streaming(view) as reader:
        next_picture(reader)
        time.sleep(0.5)
    view.close()
    view.close()
    wait_until(lambda: set(threading.enumerate()) <= before)
    with pytest.raises(OSError, match="refused"):
        ask(view, "/")
    stuck.close()
    silent.close()


def test_a_program_that_ends_without_closing_still_ends() -> None:
    code = (
        "import urllib.request; from seg_edge.sinks.http.view import HttpView;"
        "from seg_edge.sinks.sink import Controls;"
        "view = HttpView('127.0.0.1', 0, Controls(), ['overlay']);"
        "stream = urllib.request.urlopen(view.url + 'stream.mjpg'); stream.read(100)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_picture_that_cannot_be_encoded_is_reported(view: HttpView) -> None:
    with streaming(view) as stream:
        next_picture(stream)
        view.publish(make_output_frame(1, (1, 70_000)))  # a JPEG's sides have 16 bits
        with contextlib.suppress(http.client.HTTPException, OSError):
            stream.read()  # until the server closes the connection
        with pytest.raises(OutputError, match="a JPEG holds at most 65500 pixels a side"):
            view.publish(make_output_frame(2))


def test_the_error_for_a_port_in_use_says_what_to_do(view: HttpView, controls: Controls) -> None:
    with pytest.raises(OutputError, match=rf"port {port_of(view)} .*--port N"):
        HttpView("127.0.0.1", port_of(view), controls, EFFECTS)


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 0), ("192.0.2.1", 0), ("127.0.0.1", 65536)])
def test_an_address_that_can_not_be_listened_on_is_refused(controls: Controls, host: str, port: int) -> None:
    with pytest.raises(UsageError, match="--host|--port"):
        HttpView(host, port, controls, EFFECTS)


def test_ipv6_works(controls: Controls) -> None:
    try:
        view = HttpView("::1", 0, controls, EFFECTS)
    except UsageError:
        pytest.skip("this machine has no IPv6")
    assert view.url.startswith("http://[::1]:")
    assert ask(view, "/stats.json", host="::1")[0].status == 200
    assert ask(view, "/stats.json", headers={"Host": "evil.example"}, host="::1")[0].status == 403
    view.close()


def test_open_to_the_network_it_accepts_its_names_and_addresses(controls: Controls) -> None:
    view = HttpView("0.0.0.0", 0, controls, EFFECTS)
    assert "0.0.0.0" not in view.url
    name = f"{socket.gethostname()}.local:8080"
    for host in (name, name.upper(), "192.168.1.7:8080", "[fe80::1]:8080", "localhost"):
        assert ask(view, "/stats.json", headers={"Host": host})[0].status == 200, host
    for host in ("evil.example", "192.168.1.7.evil.example", "raspberrypi.evil.example"):
        assert ask(view, "/stats.json", headers={"Host": host})[0].status == 403, host
    assert change(view, {"effect": "mask"}, Host=name, Origin=f"http://{name}") == 200
    assert change(view, {"effect": "blur"}, Host=name, Origin="http://evil.example") == 403
    view.close()


def test_a_web_site_that_is_named_may_show_it_in_a_frame() -> None:
    origin = "http://hass.local:8123"
    with contextlib.closing(HttpView("127.0.0.1", 0, Controls(), EFFECTS, [origin], ["cam.example"])) as view:
        request = urllib.request.Request(view.url, headers={"Host": "cam.example"})
        with urllib.request.urlopen(request, timeout=60) as page:
            assert page.headers["Content-Security-Policy"].endswith(f"frame-ancestors {origin}")
    for wrong in ("hass.local", "http://a; script-src *", "http://a b", "ftp://a"):
        with pytest.raises(UsageError, match="--allow-frame"):
            HttpView("127.0.0.1", 0, Controls(), EFFECTS, [wrong])
