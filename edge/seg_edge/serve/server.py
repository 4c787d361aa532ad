"""`seg-edge serve`: the models loaded, the port opened, and the application run until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seg_edge.errors import UsageError
from seg_edge.memory import keep_freed_memory
from seg_edge.models import bundled_models
from seg_edge.port import Names, open_port, url_of
from seg_edge.segmenter import Segmenter
from seg_edge.serve import site
from seg_edge.serve.api import make_app
from seg_edge.serve.settings import ServeSettings

MAX_CONNECTIONS = 256  # open at once; those that are more get a 503
FIRST_BYTES_S = 5.0  # a connection that has asked for nothing by then is ended
KEEP_ALIVE_S = 30
HEAD_BYTES = 16_384
SHUTDOWN_S = 5


# Not httptools, where it happens to be there: a seventh more requests a second, but a head without an end would fill
# the memory.
class Protocol(H11Protocol):
    """A connection; uvicorn lets one that says nothing stay for ever."""

    def connection_made(self, transport: Any) -> None:
        """Gives it some seconds."""
        super().connection_made(transport)
        self._waiting = asyncio.get_running_loop().call_later(FIRST_BYTES_S, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None:  # no request has come
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets it."""
        self._waiting.cancel()
        super().connection_lost(exc)


def load_crews(settings: ServeSettings) -> list[Mapping[str, Segmenter]]:
    """The models by name, in the order given, once for each worker.

    Raises:
        ModelError: One can't be used.
        UsageError: Two have one name.
    """
    models = settings.models or tuple(bundled_models())
    crews: list[Mapping[str, Segmenter]] = []
    for _ in range(settings.interpreters):
        segmenters = [Segmenter(model, threads=1) for model in models]
        crew = {segmenter.file.name: segmenter for segmenter in segmenters}
        if len(crew) < len(segmenters):
            raise UsageError("two of the models have the same name; rename one of the files.")
        crews.append(crew)
    return crews


def serve(settings: ServeSettings, tell: Callable[[str], None]) -> None:
    """Answers until SIGINT or SIGTERM; requests under way are answered before it ends.

    Raises:
        UsageError: Other machines could ask, and there is no token; or the address is none of this machine's.
        OutputError: The port is taken.
        ModelError: A model can't be used.
    """
    keep_freed_memory()
    cv2.setNumThreads(1)  # each worker has one core, and shares none
    with open_port(settings.host, settings.port, backlog=128) as listening:
        names = Names(settings.host, listening.getsockname())
        settings.check_reach(names.loopback)
        crews = load_crews(settings)
        config = uvicorn.Config(
            make_app(settings, crews, names),
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        url = url_of(settings.host, listening.getsockname()[1])
        tell(f"{url}{f'#token={settings.token}' if settings.token else ''}")
        tell(f"{', '.join(crews[0])}; {len(crews)} photos at once; Ctrl-C ends it")
        if not site.is_built():
            tell("the page was not built: there is the API alone ('make web' builds the page)")
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when all is closed
            uvicorn.Server(config).run(sockets=[listening])
