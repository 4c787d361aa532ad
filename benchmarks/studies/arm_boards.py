"""Runs README's commands on emulated Raspberry Pi systems: `sudo python benchmarks/studies/arm_boards.py [SYSTEM...]`.

Each system is a Debian in a folder, made on first use, with a clean clone of this repository's last commit. Its
programs run under QEMU's user emulation, to see whether they work, never how fast. Exit code 1 means that one doesn't.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement

from benchmarks.studies import arm64_root
from seg_edge.commands.console import exit_codes
from seg_edge.errors import SegEdgeError, UsageError

ROOT = Path(__file__).resolve().parents[2]
CLONE = "root/seg-edge"
PACKAGES = ("python3", "python3-venv", "make", "git", "curl", "libgomp1", "libgl1")
MANYLINUX = ("manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class System:
    """A Debian for a board.

    Attributes:
        suite: Debian's release.
        architecture: Debian's name for it.
        processor: QEMU's name for it.
        packages: In addition to `PACKAGES`.
        python: Python version.
        machine: The architecture's name in Python and wheels.
        has_video: Whether it can read and write video files.
    """

    suite: str
    architecture: str
    processor: str
    packages: tuple[str, ...] = ()
    python: str = "3.11"
    machine: str = "aarch64"
    has_video: bool = True

    @property
    def emulator(self) -> str:
        """QEMU's program."""
        return {"arm64": "qemu-aarch64-static", "armhf": "qemu-arm-static"}[self.architecture]


SYSTEMS = {
    "bookworm-arm64": System("bookworm", "arm64", "cortex-a72", ("libglib2.0-0",)),
    "trixie-arm64": System("trixie", "arm64", "cortex-a76", ("libglib2.0-0t64",), "3.13"),
    "bookworm-armhf": System(
        "bookworm",
        "armhf",
        "cortex-a15",
        ("libglib2.0-0", "python3-opencv", "python3-numpy", "python3-pil"),
        machine="armv7l",
        has_video=False,
    ),
}
SEG_EDGE = "$SEG_EDGE"
PORTRAIT = "tests/data/grace_hopper.jpg"
INSTALLED = (
    "SEG_EDGE=.venv/bin/seg-edge",
    "EXTRA=.venv/bin/pip install --quiet --disable-pip-version-check --editable .[serve]",
)
FETCHED = (f"PYTHONPATH=/opt/site:/{CLONE}/edge", "SEG_EDGE=python3 -m seg_edge.commands.cli", "EXTRA=true")
RECORDED = ("RECORD=--record /tmp/camera.mp4 --force",)
PORT = 8765
SERVICE = f"http://127.0.0.1:{PORT}/v1"
STEPS = {
    "make demo": "make demo",
    "doctor": f"{SEG_EDGE} doctor",
    "image": f"{SEG_EDGE} image {PORTRAIT} --effect cutout --labels --out /tmp/out --json --force",
    "camera": f"{SEG_EDGE} camera --source synthetic --frames 20 --view none $RECORD",
    "video": f"{SEG_EDGE} video /tmp/camera.mp4 --out /tmp/video.mp4 --force",
    "bench": f"{SEG_EDGE} bench --threads 1 --rounds 2 --runs 3 --json",
    "serve": "$EXTRA && "
    f"{{ {SEG_EDGE} serve --port {PORT} & server=$!; "
    f"for i in $(seq 300); do curl -sf {SERVICE}/models >/dev/null && break; sleep 1; done; "
    f"curl -sSf --data-binary @{PORTRAIT} {SERVICE}/segment -o /tmp/answer; code=$?; kill $server; exit $code; }}",
}


def main(
    systems: Annotated[list[str] | None, typer.Argument(metavar="SYSTEM...", help=", ".join(SYSTEMS))] = None,
    root: Annotated[Path | None, typer.Option(help="Folder for the systems; by default in the user's cache.")] = None,
    only: Annotated[str, typer.Option(help=f"Comma-separated steps: {', '.join(STEPS)}.")] = ",".join(STEPS),
    fetch_here: Annotated[
        bool,
        typer.Option("--fetch-here", help="Download wheels with this machine's pip: faster, but without make demo."),
    ] = False,
    mirror: Annotated[str, typer.Option(help="Debian mirror; by default debootstrap's own.")] = "",
) -> None:
    """Runs README's commands on emulated boards."""
    with exit_codes():
        chosen, steps = systems or list(SYSTEMS), only.split(",")
        if unknown := [name for name in chosen if name not in SYSTEMS] + [name for name in steps if name not in STEPS]:
            raise UsageError(f"{unknown[0]!r} is not one of {', '.join([*SYSTEMS, *STEPS])}.")
        folder = root or arm64_root.default_root().with_name("boards")
        failed = False
        for name in chosen:
            board = set_up(folder / name, SYSTEMS[name], mirror)
            if fetch_here:
                unpack_wheels(board, SYSTEMS[name])
            variables = (*(FETCHED if fetch_here else INSTALLED), *(RECORDED if SYSTEMS[name].has_video else ()))
            skipped = {"make demo"} if fetch_here else set[str]()
            if not SYSTEMS[name].has_video:
                skipped.add("video")
            for step in [step for step in steps if step not in skipped]:
                done = run(board, SYSTEMS[name], STEPS[step], variables)
                lines = (done.stdout.strip() or "no output").splitlines()
                typer.echo(
                    f"{name:<16}{step:<12}{'ok' if done.returncode == 0 else f'exit {done.returncode}'}  {lines[-1]}"
                )
                if done.returncode:
                    failed = True
                    typer.echo("\n".join(f"    {line}" for line in lines[-25:]), err=True)
        if failed:
            raise typer.Exit(1)


