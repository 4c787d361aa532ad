"""A large model teaches a small one: `python convert/distill.py TEACHER --data DIR --out RUN [--student FILE.keras]`.

The student learns from the true masks and from the teacher's outputs for the same view (Hinton et al., 2015,
arXiv:1503.02531): its soft labels at a temperature and, with `--hint`, the attention map of one of its layers. Photos
without masks can be added. The student is a `.keras`, e.g. from convert/prune.py, or a new U-Net with the options of
train/fit.py.

RUN holds what train/fit.py writes, plus `teacher.npz`, the teacher's outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import typer

from convert.distillation.distill import distill
from convert.distillation.task import DistillConfig
from convert.distillation.teacher import Teacher
from seg_edge.errors import UsageError
from train.foreign.open import import_model, split_of
from train.foreign.reading import SUFFIXES
from train.keras_model import TrainedModel
from train.options import (
    DISTILLATION,
    INPUT,
    OUTPUT,
    TRAINING,
    check_resume_or_force,
    resumable,
    run_command,
    use_threads,
)
from train.photos import photos_in
from train.recipe_options import with_recipe_options
from train.recipes import ARCHITECTURE, RECIPES, named_recipe


@with_recipe_options
def main(
    teacher: Annotated[Path, typer.Argument(help="A .keras or .h5, or any .tflite with the same classes.")],
    data: Annotated[Path, typer.Option(help="The data folder that the teacher was trained on.", rich_help_panel=INPUT)],
    out: Annotated[Path, typer.Option(help="Run folder to write.", rich_help_panel=OUTPUT)],
    values: dict[str, Any],
    student: Annotated[
        Path | None,
        typer.Option(help="A .keras to start from; by default a new U-Net from the recipe.", rich_help_panel=TRAINING),
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="split.json; by default the one next to the teacher.", rich_help_panel=INPUT)
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="Folder of photos without masks; none may be in val or test.", rich_help_panel=INPUT),
    ] = None,
    teacher_weight: Annotated[
        float, typer.Option(help="Weight of the teacher, 0..1; the masks get the rest.", rich_help_panel=DISTILLATION)
    ] = DistillConfig.weight,
    temperature: Annotated[
        float, typer.Option(help="Temperature of the soft labels.", rich_help_panel=DISTILLATION)
    ] = DistillConfig.temperature,
    views: Annotated[
        int, typer.Option(help="Augmented views per photo.", rich_help_panel=DISTILLATION)
    ] = DistillConfig.views,
    hint: Annotated[
        str,
        typer.Option(
            help="Layer whose attention maps should match: NAME, or TEACHER_NAME:STUDENT_NAME.",
            rich_help_panel=DISTILLATION,
        ),
    ] = "",
    hint_weight: Annotated[
        float, typer.Option(help="Weight of the hint loss.", rich_help_panel=DISTILLATION)
    ] = DistillConfig.hint_weight,
    recipe: Annotated[str, typer.Option(help=f"One of {', '.join(RECIPES)}.", rich_help_panel=TRAINING)] = "default",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 for all cores.", rich_help_panel=TRAINING)] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run.", rich_help_panel=TRAINING)
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.", rich_help_panel=OUTPUT)] = False,
) -> None:
    """Trains a small model with a large one as teacher."""
    check_resume_or_force(resume, force)
    use_threads(threads)
    with resumable("run the same command with --resume to continue"):
        settings = named_recipe(recipe).replace(**values)
        architecture = [name for name in ARCHITECTURE if name in values]
        if student and architecture:
            raise UsageError(f"--{architecture[0].replace('_', '-')} is for a new U-Net; {student} has its own.")
        config = DistillConfig(teacher_weight, temperature, views, hint, hint_weight)
        if teacher.suffix in SUFFIXES:
            model, dataset = import_model(teacher, data, split, log=typer.echo)
            learn_from = Teacher.of(model, dataset.classes)
        else:
            dataset = split_of(teacher, data, split, typer.echo)
            learn_from = Teacher.load(teacher, dataset.classes)
        trained = distill(
            learn_from,
            dataset,
            settings,
            out,
            student=TrainedModel.load(student) if student else None,
            config=config,
            unlabelled=photos_in(unlabelled) if unlabelled else (),
            resume=resume,
            force=force,
        )
    scores = trained.run["scores"]
    typer.echo(f"best val dice {scores['val_dice']:.4f} in epoch {scores['epoch']}: {trained.path}")


if __name__ == "__main__":
    run_command(main)
