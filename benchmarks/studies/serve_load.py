"""How does `seg-edge serve` perform under load? `python benchmarks/studies/serve_load.py PHOTO --requests 2000`.

Starts the server on loopback, sends it one photo repeatedly on a few connections that each wait for their response, and
prints the rate, the latency and the server's memory growth. The rate is compared with two others, measured in this
process with as many threads as the server has workers: the bare model on a fixed input, and all work on a photo without
HTTP. Client and server share the machine's cores.
"""

from __future__ import annotations

import http.client
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from seg_edge.commands.console import exit_codes
from seg_edge.interpreter import available_cores
from seg_edge.models import DEFAULT_MODEL
from seg_edge.photo.read import read_photo
from seg_edge.photo.write import encode_picture
from seg_edge.segmenter import Segmenter
from seg_edge.serve.answer import Output, answer_photo
from seg_edge.system.memory import keep_freed_memory

MAX_REQUESTS = 200_000
TIMEOUT_S = 60.0  # for a response


@contextmanager
def served(model: str, *options: str) -> Iterator[tuple[int, int]]:
    """Starts the server as a process on a free port of loopback; yields port and process id."""
    command = [sys.executable, "-m", "seg_edge.commands.cli", "serve", "--port", "0", "--model", model, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        line = process.stderr.readline()
        yield int(line.rstrip().rstrip("/").rpartition(":")[2]), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def load(
    port: int, path: str, photo: bytes, connections: int, requests: int
) -> tuple[float, list[float], Counter[int]]:
    """Responses per second, each one's latency in ms, and the number of responses by status.

    Args:
        port: The server's port on loopback.
        path: Path to request.
        photo: Body to send.
        connections: Each sends its next request as soon as it has its response.
        requests: Total number of requests.
    """

    def send(count: int) -> list[tuple[float, int]]:
        connection, responses = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S), []
        for _ in range(count):
            sent = time.perf_counter()
            connection.request("POST", path, photo, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            response.read()
            responses.append(((time.perf_counter() - sent) * 1000, response.status))
        connection.close()
        return responses

    shares = [requests // connections + (index < requests % connections) for index in range(connections)]
    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        responses = [response for sent in pool.map(send, shares) for response in sent]
    elapsed = time.perf_counter() - began
    return requests / elapsed, [latency for latency, _ in responses], Counter(status for _, status in responses)


def rate(tasks: list[Callable[[], object]], seconds: float) -> float:
    """Runs per second of the tasks in total, each repeated on its own thread."""
    deadline = time.perf_counter() + seconds

    def run(task: Callable[[], object]) -> int:
        count = 0
        while time.perf_counter() < deadline:
            task()
            count += 1
        return count

    began = time.perf_counter()
    with ThreadPoolExecutor(len(tasks)) as pool:
        return sum(pool.map(run, tasks)) / (time.perf_counter() - began)


def resident_mb(pid: int) -> float:
    """A process's resident set size in 10^6 bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(
    photo: Annotated[Path, typer.Argument(help="The photo to send; it is scaled to --size and sent as JPEG.")],
    size: Annotated[tuple[int, int], typer.Option(min=1, metavar="W H", help="Size of the photo.")] = (640, 480),
    output: Annotated[Output, typer.Option(help="Output to request.")] = Output.labels,
    requests: Annotated[int, typer.Option(min=1, max=MAX_REQUESTS, help="Requests, after 100 uncounted ones.")] = 4000,
    connections: Annotated[int, typer.Option(min=1, max=64)] = 4,
    workers: Annotated[int | None, typer.Option(min=1, max=64, show_default="number of cores")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds over which to spread the requests.")] = 5,
    model: Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")] = DEFAULT_MODEL,
) -> None:
    """Measures, and prints a table."""
    with exit_codes():
        workers = workers or available_cores()
        keep_freed_memory()  # as the server does
        cv2.setNumThreads(1)
        frame = cv2.resize(read_photo(photo), size, interpolation=cv2.INTER_AREA)
        jpeg = encode_picture(frame, ".jpg")
        path = f"/v1/segment?output={output.value}"
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
            load(port, path, jpeg, connections, 100)
            memory = [resident_mb(pid)]
            for _ in range(rounds):
                bare_rates.append(rate(bare_tasks, 1.0))
                whole_rates.append(rate(whole_tasks, 1.0))
                served_rate, found, counts = load(port, path, jpeg, connections, max(1, requests // rounds))
                served_rates.append(served_rate)
                latencies += found
                statuses += counts
                memory.append(resident_mb(pid))
        p50, p99 = np.percentile(latencies, [50, 99])
        rate_served, bare, whole = (statistics.median(rates) for rates in (served_rates, bare_rates, whole_rates))
        typer.echo(
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {segmenters[0].file.name}"
        )
        request = f"{size[0]}x{size[1]}, {len(jpeg):,} bytes, {output.value}"
        typer.echo(f"{len(latencies)} requests of {request}; {connections} connections")
        typer.echo(f"responses     {dict(statuses)}")
        typer.echo(f"served        {rate_served:8.0f} per second")
        typer.echo(f"bare model    {bare:8.0f} per second; served / bare  {rate_served / bare:.2f}")
        typer.echo(f"without HTTP  {whole:8.0f} per second; served / this  {rate_served / whole:.2f}")
        typer.echo(f"latency       p50 {p50:.1f} ms, p99 {p99:.1f} ms; p99 / p50  {p99 / p50:.2f}")
        typer.echo(
            f"memory        {' '.join(f'{value:.0f}' for value in memory)} MB resident, before and after each round"
        )


if __name__ == "__main__":
    typer.run(main)
