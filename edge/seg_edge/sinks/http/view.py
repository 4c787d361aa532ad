"""The live picture in a browser: an MJPEG page from the standard library's HTTP server, on loopback by default."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from seg_edge.sinks.http.feed import Feed
from seg_edge.sinks.http.handler import Handler
from seg_edge.sinks.http.server import listen
from seg_edge.sinks.http.site import Site
from seg_edge.sinks.sink import Controls, OutputFrame
from seg_edge.system.port import urls_of


class HttpView:
    """A page with the live picture, and its parts for other programs.

    `/` the page; `/stream.mjpg` the pictures, `multipart/x-mixed-replace`; `/snapshot.jpg` the newest;
    `/stats.json` `{"frame", "fps", "age_ms", "size_wh", "message", "effect", "effects", "mirror", "classes":
    [{"name", "colour", "share"}], "watchers"}`, where the first four are null before the first frame;
    `POST /control` accepts `{"effect": NAME, "mirror": BOOL}` or either; `/healthz` is 200 while frames come, else 503.

    Args:
        host: Name or address to listen on. Only requests for this machine's names and addresses are accepted, so that
            no web site can reach the camera through a name of its own (DNS rebinding).
        port: Port to listen on; 0 chooses a free one.
        controls: The settings that the page's buttons change.
        effects: Names that the page offers and `/control` accepts; without `replace` if there is no background for it.
        frame_origins: Web sites that may show the page in a frame, such as `http://hass.local:8123`.
        names: Other names to accept, such as those of a proxy.

    Attributes:
        name: `--view http`.
        url: The page's URL.

    Raises:
        UsageError: The port isn't valid, or the host isn't an address of this machine.
        OutputError: The port is in use or not allowed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        controls: Controls,
        effects: Sequence[str],
        frame_origins: Sequence[str] = (),
        names: Sequence[str] = (),
    ) -> None:
        self.name = "--view http"
        self._feed = Feed()
        self._server = listen(host, port, partial(Handler, Site(self._feed, controls, effects, frame_origins)), names)
        self.url = urls_of(host, self._server.socket)[0]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http server", daemon=True)
        self._thread.start()

    def publish(self, item: OutputFrame) -> None:
        """Publishes one frame; it is encoded on a client's thread, if there is one.

        Raises:
            OutputError: An earlier one could not be encoded.
        """
        self._feed.publish(item)

    def idle(self, message: str) -> None:
        """Shows why there is no frame: on the page over the last picture, or as a picture before the first."""
        self._feed.idle(message)

    def wanted(self, resting: bool) -> bool:
        """Whether a client is watching, or was within the last 10 s; `resting` says whether the camera is closed."""
        self._feed.resting = resting
        return self._feed.wanted()

    def close(self) -> None:
        """Ends every client and thread; waits up to 2 s for them. May be called twice."""
        self._feed.close()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
