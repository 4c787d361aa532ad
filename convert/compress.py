"""From a full U-Net to one small `.tflite`: `python convert/compress.py FULL.keras --data DIR --out OUT --budget-ms 3`.

For each budget: prunes the full model to it, distils the full model into the pruned one, quantises that to int8, and
refuses it if it lost accuracy. With `--student RECIPE` the full model teaches a new network of the family instead. Ends
with a table of what each step cost and gained, and a plot. After an interruption, the same command continues: a step
whose result exists, made from the same parents with the same options, isn't repeated.

OUT holds a folder for each result (`pruned/`, `distilled/`, `model.tflite`), `table.txt`, `table.json`, `pareto.png`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

try:
    import train.quiet  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}: run `. .venv/bin/activate` first (`make demo` makes it); `pip install -e '.[train]'` once."
    ) from None

# isort: split

import typer

from convert.accuracy_gate import gate
from convert.distillation.task import DistillConfig
from convert.distillation.teacher import OUTPUTS_NAME
from convert.pruning.budget import Budget
from convert.pruning.importance import CRITERIA
from convert.pruning.plan import Limits
from convert.pruning.prune import PruneConfig
from convert.report import Row, Variant, describe, write_report
from convert.steps import REFUSED, distilled, pruned, quantised
from seg_edge.callbacks import Log
from seg_edge.errors import ModelError
from train.dataset import Dataset
from train.foreign import options as foreign
from train.foreign.open import import_model
from train.keras_model import TrainedModel
from train.options import (
    BUDGET,
    DISTILLATION,
    INPUT,
    OUTPUT,
    PRUNING,
    QUANTISATION,
    TRAINING,
    resumable,
    run_command,
    use_threads,
)
from train.recipes import ARCHITECTURE, RECIPES, Recipe, default


@dataclass(frozen=True)
class CompressConfig:
    """Options of a compression.

    Attributes:
        prunings: How to prune the full model; one result each.
        students: Names in `train.recipes.RECIPES` of new networks that the full model teaches; one result each.
        distillation: How the full model teaches.
        recipe: The recipe of that training.
        size_wh: Input size of the results; None for the full model's.
        qat: Epochs of quantisation-aware fine-tuning; 0 for none.
        accept_drop: Accept results that lost accuracy; the report shows how much.
    """

    prunings: tuple[PruneConfig, ...]
    students: tuple[str, ...]
    distillation: DistillConfig
    recipe: Recipe
    size_wh: tuple[int, int] | None = None
    qat: int = 0
    accept_drop: bool = False


def compress(full: TrainedModel, data: Dataset, out: Path, config: CompressConfig, log: Log = print) -> str:
    """Runs the steps that aren't done yet, and writes the report.

    Args:
        full: The trained model.
        data: The dataset it was trained on.
        out: The folder to write.
        config: The options.
        log: Receives lines for the user.

    Returns:
        The report's table.

    Raises:
        ModelError: A budget can't be met, or a result lost too much accuracy against the full model: then the report
            is still written, and the result is named `refused.tflite`.
    """
    variants = [Variant("full", full)]
    for pruning in config.prunings:
        folder = out / pruning.budget.name
        narrow = pruned(full, data, folder / "pruned", pruning, log)
        variants.append(Variant(f"pruned, {folder.name}", narrow))
        variants += _distilled_and_quantised(full, narrow, data, folder, config, config.recipe, log)
    for name in config.students:
        recipe = _student_recipe(name, full, config)
        variants += _distilled_and_quantised(full, None, data, out / name, config, recipe, log)
    rows = describe(variants, data, config.size_wh, log)
    refusals = {} if config.accept_drop else _refusals(rows)
    rows = [_renamed(row) if row.name in refusals else row for row in rows]
    text = write_report(rows, out)
    log(text)
    if refusals:
        reasons = "; ".join(f"{row.path}: {refusals[row.name]}" for row in rows if row.name in refusals)
        raise ModelError(
            f"refused in comparison with {full.path}, on the val part: {reasons}. Give a larger budget or more "
            "--epochs, or accept it with --accept-drop."
        )
    return text


def _distilled_and_quantised(
    full: TrainedModel,
    student: TrainedModel | None,
    data: Dataset,
    folder: Path,
    config: CompressConfig,
    recipe: Recipe,
    log: Log,
) -> list[Variant]:
    """The distilled network and its int8 file."""
    outputs_file = folder.parent / OUTPUTS_NAME  # the students share the teacher's outputs
    small = distilled(full, student, data, folder / "distilled", config.distillation, recipe, outputs_file, log)
    int8 = quantised(small, data, folder / "model.tflite", folder.resolve().parent.name, config.qat, log)
    return [Variant(f"distilled, {folder.name}", small), Variant(f"int8, {folder.name}", int8)]


def _student_recipe(name: str, full: TrainedModel, config: CompressConfig) -> Recipe:
    """The training's recipe with the architecture of the named recipe, at the full model's input size."""
    named = RECIPES[name]()
    architecture = {value: getattr(named, value) for value in ARCHITECTURE if value not in ("size", "height")}
    if not config.size_wh:
        architecture["size"], architecture["height"] = full.size_wh
    return config.recipe.replace(**architecture)


def _refusals(rows: list[Row]) -> dict[str, str]:
    """Why results are refused, by row name."""
    results = [row for row in rows if row.path.suffix == ".tflite"]
    return {row.name: reason for row in results if (reason := gate(rows[0].val, row.val))}


def _renamed(row: Row) -> Row:
    """Renames the file of a refused result."""
    return dataclasses.replace(row, path=row.path.replace(row.path.with_name(REFUSED)))


def main(
    full: Annotated[Path, typer.Argument(help="The trained .keras or .h5 to compress.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained on.", rich_help_panel=INPUT)],
    out: Annotated[Path, typer.Option(help="Folder to write.", rich_help_panel=OUTPUT)],
    budget_mmac: Annotated[
        list[float] | None,
        typer.Option(min=0, help="Budget in million multiply-accumulates; repeatable.", rich_help_panel=BUDGET),
    ] = None,
    budget_params: Annotated[
        list[float] | None, typer.Option(min=1, help="Budget in parameters; repeatable.", rich_help_panel=BUDGET)
    ] = None,
    budget_ms: Annotated[
        list[float] | None,
        typer.Option(
            min=0, help="Budget in milliseconds on this machine, int8, one thread; repeatable.", rich_help_panel=BUDGET
        ),
    ] = None,
    student: Annotated[
        list[str] | None,
        typer.Option(help=f"Also teach a new network: {', '.join(RECIPES)}.", rich_help_panel=DISTILLATION),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Input size of the result; by default the model's.", rich_help_panel=OUTPUT),
    ] = None,
    halve: Annotated[
        bool, typer.Option(help="Remove the finest level, which takes most of the time.", rich_help_panel=PRUNING)
    ] = True,
    multiple: Annotated[
        int,
        typer.Option(
            min=1,
            help="Keep a multiple of this many channels per layer: processors compute 8 at once.",
            rich_help_panel=PRUNING,
        ),
    ] = 8,
    criterion: Annotated[
        str, typer.Option(help="How channels are scored, see convert/prune.py.", rich_help_panel=PRUNING)
    ] = "taylor",
    steps: Annotated[
        int, typer.Option(min=1, help="Pruning steps, with training after each.", rich_help_panel=PRUNING)
    ] = 5,
    tune_epochs: Annotated[
        int, typer.Option(min=0, help="Training epochs after each pruning step.", rich_help_panel=PRUNING)
    ] = 2,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the distillation.", rich_help_panel=TRAINING)
    ] = default().epochs,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="Learning rate of the distillation.", rich_help_panel=TRAINING)
    ] = default().learning_rate,
    batch: Annotated[int, typer.Option(min=1, help="Batch size.", rich_help_panel=TRAINING)] = default().batch,
    teacher_weight: Annotated[
        float, typer.Option(help="Weight of the teacher, 0..1; the masks get the rest.", rich_help_panel=DISTILLATION)
    ] = DistillConfig.weight,
    temperature: Annotated[
        float, typer.Option(help="Temperature of the soft labels.", rich_help_panel=DISTILLATION)
    ] = DistillConfig.temperature,
    views: Annotated[
        int, typer.Option(min=1, help="Augmented views per photo.", rich_help_panel=DISTILLATION)
    ] = DistillConfig.views,
    qat: Annotated[
        int, typer.Option(min=0, help="Epochs of quantisation-aware fine-tuning.", rich_help_panel=QUANTISATION)
    ] = 0,
    accept_drop: Annotated[
        bool, typer.Option(help="Accept results that lost accuracy; the table shows how much.", rich_help_panel=OUTPUT)
    ] = False,
    split: Annotated[
        Path | None, typer.Option(help="split.json; by default the one next to the model.", rich_help_panel=INPUT)
    ] = None,
    input_scale: foreign.Scale = None,
    input_offset: foreign.Offset = None,
    input_size: foreign.Size = "",
    seed: Annotated[int, typer.Option(help="Seed of all randomness.", rich_help_panel=TRAINING)] = 0,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads for training; 0 for all cores.", rich_help_panel=TRAINING)
    ] = 0,
) -> None:
    """Prunes, distils and quantises a full U-Net, and reports the cost."""
    by_unit = {"mmac": budget_mmac, "params": budget_params, "ms": budget_ms}
    budgets = [Budget(unit, value) for unit, values in by_unit.items() for value in values or ()]
    if not budgets and not student:
        raise typer.BadParameter("give at least one --budget-mmac, --budget-params, --budget-ms or --student")
    unknown = [name for name in student or () if name not in RECIPES]
    if unknown:
        raise typer.BadParameter(f"{', '.join(RECIPES)}, got {unknown[0]!r}", param_hint="--student")
    if criterion not in CRITERIA:
        raise typer.BadParameter(f"{', '.join(CRITERIA)}, got {criterion!r}", param_hint="--criterion")
    use_threads(threads)
    with resumable("run the same command to continue"):
        size_wh = (size, size) if size else None
        prunings = [
            PruneConfig(
                budget,
                criterion,
                limits=Limits(multiple, multiple),
                size_wh=size_wh,
                halve=halve,
                steps=steps,
                epochs=tune_epochs,
                seed=seed,
            )
            for budget in budgets
        ]
        distillation = DistillConfig(teacher_weight, temperature, views)
        recipe = default().replace(epochs=epochs, learning_rate=learning_rate, batch=batch, seed=seed)
        recipe = recipe.replace(size=size) if size else recipe
        input_options = foreign.input_options(input_scale, input_offset, input_size)
        trained, dataset = import_model(full, data, split, input_options, typer.echo)
        config = CompressConfig(tuple(prunings), tuple(student or ()), distillation, recipe, size_wh, qat, accept_drop)
        compress(trained, dataset, out, config, typer.echo)
    names = [*(budget.name for budget in budgets), *(student or ())]
    typer.echo(f"Written to {out}: {', '.join(f'{name}/model.tflite' for name in names)}, table.txt, pareto.png")


if __name__ == "__main__":
    run_command(main)
