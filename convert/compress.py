"""From a full U-Net to one small `.tflite`: `python convert/compress.py FULL.keras --data DIR --out OUT --budget-ms 3`.

For each budget: prunes the full model to it, lets the full model teach what is left, quantises that to int8, and
refuses it if it lost accuracy. With `--student RECIPE` the full model teaches a new network of the family instead. Ends
with a table of what each step cost and gained, and a plot. The same line again goes on where it was interrupted: a step
whose result is there, made of the same parents with the same options, isn't repeated.

OUT holds a folder for each result (`pruned/`, `distilled/`, `model.tflite`), `table.txt`, `table.json`, `pareto.png`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import train.quiet  # noqa: F401

# isort: split

import typer

from convert.accuracy_gate import gate
from convert.distillation.distill import distill
from convert.distillation.task import DistillConfig
from convert.distillation.teacher import ANSWERS_NAME
from convert.pruning.budget import Budget
from convert.pruning.importance import CRITERIA
from convert.pruning.plan import Limits
from convert.pruning.prune import PruneConfig, prune
from convert.quantisation.methods import Method
from convert.quantisation.quantize import quantize
from convert.report import Row, Variant, describe, write_report
from seg_edge.card import read_card
from seg_edge.errors import ModelError, OutputError, SegEdgeError, UsageError
from train.dataset import Dataset, open_split
from train.keras_model import load_keras
from train.options import use_threads
from train.recipes import ARCHITECTURE, RECIPES, Recipe, default
from train.runs import read_run, sha256_of

Log = Callable[[str], Any]
REFUSED = "refused.tflite"


@dataclass(frozen=True)
class Plan:
    """All choices of a compression.

    Attributes:
        prunings: How the full model is pruned; one result each.
        students: Names in `train.recipes.RECIPES`: networks that are taught from scratch; one result each.
        teaching: How the full model teaches.
        recipe: Of that training.
        size_wh: Input size of the results; None for the full model's.
        qat: Epochs of quantisation-aware fine-tuning; 0 for none.
        accept_drop: Write results although they lost accuracy; the report says how much.
    """

    prunings: tuple[PruneConfig, ...]
    students: tuple[str, ...]
    teaching: DistillConfig
    recipe: Recipe
    size_wh: tuple[int, int] | None = None
    qat: int = 0
    accept_drop: bool = False


def compress(full: Path, data: Dataset, out: Path, plan: Plan, log: Log = print) -> str:
    """Runs every step that isn't done yet, and writes the report.

    Args:
        full: The trained `.keras`.
        data: The split photos it was trained on.
        out: The folder to write.
        plan: All choices.
        log: Is given a line now and then.

    Returns:
        The report's table.

    Raises:
        ModelError: A budget can't be met, or a result lost too much accuracy against the full model: the report is
            written all the same, and the result is then called `refused.tflite`.
    """
    variants = [Variant("full", full)]
    for how in plan.prunings:
        folder = out / how.budget.name
        pruned = _pruned(full, data, folder / "pruned", how, log)
        variants.append(Variant(f"pruned, {folder.name}", pruned))
        variants += _small(full, data, folder, plan, plan.recipe, pruned, log)
    for student in plan.students:
        own = RECIPES[student]()
        architecture = {name: getattr(own, name) for name in ARCHITECTURE if name != "size"}
        if not plan.size_wh:
            architecture["size"] = _side_of(full)
        variants += _small(full, data, out / student, plan, plan.recipe.replace(**architecture), None, log)
    rows = describe(variants, data, plan.size_wh, log)
    reasons = {} if plan.accept_drop else {row.name: reason for row in rows if (reason := _lost(row, rows[0]))}
    rows = [_set_aside(row) if row.name in reasons else row for row in rows]
    text = write_report(rows, out)
    log(text)
    if reasons:
        said = "; ".join(f"{row.path}: {reasons[row.name]}" for row in rows if row.name in reasons)
        raise ModelError(
            f"refused against {full}, on the val part: {said}. Give a larger budget or more --epochs, or take it as it "
            "is with --accept-drop."
        )
    return text


def _lost(row: Row, full: Row) -> str:
    """Why a result is refused; empty when it isn't, or is no result yet."""
    return gate(full.val, row.val) if row.path.suffix == ".tflite" else ""


