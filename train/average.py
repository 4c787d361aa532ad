"""Averages the weights of two trainings: `python train/average.py RUN RUN --out RUN`.

If one training continued from the other, on other pictures or at another size, the model halfway between them is often
better than both (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022, arXiv:2109.01903). The
input size, the split and the rest of `run.json` come from the second run.
"""

from __future__ import annotations

import json
import shutil
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

from seg_edge.commands.console import exit_codes
from seg_edge.errors import DataError
from train.keras_model import load_keras
from train.options import run_command
from train.runs import MODEL_NAME, RUN_NAME, SPLIT_NAME, provenance, read_run, require_empty, sha256_of


def average(first: Path, second: Path, out: Path, share: float) -> None:
    """Writes a run folder with the averaged model.

    Args:
        first: A run folder.
        second: Another, of the same network; its input may have another size.
        out: Folder to write; missing or empty.
        share: Weight of the second run, 0..1.

    Raises:
        DataError: The two networks differ.
        OutputError: The folder isn't empty.
    """
    require_empty(out)
    models = [load_keras(run / MODEL_NAME) for run in (first, second)]
    weights = [model.get_weights() for model in models]
    if [value.shape for value in weights[0]] != [value.shape for value in weights[1]]:
        raise DataError(f"{first} and {second} hold different networks; average runs of the same network.")
    models[1].set_weights([(1 - share) * a + share * b for a, b in zip(*weights, strict=True)])
    out.mkdir(parents=True, exist_ok=True)
    models[1].save(out / MODEL_NAME)
    run = read_run(second / MODEL_NAME)
    run.pop("scores", None)  # they belong to the second run's own weights
    averaged = [provenance(sha256_of(path / MODEL_NAME), read_run(path / MODEL_NAME)) for path in (first, second)]
    record = {**run, "averaged": averaged, "share": share}
    (out / RUN_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if (second / SPLIT_NAME).is_file():
        shutil.copyfile(second / SPLIT_NAME, out / SPLIT_NAME)


def main(
    first: Annotated[Path, typer.Argument(help="A run folder.")],
    second: Annotated[Path, typer.Argument(help="Another run of the same network, e.g. one continued from the first.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Weight of the second run.")] = 0.5,
) -> None:
    """Averages the weights of two trainings of the same network."""
    with exit_codes():
        average(first, second, out, share)
    typer.echo(f"Written to {out}: {1 - share:g} of {first} and {share:g} of {second}; score it before using it.")


if __name__ == "__main__":
    run_command(main)
