"""`seg-edge models`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seg_edge.commands.console import echo_json, printable
from seg_edge.commands.options import JsonOption
from seg_edge.models import bundled_models, open_model

if TYPE_CHECKING:
    from seg_edge.card import ModelCard
    from seg_edge.models import ModelFile


def models(
    model: Annotated[
        str | None,
        typer.Argument(help="A bundled model's name or a .tflite file.", metavar="[NAME|FILE]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the bundled models, or show one model's card."""
    if model is None:
        files = [open_model(name) for name in bundled_models()]
        if as_json:
            echo_json([_describe(file) for file in files], indent=2)
        for file in [] if as_json else files:
            card = file.card
            classes = ", ".join(card.class_names[1:]) if card else "no card"
            typer.echo(f"{file.name:<12} {len(file.content) / 1000:6.0f} kB  {classes}")
        return
    file = open_model(model)
    if as_json:
        echo_json(_describe(file), indent=2)
    elif file.card is None:
        typer.echo(f"{file.path}: {len(file.content):,} bytes, sha256 {file.sha256}\nIt has no card.")
    else:
        typer.echo(_card_text(file, file.card))


def _describe(file: ModelFile) -> dict[str, Any]:
    card = json.loads(file.card.to_json()) if file.card else None
    return {
        "name": file.name,
        "file": str(file.path),
        "bytes": len(file.content),
        "sha256": file.sha256,
        "card": card,
    }


def _card_text(file: ModelFile, card: ModelCard) -> str:
    lines = [
        f"{card.name} {card.version}",
        f"  classes   {', '.join(card.class_names)}",
        f"  input     {card.input_size_wh[0]}x{card.input_size_wh[1]}, pixel * {card.scale:.6g} + {card.offset:g}",
        f"  output    {card.output}",
        f"  file      {file.path}, {len(file.content):,} bytes, sha256 {file.sha256}",
        f"  parent    sha256 {card.parent_sha256}",
        f"  made      {card.created} with {', '.join(f'{name} {number}' for name, number in card.versions.items())}",
        f"  data      {json.dumps(card.data)}",
        f"  licence   {card.licence or 'not stated'}",
    ]
    for part, variants in card.scores.items():
        for variant, scores in variants.items() if isinstance(variants, dict) else ():
            if isinstance(scores, dict) and "mean_dice" in scores and variant != "drop":
                lines.append(
                    f"  {part:<5}{variant:<6} Dice {scores['mean_dice']}, "
                    f"mean over photos {scores.get('mean_photo_dice')}, "
                    f"boundary F {scores.get('boundary_f')} ({scores.get('photos')} photos)"
                )
    lines += [f"  {line}" for line in card.notes.splitlines()]
    return "\n".join(printable(line) for line in lines)
