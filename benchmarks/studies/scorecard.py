"""How do person models compare? `python benchmarks/studies/scorecard.py MODEL... --data DIR [--clip FILE]`

Dice and boundary F on the held-out photos, by the share that people fill, by light and by skin tone; false pixels in
places without people; flicker on clips. Dice is the mean of the photos' own. Each figure has its interval over 10,000
resamples of the photos; so has the difference to the first model, over the same resamples. MODEL is any `.tflite`, a
bundled model's name, or a `.keras`. `--page docs/person.md` also writes the table into the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import train.quiet  # noqa: F401

# isort: split

import cv2
import numpy as np
import typer

from benchmarks.flicker import flicker_of
from benchmarks.reporting.tables import update_page
from seg_edge import Segmenter
from seg_edge.commands.console import exit_codes
from seg_edge.evaluation.data_folder import Example, find_examples
from seg_edge.evaluation.scores import FOREGROUND_SHARES, PhotoScore, mean_interval, score
from train.dataset import open_dataset
from train.keras_model import open_segmenter

RESAMPLES = 10_000
MIN_EMPTY = 96  # pixels; smaller places without people are ignored
MIN_SKIN = 0.01  # share of the people's pixels
# Skin colours in YCrCb, after D. Chai and K. N. Ngan, "Face segmentation using skin-color map" (1999).
SKIN_LOW, SKIN_HIGH = (40, 133, 77), (255, 173, 127)
# Individual typology angle in degrees, after A. Chardon et al. (1991): above 41 light, 10 to 41 medium, below dark.
ITA_LIGHT, ITA_DARK = 41.0, 10.0


@dataclass(frozen=True)
class Group:
    """A subset of the photos.

    Attributes:
        name: What the photos have in common.
        photos: Their indices, int64 (n,).
    """

    name: str
    photos: np.ndarray


def groups_of(examples: Sequence[Example]) -> list[Group]:
    """Groups by the share that people fill, by thirds of brightness, and by skin tone if skin is visible."""
    shares, light, tones = [], [], []
    for example in examples:
        frame, mask = example.load_pair()
        shares.append(float((mask == 1).mean()))
        light.append(float(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).mean()))
        tones.append(typology_angle(frame, mask == 1))
    share, tone = np.array(shares), np.array(tones)
    thirds = np.argsort(np.argsort(light)) * 3 // len(examples)
    visible = share >= 0.1
    found = [
        (f"people fill >= {least:.0%}" if least else "all photos", share >= least)
        for least in reversed(FOREGROUND_SHARES)
    ]
    found += [
        (f"{name}, >= 10 %", visible & (thirds == third))
        for third, name in enumerate(("dark", "medium light", "bright"))
    ]
    found += [
        ("lighter skin, >= 10 %", visible & (tone > ITA_LIGHT)),
        ("medium skin, >= 10 %", visible & (tone <= ITA_LIGHT) & (tone >= ITA_DARK)),
        ("darker skin, >= 10 %", visible & (tone < ITA_DARK)),
        ("no skin visible, >= 10 %", visible & np.isnan(tone)),
    ]
    return [Group(name, np.flatnonzero(chosen)) for name, chosen in found if chosen.any()]


def typology_angle(frame: np.ndarray, person: np.ndarray) -> float:
    """Median individual typology angle of the people's skin-coloured pixels, in degrees; NaN if there are too few.

    It describes the photo, not the person: light and white balance change it, and the rule for skin misses some.
    """
    skin = person & (cv2.inRange(cv2.cvtColor(frame, cv2.COLOR_BGR2YCrCb), SKIN_LOW, SKIN_HIGH) > 0)
    if not person.any() or skin.sum() < MIN_SKIN * person.sum():
        return math.nan
    lightness, _, blue_yellow = np.moveaxis(cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_BGR2LAB), 2, 0)
    return float(np.median(np.degrees(np.arctan2(lightness[skin] - 50, blue_yellow[skin]))))


def empty_places(examples: Sequence[Example]) -> list[np.ndarray]:
    """The largest part of each photo next to, above or below all people, BGR uint8, if it is large enough."""
    places = []
    for example in examples:
        frame, mask = example.load_pair()
        rows, columns = np.flatnonzero((mask > 0).any(axis=1)), np.flatnonzero((mask > 0).any(axis=0))
        if not len(rows):
            places.append(frame)
            continue
        sides = frame[: rows[0]], frame[rows[-1] + 1 :], frame[:, : columns[0]], frame[:, columns[-1] + 1 :]
        wide = [side for side in sides if min(side.shape[:2]) >= MIN_EMPTY]
        if wide:
            places.append(np.ascontiguousarray(max(wide, key=lambda side: side.size)))
    return places


def false_shares(segmenter: Segmenter, places: Sequence[np.ndarray]) -> np.ndarray:
    """Share of pixels labelled as person in each place, float64 (places,)."""
    return np.array([float((segmenter(place).labels > 0).mean()) for place in places])


def with_interval(values: np.ndarray) -> str:
    """The mean without NaN, and its interval over resampled photos."""
    interval = mean_interval(values, RESAMPLES)
    return f"{np.nanmean(values):.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def table(names: Sequence[str], groups: Sequence[Group], scores: Sequence[Sequence[PhotoScore]]) -> list[str]:
    """Lines of a Markdown table with a row per group: Dice, its difference to the first model's, and boundary F."""
    dice = np.array([[photo.dice for photo in photos] for photos in scores])
    boundary = np.array([[float(photo.boundary[1]) for photo in photos] for photos in scores])
    lines = ["| photos | n | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for group in groups:
        first, *others = dice[:, group.photos]
        cells = [f"{with_interval(other)}; {with_interval(other - first)}" for other in others]
        lines.append(_row(group.name, len(group.photos), [with_interval(first), *cells]))
    for group in groups[:3]:
        cells = [with_interval(values) for values in boundary[:, group.photos]]
        lines.append(_row(f"{group.name}, boundary F", len(group.photos), cells))
    return lines


def main(
    models: Annotated[list[str], typer.Argument(help="The others are compared with the first.")],
    data: Annotated[Path, typer.Option(help="Data folder with images/, masks/ and index.csv.")],
    part: Annotated[str, typer.Option(help="train, val, test, or all photos of the folder.")] = "test",
    holdout: Annotated[float, typer.Option(help="As for train/fit.py.")] = 0.15,
    names: Annotated[str, typer.Option(help="As for train/fit.py.")] = "",
    clip: Annotated[list[Path] | None, typer.Option(help="Video to score flicker on; repeatable.")] = None,
    page: Annotated[Path | None, typer.Option(help="Also write the table into this Markdown page's block.")] = None,
    block: Annotated[str, typer.Option(help="The block's name.")] = "scorecard",
) -> None:
    """Prints the table."""
    with exit_codes():
        if part == "all":
            examples = find_examples(data)
        else:
            examples = open_dataset(data, classes=["person"], holdout=holdout, names=names).parts[part]
        segmenters = [open_segmenter(Path(model), ("background", "person")) for model in models]
        shown = [Path(model).name for model in models]
        scores = [score(segmenter, examples).photos for segmenter in segmenters]
        lines = table(shown, groups_of(examples), scores)
        places = empty_places(examples)
        false = [false_shares(segmenter, places) for segmenter in segmenters]
        means, large = [f"{share.mean():.2%}" for share in false], [f"{(share > 0.01).mean():.0%}" for share in false]
        lines.append(_row("places without people, false pixels", len(places), means))
        lines.append(_row("places with more than 1 % false pixels", len(places), large))
        for path in clip or ():
            _, flicker = flicker_of(segmenters, path)
            cells = ["-" if value is None else f"{value:.2%}" for value in flicker]
            lines.append(_row(f"flicker, {path.name}", 1, cells))
        typer.echo("\n".join(lines))
        if page:
            update_page(page, block, "\n".join(lines))


def _row(name: str, count: int, cells: Sequence[str]) -> str:
    return f"| {name} | {count} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    typer.run(main)
