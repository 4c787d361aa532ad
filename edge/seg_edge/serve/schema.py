"""Schemas of the API's requests and responses, for its OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class ProblemDetails(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What was wrong and what to do, in a sentence.")


class ModelName(BaseModel):
    """The model that was used."""

    name: str
    sha256: str


class Outline(BaseModel):
    """One connected region of a class. Holes are not part of it."""

    class_: str = Field(alias="class")
    area: int = Field(description="Pixels, holes left out.")
    points: list[tuple[int, int]] = Field(description="[x, y] in the upright photo's pixels.")


class Found(BaseModel):
    """What is in a photo."""

    size_wh: tuple[int, int] = Field(description="Of the photo, upright.")
    classes: dict[str, float] = Field(description="Share of the photo's pixels of each class but the background.")
    polygons: list[Outline]
    timing_ms: dict[str, float]
    model: ModelName


class Coco(BaseModel):
    """A COCO object detection document."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


class Tensor(BaseModel):
    """A model's input or output: real = (stored - zero_point) * scale, where scale is not 0."""

    size_wh: tuple[int, int]
    channels: int
    dtype: str
    scale: float
    zero_point: int


class Model(BaseModel):
    """A served model."""

    name: str
    sha256: str
    bytes: int
    url: str = Field(description="Path of its file.")
    has_card: bool = Field(description="False if the file has no card; the one shown here is then a default.")
    input: Tensor
    output: Tensor
    card: dict[str, Any] = Field(description="Classes, colours, normalisation, scores, parentage, licence.")


class Limits(BaseModel):
    """The largest photo that is accepted."""

    bytes: int
    pixels: int


class Models(BaseModel):
    """The served models; the first is the default."""

    models: list[Model]
    limits: Limits
    on_server: bool = Field(description="Whether the page offers to segment on the server.")


class Health(BaseModel):
    """The server is up."""

    ok: bool
