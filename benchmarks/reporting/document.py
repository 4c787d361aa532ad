"""The results of a run, validated: files may come from other machines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError, model_validator

from benchmarks.reporting.tables import by_role
from seg_edge.apps.bench.document import read_document
from seg_edge.errors import DataError

Time = Annotated[FiniteFloat, Field(ge=0, lt=1e9)]
Positive = Annotated[FiniteFloat, Field(gt=0, lt=1e9)]
Score = Annotated[FiniteFloat, Field(ge=0, le=1)] | None
Interval = tuple[FiniteFloat, FiniteFloat]


class Percentiles(BaseModel):
    """Milliseconds; a percentile is None if there are too few samples."""

    n: PositiveInt
    min: Time
    p50: Time
    p95: Time | None = None
    p99: Time | None = None


class Ratio(BaseModel):
    """Times relative to the reference model's: the median of the rounds, and its interval."""

    median: Positive
    interval: Interval
    confidence: Score
    rounds: Annotated[list[Positive], Field(min_length=1)]


class Latency(BaseModel):
    """One model at one number of threads."""

    model: str
    threads: PositiveInt
    inference_ms: Percentiles
    frame_ms: Percentiles
    ratio: Ratio
    frame_ratio: Ratio
    stages_ms: dict[str, Percentiles]


class ColdStart(BaseModel):
    """A new process that segments one photo."""

    model: str
    threads: PositiveInt
    ms: Percentiles
    peak_mb: Positive | None = None


class Figures(BaseModel):
    """Scores over some photos."""

    photos: PositiveInt
    mean_dice: Score
    mean_photo_dice: Score
    mean_iou: Score
    boundary_f: Score
    dice: dict[str, Score]
    intervals: dict[str, Any]

    def interval(self, score: str) -> Interval | None:
        """The middle 95 % of a score over resampled photos."""
        return self.intervals.get(score)

    @model_validator(mode="after")
    def _check_intervals(self) -> Self:
        for name in ("mean_dice", "mean_photo_dice", "mean_iou", "boundary_f"):
            found = self.intervals.get(name)
            if found is not None and not (len(found) == 2 and all(isinstance(end, int | float) for end in found)):
                raise ValueError(f"the interval of {name} is not two numbers")
        return self


class Agreement(BaseModel):
    """Scores with the full model's results as ground truth."""

    same_pixels: Score
    mean_dice: Score


class ModelScores(Figures):
    """Scores of one model on a suite."""

    by_foreground_share: dict[str, Figures]
    agreement: Agreement | None = None


class Accuracy(BaseModel):
    """One suite."""

    data: str
    photos: PositiveInt
    fingerprint: str = ""
    classes: list[str]
    full: str | None
    models: dict[str, ModelScores]


class Flicker(BaseModel):
    """One clip; the share of still pixels that change class, by model."""

    data: str
    clip: str
    frames: NonNegativeInt
    models: dict[str, Score]


class Point(BaseModel):
    """One point of a curve; p5 and p95 are the spread of its n samples."""

    x: Positive
    y: Positive
    p5: Positive
    p95: Positive
    n: PositiveInt


class Fit(BaseModel):
    """The law fitted to a curve, as a sentence."""

    text: str
    r2: FiniteFloat | None = None


class Curve(BaseModel):
    """How one cost grows."""

    name: str
    unit_x: str
    y: str
    unit_y: str
    points: list[Point]
    fit: Fit


class Machine(BaseModel):
    """The machine of the run."""

    name: str
    model: str
    arch: str
    features: tuple[str, ...] = ()
    kernel: str | None = None
    versions: dict[str, str]


class Watch(BaseModel):
    """Observations of the machine during the run."""

    valid: bool
    reasons: list[str]
    notes: list[str]
    load: list[FiniteFloat | None]
    temperature_c: list[FiniteFloat | None]
    watts: FiniteFloat | None = None


class Settings(BaseModel):
    """The run's settings."""

    rounds: int
    runs: int
    frame_wh: tuple[int, int]
    reference: str


class Model(BaseModel):
    """A measured model."""

    role: str
    about: str | None = None
    bytes: PositiveInt | None
    sha256: str | None
    input_wh: tuple[int, int]
    dtype: str


class Document(BaseModel):
    """A file of results."""

    path: Path = Path()
    created: str
    commit: str | None = None
    quick: bool = False
    made_up: bool = False
    machine: Machine
    watch: Watch
    settings: Settings
    models: dict[str, Model]
    latency: Annotated[list[Latency], Field(min_length=1)]
    check: list[Latency] = []
    cold_start: list[ColdStart] = []
    accuracy: list[Accuracy] = []
    flicker: list[Flicker] = []
    scale: list[Curve] = []
    missing: list[str] = []

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        named = [self.settings.reference, *(e.model for e in self.latency), *(e.model for e in self.cold_start)]
        named += [name for suite in self.accuracy for name in suite.models]
        named += [name for clip in self.flicker for name in clip.models]
        unknown = [name for name in named if name not in self.models]
        if unknown:
            raise ValueError(f"there is no entry for the model {unknown[0]!r}")
        return self

    @property
    def objections(self) -> str:
        """Why the figures don't count; empty if they do."""
        reasons = {"made up": self.made_up, "invalid": not self.watch.valid, "quick run": self.quick}
        return "; ".join(reason for reason, applies in reasons.items() if applies)

    @property
    def title(self) -> str:
        """The machine, and why its figures don't count if so."""
        return self.machine.name + (f" ({self.objections})" if self.objections else "")

    @property
    def threads(self) -> list[int]:
        """Numbers of threads at which latencies were measured, ascending."""
        return sorted({entry.threads for entry in self.latency})

    def timed(self, model: str, threads: int) -> Latency | None:
        """Latencies of a model; None if not measured."""
        return next((e for e in self.latency if e.model == model and e.threads == threads), None)

    def ordered(self, names: Iterable[str] | None = None) -> list[str]:
        """Names of models in the report's order: ours, the full one, other people's, the reference; small first."""
        return sorted(self.models if names is None else names, key=lambda name: by_role(self.models[name]))


def read_results(folder: Path) -> list[Document]:
    """Every `*.json` in the folder; valid results first, and those with most models.

    Raises:
        DataError: A file is invalid.
    """
    results = [read_result(path) for path in sorted(folder.glob("*.json"))]
    return sorted(results, key=lambda result: (result.objections != "", -len(result.models)))


def read_result(path: Path) -> Document:
    """Reads one file.

    Raises:
        DataError: It is invalid.
    """
    try:
        return Document.model_validate({**read_document(path), "path": path})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        message = first["msg"].removeprefix("Value error, ").partition("\n")[0]
        reason = message[:1].lower() + message[1:]
        raise DataError(f"{path}: {field} is invalid ({reason}); measure again.") from error
