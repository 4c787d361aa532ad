"""`seg-edge serve`, as it is typed, and the files of its page."""

import asyncio
import gzip
import http.client
import json
import lzma
import os
import re
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from starlette.testclient import TestClient

from seg_edge.serve import site
from seg_edge.serve.chunked import CHUNK_BYTES
from tests.edge.serve.conftest import MakeClient, Server

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a-token-of-some-length"


def run(
    *arguments: str, code: str = "from seg_edge.commands.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_other_machines_are_not_let_in_without_a_token() -> None:
    done = run("--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "SEG_EDGE_TOKEN=" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "none.tflite"], 1, "no such model"),
        (["--host", "no.such.host.example"], 2, "is not an address of this machine"),
        (["--token", "short"], 2, "the token must have 16"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments: list[str], code: int, message: str) -> None:
    done = run(*arguments, "--workers", "1")
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_two_models_with_the_same_name_are_refused(models: tuple[str, str]) -> None:
    done = run("--model", models[0], "--model", models[0], "--port", "0")
    assert done.returncode == 2
    assert "same name" in done.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    hidden = "import sys; sys.modules['fastapi'] = None; from seg_edge.commands.cli import main; main()"
    done = run(code=hidden)
    assert done.returncode == 2
    assert "pip install fastapi uvicorn h11 prometheus-client segno" in done.stderr
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["serve"]
    assert all(re.match("[a-z0-9-]+", name)[0] in done.stderr for name in extra)


def test_a_taken_port_is_reported(start: Callable[..., Server], models: tuple[str, str]) -> None:
    running = start("--model", models[0], "--workers", "1")
    done = run("--port", str(running.port), "--model", models[0])
    assert done.returncode == 1
    assert f"can't listen on 127.0.0.1 port {running.port}" in done.stderr
    assert "--port N" in done.stderr


def test_with_a_token_it_listens_to_the_network(start: Callable[..., Server], models: tuple[str, str]) -> None:
    running = start("--model", models[0], "--workers", "1", "--host", "0.0.0.0", "--token", TOKEN)
    for token, status in (("", 401), (TOKEN, 200)):
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"})
        assert connection.getresponse().status == status


def test_the_suggested_command_keeps_all_options() -> None:
    done = run("--host", "0.0.0.0", "--port", "9001", "--model", "person")
    assert re.search(
        "SEG_EDGE_TOKEN=[A-Za-z0-9_-]{20,} seg-edge serve --host 0.0.0.0 --port 9001 --model person", done.stderr
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_printed_address_works(start: Callable[..., Server], models: tuple[str, str], host: str) -> None:
    running = start("--model", models[0], "--workers", "1", "--host", host, "--token", TOKEN)
    address = urlsplit(running.url)
    assert address.hostname != socket.gethostname()
    for asked in (address.hostname, "127.0.0.1"):
        connection = http.client.HTTPConnection(asked, running.port, timeout=60)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200


def test_the_token_is_shown_only_on_a_terminal_and_url_encoded(models: tuple[str, str]) -> None:
    token = "a+token/of~some-length=="
    command = [
        sys.executable,
        "-m",
        "seg_edge.commands.cli",
        "serve",
        "--port",
        "0",
        "--model",
        models[0],
        "--workers",
        "1",
    ]
    lines = []
    for ends in (os.openpty, os.pipe):
        ours, theirs = ends()
        process = subprocess.Popen(command, stderr=theirs, env={**os.environ, "SEG_EDGE_TOKEN": token})
        os.close(theirs)
        lines.append(os.read(ours, 1000).split()[0].decode())
        process.terminate()
        process.wait(20)
        os.close(ours)
    assert lines[0].endswith("/#token=" + quote(token, safe=""))
    assert "+" not in lines[0]
    assert lines[1].endswith("/#token=<SEG_EDGE_TOKEN>")


def test_its_tests_are_skipped_without_the_extra() -> None:
    code = "import sys, pytest; sys.modules['fastapi'] = None; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-q", "--collect-only", "-p", "no:cacheprovider", "tests/edge/serve"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "Traceback" not in done.stdout + done.stderr


def test_without_the_page_the_api_is_served_and_the_page_says_how_to_build_it(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(site, "FOLDER", tmp_path / "page")
    client = make_client()
    response = client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "make web" in response.text
    assert client.get("/v1/models").status_code == 200


def test_a_wheel_built_after_the_page_contains_it(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling isn't installed (pip install '.[dev]')")
    if not site.is_built():
        pytest.skip("the page isn't built (make web)")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 8_000_000
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("seg_edge/serve/page/")}
    there = {path.relative_to(site.FOLDER.parents[2]).as_posix() for path in site.FOLDER.rglob("*") if path.is_file()}
    assert packed == there
    ignored = subprocess.run(["git", "check-ignore", "-q", site.FOLDER / "index.html.gz"], cwd=ROOT, check=False)
    assert ignored.returncode == 0 or not (ROOT / ".git").exists()


@pytest.fixture
def built(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TestClient:
    """A server of a simulated page."""
    (tmp_path / "page" / "assets").mkdir(parents=True)
    for name, content in (
        ("index.html", b"<p>the page"),
        ("assets/a-1.wasm", b"\0asm"),
        ("sw.js", b"//"),
        ("odd.xyz", b"?"),
    ):
        (tmp_path / "page" / f"{name}.gz").write_bytes(gzip.compress(content))
    (tmp_path / "secret.js").write_text("no")
    monkeypatch.setattr(site, "FOLDER", tmp_path / "page")
    return make_client()


def test_the_page_s_files_come_gzipped_or_plain(built: TestClient) -> None:
    zipped = built.get("/", headers={"Accept-Encoding": "gzip"})
    plain = built.get("/", headers={"Accept-Encoding": "identity"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert zipped.text == plain.text == "<p>the page"
    assert "content-encoding" not in built.get("/", headers={"Accept-Encoding": "br, gzip;q=0"}).headers
    assert built.get("/odd.xyz").headers["content-type"] == "application/octet-stream"


def test_files_with_a_hash_in_their_name_are_cached_for_ever_and_others_revalidated(built: TestClient) -> None:
    assert "immutable" in built.get("/assets/a-1.wasm").headers["cache-control"]
    assert built.get("/assets/a-1.wasm").headers["content-type"] == "application/wasm"
    for path in ("/", "/sw.js"):
        assert built.get(path).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_each_build_of_the_engine_is_unpacked(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    shared = np.random.default_rng(0).bytes(200_000)
    builds = {"assets/a-1.wasm": b"threads" + shared, "assets/b-2.wasm": b"compat" + shared}
    (tmp_path / "wasm.xz").write_bytes(lzma.compress(b"".join(builds.values())))
    (tmp_path / "wasm.json").write_text(json.dumps({name: len(content) for name, content in builds.items()}))
    (tmp_path / "index.html.gz").write_bytes(gzip.compress(b"<p>the page"))
    monkeypatch.setattr(site, "FOLDER", tmp_path)
    client = make_client()
    for name, content in [*reversed(builds.items()), *builds.items()]:  # one that is held already, too
        response = client.get(f"/{name}", headers={"Accept-Encoding": encoding})
        assert response.content == content
        assert response.headers.get("content-encoding", "identity") == encoding
        assert response.headers["content-type"] == "application/wasm"
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["vary"] == "Accept-Encoding"
    assert client.get("/wasm.xz").status_code == client.get("/wasm.json").status_code == 404


@pytest.mark.parametrize("encoding", [b"gzip", b"identity"])
def test_a_large_file_is_sent_in_chunks(built: TestClient, encoding: bytes) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    (site.FOLDER / "sw.js.gz").write_bytes(gzip.compress(content))
    sizes: list[int] = []

    async def receive() -> dict:
        await asyncio.sleep(60)
        return {}

    async def send(message: dict) -> None:
        sizes.append(len(message.get("body", b"")))

    (route,) = [route for route in site.routes() if route.path == "/sw.js"]
    scope = {"type": "http", "method": "GET", "path": "/sw.js", "headers": [(b"accept-encoding", encoding)]}
    asyncio.run(route.handle(scope, receive, send))
    assert sum(sizes) >= len(content)
    assert max(sizes) <= CHUNK_BYTES


@pytest.mark.parametrize("path", ["/../secret.js", "/%2e%2e/secret.js", "/assets/../../secret.js", "/index.html.gz"])
def test_no_other_file_is_served(built: TestClient, path: str) -> None:
    assert built.get(path).status_code == 404
