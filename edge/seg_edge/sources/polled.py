"""A camera that gives one picture at a time: a URL such as `http://door.local/snap.jpg`, requested repeatedly."""

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
TRIES = 3  # a picture may be incomplete while the camera is still writing it
MOST_BYTES = 32 * 1024 * 1024
# URLs that may be one picture; the camera's response shows whether they are.
_LIKELY = re.compile(r"\.(jpe?g|png|webp)$|snap|picture|still|image|photo", re.IGNORECASE)


def is_one_picture(name: str) -> bool:
    """Whether a URL gives one picture rather than a stream; it is requested only if its name suggests one."""
    parts = urlsplit(name)
    if parts.scheme.lower() not in ("http", "https") or not _LIKELY.search(parts.path):
        return False
    try:
        opener, url = _opener(name)
        with opener.open(url, timeout=TIMEOUT_S) as response:
            return response.headers.get_content_maintype() == "image"
    except (OSError, ValueError):  # it is then opened as a stream, which reports what is wrong
        return False


class PolledSource:
    """A URL that gives one picture, requested `request.fps` (1) times a second.

    Pictures larger than `request.size_wh` are scaled down in proportion.

    Raises:
        SourceError: It gives no picture.
    """

    info: SourceInfo

    def __init__(self, request: SourceRequest):
        self._name = shown_name(request.name)
        self._fit_wh = request.size_wh or LARGEST_WH
        self._closed = False
        self._opener, self._url = _opener(request.name)
        height, width = self._request_picture().shape[:2]
        fps = request.fps or FPS
        self._pace = Pace(fps)
        description = f"{self._name}, {width}x{height}, requested {fps:g} times a second"
        self.info = SourceInfo(description, (width, height), fps)

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
            yield SourceFrame(self._request_picture(), None, captured)

    def _request_picture(self) -> np.ndarray:
        for attempt in range(1, TRIES + 1):
            try:
                with self._opener.open(self._url, timeout=TIMEOUT_S) as response:
                    content = np.frombuffer(bytearray(response.read(MOST_BYTES)), np.uint8)
                return fit_inside(load_photo_bytes(content, self._name).frame, self._fit_wh)
            except PhotoError as error:
                if attempt == TRIES:
                    raise SourceError(str(error)) from error
            except HTTPError as error:
                raise SourceError(f"{self._name}: the camera responds with {error.code} ({error.reason}).") from error
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", error) if isinstance(error, URLError) else error
                raise SourceError(f"{self._name}: gives no picture ({reason}); check the address.") from error
        raise AssertionError

    def close(self) -> None:
        """Ends the iteration."""
        self._closed = True


def _opener(name: str) -> tuple[OpenerDirector, str]:
    """What opens a URL, and the URL without any user and password."""
    parts = urlsplit(name)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    passwords = HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, bare, unquote(parts.username), unquote(parts.password or ""))
    return build_opener(HTTPBasicAuthHandler(passwords), HTTPDigestAuthHandler(passwords)), bare
