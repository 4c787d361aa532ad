"""Quantisation: a trained model in, a `.tflite` with its card out. Converts, scores, and writes or refuses."""

from __future__ import annotations

import dataclasses
import datetime
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras

from convert.accuracy_gate import accuracy_drop, gate
from convert.delegation import not_delegated
from convert.quantisation.methods import Converted, Method, calibrate, calibration_images, convert_model, evenly_spaced
from convert.quantisation.sensitivity import most_sensitive, sensitivities, table
from seg_edge import Segmenter
from seg_edge.callbacks import Log
from seg_edge.card import ModelCard, append_card, make_classes
from seg_edge.errors import ModelError
from seg_edge.evaluation.data_folder import Example
from seg_edge.evaluation.scores import Scores, score
from seg_edge.interpreter import find_runtime, slow_operators
from seg_edge.system.files import write_file
from train.blind_guess import blind_dice, no_better_than_guessing
from train.dataset import Dataset
from train.keras_model import TrainedModel, at_size, keras_segmenter
from train.runs import versions

CALIBRATION_PHOTOS = 200
# Keys of run.json that aren't steps: they are elsewhere in the card, or left out.
NOT_A_STEP = ("recipe", "initial", "seed", "classes", "split", "versions", "gpu", "seconds", "scores")


def quantize(
    source: TrainedModel,
    data: Dataset,
    out: Path,
    *,
    name: str,
    licence: str = "",
    notes: str = "",
    specks: int = 0,
    accept_drop: bool = False,
    calibration: int = CALIBRATION_PHOTOS,
    size_wh: tuple[int, int] | None = None,
    method: Method | None = None,
    sensitivity: bool = False,
    resume: bool = False,
    force: bool = False,
    log: Log = print,
) -> dict[str, Any]:
    """Converts and scores, then writes or refuses; returns the card's scores.

    Args:
        source: The model to convert.
        data: The dataset it was trained on.
        out: The `.tflite` to write. A fine-tuning is saved in `<stem>.qat/` in the same folder.
        name: The model's name, for the card.
        licence: For the card.
        notes: For the card.
        specks: For the card, see `seg_edge.card.ModelCard`.
        accept_drop: Write it even if it lost accuracy.
        calibration: How many training photos to calibrate on.
        size_wh: Input size of the result; None for the model's own.
        method: How to convert; by default to int8. With the converter's own ranges, if these lose too much accuracy,
            ranges by least squares are tried next.
        sensitivity: Show the table of layer sensitivities even if the gate doesn't refuse.
        resume: Continue an interrupted fine-tuning.
        force: Replace an existing fine-tuning, unless `resume` continues it.
        log: Receives lines for the user.

    Raises:
        ModelError: The converted model lost more than `convert.accuracy_gate` allows and `accept_drop` isn't set.
    """
    method = method or Method()
    if size_wh:
        source = dataclasses.replace(source, model=at_size(source.model, size_wh))
    photos = evenly_spaced(data.parts["train"], calibration)
    if method.kind == "int8":
        log(f"Calibrating on {len(photos)} photos of the train part")
    qat_folder = out.with_name(f"{out.stem}.qat")
    force = force and not resume
    card = _card(source, data, name, licence, notes, specks)

    @cache
    def score_float(part: str) -> Scores:
        return score(keras_segmenter(source.model, data.classes, specks), data.parts[part])

    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        unscored = Path(scratch, out.name)
        conversions = _conversions(method, source, data, photos, qat_folder, log, resume=resume, force=force)
        for method, converted in conversions:
            unscored.write_bytes(append_card(converted.content, card))
            before, after = _score_both(score_float, unscored, data, "val", method.kind, log)
            blind = blind_dice(before.matrix.sum(axis=1))
            if (failure := no_better_than_guessing(before.mean_dice, blind)) and not accept_drop:
                raise ModelError(_learnt_nothing(source, failure))
            refusal = gate(before, after)
            refused = bool(refusal) and not accept_drop
            if not refused:
                break
        sensitive = ""
        if method.kind == "int8" and (sensitivity or refused):
            sensitive = _show_sensitivity(converted, method, source.model, photos, data, log)
        if refused:
            raise ModelError(
                _refused(source.path, refusal, sensitive, method, more_photos=len(photos) < len(data.parts["train"]))
            )
        drop = {name: round(value, 4) for name, value in accuracy_drop(before, after).items()}
        tested_before, tested_after = _score_both(score_float, unscored, data, "test", method.kind, log)
    undelegated = not_delegated(converted.content)
    if slow := slow_operators(operator.split()[0] for operator in undelegated):
        kinds = ", ".join(f"{count} {kind}" for kind, count in slow.items())
        log(f"XNNPACK leaves {kinds} to LiteRT's plain kernels, which may be slow")
    scores = {
        "val": {"float": before.summary(), method.kind: after.summary(), "drop": drop},
        "test": {"float": tested_before.summary(), method.kind: tested_after.summary()},
    }
    step = {**_recipe(method, converted, len(photos)), "not_delegated": list(undelegated), "drop_accepted": refusal}
    final = dataclasses.replace(card, scores=scores, recipe={**card.recipe, "quantisation": step})
    write_file(out, append_card(converted.content, final))
    return scores


