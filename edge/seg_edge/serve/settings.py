"""What a server was told, checked once."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from seg_edge.errors import UsageError
from seg_edge.interpreter import available_cores

MIN_TOKEN = 16


@dataclass(frozen=True)
class ServeSettings:
    """Everything `seg-edge serve` was asked for; see its options.

    Attributes:
        models: Names or files; empty for all that are bundled.
        default: Name of the model for a request that names none; empty for the first.
        host: Name or address to listen on.
        port: 0 takes a free one.
        names: What else it is called, by a proxy before it.
        token: What a request must bring; empty for none.
        workers: Photos segmented at once, each by an interpreter of one thread; 0 for as many as there are cores.
        queue: Photos that may wait beside those.
        max_bytes: Of one upload.
        max_pixels: Of one photo.
        seconds: Until a photo is there, longer if it is large, and then until it is answered.
        on_server: Whether the page offers to upload, beside segmenting in the browser.
        command: How the server was started, for messages that say how to start it better.
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
        # What RFC 6750 lets a bearer token be made of.
        if self.token and not re.fullmatch(rf"[A-Za-z0-9._~+/-]{{{MIN_TOKEN},200}}=*", self.token):
            raise UsageError(
                f"the token must have {MIN_TOKEN} to 200 letters, digits or signs of - . _ ~ + / "
                f"(here is a new one: {secrets.token_urlsafe(18)})."
            )
        for name in self.names:
            if not re.fullmatch(r"[A-Za-z0-9.-]+", name):
                raise UsageError(f"--name {name!r} is no host's name; give it without https:// and port.")

    @property
    def max_held_bytes(self) -> int:
        """Of photos and answers in memory at once."""
        return 16 * self.max_bytes

    @property
    def interpreters(self) -> int:
        """How many photos are segmented at once."""
        return self.workers or available_cores()

    def check_reach(self, loopback: bool) -> None:
        """Refuses to be reached from other machines without a token.

        Raises:
            UsageError: With a command that would do.
        """
        if self.token or (loopback and not self.names):
            return
        again = f"SEG_EDGE_TOKEN={secrets.token_urlsafe(18)} {self.command}"
        if self.names:
            raise UsageError(
                f"--name {self.names[0]} is for a proxy that lets others in, and that takes a token: {again}"
            )
        raise UsageError(f"--host {self.host} lets other machines in, and that takes a token: {again}")
