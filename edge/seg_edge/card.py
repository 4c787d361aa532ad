"""The model card: what a model is, what it expects and what it scored, carried inside the `.tflite` itself.

A zip archive is appended to the flatbuffer, which is how TensorFlow Lite Metadata attaches associated files
(https://ai.google.dev/edge/litert/conversion/tensorflow/metadata#pack_metadata_and_associated_files_into_the_model):
a flatbuffer is read from its start and a zip from its end, so the file stays both. It holds `card.json`, which is
this dataclass, and `labels.txt`, one class name a line.
"""

from __future__ import annotations

import dataclasses
import json
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from seg_edge.errors import ModelError

CARD_NAME = "card.json"
LABELS_NAME = "labels.txt"
MAX_CARD_BYTES = 1_000_000  # a card is a few kB; more is a zip bomb or not a card
FORMAT = 1
# The local header of the zip's first file (APPNOTE.TXT 4.3.7), which reveals a zip that was cut short.
ZIP_START = re.compile(rb"PK\x03\x04.{26}labels\.txt", re.DOTALL)
# What zipfile raises for a damaged archive, besides BadZipFile.
DAMAGE = (OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error, lzma.LZMAError)

# RGB, one for each class but the background. The colour-blind safe qualitative set of Okabe and Ito (2008), reordered
# so that the first class stands out from skin, clothes and grass.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
)


def class_colour(index: int) -> tuple[int, int, int]:
    """The default RGB colour of class `index`; 0, the background, is black."""
    return (0, 0, 0) if index == 0 else PALETTE[(index - 1) % len(PALETTE)]


@dataclass(frozen=True)
class ClassInfo:
    """A class: its name and its RGB colour in pictures."""

    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class ModelCard:
    """Everything the runtime and a reader need to know about a model.

    Attributes:
        name: What the user calls it.
        version: Of the model, not of the package.
        classes: In the order of the label map's values; index 0 is the background.
        input_size_wh: Width and height of the input tensor in pixels.
        scale: Normalisation: the model was trained on `pixel * scale + offset`, pixels 0..255 in RGB.
        offset: See `scale`.
        output: `logits` (one channel a class; for a single channel, of the one foreground class) or
            `probabilities`.
        specks: Regions with fewer output pixels than this are noise, see `seg_edge.specks`; 0 keeps all regions.
        parent_sha256: Of the model file this one was converted from.
        recipe: How it was made: training, pruning and quantisation with every value.
        seed: Of the training.
        data: Fingerprint and split of the photos it was trained on.
        versions: Of the tools that made it.
        scores: On the held-out part, by variant (`float`, `int8`): mean Dice, Dice per class, boundary F.
        licence: Of the model file.
        created: ISO 8601 date.
        notes: What a user should know: data, limits, what not to use it for.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    input_size_wh: tuple[int, int]
    version: str = "0"
    scale: float = 1 / 255
    offset: float = 0.0
    output: str = "logits"
    specks: int = 0
    parent_sha256: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    created: str = ""
    notes: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the label map's values, background first."""
        return tuple(info.name for info in self.classes)

    def to_json(self) -> str:
        """The card as indented JSON with sorted keys, the same text for the same card."""
        document = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """Checks and reads a card; `where` names the file in messages.

        Raises:
            ModelError: The text is not a card this version can read.
        """
        try:
            document = json.loads(text)
            if not isinstance(document, dict):
                raise TypeError("not an object")
            if document.get("format") != FORMAT:
                raise ModelError(
                    f"{where}: its card has format {document.get('format')!r} and this seg-edge reads {FORMAT}; "
                    "update seg-edge, or convert the model again."
                )
            known = {f.name for f in dataclasses.fields(cls)}
            values = {key: value for key, value in document.items() if key in known}
            values["classes"] = tuple(
                ClassInfo(str(info["name"]), _colour(info["colour"])) for info in values["classes"]
            )
            width, height = values["input_size_wh"]
            values["input_size_wh"] = (int(width), int(height))
            values["scale"], values["offset"] = float(values["scale"]), float(values["offset"])
            card = cls(**values)
            _check_types(card)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ModelError(f"{where}: its card can't be read ({error}); convert the model again.") from error
        if not 2 <= len(card.classes) <= 256:
            raise ModelError(f"{where}: its card names {len(card.classes)} classes; 2 to 256 were expected.")
        if card.output not in ("logits", "probabilities"):
            raise ModelError(f"{where}: its card says output {card.output!r}; logits or probabilities was expected.")
        return card


