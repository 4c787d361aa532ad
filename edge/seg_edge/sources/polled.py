"""A camera that gives one picture at a time: an address such as `http://door.local/snap.jpg`, asked again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    OpenerDirector,
    build_opener,
)

import numpy as np

from seg_edge.errors import PhotoError, SourceError
from seg_edge.photo.read import load_photo_bytes
from seg_edge.sources.names import shown_name
from seg_edge.sources.source import SourceFrame, SourceInfo, SourceRequest
from seg_edge.sources.still import LARGEST_WH, Pace, fit_inside

FPS = 1.0
TIMEOUT_S = 4
TRIES = 3  # a picture that the camera was just writing is half there
MOST_BYTES = 32 * 1024 * 1024
# Addresses that may be one picture; whether they are, the camera's answer tells.
_LIKELY = re.compile(r"\.(jpe?g|png|webp)$|snap|picture|still|image|photo", re.IGNORECASE)


def is_one_picture(name: str) -> bool:
    """Whether an address answers with one picture rather than a stream; asks it only where it looks like that."""
    parts = urlsplit(name)
    if parts.scheme.lower() not in ("http", "https") or not _LIKELY.search(parts.path):
        return False
    try:
        opener, url = _opener(name)
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return answer.headers.get_content_maintype() == "image"
    except (OSError, ValueError):  # whoever opens it as a stream tells what is wrong
        return False


class PolledSource:
    """An address that answers with one picture, asked `request.fps` (1) times a second.

    `request.size_wh` scales down what is larger, in proportion.

    Raises:
        SourceError: It gives no picture.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest):
        self._name = shown_name(request.name)
        self._fit_wh = request.size_wh or LARGEST_WH
        self._closed = False
        self._opener, self._url = _opener(request.name)
        height, width = self._ask().shape[:2]
        fps = request.fps or FPS
        self._pace = Pace(fps)
        said = f"{self._name}, {width}x{height}, asked {fps:g} times a second"
        self.info = SourceInfo(said, (width, height), fps)

    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames.

        Raises:
            SourceError: No more pictures come.
        """
        while not self._closed:
            self._pace.wait()
            if self._closed:
                return
            captured = time.monotonic()
            yield SourceFrame(self._ask(), None, captured)

    def _ask(self) -> np.ndarray:
        for attempt in range(1, TRIES + 1):
            try:
                with self._opener.open(self._url, timeout=TIMEOUT_S) as answer:
                    content = np.frombuffer(bytearray(answer.read(MOST_BYTES)), np.uint8)
                return fit_inside(load_photo_bytes(content, self._name).frame, self._fit_wh)
            except PhotoError as error:
                if attempt == TRIES:
                    raise SourceError(str(error)) from error
            except HTTPError as error:
                raise SourceError(f"{self._name}: the camera answers {error.code} ({error.reason}).") from error
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", error) if isinstance(error, URLError) else error
                raise SourceError(f"{self._name}: gives no picture ({reason}); check the address.") from error
        raise AssertionError

    def close(self) -> None:
        """Ends the iteration."""
        self._closed = True


def _opener(name: str) -> tuple[OpenerDirector, str]:
    """What asks an address, and the address without the user and password that it may hold."""
    parts = urlsplit(name)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    passwords = HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, bare, unquote(parts.username), unquote(parts.password or ""))
    return build_opener(HTTPBasicAuthHandler(passwords), HTTPDigestAuthHandler(passwords)), bare
