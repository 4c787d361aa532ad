"""A minimal arm64 Debian in a folder, run under QEMU's user emulation: to compare values, never speed.

Its packages are only unpacked, not configured, so neither mounts nor binfmt are needed. Its `/proc` and `/sys` are
plain folders with the files that XNNPACK's cpuinfo reads. Without these, XNNPACK finds no processor and LiteRT silently
falls back to its built-in kernels, which give other values.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from seg_edge.errors import SegEdgeError

SUITE = "bookworm"  # its Python is 3.11, as on Raspberry Pi OS 12
PYTHON = "3.11"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
EMULATOR = "qemu-aarch64-static"
SITE = "opt/site"
# Processors by QEMU's name, and their part numbers (Arm's technical reference manuals: MIDR_EL1.PartNum).
CPU_PARTS = {"cortex-a15": 0xC0F, "cortex-a53": 0xD03, "cortex-a72": 0xD08, "cortex-a76": 0xD0B}
# Further features of the Cortex-A76 in Linux's list, as far as XNNPACK and `seg-edge doctor` check them.
FEATURES = {"cortex-a76": " atomics fphp asimdhp asimdrdm asimddp"}
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def default_root() -> Path:
    """`$SEG_EDGE_ARM64_ROOT`, else a folder in the user's cache."""
    return Path(os.environ.get("SEG_EDGE_ARM64_ROOT") or Path.home() / ".cache" / "seg-edge" / "arm64")


def is_ready(root: Path) -> bool:
    """Whether `root` is complete, with the runtime version installed here."""
    return _stamp(root).is_file() and _stamp(root).read_text() == _runtime()


def set_up(root: Path, mirror: str = "") -> None:
    """Makes the root unless it exists; takes one to two minutes and 0.4 GB.

    Args:
        root: The folder to make.
        mirror: Debian mirror; by default debootstrap's own.

    Raises:
        SegEdgeError: A program or root's rights are missing, or a download failed.
    """
    check_tools()
    if is_ready(root):
        return
    if not (root / "usr/bin/python3").exists():
        if root.exists() and any(root.iterdir()):
            raise SegEdgeError(f"{root}: not made by this program; choose another folder with --root.")
        partial = root.with_name(f"{root.name}.partial")
        if partial.exists():
            raise SegEdgeError(f"{partial}: left over from a failed attempt; remove it and start again.")
        partial.parent.mkdir(parents=True, exist_ok=True)
        debian(partial, mirror)
        partial.replace(root)  # also replaces an empty folder
    _wheels(root)
    _stamp(root).write_text(_runtime())


def check_tools() -> None:
    """Checks that the root can be made and entered.

    Raises:
        SegEdgeError: It can't; the message says what is missing.
    """
    missing = [tool for tool in ("debootstrap", "dpkg-deb", EMULATOR, "chroot") if not shutil.which(tool, path=SEARCH)]
    if missing:
        raise SegEdgeError(
            f"{', '.join(missing)} not found; run "
            "'sudo apt install --no-install-recommends qemu-user-static debootstrap'."
        )
    if os.geteuid() != 0:
        raise SegEdgeError("debootstrap and chroot need root's rights; run it with sudo.")


def command(root: Path, cpu: str, arguments: list[str]) -> list[str]:
    """A command line that runs the root's Python on an emulated `cpu`, described in /proc/cpuinfo too."""
    (root / "proc/cpuinfo").write_text(cpuinfo(cpu))
    chroot = shutil.which("chroot", path=SEARCH) or "chroot"
    return [chroot, str(root), f"/usr/bin/{EMULATOR}", "-cpu", cpu, f"/usr/bin/python{PYTHON}", *arguments]


def cpuinfo(cpu: str) -> str:
    """Linux's /proc/cpuinfo on a board with this processor, given by QEMU's name."""
    return (
        "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid"
        f"{FEATURES.get(cpu, '')}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {CPU_PARTS[cpu]:#05x}\nCPU revision\t: 3\n\n"
    )


def debian(
    root: Path,
    mirror: str,
    suite: str = SUITE,
    architecture: str = "arm64",
    packages: Sequence[str] = ("python3", "libgomp1"),
    emulator: str = EMULATOR,
) -> None:
    """Unpacks a Debian into a folder.

    Args:
        root: The folder.
        mirror: Debian mirror; empty for debootstrap's own.
        suite: Debian's release.
        architecture: Debian's name for it.
        packages: Installed with their dependencies.
        emulator: QEMU's program for it, which is copied into the folder.
    """
    program = shutil.which("debootstrap", path=SEARCH) or "debootstrap"
    options = [f"--arch={architecture}", "--foreign", "--variant=minbase", f"--include={','.join(packages)}"]
    run([program, *options, suite, str(root), *([mirror] if mirror else [])])
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        # tar, because dpkg-deb -x would replace /lib, a link into /usr, by a folder.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpack:
            tar = ["tar", "-x", "--keep-directory-symlink", "-C", str(root)]
            done = subprocess.run(tar, stdin=unpack.stdout, capture_output=True, text=True)
        if done.returncode or unpack.returncode:
            message = (done.stderr.strip() or "dpkg-deb failed").splitlines()[-1]
            raise SegEdgeError(f"{package}: can't be unpacked ({message}); fix that and start again.")
        package.unlink()
    shutil.copy(shutil.which(emulator, path=SEARCH) or emulator, root / "usr/bin" / emulator)
    if (root / "proc").is_symlink():  # a link to this machine's
        (root / "proc").unlink()
    processors = root / "sys/devices/system/cpu"
    for folder in (root / "proc", processors):
        folder.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present"):
        (processors / name).write_text("0\n")


def _wheels(root: Path) -> None:
    """Unpacks NumPy and the runtime, in the version installed here."""
    folder = root / "opt/wheels"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(root / SITE, ignore_errors=True)
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
    run([*pip, f"--python-version={PYTHON}", "--dest", str(folder), _runtime(), "numpy>=1.24"])
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(root / SITE)


def run(command: list[str]) -> str:
    """Runs a program and returns its stdout.

    Raises:
        SegEdgeError: It failed; the message has its last line.
    """
    environment = {**os.environ, "PATH": SEARCH}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        raise SegEdgeError(f"{Path(command[0]).name} failed ({lines[-1]}); fix that and start again.")
    return done.stdout


def _runtime() -> str:
    try:
        return f"ai-edge-litert=={importlib.metadata.version('ai-edge-litert')}"
    except importlib.metadata.PackageNotFoundError as error:
        raise SegEdgeError("ai-edge-litert isn't installed here; run 'pip install ai-edge-litert'.") from error


def _stamp(root: Path) -> Path:
    return root / "opt/ready"
