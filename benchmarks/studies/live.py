"""How does the live camera perform over minutes? `python benchmarks/studies/live.py CLIP --via http --minutes 10`.

Runs `seg-edge camera` with a client that watches its page, ends it with Ctrl-C, and prints the rate, dropped frames,
frame age, time per stage, CPU time, and memory growth: the proportional set size of the program and its capture process
minute by minute, and a line fitted to it after the first minute. With `--kill 30` the capture process is killed after
30 minutes.

With `--via http` an MJPEG server acts as the camera at the clip's rate. It draws each frame's number as black and white
blocks, and the client reads it from the page's stream. The time between is the end-to-end latency, independent of the
program's own clocks. With `--via file` the repeated clip is the source itself.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import typer

from benchmarks.flicker import read_frames
from seg_edge.commands.console import exit_codes
from seg_edge.errors import SegEdgeError
from seg_edge.photo.write import encode_picture
from seg_edge.sinks.video_file import VideoFile
from seg_edge.system.board import Machine, read_board

BITS = 12
BLOCK = 24  # pixels: 3 of them remain when a JPEG is decoded at an eighth
WARM_UP_S = 60.0


class Via(StrEnum):
    """How the clip reaches the program."""

    http = "http"
    file = "file"


def read_clip(path: Path) -> tuple[list[np.ndarray], float]:
    """All frames, BGR uint8 (h, w, 3), each with its number in the top left corner, and their rate."""
    frames = list(read_frames(path))
    for number, frame in enumerate(frames):
        write_number(frame, number)
    return frames, cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) or 30.0


def write_number(frame: np.ndarray, number: int) -> None:
    """Draws each bit as a white and a black block, or the reverse, so that misreadings are noticed."""
    for position in range(BITS):
        bit = number >> position & 1
        left = 2 * position * BLOCK
        frame[:BLOCK, left : left + BLOCK] = 255 * bit
        frame[:BLOCK, left + BLOCK : left + 2 * BLOCK] = 255 * (1 - bit)


def read_number(jpeg: bytes) -> int | None:
    """The number in a picture; None if the blocks contradict each other."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if grey is None:
        return None
    row = [bool(grey[1, 1 + 3 * block] > 128) for block in range(2 * BITS)]
    if any(row[2 * bit] == row[2 * bit + 1] for bit in range(BITS)):
        return None
    return sum(row[2 * bit] << bit for bit in range(BITS))


class ClipServer:
    """An MJPEG camera: sends the clip's frames in a loop at their rate."""

    def __init__(self, frames: list[np.ndarray], fps: float):
        self.sent: dict[int, float] = {}  # when each number was last sent
        jpegs = [encode_picture(frame, ".jpg") for frame in frames]
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.rfile.readline()
                head = "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
                self.wfile.write(head.encode())
                began, count = time.monotonic(), 0
                while True:
                    time.sleep(max(0.0, began + count / fps - time.monotonic()))
                    jpeg = jpegs[count % len(jpegs)]
                    part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                    outer.sent[count % len(jpegs)] = time.monotonic()
                    try:
                        self.wfile.write(part + jpeg + b"\r\n")
                    except OSError:
                        return
                    count += 1

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/camera.mjpg"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


