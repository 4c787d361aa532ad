"""A large model teaches a small one: `python convert/distill.py TEACHER --data DIR --out RUN [--student FILE.keras]`.

The student learns from the true masks and from what the teacher says of the same view (Hinton et al., 2015,
arXiv:1503.02531): its soft labels at a temperature and, with `--hint`, where one of its layers looks. Photos without
masks may be added. The student is a `.keras`, such as the one convert/prune.py wrote, or a new member of the U-Net
family by the options of train/fit.py.

RUN holds what train/fit.py writes, and `teacher.npz`, the teacher's answers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import train.quiet  # noqa: F401

# isort: split

from convert.distillation.distill import distill
from convert.distillation.task import DistillConfig
from seg_edge.errors import SegEdgeError, UsageError
from seg_edge.photo.find import find_photos
from train.dataset import open_split
from train.options import thread_count, use_threads
from train.recipes import ARCHITECTURE, RECIPES, add_options, given_values


def _photos_in(folder: Path) -> Sequence[Path]:
    found = find_photos([str(folder)])
    for error in found.failures.values():
        raise error
    return found.paths


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("teacher", type=Path, help="a .keras, or any .tflite with the same classes")
    parser.add_argument("--data", type=Path, required=True, help="the data folder that the teacher was trained on")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--student", type=Path, help="a .keras to start from; else a new U-Net by the recipe")
    parser.add_argument("--split", type=Path, help="split.json; by default the one beside the teacher")
    parser.add_argument(
        "--unlabelled", type=Path, help="folder of photos without masks; none like those of val and test"
    )
    parser.add_argument(
        "--teacher-weight", type=float, default=DistillConfig.weight, help="0..1; the masks weigh the rest"
    )
    parser.add_argument("--temperature", type=float, default=DistillConfig.temperature)
    parser.add_argument("--views", type=int, default=DistillConfig.views, help="varied views of each photo")
    parser.add_argument("--hint", default="", help="layer whose attention maps are to agree: NAME or THEIRS:OURS")
    parser.add_argument("--hint-weight", type=float, default=DistillConfig.hint_weight)
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--threads", type=thread_count, default=0, help="CPU threads; 0 for all cores")
    going_on = parser.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="continue an interrupted run")
    going_on.add_argument("--force", action="store_true", help="replace the run that is there")
    add_options(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Runs the command; exits with 1 and one line when it can't."""
    given = parse_arguments()
    use_threads(given.threads)
    try:
        values = given_values(given)
        kept = [name for name in ARCHITECTURE if name in values]
        if given.student and kept:
            raise UsageError(f"--{kept[0].replace('_', '-')} is for a new U-Net; {given.student} has its own.")
        teaching = DistillConfig(given.teacher_weight, given.temperature, given.views, given.hint, given.hint_weight)
        run = distill(
            given.teacher,
            open_split(given.data, given.split or given.teacher.parent / "split.json"),
            RECIPES[given.recipe]().replace(**values),
            given.out,
            student=given.student,
            teaching=teaching,
            unlabelled=_photos_in(given.unlabelled) if given.unlabelled else (),
            resume=given.resume,
            force=given.force,
        )
    except KeyboardInterrupt:
        print("interrupted; the same line with --resume continues", file=sys.stderr)
        sys.exit(130)
    except (SegEdgeError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    scores = run["scores"]
    print(f"best val dice {scores['val_dice']:.4f} in epoch {scores['epoch']}: {given.out / 'model.keras'}")


if __name__ == "__main__":
    main()
