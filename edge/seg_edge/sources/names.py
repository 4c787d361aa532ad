"""What a source's name means: a device, a URL, numbered pictures; and how to show it without its password."""

from __future__ import annotations

import re
from pathlib import Path

from seg_edge.photo.find import PHOTO_SUFFIXES

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
SEQUENCE = re.compile(r"%0?\d*d")
# A password with an unescaped / or @ doesn't work, but must not be shown either.
_USER = r"(?<=://)(?:[^/?#]*@|[^@/?#]*:(?!\d*(?:[/?#]|$)).*@)"
_SECRET = re.compile(rf"{_USER}|(?<=[?&])([^=&]*(?:pass|pwd|token|secret|key|auth)[^=&]*=)[^&#]*", re.IGNORECASE)


def camera_device(name: str) -> str | None:
    """The device a name means: `/dev/video0` for `0`, itself or a link such as `/dev/v4l/by-id/...`; else None."""
    if re.fullmatch(r"[0-9]+", name):
        return f"/dev/video{int(name)}"
    target = str(Path(name).resolve()) if name.startswith("/dev/") else ""
    return target if re.fullmatch(r"/dev/video[0-9]+", target) else None


def is_url(name: str) -> bool:
    """Whether a name is a URL, `scheme://...`."""
    return _URL.match(name) is not None


def shown_name(name: str) -> str:
    """A source's name, safe to show and log: a URL without its user, password and key."""
    if not is_url(name):
        return name
    return _SECRET.sub(lambda match: f"{match[1]}***" if match[1] else "***@", name)


def is_sequence(path: str | Path) -> bool:
    """Whether a name means numbered pictures, such as `f%04d.png`; not if a file has exactly that name."""
    path = Path(path)
    return path.suffix.lower() in PHOTO_SUFFIXES and SEQUENCE.search(path.name) is not None and not path.exists()


def numbered(pattern: Path, number: int) -> Path:
    """The path of one numbered picture; any other % in the pattern stays as it is."""
    return pattern.with_name(SEQUENCE.sub(lambda match: match[0] % number, pattern.name, count=1))
