"""Trains a U-Net on a data folder: `python train/fit.py --data DIR --out RUN`.

RUN then holds `model.keras` (the best epoch by validation Dice, or with `--keep last` the last), `run.json` (recipe,
seed, split fingerprint, versions, scores), `split.json` (which photos it never saw), `log.csv`, `curves.png`,
`tensorboard/`, and `last.weights.h5`, from which `--resume` continues after an interruption to the same result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import train.quiet  # noqa: F401

# isort: split

from seg_edge.errors import SegEdgeError
from train.dataset import open_dataset
from train.options import comma_separated, thread_count, use_threads
from train.recipes import RECIPES, add_options, given_values
from train.scene_stream import PictureFolder
from train.training import fit


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line: a recipe's name, and an option for every value in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, required=True, help="data folder with images/ and masks/")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument(
        "--classes", type=comma_separated, help="names, where the data folder has no labels.txt: cat,dog"
    )
    parser.add_argument("--group", default="none", help="keep together: none, similar, or a regular expression")
    parser.add_argument("--names", default="", help="train on photos in whose name this regular expression is found")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--holdout", type=float, default=0.15, help="share of the photos in val, and again in test")
    parser.add_argument("--network", type=Path, help="a .keras to train further, such as a pruned one")
    parser.add_argument("--initial", type=Path, help="a .keras whose weights a new U-Net starts from")
    parser.add_argument(
        "--scenes",
        type=PictureFolder.parse,
        action="append",
        default=[],
        metavar="FOLDER[:WEIGHT]",
        help="learn from scenes of these pictures with soft masks instead; once or several times",
    )
    parser.add_argument(
        "--places",
        type=PictureFolder.parse,
        action="append",
        default=[],
        metavar="FOLDER[:WEIGHT]",
        help="with --scenes: pictures in which nobody is (images/, no masks); once or several times",
    )
    parser.add_argument("--threads", type=thread_count, default=0, help="CPU threads; 0 for all cores")
    parser.add_argument("--no-xla", action="store_true", help="on a GPU, don't compile the step with XLA")
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
        recipe = RECIPES[given.recipe]().replace(**given_values(given))
        data = open_dataset(
            given.data,
            classes=given.classes,
            seed=given.split_seed,
            holdout=given.holdout,
            group=given.group,
            names=given.names,
        )
        parts = ", ".join(f"{len(examples)} {part}" for part, examples in data.parts.items())
        print(f"{', '.join(data.classes[1:])}: {parts} photos; recipe {given.recipe}, {recipe.epochs} epochs")
        run = fit(
            data,
            recipe,
            given.out,
            resume=given.resume,
            force=given.force,
            network=given.network,
            initial=given.initial,
            scenes=given.scenes,
            places=given.places,
            xla=not given.no_xla,
        )
    except KeyboardInterrupt:
        print("interrupted; the same line with --resume continues", file=sys.stderr)
        sys.exit(130)
    except (SegEdgeError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    scores = run["scores"]
    print(f"{recipe.keep} val dice {scores['val_dice']:.4f} in epoch {scores['epoch']}: {given.out / 'model.keras'}")


if __name__ == "__main__":
    main()
