"""MQTT as seen by a broker and Home Assistant, with a real mosquitto on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seg_edge.errors import OutputError, UsageError
from seg_edge.sinks.mqtt import SURE_S, Mqtt
from tests.edge.sinks.output_frames import CLASSES, make_output_frame

client = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt isn't installed")


class Broker:
    """A mosquitto, and everything published to it by topic, the newest last."""

    def __init__(self, folder: Path):
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            pytest.skip("mosquitto isn't installed")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        passwords, config = folder / "passwords", folder / "mosquitto.conf"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "p@ss"], check=True)
        passwords.chmod(0o644)
        folder.chmod(0o755)
        config.write_text(f"listener {self.port} 127.0.0.1\npassword_file {passwords}\nuser root\n")
        self.config, self.program = config, program
        self.messages: dict[str, list[tuple[str, bool]]] = {}
        self.start()
        self.listener = client.Client(client.CallbackAPIVersion.VERSION2)
        self.listener.username_pw_set("me", "p@ss")
        self.listener.on_connect = lambda listener, *_: listener.subscribe("#", qos=1)
        self.listener.on_message = lambda listener, _, message: self.messages.setdefault(message.topic, []).append(
            (message.payload.decode(), message.retain)
        )
        self.listener.connect("127.0.0.1", self.port)
        self.listener.loop_start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("mosquitto did not start")

    def url(self, password: str = "p%40ss") -> str:
        return f"mqtt://me:{password}@127.0.0.1:{self.port}"

    def last(self, topic: str, count: int = 1) -> str:
        until = time.monotonic() + 20
        while len(self.messages.get(topic, [])) < count:
            assert time.monotonic() < until, f"{topic} not {count} times in {self.messages}"
            time.sleep(0.02)
        return self.messages[topic][-1][0]

    def close(self) -> None:
        self.listener.loop_stop()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.close()


def frame(share: float):
    """A frame with this share of person, in whole rows of 48."""
    item = make_output_frame()
    labels = np.zeros((48, 64), np.uint8)
    labels[: round(48 * share)] = 1
    return replace(item, result=replace(item.result, labels=labels))


def show(sink: Mqtt, share: float, seconds: float = SURE_S + 0.1) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sink.publish(frame(share))
        time.sleep(0.02)


def test_home_assistant_finds_a_sensor_for_each_class_and_an_event(broker: Broker) -> None:
    sink = Mqtt(broker.url(), "Front door", CLASSES, print)
    assert broker.last("seg-edge/front-door/status") == "online"
    sensor = json.loads(broker.last("homeassistant/sensor/seg-edge-front-door/class-1/config"))
    assert (sensor["name"], sensor["state_topic"]) == ("person", "seg-edge/front-door/state")
    assert sensor["value_template"] == '{{ value_json["person"] }}'
    assert sensor["availability_topic"] == "seg-edge/front-door/status"
    assert sensor["device"]["name"] == "Front door"
    assert json.loads(broker.last("homeassistant/sensor/seg-edge-front-door/class-2/config"))["name"] == "cat"
    event = json.loads(broker.last("homeassistant/event/seg-edge-front-door/seen/config"))
    assert event["event_types"] == ["appeared", "left"]
    assert event["unique_id"] != sensor["unique_id"]
    sink.publish(frame(0.5))
    assert json.loads(broker.last("seg-edge/front-door/state")) == {"person": 50.0, "cat": 0.0}
    sink.close()
    assert broker.last("seg-edge/front-door/status", 2) == "offline"


def test_a_person_who_appears_and_leaves_gives_one_event_each(broker: Broker) -> None:
    sink = Mqtt(broker.url(), "door", CLASSES, print)
    show(sink, 0.25)
    broker.last("seg-edge/door/event")
    show(sink, 0.0, 0.2)  # a frame or two in which the model errs
    show(sink, 0.25)
    show(sink, 0.0)
    broker.last("seg-edge/door/event", 2)
    sink.close()
    events = [json.loads(text) for text, _ in broker.messages["seg-edge/door/event"]]
    assert [(event["event_type"], event["class"]) for event in events] == [("appeared", "person"), ("left", "person")]
    assert events[0]["share"] == 25.0


def test_a_program_that_is_killed_goes_offline_by_its_last_will(broker: Broker) -> None:
    code = (
        "import sys, time; from seg_edge.sinks.mqtt import Mqtt; from seg_edge.card import make_classes; "
        "Mqtt(sys.argv[1], 'door', make_classes(['background', 'person']), print); time.sleep(600)"
    )
    program = subprocess.Popen([sys.executable, "-c", code, broker.url()])
    try:
        assert broker.last("seg-edge/door/status") == "online"
    finally:
        program.kill()
        program.wait()
    assert broker.last("seg-edge/door/status", 2) == "offline"


def test_a_broker_that_comes_back_is_connected_to_again(broker: Broker) -> None:
    log: list[str] = []
    sink = Mqtt(broker.url(), "door", CLASSES, log.append)
    broker.last("seg-edge/door/status")
    broker.process.kill()
    broker.process.wait()
    until = time.monotonic() + 20
    while not log and time.monotonic() < until:
        sink.publish(frame(0.5))
        time.sleep(0.02)
    assert "disconnected" in log[0]
    broker.messages.clear()
    broker.start()
    assert broker.last("seg-edge/door/status") == "online"
    sink.close()


def test_each_error_is_one_sentence(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="refuses .*check user and password"):
        Mqtt(broker.url("wrong"), "door", CLASSES, print)
    with pytest.raises(OutputError, match="127.0.0.1:1 can't be reached"):
        Mqtt("mqtt://127.0.0.1:1", "door", CLASSES, print)
    for url, name in (("127.0.0.1", "door"), ("http://127.0.0.1", "door"), ("mqtt://h", "---")):
        with pytest.raises(UsageError, match="--mqtt needs an address"):
            Mqtt(url, name, CLASSES, print)
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(OutputError, match="pip install 'seg-edge"):
        Mqtt(broker.url(), "door", CLASSES, print)