def _conversions(
    method: Method,
    source: TrainedModel,
    data: Dataset,
    photos: Sequence[Example],
    qat_folder: Path,
    log: Log,
    *,
    resume: bool,
    force: bool,
) -> Iterator[tuple[Method, Converted]]:
    """The conversion by the given method, then, if more are needed, the one with better ranges than the converter's."""
    yield method, convert_model(method, source, data, photos, qat_folder, resume=resume, force=force)
    if method.kind == "int8" and method.uses_converter_ranges:
        log("This loses too much accuracy; trying --ranges mse")
        method = dataclasses.replace(method, ranges="mse")
        try:
            converted = convert_model(method, source, data, photos, qat_folder)
        except ModelError as error:
            log(f"No ranges by least squares: {error}")
        else:
            yield method, converted


def _learnt_nothing(source: TrainedModel, failure: str) -> str:
    assumed = source.run.get("imported", {}).get("input")
    advice = (
        f"Its input was assumed to be {assumed}; correct it with --input-scale and --input-offset, or train it longer"
        if assumed
        else "Train it longer, or on more photos"
    )
    return f"{source.path}: refused, as even before conversion {failure}. {advice}."


def _card(source: TrainedModel, data: Dataset, name: str, licence: str, notes: str, specks: int) -> ModelCard:
    run = source.run
    return ModelCard(
        name=name,
        classes=make_classes(data.classes),
        input_size_wh=source.size_wh,
        output=run.get("imported", {}).get("output", "logits"),
        specks=specks,
        version=datetime.date.today().isoformat(),
        parent_sha256=source.sha256,
        recipe={
            "training": run.get("recipe", {}),
            "training started from": run.get("initial"),
            **{step: value for step, value in run.items() if step not in NOT_A_STEP},
        },
        seed=run.get("seed"),
        data={"fingerprint": data.fingerprint, "split": {p: len(e) for p, e in data.parts.items()}},
        versions={**versions(), "scored with": f"{find_runtime().name} {find_runtime().version}"},
        licence=licence,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=notes,
    )


def _recipe(method: Method, converted: Converted, photos: int) -> dict[str, Any]:
    """The conversion step in the card's recipe."""
    if method.kind != "int8":
        return {"method": f"none: {method.kind}"}
    about: dict[str, Any] = {
        "method": "quantisation-aware fine-tuning to int8" if method.qat else "post-training int8",
        "ranges": method.ranges,
        "calibration_photos": photos,
        "part": "train",
    }
    if method.ranges == "percentile":
        about["percentile"] = method.percentile
    if not method.uses_converter_ranges:
        about["channels"] = "equalised where the graph allows it"
    if not method.uses_converter_ranges and not method.qat:
        about["biases"] = "corrected for the rounding of the kernels"
    if converted.qat:
        about["qat"] = {key: converted.qat[key] for key in ("recipe", "scores", "versions")}
    return about


def _show_sensitivity(
    converted: Converted, method: Method, model: keras.Model, photos: Sequence[Example], data: Dataset, log: Log
) -> str:
    """Logs the table; returns the most sensitive roundings as text, empty if the network isn't supported."""
    try:
        if converted.folded is None or converted.ranges is None:
            # The converter doesn't expose its ranges; these are chosen in the same way.
            folded, ranges = calibrate(method, model, calibration_images(model, photos))
        else:
            folded, ranges = converted.folded, converted.ranges
        log("Rounding each layer separately, on photos of the val part")
        rows = sensitivities(folded, ranges, data.parts["val"], len(data.classes))
    except ModelError as error:
        log(f"No table of layer sensitivities: {error}")
        return ""
    log(table(rows))
    worst = most_sensitive(rows)
    where = f"{', '.join(row.name for row in worst)}, {sum(row.share for row in worst):.0%} of the noise"
    if rows[0].name == f"{folded.layers[-1].name} (output)" and rows[0].share > 0.5:
        where += (
            f"; {rows[0].layer} gives the logits, whose steps in int8 are wider than the difference between the "
            "classes: train it longer"
        )
    return where


def _refused(source: Path, refusal: str, sensitive: str, method: Method, *, more_photos: bool) -> str:
    if method.kind != "int8":
        return f"{source}: refused, {refusal}. Compare the two files, or accept it with --accept-drop."
    remedies = []
    if sensitive:  # else the network isn't supported by --qat
        remedies.append(f"fine-tune with rounding (--qat {2 * method.qat or 5}{' --force' * bool(method.qat)})")
    if more_photos:
        remedies.append("calibrate on more photos (--calibration)")
    remedies.append(f"accept it with --accept-drop{' --resume' * bool(method.qat)}")
    most = f" Most sensitive: {sensitive}." if sensitive else ""
    return f"{source}: refused, {refusal}.{most} You can {', or '.join(remedies)}."


def _score_both(
    score_float: Callable[[str], Scores], tflite: Path, data: Dataset, part: str, kind: str, log: Log
) -> tuple[Scores, Scores]:
    examples = data.parts[part]
    log(f"Scoring float and {kind} on the {len(examples)} photos of the {part} part")
    return score_float(part), score(Segmenter(tflite), examples)
