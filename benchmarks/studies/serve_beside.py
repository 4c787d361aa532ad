"""What does `seg-edge serve` gain over a server of twenty lines? `python benchmarks/studies/serve_beside.py PHOTO`.

Starts `seg-edge serve` and `twenty_lines.py` (FastAPI and LiteRT) on loopback with the same model. Sends the same photo
to them alternately, on 2 and on 8 connections that each wait for the label map, and prints responses per second,
latency, and the server's CPU time per response. Clients and servers share the machine's cores.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from benchmarks.studies.serve_load import load, served
from seg_edge.commands.console import exit_codes
from seg_edge.errors import SegEdgeError
from seg_edge.models import DEFAULT_MODEL, open_model
from seg_edge.photo.read import read_photo
from seg_edge.photo.write import encode_picture

CONNECTIONS = (2, 8)
STARTS_S = 60.0


@contextmanager
def twenty_lines(model: str) -> Iterator[tuple[int, int]]:
    """Starts the other server as a process; yields port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.studies.twenty_lines:app"]
    command += ["--port", str(port), "--log-level", "error"]
    process = subprocess.Popen(
        command, env={**os.environ, "MODEL": str(open_model(model).path)}, cwd=Path(__file__).parents[2]
    )
    deadline = time.monotonic() + STARTS_S
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def cpu_s(pid: int) -> float:
    """CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(
    photo: Annotated[Path, typer.Argument(help="The photo to send; it is scaled to --size and sent as JPEG.")],
    size: Annotated[tuple[int, int], typer.Option(min=1, metavar="W H", help="Size of the photo.")] = (640, 480),
    requests: Annotated[int, typer.Option(min=1, max=100_000, help="Requests per round.")] = 300,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds per server.")] = 5,
    model: Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")] = DEFAULT_MODEL,
) -> None:
    """Measures, and prints a table."""
    with exit_codes():
        frame = cv2.resize(read_photo(photo), size, interpolation=cv2.INTER_AREA)
        jpeg = encode_picture(frame, ".jpg")
        with served(model) as ours, twenty_lines(model) as theirs:
            servers = {"seg-edge serve": (*ours, "/v1/segment?output=labels"), "twenty lines": (*theirs, "/segment")}
            typer.echo(
                f"{platform.machine()}, {os.cpu_count()} cores; {model}, {size[0]}x{size[1]}, {len(jpeg):,} bytes"
            )
            typer.echo(f"{'connections':>11} {'':16}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}{'load':>7}")
            for connections in CONNECTIONS:
                rates: dict[str, list[float]] = {name: [] for name in servers}
                latencies: dict[str, list[float]] = {name: [] for name in servers}
                used_ms: dict[str, list[float]] = {name: [] for name in servers}
                for turn in range(rounds + 1):  # the first doesn't count
                    for name, (port, pid, path) in servers.items():
                        before = cpu_s(pid)
                        rate, found, statuses = load(port, path, jpeg, connections, requests)
                        if set(statuses) != {200}:
                            raise SegEdgeError(f"{name}: expected only status 200, got {dict(statuses)}.")
                        if turn:
                            rates[name].append(rate)
                            latencies[name] += found
                            used_ms[name].append((cpu_s(pid) - before) * 1000 / requests)
                for name in servers:
                    p50, p99 = np.percentile(latencies[name], [50, 99])
                    rate, used = statistics.median(rates[name]), statistics.median(used_ms[name])
                    typer.echo(
                        f"{connections:11} {name:16}{rate:9.0f}{p50:9.1f}{p99:9.1f}{used:9.2f}{os.getloadavg()[0]:7.1f}"
                    )
                ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
                typer.echo(
                    f"{'':12}ratio of rates {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
                )


if __name__ == "__main__":
    typer.run(main)