def _check_types(card: ModelCard) -> None:
    if not (math.isfinite(card.scale) and math.isfinite(card.offset)):
        raise ValueError(f"normalisation {card.scale}, {card.offset} is not finite")
    for name in ("name", "version", "parent_sha256", "licence", "created", "notes"):
        if not isinstance(getattr(card, name), str):
            raise TypeError(f"{name} {getattr(card, name)!r} is not text")
    for name in ("recipe", "data", "versions", "scores"):
        if not isinstance(getattr(card, name), dict):
            raise TypeError(f"{name} {getattr(card, name)!r} is not an object")
    if not isinstance(card.specks, int) or card.specks < 0:
        raise TypeError(f"specks {card.specks!r} is not a number of pixels")
    if not isinstance(card.seed, int | None):
        raise TypeError(f"seed {card.seed!r} is not a whole number")
    unprintable = [name for name in (card.name, *card.class_names) if not name.isprintable()]
    if unprintable:
        raise ValueError(f"the name {unprintable[0]!r} has unprintable characters")
    duplicates = {name for name in card.class_names if card.class_names.count(name) > 1}
    if duplicates:
        raise ValueError(f"two classes are called {', '.join(sorted(duplicates))}")


def _colour(values: Any) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"colour {values!r} is not three numbers from 0 to 255")
    return red, green, blue


def make_classes(names: list[str] | tuple[str, ...]) -> tuple[ClassInfo, ...]:
    """Class names, background first, with the default colours."""
    return tuple(ClassInfo(name, class_colour(index)) for index, name in enumerate(names))


def append_card(model: bytes, card: ModelCard) -> bytes:
    """A `.tflite` with the card appended; an existing card is replaced.

    The zip's timestamps are fixed, so the same model and card give the same bytes.
    """
    buffer = BytesIO()
    buffer.write(strip_card(model))
    # "w" appends here too; "a" would first try to read a damaged card.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (
            (LABELS_NAME, "\n".join(card.class_names) + "\n"),
            (CARD_NAME, card.to_json()),
        ):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def strip_card(model: bytes) -> bytes:
    """The flatbuffer alone, without an appended zip."""
    try:
        with zipfile.ZipFile(BytesIO(model)) as archive:
            return model[: min(info.header_offset for info in archive.infolist())]
    except (zipfile.BadZipFile, *DAMAGE):
        return model


def read_card(model: bytes, where: str | Path) -> ModelCard | None:
    """The card inside a `.tflite`'s bytes, or None if it has none.

    Raises:
        ModelError: The card is damaged, oversized or of a newer format.
    """
    try:
        with zipfile.ZipFile(BytesIO(model)) as archive:
            if CARD_NAME not in archive.namelist():
                return None
            with archive.open(CARD_NAME) as stream:
                content = stream.read(MAX_CARD_BYTES + 1)
    except zipfile.BadZipFile as error:
        if b"PK\x05\x06" in model[-66_000:] or ZIP_START.search(model):
            raise ModelError(f"{where}: its card is damaged ({error}); fetch the file again.") from error
        return None
    except DAMAGE as error:
        raise ModelError(f"{where}: its card is damaged ({error}); fetch the file again.") from error
    if len(content) > MAX_CARD_BYTES:
        raise ModelError(f"{where}: its card is larger than {MAX_CARD_BYTES} bytes, the limit for cards.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{where}: its card is not UTF-8 text; convert the model again.") from error
    return ModelCard.from_json(text, str(where))
