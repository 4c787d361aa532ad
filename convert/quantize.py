"""A trained `.keras` to an int8 `.tflite`: `python convert/quantize.py MODEL.keras --data DIR`.

Post-training quantisation to full integers: uint8 in and out, int8 inside, one weight scale a channel. Activation
ranges are calibrated on photos of the train part; `--ranges` equalises the channels and chooses the ranges by other
rules than the converter's, and `--qat` fine-tunes the network with the rounding in it. Float and int8 are scored on the
validation part by the runtime itself. A file that lost accuracy is refused, with a table of the layers that lose it.
The card inside the file holds the recipe and the scores.
"""

from __future__ import annotations

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

from convert.quantisation.methods import Method
from convert.quantisation.quantize import CALIBRATION_PHOTOS, quantize
from convert.quantisation.ranges import PERCENTILE
from seg_edge.commands.console import exit_codes
from seg_edge.errors import OutputError
from train.foreign import options as foreign
from train.foreign.open import import_model
from train.options import INPUT, OUTPUT, QUANTISATION, run_command


def main(
    model: Annotated[Path, typer.Argument(help="The .keras or .h5 to convert.")],
    data: Annotated[Path, typer.Option(help="The data folder it was trained on.", rich_help_panel=INPUT)],
    out: Annotated[
        Path | None, typer.Option(help="The .tflite to write; by default next to the model.", rich_help_panel=OUTPUT)
    ] = None,
    name: Annotated[
        str, typer.Option(help="The model's name; by default that of its folder.", rich_help_panel=OUTPUT)
    ] = "",
    split: Annotated[
        Path | None, typer.Option(help="split.json; by default the one next to the model.", rich_help_panel=INPUT)
    ] = None,
    input_scale: foreign.Scale = None,
    input_offset: foreign.Offset = None,
    input_size: foreign.Size = "",
    kind: Annotated[
        str, typer.Option(help="int8, or float16 or float32 for comparison.", rich_help_panel=QUANTISATION)
    ] = "int8",
    ranges: Annotated[
        str,
        typer.Option(
            help="Choice of int8's ranges: minmax, percentile or mse; mse is tried next if minmax fails.",
            rich_help_panel=QUANTISATION,
        ),
    ] = "minmax",
    percentile: Annotated[
        float, typer.Option(help="Share of the values to cover with --ranges percentile.", rich_help_panel=QUANTISATION)
    ] = PERCENTILE,
    qat: Annotated[
        int, typer.Option(help="Epochs of quantisation-aware fine-tuning.", rich_help_panel=QUANTISATION)
    ] = 0,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Show which layers lose accuracy in int8.", rich_help_panel=QUANTISATION),
    ] = False,
    calibration: Annotated[
        int, typer.Option(min=1, help="Photos to calibrate on.", rich_help_panel=QUANTISATION)
    ] = CALIBRATION_PHOTOS,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Input size of the result; by default the model's.", rich_help_panel=OUTPUT),
    ] = None,
    specks: Annotated[
        int,
        typer.Option(min=0, help="Remove regions and holes of fewer output pixels, as noise.", rich_help_panel=OUTPUT),
    ] = 0,
    accept_drop: Annotated[
        bool, typer.Option(help="Write it even if it lost accuracy; the card says so.", rich_help_panel=OUTPUT)
    ] = False,
    licence: Annotated[str, typer.Option(help="The model's licence, for its card.", rich_help_panel=OUTPUT)] = "",
    notes: Annotated[str, typer.Option(help="What users should know, for its card.", rich_help_panel=OUTPUT)] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted fine-tuning.", rich_help_panel=QUANTISATION)
    ] = False,
    force: Annotated[
        bool, typer.Option(help="Replace the file, and without --resume the fine-tuning.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Quantises a trained U-Net to int8, and refuses if it lost accuracy."""
    target = out or model.with_suffix(".tflite" if kind == "int8" else f".{kind}.tflite")
    with exit_codes():
        method = Method(kind, ranges, percentile, qat)
        if target.is_dir() or (target.exists() and not force):
            what = "is a folder; give a file with --out" if target.is_dir() else "exists; --force replaces it"
            raise OutputError(f"{target} {what}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        input_options = foreign.input_options(input_scale, input_offset, input_size)
        source, dataset = import_model(model, data, split, input_options, typer.echo)
        scores = quantize(
            source,
            dataset,
            target,
            name=name or model.resolve().parent.name,
            licence=licence,
            notes=notes,
            specks=specks,
            accept_drop=accept_drop,
            calibration=calibration,
            size_wh=(size, size) if size else None,
            method=method,
            sensitivity=sensitivity,
            resume=resume,
            force=force,
            log=typer.echo,
        )
    typer.echo(f"{'':8}{'float Dice':>14}{kind + ' Dice':>14}{'float edges':>15}{kind + ' edges':>15}")
    for part, both in scores.items():
        values = [both[version][figure] for figure in ("mean_dice", "boundary_f") for version in ("float", kind)]
        typer.echo(f"{part:8}{values[0]:14.4f}{values[1]:14.4f}{values[2]:15.4f}{values[3]:15.4f}")
    what = "the full-integer model" if kind == "int8" else f"the {kind} model"
    typer.echo(f"{target}: {target.stat().st_size / 1000:.0f} kB, {what} with its card")


if __name__ == "__main__":
    run_command(main)
