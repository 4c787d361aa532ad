"""What does `seg-edge image --ray` cost and gain on one machine? `python benchmarks/studies/cluster.py --photos 1000`.

Draws small photos and segments them with the plain command, a cluster of one worker, one of two workers on two nodes,
and the plain command again. Results and JSON lines must be the same each time. With `--kill` a worker is killed when
half of the last cluster's photos are done. In a control group of its own, as `systemd-run --scope` makes, it also
prints CPU time, which includes Ray's own processes and depends less on other load than wall time.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from seg_edge.commands.console import exit_codes
from seg_edge.errors import SegEdgeError, UsageError
from seg_edge.photo.read import read_photo

PHOTO = Path(__file__).resolve().parents[2] / "tests" / "data" / "grace_hopper.jpg"
SIZE_WH = (320, 240)
STORE_BYTES = 100 << 20  # per node; holds the model, but no photos
POLL_S = 0.2


def draw_photos(folder: Path, count: int) -> None:
    """Writes JPEGs of `SIZE_WH`, each shifted differently."""
    picture = cv2.resize(read_photo(PHOTO), SIZE_WH, interpolation=cv2.INTER_AREA)
    folder.mkdir()
    for index in range(count):
        shift = (index // SIZE_WH[0] % SIZE_WH[1], index % SIZE_WH[0])
        cv2.imwrite(str(folder / f"{index:06}.jpg"), np.roll(picture, shift, axis=(0, 1)))


def group_cpu_s() -> float | None:
    """CPU time of all processes in this control group so far; None in the root group."""
    path = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
    for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if path and (root / path / "cpu.stat").exists():
            return int((root / path / "cpu.stat").read_text().split()[1]) / 1e6
    return None


def command_cpu_s() -> float:
    """CPU time of finished child commands, without the clusters."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def workers(cluster: Any) -> list[int]:
    """Process ids of the cluster's actors."""
    nodes = {info.process.pid for node in cluster.list_all_nodes() for info in node.all_processes["raylet"]}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in nodes and b"ray::PhotoActor" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # the process has ended
            continue
    return sorted(found)


def segment(photos: Path, out: Path, model: str, cluster: Any = None, kill_after: int = 0) -> str:
    """Runs the command; returns its photos per second and CPU time per photo, as text.

    Raises:
        SegEdgeError: It failed.
    """
    options = ["--ray", cluster.address] if cluster else []
    arguments = [str(photos), "--out", str(out), "--model", model, "--threads", "1", "--json", *options]
    lines = out.with_suffix(".jsonl")
    started, group_before, command_before = time.perf_counter(), group_cpu_s(), command_cpu_s()
    with lines.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "seg_edge.commands.cli", "image", *arguments], stdout=file)
        while kill_after and process.poll() is None:
            time.sleep(POLL_S)
            if lines.read_bytes().count(b"\n") >= kill_after:
                os.kill(workers(cluster)[0], signal.SIGKILL)
                break
        if process.wait():
            raise SegEdgeError(f"{out.name}: the command ended with {process.returncode}.")
    count, seconds = lines.read_bytes().count(b"\n"), time.perf_counter() - started
    group = group_cpu_s()
    group_ms = "–" if group is None or group_before is None else f"{(group - group_before) / count * 1000:.1f}"
    command_ms = (command_cpu_s() - command_before) / count * 1000
    return f"{count / seconds:10.1f}{group_ms:>9}{command_ms:13.1f}  load {os.getloadavg()[0]:.1f}"


def read_results(out: Path) -> tuple[dict[str, str], list[str]]:
    """The SHA-256 of each result, and the JSON lines without times and folder, sorted.

    Raises:
        SegEdgeError: A line isn't JSON.
    """
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}
    lines = []
    for line in out.with_suffix(".jsonl").read_text().replace(f"{out}/", "").splitlines():
        try:
            document = json.loads(line)
        except ValueError as error:
            raise SegEdgeError(f"{out.name}: a line isn't JSON: {line}") from error
        document.pop("timing_ms", None)
        lines.append(json.dumps(document, sort_keys=True))
    return files, sorted(lines)


def main(
    photos: Annotated[int, typer.Option(min=2, help="Photos to draw, of 320x240 pixels.")] = 1000,
    model: Annotated[str, typer.Option(help="A bundled model's name or a .tflite file.")] = "person-fast",
    kill: Annotated[bool, typer.Option("--kill", help="Kill a worker of the last cluster.")] = False,
) -> None:
    """Segments the same photos with and without Ray."""
    with exit_codes(), tempfile.TemporaryDirectory() as scratch:
        try:
            from ray.cluster_utils import Cluster
        except ImportError as error:
            raise UsageError("Ray isn't installed; install it with: pip install 'seg-edge[cluster]'") from error
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        folder = Path(scratch)
        draw_photos(folder / "photos", photos)
        typer.echo(f"{photos} photos, {model:<20}photos/s   CPU ms  the command's")

        def row(name: str, **options: Any) -> None:
            out = folder / name.replace(" ", "-")
            figures = segment(folder / "photos", out, model, **options)
            is_same = read_results(out) == read_results(folder / "plain")
            typer.echo(f"{name:<30}{figures}  {'same results' if is_same else 'DIFFERENT RESULTS'}")
            if not is_same:
                raise SegEdgeError(f"{name}: files or lines differ from the plain command's.")

        row("plain")
        node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            row("one worker", cluster=cluster)
            cluster.add_node(**node)
            row("two workers", cluster=cluster, kill_after=photos // 2 if kill else 0)
        finally:
            cluster.shutdown()
        row("plain again")


if __name__ == "__main__":
    typer.run(main)
