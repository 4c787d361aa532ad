"""Instructions a frame on emulated Arm processors: `python benchmarks/studies/instructions.py [MODEL...]`.

A count, no time: exact, free of noise, and the same on every machine. It says what a stage costs and whether int8 uses
the processor's dot products, not how long an instruction takes. Needs gcc and Debian's `qemu-user` (the static QEMU has
no plugins), and the system that `sudo python benchmarks/studies/arm_boards.py bookworm-arm64 --fetch-here` makes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

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


def stage_counts(marks: Sequence[tuple[int, int]], frames: int) -> list[dict[str, tuple[int, int]]]:
    """The last frame's instructions and dot products by stage, for each model.

    Args:
        marks: What the plugin wrote, two for each of `STAGES` of each frame of each model.
        frames: Of a model.
    """
    size = 2 * len(STAGES)
    counts = []
    for end in range(frames * size, len(marks) + 1, frames * size):
        last, stages = marks[end - size : end], dict[str, tuple[int, int]]()
        for stage, begin, after in zip(STAGES, last[::2], last[1::2], strict=True):
            before = stages.get(stage, (0, 0))
            stages[stage] = (before[0] + after[0] - begin[0], before[1] + after[1] - begin[1])
        counts.append(stages)
    return counts


def count(root: Path, cpu: str, models: Sequence[Path], frames: int = FRAMES) -> list[dict[str, tuple[int, int]]]:
    """Runs the models on an emulated processor; see `stage_counts`.

    Raises:
        SegEdgeError: A program or the system is missing, or the run failed.
    """
    emulator, compiler = shutil.which("qemu-aarch64"), shutil.which("gcc")
    if not emulator or not compiler:
        raise SegEdgeError(
            "gcc or qemu-aarch64 not found; run 'sudo apt install --no-install-recommends qemu-user gcc'."
        )
    if not (root / "opt/site/cv2").exists():
        raise SegEdgeError(
            f"{root}: no system with OpenCV; make it by 'sudo python benchmarks/studies/arm_boards.py bookworm-arm64 "
            "--fetch-here --only doctor'."
        )
    with tempfile.TemporaryDirectory() as scratch:
        seen, plugin, out = Path(scratch, "root"), Path(scratch, "plugin.so"), Path(scratch, "out")
        (seen / "proc").mkdir(parents=True)
        for name in ("lib", "usr", "sys"):
            (seen / name).symlink_to(root / name)
        (seen / "proc/cpuinfo").write_text(arm64_root.cpuinfo(cpu))
        arm64_root.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(plugin), str(PLUGIN)])
        variables = [f"PYTHONPATH={root / 'opt/site'}:{ROOT / 'edge'}", "PYTHONDONTWRITEBYTECODE=1"]
        python = str(root / f"usr/bin/python{arm64_root.PYTHON}")
        arm64_root.run(
            [emulator, "-L", str(seen), "-cpu", cpu, "-plugin", f"{plugin},out={out}", "-U", "LD_LIBRARY_PATH"]
            + [part for variable in variables for part in ("-E", variable)]
            + [python, str(WORKER), str(PHOTO), str(frames), *map(str, models)]
        )
        marks = [(int(line.split()[0]), int(line.split()[1])) for line in out.read_text().splitlines()]
    return stage_counts(marks, frames)


def main(
    models: Annotated[list[str] | None, typer.Argument(help="A .tflite or a bundled model's name.")] = None,
    cpu: Annotated[list[str] | None, typer.Option(help="Emulated processor; may be repeated.")] = None,
    root: Annotated[Path | None, typer.Option(help="The system; by default arm_boards.py's bookworm-arm64.")] = None,
) -> None:
    """Counts the instructions of a frame of 640x480 pixels by stage, with one thread."""
    with exit_codes():
        cpus = cpu or ["cortex-a72", "cortex-a76"]
        if unknown := sorted(set(cpus) - set(arm64_root.CPU_PARTS)):
            raise UsageError(f"--cpu {unknown[0]} is not one of {', '.join(arm64_root.CPU_PARTS)}.")
        files = [open_model(model) for model in models or bundled_models()]
        place = (root or arm64_root.default_root().with_name("boards") / "bookworm-arm64").resolve()
        stages = list(dict.fromkeys(STAGES))
        typer.echo(
            f"{'million instructions':<28}{'processor':<12}{''.join(f'{s:>13}' for s in stages)}{'dot products':>14}"
        )
        for name in cpus:
            for file, counts in zip(files, count(place, name, [file.path.resolve() for file in files]), strict=True):
                row = "".join(f"{counts[stage][0] / 1e6:>13.1f}" for stage in stages)
                typer.echo(f"{file.name:<28}{name:<12}{row}{counts['inference'][1] / 1e6:>14.2f}")


if __name__ == "__main__":
    typer.run(main)
