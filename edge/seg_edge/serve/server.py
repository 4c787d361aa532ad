"""`seg-edge serve`: the models loaded, the port opened, and the application run until it is stopped."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import cv2
import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seg_edge.errors import UsageError
from seg_edge.models import bundled_models
from seg_edge.segmenter import Segmenter, default_photo_model
from seg_edge.serve import site
from seg_edge.serve.api import make_app
from seg_edge.serve.settings import ServeSettings
from seg_edge.system.memory import keep_freed_memory
from seg_edge.system.port import AllowedHosts, open_port, url_of

MAX_CONNECTIONS = 256  # open at once; those that are more are hung up on
HEAD_S = 5.0  # for a request's head, and for the rest of a body that nobody reads any more
SEND_S = 60.0  # for an answer to be taken
KEEP_ALIVE_S = 30
HEAD_BYTES = 16_384
SHUTDOWN_S = 5


# Not httptools, where it happens to be there: a seventh more requests a second, but a head without an end would fill
# the memory.
class Protocol(H11Protocol):
    """A connection; uvicorn lets one stay for ever that says half a request, or takes half an answer."""

    def connection_made(self, transport: Any) -> None:
        """Watches it, or hangs up where there are too many."""
        super().connection_made(transport)
        self._watched = self.cycle  # a request and its answer
        self._asking = self._sending = self.loop.time()  # since when it has kept us waiting
        self._watch()
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()

    def _watch(self) -> None:
        now, cycle = self.loop.time(), self.cycle
        if cycle is not self._watched:
            self._watched, self._asking, self._sending = cycle, now, now
        # Between two requests uvicorn counts the seconds itself; within one, the application does.
        between = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if cycle is not None and (between or not cycle.response_complete):
            self._asking = now
        answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if not answering and not self.transport.get_write_buffer_size():
            self._sending = now
        if now - self._asking > HEAD_S or now - self._sending > SEND_S:
            self.transport.abort()
        self._timer = self.loop.call_later(1, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets it."""
        self._timer.cancel()
        super().connection_lost(exc)


def load_models(settings: ServeSettings) -> list[Mapping[str, Segmenter]]:
    """The models by name, in the order given, once for each worker.

    Raises:
        ModelError: One can't be used.
        UsageError: Two have one name.
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


def serve(settings: ServeSettings, log: Callable[[str], None]) -> None:
    """Answers until SIGINT or SIGTERM; requests under way are answered before it ends.

    Raises:
        UsageError: Other machines could ask, and there is no token; or the address is none of this machine's.
        OutputError: The port is taken.
        ModelError: A model can't be used.
    """
    keep_freed_memory()
    cv2.setNumThreads(1)  # each worker has one core, and shares none
    with open_port(settings.host, settings.port, backlog=128) as listening:
        names = AllowedHosts(settings.host, listening.getsockname(), settings.names)
        settings.check_reach(names.loopback)
        model_sets = load_models(settings)
        notes: list[str] = []  # told after the address, which programs read first
        if not settings.models:
            settings = replace(settings, default=default_photo_model(1, notes.append))
        config = uvicorn.Config(
            make_app(settings, model_sets, names),
            http=Protocol,
            ws="none",
            log_config=None,
            log_level="error",  # below that, anybody could write a line a request
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        url = url_of(settings.host, listening.getsockname()[1])
        # Where it isn't a person who reads this, it is a journal, which others may read.
        shown = quote(settings.token, safe="") if sys.stderr.isatty() else "<SEG_EDGE_TOKEN>"
        log(f"{url}{f'#token={shown}' if settings.token else ''}")
        log(f"{', '.join(model_sets[0])}; {len(model_sets)} photos at once; Ctrl-C ends it")
        for line in notes:
            log(line)
        if not site.is_built():
            log("the page was not built: there is the API alone ('make web' builds the page)")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when all is closed
            uvicorn.Server(config).run(sockets=[listening])
