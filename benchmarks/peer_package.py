"""Fetches files with a known SHA-256 from a registry's package into a cache."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seg_edge.errors import SegEdgeError
from seg_edge.system.files import check_writable, write_file

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Package:
    """A registry's package with files of peers.

    Attributes:
        spec: Name and version, in the downloading tool's syntax.
        command: Downloads it into the working directory; the spec is appended.
        tool: The tool's name, for messages.
        files: Name in the cache -> SHA-256 of every file to fetch.
        read: Reads one of these files, by its name in the cache, from the downloaded archive.
    """

    spec: str
    command: tuple[str, ...]
    tool: str
    files: dict[str, str]
    read: Callable[[Path, str], bytes]

    def fetch(self, cache: Path, run: Run = subprocess.run) -> list[Path]:
        """Fetches files that are missing or damaged in the cache; returns the written paths.

        Raises:
            SegEdgeError: The download failed, or has other files than expected.
        """
        missing = [name for name, digest in self.files.items() if not is_whole(cache / name, digest)]
        if not missing:
            return []
        for name in missing:
            check_writable(cache / name)
        with tempfile.TemporaryDirectory() as folder:
            archive = self._download(Path(folder), run)
            try:
                contents = {name: self.read(archive, name) for name in missing}
            except Exception as error:  # a damaged archive may raise anything
                raise SegEdgeError(f"{archive.name}: {missing[0]} can't be read from it ({error}).") from error
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != self.files[name]:
                raise SegEdgeError(f"{self.spec}: its {name} has an unexpected SHA-256 and isn't kept.")
        for name, content in contents.items():
            write_file(cache / name, content)
        return [cache / name for name in contents]

    def _download(self, folder: Path, run: Run) -> Path:
        try:
            done = run([*self.command, self.spec], cwd=folder, capture_output=True, text=True)
        except OSError as error:
            raise SegEdgeError(f"{self.spec}: {self.tool} can't be started ({error.strerror}); install it.") from error
        archives = sorted(folder.iterdir())
        if done.returncode or len(archives) != 1:
            errors = [line for line in done.stderr.splitlines() if re.match("ERROR|npm err", line, re.IGNORECASE)]
            message = errors[0] if errors else (done.stderr.strip() or f"got {len(archives)} files").splitlines()[-1]
            raise SegEdgeError(f"{self.spec}: {self.tool} could not download it ({message}); is there a network?")
        return archives[0]


def is_whole(path: Path, digest: str) -> bool:
    """Whether the file exists with this SHA-256."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
