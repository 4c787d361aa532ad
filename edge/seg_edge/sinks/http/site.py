"""The page's content, its settings and its Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg_edge.errors import UsageError
from seg_edge.sinks.http.feed import Feed
from seg_edge.sinks.sink import Controls

PAGE = Path(__file__).with_name("page.html")


class Site:
    """The content of the site; `seg_edge.sinks.http.handler` handles the protocol.

    Args:
        feed: Where the frames come from.
        controls: The settings that `control` changes.
        effects: The names of effects that `control` accepts.
        frame_origins: Web sites that may show the page in a frame.

    Raises:
        UsageError: One of `frame_origins` isn't an origin.

    Attributes:
        page: The page itself, UTF-8.
        policy: Its Content-Security-Policy, which allows its one style and one script, by their hashes, and nothing
            else, so that no text can become code.
    """

    def __init__(
        self, feed: Feed, controls: Controls, effects: Sequence[str], frame_origins: Sequence[str] = ()
    ) -> None:
        self.feed, self.controls, self._effects = feed, controls, list(effects)
        for origin in frame_origins:  # anything else could add rules to the policy
            if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", origin):
                raise UsageError(
                    f"--allow-frame {origin} is not a web site's origin; write it as http://hass.local:8123."
                )
        self.page = PAGE.read_bytes()
        none = "'none'"
        self.policy = (
            "default-src 'none'; img-src 'self' data:; connect-src 'self' data:; "
            f"style-src {_hash_of(self.page, b'style')}; script-src {_hash_of(self.page, b'script')}; "
            "base-uri 'none'; form-action 'none'; "
            f"frame-ancestors {' '.join(frame_origins) or none}"
        )

    def stats(self) -> dict[str, Any]:
        """The object of `/stats.json`; see `seg_edge.sinks.http.view.HttpView`."""
        item, controls = self.feed.item, self.controls
        stats: dict[str, Any] = {"frame": None, "fps": None, "age_ms": None, "size_wh": None, "classes": []}
        if item is not None:
            areas = item.result.areas
            stats = {
                "frame": item.number,
                "fps": round(item.fps, 2),
                "age_ms": round(item.age_ms, 1),
                "size_wh": [item.picture.shape[1], item.picture.shape[0]],
                "classes": [
                    {"name": info.name, "colour": "#" + bytes(info.colour).hex(), "share": round(areas[info.name], 6)}
                    for info in item.result.classes[1:]
                ],
            }
        return stats | {
            "message": self.feed.message,
            "effect": controls.effect,
            "effects": self._effects,
            "mirror": controls.mirror,
            "watchers": self.feed.watchers,
        }

    def control(self, body: bytes) -> str:
        """Applies the JSON body of a POST; returns what is wrong with it, empty if nothing is."""
        try:
            changes = json.loads(body)
        except (ValueError, RecursionError):
            return "the body isn't JSON"
        if not isinstance(changes, dict) or not changes or changes.keys() - {"effect", "mirror"}:
            return 'an object with "effect", "mirror" or both was expected'
        if "effect" in changes and changes["effect"] not in self._effects:
            return f"the effect must be one of {', '.join(self._effects)}"
        if not isinstance(changes.get("mirror", False), bool):
            return "mirror must be true or false"
        self.controls.effect = changes.get("effect", self.controls.effect)
        self.controls.mirror = changes.get("mirror", self.controls.mirror)
        return ""


def _hash_of(page: bytes, tag: bytes) -> str:
    (text,) = re.findall(rb"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
