"""Instructions per frame on emulated processors: `python benchmarks/studies/instructions.py [MODEL...]`.

A count instead of a time: exact, free of noise, and the same on every machine. It shows the cost of each stage and
whether int8 uses the processor's dot products, not how long an instruction takes. Needs gcc, Debian's `qemu-user` (the
static QEMU has no plugins), and the system made by `sudo python benchmarks/studies/arm_boards.py bookworm-arm64
--fetch-here`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import ai_edge_litert
import typer

from benchmarks.studies import arm64_root
from benchmarks.studies.count_frames import STAGES
from seg_edge.commands.console import exit_codes
from seg_edge.errors import SegEdgeError, UsageError
from seg_edge.models import bundled_models, open_model

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "tests" / "data" / "grace_hopper.jpg"
PLUGIN = Path(__file__).with_name("instructions.c")
WORKER = Path(__file__).with_name("count_frames.py")
FRAMES = 3  # the first allocates; the last is reported
PACKAGE, LIBRARY = "opt/site/ai_edge_litert", "libpywrap_litert_common.so"  # XNNPACK is in it
X86 = ("Haswell", "Nehalem")  # with AVX2; with SSE4.2 alone. QEMU emulates no AVX-512.


class Block(NamedTuple):
    """A basic block, with its total of executed instructions and dot products."""

    address: int
    instructions: int
    dots: int


def read_stretches(text: str) -> list[list[Block]]:
    """The blocks executed between calls of getpriority(2), from the plugin's output."""
    stretches: list[list[Block]] = [[]]
    for line in text.splitlines():
        if line:
            address, instructions, dots = line.split()
            stretches[-1].append(Block(int(address, 16), int(instructions), int(dots)))
        else:
            stretches.append([])
    return stretches[:-1]


def by_stage(stretches: Sequence[Sequence[Block]], frames: int) -> list[dict[str, list[Block]]]:
    """The blocks that each stage of each model's last frame executed.

    Args:
        stretches: The whole run; every second one is a stage, in the order of `STAGES`.
        frames: Frames per model.
    """
    inside, size = stretches[1::2], len(STAGES)
    models = []
    for end in range(frames * size, len(inside) + 1, frames * size):
        stages: dict[str, list[Block]] = {}
        for stage, blocks in zip(STAGES, inside[end - size : end], strict=True):
            stages.setdefault(stage, []).extend(blocks)
        models.append(stages)
    return models


def by_kernel(blocks: Sequence[Block], maps: str, functions: str) -> Counter[str]:
    """Instructions by XNNPACK micro-kernel, and all others by file.

    Args:
        blocks: The executed blocks.
        maps: The program's `/proc/self/maps`.
        functions: The output of `readelf --symbols` for `LIBRARY`.
    """
    files = list[tuple[int, int, str]]()
    for line in maps.splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6:
            start, _, end = parts[0].partition("-")
            files.append((int(start, 16), int(end, 16), Path(parts[5]).name))
    base = min((begin for begin, _, name in files if name == LIBRARY), default=0)
    rows = [line.split() for line in functions.splitlines() if " FUNC " in line]
    kernels = sorted((int(row[1], 16), int(row[2], 0), row[7]) for row in rows if len(row) > 7 and "ukernel" in row[7])
    starts, counts = [start for start, _, _ in kernels], Counter[str]()
    for block in blocks:
        file = next((name for begin, limit, name in files if begin <= block.address < limit), "elsewhere")
        index = bisect(starts, block.address - base) - 1
        inside = file == LIBRARY and index >= 0 and block.address - base < sum(kernels[index][:2])
        counts[kernels[index][2] if inside else file] += block.instructions
    return counts


