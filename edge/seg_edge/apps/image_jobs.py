"""Photos to segment: what to make of each, where its results go, and the outcome."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seg_edge.apps.image_outputs import FORMATS, STREAM, SUFFIXES, OutputPath, result_paths, result_stems
from seg_edge.effects import EffectSettings
from seg_edge.errors import UsageError
from seg_edge.photo.find import FoundPhotos
from seg_edge.segmenter import Segmenter
from seg_edge.tiling import Tiles, check_tiles

SHARP = ("mask", "matte")  # effects whose picture loses its meaning in a JPEG


@dataclass(frozen=True)
class ImageOptions:
    """What to make of each photo.

    Attributes:
        settings: The effect, and which regions are kept.
        tiles: See `seg_edge.tiling.segment_tiled`.
        out: Where results go.
        picture_format: `jpeg`, `png` or `webp`; None for what suits the effect, or the name of `out.file`.
        labels: Also write the label map, an 8-bit PNG at the photo's size.
        polygons: Also write the outlines: `via`, `coco` or None.
        force: Replace existing results.
        skip_existing: Skip photos whose results all exist.
        keep_metadata: Keep date, camera, exposure, description, author and copyright; see `seg_edge.photo.metadata`.
        collect_coco: Keep each photo's outlines in `PhotoResult.coco`.
        memory_bytes: For all photos in progress; None for most of what is free.

    Raises:
        UsageError: Two of them contradict each other.
    """

    settings: EffectSettings = field(default_factory=EffectSettings)
    tiles: Tiles = "auto"
    out: OutputPath = field(default_factory=OutputPath)
    picture_format: str | None = None
    labels: bool = False
    polygons: str | None = None
    force: bool = False
    skip_existing: bool = False
    keep_metadata: bool = False
    collect_coco: bool = False
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        check_tiles(self.tiles)
        file = self.out.file
        of_file = FORMATS.get(file.suffix.lower()) if file else None
        if of_file and self.picture_format not in (None, of_file):
            raise UsageError(f"--out {file} isn't a {self.picture_format} file name; drop --out or --format.")
        if self.settings.transparent and (self.picture_format or of_file) == "jpeg":
            raise UsageError("a JPEG can't be transparent; write this effect as png or webp.")
        if self.force and self.skip_existing:
            raise UsageError("--force replaces results, --skip-existing keeps them; give one of the two.")

    @property
    def suffix(self) -> str:
        """Of the picture."""
        file = self.out.file
        if self.picture_format is None and file and file != STREAM:
            return file.suffix.lower()
        sharp = self.settings.transparent or self.settings.effect in SHARP or file == STREAM
        return SUFFIXES[self.picture_format or ("png" if sharp else "jpeg")]

    def endings(self) -> dict[str, str]:
        """How the names of a photo's results end, by kind; the picture is the first."""
        endings = {self.settings.effect: f".{self.settings.effect}{self.suffix}"}
        if self.labels:
            endings["labels"] = ".labels.png"
        if self.polygons:
            endings["polygons"] = f".{self.polygons}.json"
        return endings


@dataclass(frozen=True)
class PhotoJob:
    """A photo and where its results go.

    Attributes:
        photo: Its file, or `STREAM`.
        outputs: The results' files by kind; `STREAM` for standard output.
        name: Its name in outlines: the file's name, for photos found in a folder with the path from there.
        content: The file's bytes if it is `STREAM`.
        again: Segment it even if seg-edge made it.
    """

    photo: Path
    outputs: dict[str, Path]
    name: str
    content: bytes | None = None
    again: bool = False


@dataclass
class PhotoResult:
    """The outcome for one photo; `error` is empty if it succeeded.

    Attributes:
        photo: Its file.
        size_wh: Width and height, upright.
        areas: Share of its pixels of each class but the background.
        outputs: The results' files by kind.
        timing_ms: `decode`, `preprocess`, `inference`, `postprocess`, `render` (with encoding and writing) and their
            sum, `total`; as photos overlap, a folder takes less than the sum of its totals.
        error: Why it failed.
        blocked: It failed because results exist already.
        skipped: Why it was skipped: it has results already, or is a result itself.
        coco: Its outlines, with `collect_coco`.
        content: The picture, if it goes to standard output.
    """

    photo: Path
    size_wh: tuple[int, int] = (0, 0)
    areas: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)
    timing_ms: dict[str, float] = field(default_factory=dict)
    error: str = ""
    blocked: bool = False
    skipped: str = ""
    coco: dict[str, Any] = field(default_factory=dict)
    content: bytes = b""

    def to_json(self, segmenter: Segmenter) -> dict[str, Any]:
        """The object that `seg-edge image --json` prints.

        JSON can't represent a name that is not UTF-8; `photo_base64` and `outputs_base64` then give its bytes.
        """
        document: dict[str, Any] = {"photo": str(self.photo), **_as_bytes("photo", self.photo)}
        if self.error:
            return {**document, "error": self.error}
        outputs = {kind: str(path) for kind, path in self.outputs.items()}
        outputs_base64 = {kind: text for kind, path in self.outputs.items() for text in _as_bytes("", path).values()}
        if self.skipped:
            document["skipped"] = self.skipped
        else:
            document["size_wh"] = list(self.size_wh)
            document["classes"] = {name: round(share, 6) for name, share in self.areas.items()}
        document["outputs"] = outputs
        if outputs_base64:
            document["outputs_base64"] = outputs_base64
        if not self.skipped:
            document["timing_ms"] = {stage: round(value, 3) for stage, value in self.timing_ms.items()}
            document["model"] = {"name": segmenter.file.name, "sha256": segmenter.file.sha256}
        return document


def _as_bytes(kind: str, path: Path) -> dict[str, str]:
    """The bytes of a name that is not UTF-8."""
    name = os.fsencode(path)
    try:
        name.decode()
    except UnicodeDecodeError:
        return {f"{kind}_base64": base64.b64encode(name).decode()}
    return {}


MADE_BY_US = "seg-edge made it"
DONE_BEFORE = "its results exist"


def plan_jobs(found: FoundPhotos, options: ImageOptions) -> list[PhotoJob]:
    """Gives each photo the names of its results."""
    folder, paths = options.out.folder, found.paths
    folders = [folder / found.below.get(path, Path()) if folder else path.parent for path in paths]
    names = {path: found.below.get(path, Path()) / path.name for path in paths}
    alone = len(paths) == 1 and paths[0] not in found.below
    return [
        PhotoJob(path, result_paths(options.out, target, stem, options.endings()), names[path].as_posix(), again=alone)
        for path, target, stem in zip(paths, folders, result_stems(paths, folders), strict=True)
    ]