def _set_aside(row: Row) -> Row:
    """Takes a refused result its name."""
    return dataclasses.replace(row, path=row.path.replace(row.path.with_name(REFUSED)))


def _side_of(full: Path) -> int:
    """Width and height of the model's input, which a recipe has as one number."""
    height, width = load_keras(full).input_shape[1:3]
    if height != width:
        raise ModelError(f"{full} takes {width}x{height}, a new network a square; give its --size.")
    return int(width)


def _small(
    full: Path, data: Dataset, folder: Path, plan: Plan, recipe: Recipe, student: Path | None, log: Log
) -> list[Variant]:
    """The taught network and its int8 file."""
    taught = _distilled(full, student, data, folder / "distilled", plan, recipe, log)
    int8 = _quantised(taught, data, folder / "model.tflite", plan, log)
    return [Variant(f"distilled, {folder.name}", taught), Variant(f"int8, {folder.name}", int8)]


def _pruned(full: Path, data: Dataset, out: Path, how: PruneConfig, log: Log) -> Path:
    model = out / "model.keras"
    if not _is_done(model, {"parent": full}, {"pruning": dataclasses.asdict(how)}):
        log(f"Pruning {full} to {how.budget.value:g} {how.budget.unit}")
        prune(full, data, out, how, resume=_begun(out), log=log)
    return model


def _distilled(
    full: Path, student: Path | None, data: Dataset, out: Path, plan: Plan, recipe: Recipe, log: Log
) -> Path:
    model = out / "model.keras"
    options = {"recipe": dataclasses.asdict(recipe), "distillation": dataclasses.asdict(plan.teaching)}
    if not _is_done(model, {"teacher": full, **({"parent": student} if student else {})}, options):
        log(f"{full} teaches {student or 'a new network'}")
        answers = out.parents[1] / ANSWERS_NAME  # the students share them
        distill(full, data, recipe, out, student=student, teaching=plan.teaching, answers=answers, resume=_begun(out))
    return model


def _quantised(distilled: Path, data: Dataset, out: Path, plan: Plan, log: Log) -> Path:
    card = read_card(out.read_bytes(), out) if out.is_file() else None
    made = card.recipe.get("quantisation", {}) if card else {}
    tuned = made.get("qat", {}).get("recipe", {}).get("epochs", 0)
    if card is None or card.parent_sha256 != sha256_of(distilled) or tuned != plan.qat:
        log(f"Quantising {distilled}")
        name = distilled.resolve().parents[2].name
        # What counts is the loss against the full model, which the report shows for all results together.
        quantize(distilled, data, out, name=name, method=Method(qat=plan.qat), accept_drop=True, resume=True, log=log)
        out.with_name(REFUSED).unlink(missing_ok=True)
    return out