def count(
    root: Path, cpu: str, models: Sequence[Path], frames: int = FRAMES
) -> tuple[list[dict[str, list[Block]]], str]:
    """Runs the models on an emulated processor; returns `by_stage` and the program's `/proc/self/maps`.

    Raises:
        SegEdgeError: A program or the system is missing, or the run failed.
    """
    is_x86 = cpu in X86
    name = "qemu-x86_64" if is_x86 else "qemu-aarch64"
    emulator, compiler = shutil.which(name), shutil.which("gcc")
    if not emulator or not compiler:
        raise SegEdgeError(f"gcc or {name} not found; run 'sudo apt install --no-install-recommends qemu-user gcc'.")
    if not is_x86 and not (root / "opt/site/cv2").exists():
        raise SegEdgeError(
            f"{root}: no system with OpenCV; make it with 'sudo python benchmarks/studies/arm_boards.py bookworm-arm64 "
            "--fetch-here --only doctor'."
        )
    with tempfile.TemporaryDirectory() as scratch:
        plugin, out = Path(scratch, "plugin.so"), Path(scratch, "out")
        number = ["-DGETPRIORITY=140"] if is_x86 else []
        arm64_root.run([compiler, "-O2", "-shared", "-fPIC", *number, "-o", str(plugin), str(PLUGIN)])
        if is_x86:  # this machine's own Python
            prefix, python, path = list[str](), sys.executable, str(ROOT / "edge")
        else:
            Path(scratch, "proc").mkdir()
            Path(scratch, "proc/cpuinfo").write_text(arm64_root.cpuinfo(cpu))
            for part in ("lib", "usr", "sys"):
                Path(scratch, part).symlink_to(root / part)
            python, path = str(root / f"usr/bin/python{arm64_root.PYTHON}"), f"{root / 'opt/site'}:{ROOT / 'edge'}"
            prefix = ["-L", scratch]
        counting = ["-plugin", f"{plugin},out={out}", "-U", "LD_LIBRARY_PATH"]
        variables = ["-E", f"PYTHONPATH={path}", "-E", "PYTHONDONTWRITEBYTECODE=1"]
        program = [python, str(WORKER), str(PHOTO), str(frames), *map(str, models)]
        maps = arm64_root.run([emulator, *prefix, "-cpu", cpu, *counting, *variables, *program])
        return by_stage(read_stretches(out.read_text()), frames), maps


def main(
    models: Annotated[list[str] | None, typer.Argument(help="A .tflite or a bundled model's name.")] = None,
    cpu: Annotated[list[str] | None, typer.Option(help="Emulated processor; repeatable.")] = None,
    root: Annotated[Path | None, typer.Option(help="The system; by default arm_boards.py's bookworm-arm64.")] = None,
    kernels: Annotated[bool, typer.Option("--kernels", help="Also list inference by XNNPACK micro-kernel.")] = False,
) -> None:
    """Counts the instructions per frame of 640x480 pixels by stage, with one thread."""
    with exit_codes():
        cpus = cpu or ["cortex-a72", "cortex-a76"]
        known = [*arm64_root.CPU_PARTS, *X86]
        if unknown := [name for name in cpus if name not in known]:
            raise UsageError(f"--cpu {unknown[0]} is not one of {', '.join(known)}.")
        files = [open_model(model) for model in models or bundled_models()]
        system = (root or arm64_root.default_root().with_name("boards") / "bookworm-arm64").resolve()
        stages = list(dict.fromkeys(STAGES))
        typer.echo(
            f"{'million instructions':<28}{'processor':<12}{''.join(f'{s:>13}' for s in stages)}{'dot products':>14}"
        )
        for name in cpus:
            folder = Path(ai_edge_litert.__file__).parent if name in X86 else system / PACKAGE
            functions = arm64_root.run(["readelf", "--symbols", "--wide", str(folder / LIBRARY)]) if kernels else ""
            counted, maps = count(system, name, [file.path.resolve() for file in files])
            for file, blocks in zip(files, counted, strict=True):
                row = "".join(f"{sum(b.instructions for b in blocks[stage]) / 1e6:>13.1f}" for stage in stages)
                dots = sum(block.dots for block in blocks["inference"]) / 1e6
                typer.echo(f"{file.name:<28}{name:<12}{row}{dots:>14.2f}")
                if kernels:
                    _print_kernels(by_kernel(blocks["inference"], maps, functions))


def _print_kernels(counts: Counter[str]) -> None:
    """Prints a line per kernel with 1 % or more, largest first, and one for the rest."""
    total = counts.total()
    large = {name: number for name, number in counts.most_common() if number >= total / 100}
    for name, number in (large | {"all others": total - sum(large.values())}).items():
        typer.echo(f"{number / 1e6:>12.2f}{number / total:>8.1%}  {name}")


if __name__ == "__main__":
    typer.run(main)