class Watcher:
    """Stands in for a browser: reads the page's stream as fast as it comes."""

    def __init__(self, url: str, sent: dict[int, float]):
        self.frames, self.misread, self.longest_gap_s = 0, 0, 0.0
        self.latency_ms: list[float] = []
        self._address, self._sent = urlsplit(url), sent
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)
        connection.request("GET", "/stream.mjpg")
        response = connection.getresponse()
        last = None
        for jpeg in self._parts(response):
            now = time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now - (last or now))
            last = now
            self.frames += 1
            number = read_number(jpeg) if self._sent else None
            if number in self._sent:
                self.latency_ms.append((now - self._sent[number]) * 1000)
            else:
                self.misread += 1

    @staticmethod
    def _parts(response: http.client.HTTPResponse) -> Iterator[bytes]:
        while line := response.readline():
            if match := re.match(rb"content-length: *(\d+)", line, re.IGNORECASE):
                while response.readline().strip():
                    pass
                yield response.read(int(match[1]))


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its children, in 10^6 bytes; shared memory counts once."""
    total = 0.0
    for process in [pid, *children(pid)]:
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        match = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
        total += int(match[1]) * 1024 / 1e6 if match else 0
    return total


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def growth_mb_per_hour(samples: list[tuple[float, float]]) -> float | None:
    """Slope of the least-squares line through (seconds, MB) after the warm-up; None for too few samples."""
    late = [(second, size) for second, size in samples if second > WARM_UP_S]
    if len(late) < 10:
        return None
    seconds, sizes = np.array(late).T
    return float(np.polyfit(seconds, sizes, 1)[0]) * 3600


def run(
    source: str, minutes: float, stats: Path, options: list[str], sent: dict[int, float], kill: float | None = None
) -> dict[str, Any]:
    """Runs and watches `seg-edge camera`; returns its statistics and what was observed from outside."""
    command = [
        sys.executable,
        "-m",
        "seg_edge.commands.cli",
        "camera",
        "--source",
        source,
        "--view",
        "http",
        "--port",
        "0",
    ]
    command += ["--stats", str(stats), *options]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # if ignored, as after `&`, the program would inherit that
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    messages: deque[str] = deque(maxlen=20)
    samples, loads, watcher = [], [], None
    for line in process.stderr:
        messages.append(line)
        if match := re.search(r"http://\S+", line.partition("open ")[2]):
            watcher = Watcher(match[0], sent)
            break
    threading.Thread(target=messages.extend, args=(process.stderr,), daemon=True).start()
    began = time.monotonic()
    while process.poll() is None and (lasted := time.monotonic() - began) < minutes * 60:
        time.sleep(1)
        samples.append((lasted, memory_mb(process.pid)))
        loads.append(read_board(Machine()).load or 0.0)
        if kill is not None and lasted > kill * 60:
            os.kill(children(process.pid)[0], signal.SIGKILL)
            kill = None
    process.send_signal(signal.SIGINT)
    process.wait(60)
    if process.returncode or watcher is None:
        raise SegEdgeError(f"seg-edge camera ended with {process.returncode}: {' '.join(messages)}")
    samples = [sample for sample in samples if sample[1]]
    latency = watcher.latency_ms[30:] or watcher.latency_ms  # without the start
    return {
        "stats": json.loads(stats.read_text()),
        "watched_frames": watcher.frames,
        "longest_gap_s": round(watcher.longest_gap_s, 1),
        "misread": watcher.misread if sent else None,
        "end_to_end_ms": {
            "p50": round(statistics.median(latency), 1) if latency else None,
            "p95": round(float(np.percentile(latency, 95)), 1) if latency else None,
            "samples": len(latency),
        },
        "memory_mb": {"start": round(samples[0][1], 1), "end": round(samples[-1][1], 1), "samples": len(samples)},
        "memory_mb_by_minute": [round(size) for _, size in samples[::60]],
        "growth_mb_per_hour": growth_mb_per_hour(samples),
        "load": round(statistics.median(loads), 2),
    }


def main(
    clip: Annotated[Path, typer.Argument(help="Short video.")],
    via: Annotated[Via, typer.Option(help="http: as an MJPEG camera; file: as the source itself.")] = Via.http,
    minutes: Annotated[float, typer.Option(help="Duration.")] = 10.0,
    option: Annotated[
        list[str] | None, typer.Option(help="Option for seg-edge camera, e.g. --threads=1; repeatable.")
    ] = None,
    kill: Annotated[float | None, typer.Option(help="Kill the capture process after this many minutes.")] = None,
) -> None:
    """Plays a clip as a live camera and prints the figures of `seg-edge camera` as JSON."""
    with exit_codes(), tempfile.TemporaryDirectory() as folder:
        frames, fps = read_clip(clip)
        stats = Path(folder) / "stats.json"
        if via is Via.http:
            server = ClipServer(frames, fps)
            result = run(server.url, minutes, stats, option or [], server.sent, kill)
        else:
            long = Path(folder) / "long.mkv"
            with VideoFile(long, (frames[0].shape[1], frames[0].shape[0]), fps) as file:
                for index in range(round((minutes * 60 + 30) * fps)):
                    file.write(frames[index % len(frames)])
            result = run(str(long), minutes, stats, option or [], {}, kill)
        board = read_board(Machine())
        machine = {"cpu": board.cpu, "cores": board.cores, "clip": clip.name, "clip_fps": fps, "via": via.value}
        typer.echo(json.dumps({"machine": machine, **result}, indent=1))


if __name__ == "__main__":
    typer.run(main)
