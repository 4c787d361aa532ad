"""The application in this process, and a server in its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tiny import FOUR_CARD, FOUR_UINT8, TWO_CARD, TWO_UINT8, carded

if TYPE_CHECKING:
    from starlette.testclient import TestClient

if find_spec("fastapi") is None:  # pip install '.[serve]'
    collect_ignore_glob = ["test_*.py"]

ADDRESS = ("127.0.0.1", 8000)
MakeClient = Callable[..., "TestClient"]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model that finds what is bright, and one of four colours."""
    two, four = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("four")
    bright = carded(TWO_UINT8, two, TWO_CARD).rename(two / "bright.tflite")
    colours = carded(FOUR_UINT8, four, replace(FOUR_CARD, specks=5)).rename(four / "colours.tflite")
    return str(bright), str(colours)


@pytest.fixture
def make_client(models: tuple[str, str]) -> Iterator[MakeClient]:
    """Clients of applications in this process, with the given settings."""
    from starlette.testclient import TestClient

    from seg_edge.serve.api import make_app
    from seg_edge.serve.server import load_models
    from seg_edge.serve.settings import ServeSettings
    from seg_edge.system.port import AllowedHosts

    with ExitStack() as stack:

        def make(**changes: Any) -> TestClient:
            settings = ServeSettings(**{"models": models, "workers": 1, **changes})
            app = make_app(settings, load_models(settings), AllowedHosts("127.0.0.1", ADDRESS, settings.names))
            # The server's own errors come as responses, as they would over a wire.
            client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
            return stack.enter_context(client)

        yield make


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client()


class Server:
    """`seg-edge serve` in its own process, on a free port."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "seg_edge.commands.cli", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        self.url = self.process.stderr.readline().strip()
        if not self.url.startswith("http"):
            raise RuntimeError(self.url + self.process.stderr.read())
        if "--token" in arguments:  # which is not shown in a pipe
            self.url = self.url.replace("<SEG_EDGE_TOKEN>", arguments[arguments.index("--token") + 1])
        self.port = int(self.url.partition("#")[0].rstrip("/").rpartition(":")[2])

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Server]]:
    """Servers that end with the test module."""
    with ExitStack() as stack:

        def begin(*arguments: str | Path) -> Server:
            server = Server(*map(str, arguments))
            stack.callback(server.close)
            return server

        yield begin
