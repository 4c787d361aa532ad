"""Publishes over MQTT, for Home Assistant and others, each class's share, and when one appears or leaves.

Home Assistant finds the camera by itself: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from seg_edge.card import ClassInfo
from seg_edge.errors import OutputError, UsageError
from seg_edge.json_text import json_text
from seg_edge.sinks.sink import OutputFrame

PORTS = {"mqtt": 1883, "mqtts": 8883}
EVERY_S = 1.0  # between two messages with the shares
APPEARS_AT, LEAVES_AT = 0.01, 0.005  # shares of the picture, with hysteresis
SURE_S = 0.5  # a class must stay, or be gone, before an event is sent
CONNECT_S = 10.0
LAST_S = 2.0
DISCOVERY = "homeassistant"


class Mqtt:
    """Publishes to a broker; if the connection is lost, it reconnects.

    Under `seg-edge/NAME/`: `status` (`online`, and `offline` as the last will), `state` (`{"person": 12.3}`: percent of
    the picture, once a second, retained), `event` (`{"event_type": "appeared", "class": "person", "share": 12.3}`, or
    `left`).
    Under `homeassistant/`: one sensor per class and the event, as discovery requires, retained.

    Args:
        url: `mqtt://[user[:password]@]host[:port]`, or `mqtts://` with TLS.
        name: The camera's name.
        classes: Background first.
        log: Receives messages for the user, from any thread.

    Raises:
        UsageError: The URL or the name isn't valid.
        OutputError: The broker can't be reached or refuses, or paho-mqtt is missing.

    Attributes:
        name: `--mqtt`.
    """

    def __init__(self, url: str, name: str, classes: Sequence[ClassInfo], log: Callable[[str], None]):
        self.name, self._log = "--mqtt", log
        parts = urlsplit(url)
        try:
            host, port = parts.hostname, parts.port or PORTS[parts.scheme]
        except (KeyError, ValueError):
            host, port = None, 0
        key = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")
        if not host or not key:
            raise UsageError("--mqtt needs an address such as mqtt://user:password@host:1883, and --mqtt-name a name.")
        self._shown = f"{host}:{port}"
        self._device, self._key, self._topic = name, key, f"seg-edge/{key}"
        self._classes = [info.name for info in classes[1:]]
        self._present = dict.fromkeys(self._classes, False)
        self._since: dict[str, float] = {}
        self._next = 0.0
        self._closed = False
        self._refused = ""
        self._mqtt = _import_paho()
        self._client = client = self._mqtt.Client(self._mqtt.CallbackAPIVersion.VERSION2)
        if parts.username:
            client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            client.tls_set()
        client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.reconnect_delay_set(1, 30)
        client.connect_timeout = CONNECT_S
        try:
            client.connect(host, port, keepalive=30)
        except (OSError, ValueError) as error:
            raise OutputError(f"--mqtt: {self._shown} can't be reached ({error}); check the address.") from error
        client.loop_start()
        until = time.monotonic() + CONNECT_S
        while not client.is_connected() and not self._refused and time.monotonic() < until:
            time.sleep(0.01)
        if not client.is_connected():
            client.loop_stop()
            raise OutputError(
                f"--mqtt: {self._shown} refuses ({self._refused or 'no response'}); check user and password."
            )

    def publish(self, item: OutputFrame) -> None:
        """Sends an event for each class that appeared or left, and the shares once a second."""
        now, shares = time.monotonic(), item.result.areas
        for name in self._classes:
            self._update(name, shares[name], now)
        if now >= self._next:
            self._next = now + EVERY_S
            self._send("state", {name: _percent(shares[name]) for name in self._classes}, retain=True)

    def _update(self, name: str, share: float, now: float) -> None:
        present = share >= (LEAVES_AT if self._present[name] else APPEARS_AT)
        if present == self._present[name]:
            self._since.pop(name, None)
        elif now - self._since.setdefault(name, now) >= SURE_S:
            del self._since[name]
            self._present[name] = present
            kind = "appeared" if present else "left"
            self._send("event", {"event_type": kind, "class": name, "share": _percent(share)})

    def idle(self, message: str) -> None:
        """Sends nothing."""

    def close(self) -> None:
        """Publishes `offline` and disconnects. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._client.is_connected():
            message = self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True)
            message.wait_for_publish(LAST_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _send(self, topic: str, document: dict[str, Any], retain: bool = False) -> None:
        if self._client.is_connected():  # messages are not queued while disconnected
            self._client.publish(f"{self._topic}/{topic}", json_text(document), qos=0, retain=retain)

    def _connected(self, client: Any, userdata: object, flags: object, reason: Any, properties: object) -> None:
        if reason.is_failure:
            self._refused = str(reason)
            return
        for topic, document in self._discovery().items():
            client.publish(topic, json_text(document), qos=1, retain=True)
        client.publish(f"{self._topic}/status", "online", qos=1, retain=True)

    def _disconnected(self, client: Any, userdata: object, flags: object, reason: Any, properties: object) -> None:
        if not self._closed and not self._refused:
            self._log(f"--mqtt: {self._shown} disconnected ({reason}); reconnecting")

    def _discovery(self) -> dict[str, dict[str, Any]]:
        common = {
            "availability_topic": f"{self._topic}/status",
            "device": {"identifiers": [f"seg-edge-{self._key}"], "name": self._device, "manufacturer": "seg-edge"},
        }
        found: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(self._classes, 1):
            found[f"{DISCOVERY}/sensor/seg-edge-{self._key}/class-{number}/config"] = {
                **common,
                "name": name,
                "unique_id": f"seg-edge-{self._key}-class-{number}",
                "state_topic": f"{self._topic}/state",
                "value_template": "{{ value_json[" + json_text(name) + "] }}",
                "unit_of_measurement": "%",
                "state_class": "measurement",
            }
        found[f"{DISCOVERY}/event/seg-edge-{self._key}/seen/config"] = {
            **common,
            "name": "Seen",
            "unique_id": f"seg-edge-{self._key}-seen",
            "state_topic": f"{self._topic}/event",
            "event_types": ["appeared", "left"],
        }
        return found


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _import_paho() -> Any:
    try:
        import paho.mqtt.client as client
    except ImportError as missing:
        raise OutputError(f"--mqtt needs paho-mqtt ({missing}); run: pip install 'seg-edge[mqtt]'.") from missing
    return client
