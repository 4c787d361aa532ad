"""The server's settings, checked once."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from seg_edge.errors import UsageError
from seg_edge.interpreter import available_cores

MIN_TOKEN = 16


@dataclass(frozen=True)
class ServeSettings:
    """The settings of `seg-edge serve`; see its options.

    Attributes:
        models: Names or files; empty for all that are bundled.
        default: Name of the model for requests that name none; empty for the first.
        host: Name or address to listen on.
        port: 0 picks a free one.
        names: Further host names, used by a proxy in front of the server.
        token: The token that requests must send; empty for none.
        workers: Photos segmented at once, each by an interpreter of one thread; 0 for as many as there are cores.
        queue: Photos that may wait for a worker.
        max_bytes: Largest upload.
        max_pixels: Largest photo.
        seconds: Time for a photo to arrive, longer for a large one, and then to be segmented.
        on_server: Whether the page also offers uploading, besides segmenting in the browser.
        command: How the server was started, for messages that suggest a better command.
    """

    models: tuple[str, ...] = ()
    default: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    token: str = ""
    workers: int = 0
    queue: int = 64
    max_bytes: int = 16_000_000
    max_pixels: int = 16_000_000
    seconds: float = 30.0
    on_server: bool = False
    command: str = "seg-edge serve"

    def __post_init__(self) -> None:
        # The characters that RFC 6750 allows in a bearer token.
        if self.token and not re.fullmatch(rf"[A-Za-z0-9._~+/-]{{{MIN_TOKEN},200}}=*", self.token):
            raise UsageError(
                f"the token must have {MIN_TOKEN} to 200 letters, digits or signs of - . _ ~ + / "
                f"(here is a new one: {secrets.token_urlsafe(18)})."
            )
        for name in self.names:
            if not re.fullmatch(r"[A-Za-z0-9.-]+", name):
                raise UsageError(f"--name {name!r} is not a host name; give it without https:// and port.")

    @property
    def max_held_bytes(self) -> int:
        """Limit on photos and responses in memory at once."""
        return 16 * self.max_bytes

    @property
    def interpreters(self) -> int:
        """How many photos are segmented at once."""
        return self.workers or available_cores()

    def check_reach(self, loopback: bool) -> None:
        """Refuses to listen to other machines without a token.

        Raises:
            UsageError: With a command that works.
        """
        if self.token or (loopback and not self.names):
            return
        again = f"SEG_EDGE_TOKEN={secrets.token_urlsafe(18)} {self.command}"
        if self.names:
            raise UsageError(f"--name {self.names[0]} is for a proxy that lets others in, which needs a token: {again}")
        raise UsageError(f"--host {self.host} lets other machines in, which needs a token: {again}")
