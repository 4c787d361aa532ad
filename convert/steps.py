"""The three steps of a compression. Each is skipped if its result exists, and continued if it was interrupted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.distillation.distill import distill
from convert.distillation.task import DistillConfig
from convert.distillation.teacher import Teacher
from convert.pruning.prune import PruneConfig, prune
from convert.quantisation.methods import Method
from convert.quantisation.quantize import quantize
from seg_edge.callbacks import Log
from seg_edge.card import read_card
from seg_edge.errors import OutputError
from train.dataset import Dataset
from train.keras_model import TrainedModel
from train.recipes import Recipe
from train.runs import MODEL_NAME, read_run

REFUSED = "refused.tflite"


def pruned(full: TrainedModel, data: Dataset, out: Path, config: PruneConfig, log: Log) -> TrainedModel:
    """The full model, pruned into the folder `out`."""
    if _is_done(out / MODEL_NAME, {"parent": full}, {"pruning": dataclasses.asdict(config)}):
        return TrainedModel.load(out / MODEL_NAME)
    log(f"Pruning {full.path} to {config.budget.value:g} {config.budget.unit}")
    return prune(full, data, out, config, resume=_has_begun(out), log=log)


def distilled(
    full: TrainedModel,
    student: TrainedModel | None,
    data: Dataset,
    out: Path,
    config: DistillConfig,
    recipe: Recipe,
    outputs_file: Path,
    log: Log,
) -> TrainedModel:
    """The student, or a new network from the recipe, taught by the full model, in the folder `out`."""
    parents = {"teacher": full, **({"parent": student} if student else {})}
    options = {"recipe": dataclasses.asdict(recipe), "distillation": dataclasses.asdict(config)}
    if _is_done(out / MODEL_NAME, parents, options):
        return TrainedModel.load(out / MODEL_NAME)
    log(f"Distilling {full.path} into {student.path if student else 'a new network'}")
    return distill(
        Teacher.of(full, data.classes),
        data,
        recipe,
        out,
        student=student,
        config=config,
        outputs_file=outputs_file,
        resume=_has_begun(out),
    )


def quantised(source: TrainedModel, data: Dataset, out: Path, name: str, qat_epochs: int, log: Log) -> Path:
    """The model as the int8 file `out`, whether or not it lost accuracy."""
    card = read_card(out.read_bytes(), out) if out.is_file() else None
    quantisation = card.recipe.get("quantisation", {}) if card else {}
    tuned_epochs = quantisation.get("qat", {}).get("recipe", {}).get("epochs", 0)
    if card is None or card.parent_sha256 != source.sha256 or tuned_epochs != qat_epochs:
        log(f"Quantising {source.path}")
        method = Method(qat=qat_epochs)
        quantize(source, data, out, name=name, method=method, accept_drop=True, resume=True, log=log)
        out.with_name(REFUSED).unlink(missing_ok=True)
    return out


def _is_done(result: Path, parents: Mapping[str, TrainedModel], options: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether this step's result exists.

    Args:
        result: The `.keras` that the step writes.
        parents: The models it must have been made from.
        options: Must equal those in its `run.json`, as far as it has them.

    Raises:
        OutputError: It was made from other files or with other options.
    """
    run = read_run(result) if result.is_file() else {}
    if not run:
        return False
    distillation = run.get("distillation", {"weight": 0.0})  # trained on masks only
    if "teacher" in distillation:
        run["teacher"] = distillation["teacher"]
    for role, parent in parents.items():
        if (role in run or role == "parent") and (run.get(role) or {}).get("sha256") != parent.sha256:
            raise OutputError(f"{result} was not made from {parent.path}; give another --out.")
    saved = {**run, "distillation": distillation}
    expected = json.loads(json.dumps(options))  # lists for tuples, as in `run.json`
    different = [
        name
        for part, values in expected.items()
        for name, value in values.items()
        if saved.get(part, {}).get(name, value) != value
    ]
    if different:
        raise OutputError(
            f"{result} was made with other values of {', '.join(different)}; give the same, or another --out."
        )
    return True


def _has_begun(out: Path) -> bool:
    return out.is_dir() and any(out.iterdir())