def _is_done(model: Path, parents: Mapping[str, Path], options: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether this step is done: its result is there.

    Args:
        model: The result.
        parents: What it must have been made of.
        options: What must be the same in its `run.json`, as far as that says.

    Raises:
        OutputError: It was made of other files, or with other options.
    """
    run = read_run(model) if model.is_file() else {}
    if not run:
        return False
    taught = run.get("distillation", {"weight": 0.0})  # no teacher was asked
    if "teacher" in taught:
        run["teacher"] = taught["teacher"]
    for what, parent in parents.items():
        if (what in run or what == "parent") and (run.get(what) or {}).get("sha256") != sha256_of(parent):
            raise OutputError(f"{model} was made of another file than {parent}; give another --out.")
    made = {**run, "distillation": taught}
    asked = json.loads(json.dumps(options))  # lists for tuples, as in what was read
    other = [
        name for part in asked for name, value in asked[part].items() if made.get(part, {}).get(name, value) != value
    ]
    if other:
        raise OutputError(f"{model} was made with another {' and '.join(other)}; give the same, or another --out.")
    return True


def _begun(out: Path) -> bool:
    return out.is_dir() and any(out.iterdir())


def main(
    full: Annotated[Path, typer.Argument(help="The trained .keras to make small.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    budget_mmac: Annotated[
        list[float] | None, typer.Option(min=0, help="Million multiply-accumulates at most; several make a plot.")
    ] = None,
    budget_params: Annotated[list[float] | None, typer.Option(min=1, help="Parameters at most.")] = None,
    budget_ms: Annotated[list[float] | None, typer.Option(min=0, help="Milliseconds, int8, one thread, here.")] = None,
    student: Annotated[
        list[str] | None, typer.Option(help=f"Teach a new network instead: {', '.join(RECIPES)}; besides the budgets.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Input size of the result; by default the model's.")] = None,
    halve: Annotated[bool, typer.Option(help="Drop the finest level, where most of the time goes.")] = True,
    multiple: Annotated[int, typer.Option(min=1, help="Channels of a layer: processors take 8 at once.")] = 8,
    criterion: Annotated[str, typer.Option(help="What makes a channel matter, see convert/prune.py.")] = "taylor",
    steps: Annotated[
        int, typer.Option(min=1, help="In which channels leave; all at once, little is left to inherit.")
    ] = 5,
    tune_epochs: Annotated[int, typer.Option(min=0, help="Of training on the masks after each step.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Of learning from the full model.")] = default().epochs,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="Of learning from the full model.")
    ] = default().learning_rate,
    batch: Annotated[int, typer.Option(min=1, help="Photos a step.")] = default().batch,
    teacher_weight: Annotated[float, typer.Option(help="0..1; the true masks weigh the rest.")] = DistillConfig.weight,
    temperature: Annotated[float, typer.Option(help="Of the soft labels.")] = DistillConfig.temperature,
    views: Annotated[int, typer.Option(min=1, help="Varied views of each photo.")] = DistillConfig.views,
    qat: Annotated[int, typer.Option(min=0, help="Epochs of quantisation-aware fine-tuning.")] = 0,
    accept_drop: Annotated[
        bool, typer.Option(help="Take results that lost accuracy; the table says how much.")
    ] = False,
    split: Annotated[Path | None, typer.Option(help="split.json; by default the one beside the model.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of training; 0 for all cores.")] = 0,
) -> None:
    """Prunes, distils and quantises a full U-Net, and shows what that cost."""
    given = {"mmac": budget_mmac, "params": budget_params, "ms": budget_ms}
    budgets = [Budget(unit, value) for unit, values in given.items() for value in values or ()]
    if not budgets and not student:
        raise typer.BadParameter("give --budget-mmac, --budget-params, --budget-ms or --student, once or several times")
    strange = [name for name in student or () if name not in RECIPES]
    if strange:
        raise typer.BadParameter(f"{', '.join(RECIPES)}, got {strange[0]!r}", param_hint="--student")
    if criterion not in CRITERIA:
        raise typer.BadParameter(f"{', '.join(CRITERIA)}, got {criterion!r}", param_hint="--criterion")
    use_threads(threads)
    try:
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
        teaching = DistillConfig(teacher_weight, temperature, views)
        recipe = default().replace(epochs=epochs, learning_rate=learning_rate, batch=batch, seed=seed)
        recipe = recipe.replace(size=size) if size else recipe
        dataset = open_split(data, split or full.parent / "split.json")
        plan = Plan(tuple(prunings), tuple(student or ()), teaching, recipe, size_wh, qat, accept_drop)
        compress(full, dataset, out, plan, typer.echo)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same line continues", err=True)
        raise typer.Exit(130) from None
    except UsageError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except (SegEdgeError, ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    names = [*(budget.name for budget in budgets), *(student or ())]
    typer.echo(f"Written to {out}: {', '.join(f'{name}/model.tflite' for name in names)}, table.txt, pareto.png")


if __name__ == "__main__":
    typer.run(main)
