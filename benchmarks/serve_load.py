"""`seg-edge serve` under load: `python benchmarks/serve_load.py PHOTO --requests 2000`.

Starts the server on loopback, sends it one photo over and over on a few connections that each wait for their answer,
and prints the rate, the latency and how the server's memory grew. The rate stands beside two others, measured in this
process with as many threads as the server has workers: the bare model (its input is there already, its output is left
there) and the whole work on a photo without HTTP. Client and server share the machine's cores.
"""

from __future__ import annotations

import os
import platform
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from seg_edge.interpreter import available_cores
from seg_edge.models import DEFAULT_MODEL
from seg_edge.photo.read import read_photo
from seg_edge.segmenter import Segmenter
from seg_edge.serve.answer import Output, answer_photo
from seg_edge.system.memory import keep_freed_memory

MAX_REQUESTS = 200_000
STILL_S = 60.0  # a server that answers nothing for so long is given up


@contextmanager
def served(model: str, *options: str) -> Iterator[tuple[int, int]]:
    """A server of its own process on a free port of loopback; gives port and process id."""
    command = [sys.executable, "-m", "seg_edge.commands.cli", "serve", "--port", "0", "--model", model, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        line = process.stderr.readline()
        yield int(line.rstrip().rstrip("/").rpartition(":")[2]), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


class Client:
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self._request, self._left, self._head = request, 0, b""
        self.status, self._asked = 0, 0.0

    def ask(self) -> None:
        """Sends the request."""
        self._left, self._head, self._asked = -1, b"", time.perf_counter()
        self.socket.sendall(self._request)

    def answered(self) -> float | None:
        """Reads what has come; the latency in ms when the answer is whole."""
        received = self.socket.recv(262_144)
        if not received:
            raise ConnectionError("the server hung up")
        if self._left < 0:
            self._head += received
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return None
            self.status = int(head[9:12])
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self._left, received = int(length[15:]), body
        self._left -= len(received)
        return None if self._left else (time.perf_counter() - self._asked) * 1000


def load(port: int, request: bytes, connections: int, requests: int) -> tuple[float, list[float], Counter[int]]:
    """Answers a second, each one's latency in ms, and how many there were of each status."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    clients = [Client(port, request) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        began = time.perf_counter()
        for client in clients[:requests]:
            client.ask()
        asked = min(connections, requests)
        while len(latencies) < requests:
            ready = selector.select(STILL_S)
            if not ready:
                raise TimeoutError(f"no answer for {STILL_S:g} s")
            for key, _ in ready:
                client = key.data
                if (latency := client.answered()) is None:
                    continue
                latencies.append(latency)
                statuses[client.status] += 1
                if asked < requests:
                    asked += 1
                    client.ask()
        elapsed = time.perf_counter() - began
    for client in clients:
        client.socket.close()
    return requests / elapsed, latencies, statuses


def rate(tasks: list[Callable[[], object]], seconds: float) -> float:
    """How often a second the tasks run, each over and over on a thread of its own."""
    counts = [0] * len(tasks)
    until = time.perf_counter() + seconds

    def run(index: int) -> None:
        while time.perf_counter() < until:
            tasks[index]()
            counts[index] += 1

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(tasks))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def resident_mb(pid: int) -> float:
    """A process's resident set, in 10^6 bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(
    photo: Annotated[Path, typer.Argument(help="The photo to send; it is scaled to --size and sent as JPEG.")],
    size: Annotated[str, typer.Option(metavar="WxH", help="Of the photo.")] = "640x480",
    output: Annotated[Output, typer.Option(help="What to ask for.")] = Output.labels,
    requests: Annotated[int, typer.Option(min=1, max=MAX_REQUESTS, help="After 100 that aren't counted.")] = 4000,
    connections: Annotated[int, typer.Option(min=1, max=64)] = 4,
    workers: Annotated[int | None, typer.Option(min=1, max=64, show_default="the cores")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="The requests are sent in so many rounds.")] = 5,
    model: Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")] = DEFAULT_MODEL,
) -> None:
    """Measures, and prints a table."""
    workers = workers or available_cores()
    keep_freed_memory()  # as the server does
    cv2.setNumThreads(1)
    width, height = (int(side) for side in size.split("x"))
    frame = cv2.resize(read_photo(photo), (width, height), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", frame)[1].tobytes()
    head = f"POST /v1/segment?output={output.value} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    request = f"{head}Content-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg

    segmenters = [Segmenter(model, threads=1) for _ in range(workers)]
    spec = segmenters[0].backend.input
    tensor = np.zeros(spec.shape, spec.dtype)
    bare_tasks: list[Callable[[], object]] = [lambda s=s: s.backend.run(tensor) for s in segmenters]  # type: ignore[misc]
    whole_tasks: list[Callable[[], object]] = [
        lambda s=s: answer_photo(s, bytearray(jpeg), output, 10**9)  # type: ignore[misc]
        for s in segmenters
    ]
    served_rates, bare_rates, whole_rates = [], [], []
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    with served(model, "--workers", str(workers)) as (port, pid):
        load(port, request, connections, 100)
        memory = [resident_mb(pid)]
        for _ in range(rounds):
            bare_rates.append(rate(bare_tasks, 1.0))
            whole_rates.append(rate(whole_tasks, 1.0))
            served_rate, found, counts = load(port, request, connections, max(1, requests // rounds))
            served_rates.append(served_rate)
            latencies += found
            statuses += counts
            memory.append(resident_mb(pid))
    p50, p99 = np.percentile(latencies, [50, 99])
    answers, bare, whole = (statistics.median(rates) for rates in (served_rates, bare_rates, whole_rates))
    typer.echo(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {segmenters[0].file.name}"
    )
    typer.echo(f"{len(latencies)} requests of {size}, {len(jpeg):,} bytes, {output.value}; {connections} connections")
    typer.echo(f"answers       {dict(statuses)}")
    typer.echo(f"served        {answers:8.0f} a second")
    typer.echo(f"bare model    {bare:8.0f} a second; served / bare  {answers / bare:.2f}")
    typer.echo(f"without HTTP  {whole:8.0f} a second; served / this  {answers / whole:.2f}")
    typer.echo(f"latency       p50 {p50:.1f} ms, p99 {p99:.1f} ms; p99 / p50  {p99 / p50:.2f}")
    typer.echo(f"memory        {' '.join(f'{value:.0f}' for value in memory)} MB resident, before and after each round")


if __name__ == "__main__":
    typer.run(main)