def set_up(root: Path, system: System, mirror: str) -> Path:
    """Makes the system if needed, and a fresh clone.

    Raises:
        SegEdgeError: A prerequisite is missing.
    """
    arm64_root.check_tools()
    if not is_registered(system):
        raise SegEdgeError(
            f"the kernel doesn't start {system.architecture} programs with {system.emulator}; mount binfmt_misc and "
            "restart systemd-binfmt."
        )
    if not (root / "usr/bin/python3").exists():
        packages = (*PACKAGES, *system.packages)
        arm64_root.debian(root, mirror, system.suite, system.architecture, packages, system.emulator)
        configure(root)
    (root / "proc/cpuinfo").write_text(arm64_root.cpuinfo(system.processor))
    shutil.rmtree(root / CLONE, ignore_errors=True)
    arm64_root.run(["git", "clone", "--quiet", str(ROOT), str(root / CLONE)])
    return root


def is_registered(system: System) -> bool:
    """Whether the kernel starts this system's programs with QEMU."""
    entry = Path("/proc/sys/fs/binfmt_misc") / system.emulator.removesuffix("-static")
    return entry.is_file() and entry.read_text().startswith("enabled")


def configure(root: Path) -> None:
    """Does what the packages' own scripts would do, and copies this machine's network settings."""
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    for file in (Path("etc/resolv.conf"), Path("etc/hosts"), CERTIFICATES):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/" / file, root / file)
    (root / "proc/device-tree").mkdir(parents=True, exist_ok=True)
    (root / "proc/device-tree/model").write_text("Raspberry Pi (emulated)")
    (root / "dev/shm").mkdir(parents=True, exist_ok=True)
    for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
        if not (root / "dev" / name).exists():
            os.mknod(root / "dev" / name, 0o020666, os.makedev(1, minor))
    for name in ("tmp", "dev/shm"):
        (root / name).chmod(0o1777)
    for library in (root / "usr/lib").glob("*-linux-*/*/lib*.so.3"):  # Debian's alternatives: BLAS and LAPACK
        if library.parent.name == library.name.removeprefix("lib").removesuffix(".so.3"):
            (library.parents[1] / library.name).symlink_to(library.relative_to(library.parents[1]))


def unpack_wheels(root: Path, system: System) -> None:
    """Unpacks the wheels that seg-edge[serve] needs where `FETCHED` finds them; done once."""
    site = root / "opt/site"
    if site.exists():
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment = {"platform_machine": system.machine, "python_version": system.python}
    requirements = [
        Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"]["serve"])
    ]
    from_debian = {package.removeprefix("python3-").replace("pil", "pillow") for package in system.packages}
    names = [
        f"{requirement.name}{requirement.specifier}"
        for requirement in requirements
        if (not requirement.marker or requirement.marker.evaluate(environment)) and requirement.name not in from_debian
    ]
    platforms = [f"--platform={kind}_{system.machine}" for kind in MANYLINUX]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", *platforms]
    no_deps = [name for name in names if name.startswith("tflite-runtime")]  # its NumPy comes from Debian
    with tempfile.TemporaryDirectory() as folder:
        pip += [f"--python-version={system.python}", "--dest", folder]
        arm64_root.run([*pip, *(name for name in names if name not in no_deps)])
        if no_deps:
            arm64_root.run([*pip, "--no-deps", *no_deps])
        for wheel in Path(folder).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(site)


def run(root: Path, system: System, line: str, variables: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a shell command in the clone, with stderr in stdout."""
    environment = [
        f"QEMU_CPU={system.processor}",  # else QEMU's default, which has every extension
        "HOME=/root",
        "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        f"PIP_CERT=/{CERTIFICATES}",
        f"SSL_CERT_FILE=/{CERTIFICATES}",
        *variables,
    ]
    chroot = shutil.which("chroot", path=arm64_root.SEARCH) or "chroot"
    command = [chroot, str(root), "/usr/bin/env", "-i", *environment, "/bin/sh", "-c", f"cd /{CLONE} && {line}"]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


if __name__ == "__main__":
    typer.run(main)
