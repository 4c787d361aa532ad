"""`seg-edge serve`: loads the models, opens the port, and runs the application until it is stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

import cv2
import uvicorn

from seg_edge.callbacks import Log
from seg_edge.errors import UsageError
from seg_edge.models import bundled_models
from seg_edge.segmenter import Segmenter, default_photo_model
from seg_edge.serve import site
from seg_edge.serve.api import make_app
from seg_edge.serve.connection import SHUTDOWN_S, Connection
from seg_edge.serve.settings import ServeSettings
from seg_edge.serve.transfers import Transfers
from seg_edge.system.memory import keep_freed_memory
from seg_edge.system.port import AllowedHosts, open_port, urls_of

KEEP_ALIVE_S = 30
HEAD_BYTES = 16_384


class Server(uvicorn.Server):
    """uvicorn, except that on shutdown it first responds to clients that are still sending or waiting."""

    def __init__(self, config: uvicorn.Config, transfers: Transfers) -> None:
        super().__init__(config)
        self._transfers = transfers

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shuts down within `SHUTDOWN_S`."""
        self._transfers.close(SHUTDOWN_S / 2)
        await super().shutdown(sockets)


def load_models(settings: ServeSettings) -> list[Mapping[str, Segmenter]]:
    """The models by name, in the order given, once for each worker.

    Raises:
        ModelError: One can't be used.
        UsageError: Two have the same name.
    """
    models = settings.models or tuple(bundled_models())
    model_sets: list[Mapping[str, Segmenter]] = []
    for _ in range(settings.interpreters):
        segmenters = [Segmenter(model, threads=1) for model in models]
        model_set = {segmenter.file.name: segmenter for segmenter in segmenters}
        if len(model_set) < len(segmenters):
            raise UsageError("two of the models have the same name; rename one of the files.")
        model_sets.append(model_set)
    return model_sets


def serve(settings: ServeSettings, log: Log) -> None:
    """Serves until SIGINT or SIGTERM; requests in progress still get a response.

    Raises:
        UsageError: Other machines could connect and there is no token; or this machine doesn't have the address.
        OutputError: The port is taken.
        ModelError: A model can't be used.
    """
    keep_freed_memory()
    cv2.setNumThreads(1)  # one core per worker
    with open_port(settings.host, settings.port, backlog=128) as listening:
        names = AllowedHosts(settings.host, listening.getsockname(), settings.names)
        settings.check_reach(names.loopback)
        model_sets = load_models(settings)
        notes: list[str] = []  # after the address line, which programs read first
        if not settings.models:
            settings = replace(settings, default=default_photo_model(1, notes.append))
        transfers = Transfers(settings.max_held_bytes)
        config = uvicorn.Config(
            make_app(settings, model_sets, names, transfers),
            http=Connection,
            ws="none",
            log_config=None,
            log_level="error",  # at lower levels every request could write a line
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        _announce(settings, listening, log)
        log(f"{', '.join(model_sets[0])}; {len(model_sets)} photos at once; Ctrl-C stops the server")
        for line in notes:
            log(line)
        if not site.is_built():
            log("the page was not built, so only the API is served ('make web' builds the page)")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after shutdown
            Server(config, transfers).run(sockets=[listening])
    if any(thread.name.startswith("segment") for thread in threading.enumerate()):
        os._exit(0)  # Python would wait for a photo in progress, and a thread can't be stopped


def _announce(settings: ServeSettings, listening: socket.socket, log: Log) -> None:
    """Prints the page's address, and a QR code for phones."""
    # If stderr is not a terminal, it may be a journal that others can read.
    in_terminal = sys.stderr.isatty()
    shown = quote(settings.token, safe="") if in_terminal else "<SEG_EDGE_TOKEN>"
    urls = [f"{url}{f'#token={shown}' if settings.token else ''}" for url in urls_of(settings.host, listening)]
    for url in urls:
        log(url)
    if in_terminal and settings.token:
        with contextlib.suppress(ImportError):
            import segno

            segno.make(urls[0], error="L").terminal(out=sys.stderr, compact=True, border=2)
