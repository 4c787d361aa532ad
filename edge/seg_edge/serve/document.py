"""The API's description, as far as FastAPI doesn't read it from the code."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from seg_edge.serve.problem import MEDIA_TYPE
from seg_edge.serve.schema import Coco, Found, ProblemDetails
from seg_edge.serve.security import PROTECTED
from seg_edge.serve.settings import ServeSettings

DESCRIPTION = """\
Segments photos. A photo is the request's whole body, as in
`curl --data-binary @photo.jpg 'http://127.0.0.1:8000/v1/segment?output=labels' --output labels.png`.
Photos are held only in memory, and discarded after the response.
"""
REFUSALS = {
    400: "The request is broken.",
    401: "The token is missing or wrong.",
    403: "The request used another machine's name, or came from another site.",
    408: "The photo did not arrive in time.",
    413: "The photo has more bytes or pixels than are accepted.",
    415: "The body is a form, not a photo.",
    422: "The body is not a photo that can be decoded, or a parameter is wrong.",
    429: "Too many requests at once.",
    503: "The server has no time or memory for this request at the moment.",
}
TEXT = {"type": "string"}
RETRY_AFTER = {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}}
SERVER_TIMING = {"Server-Timing": {"description": "Milliseconds of each stage: `decode;dur=1.2, ...`.", "schema": TEXT}}
CHALLENGE = {"WWW-Authenticate": {"description": "`Bearer`", "schema": TEXT}}
REFUSAL_HEADERS = {401: CHALLENGE, 408: RETRY_AFTER, 429: RETRY_AFTER, 503: RETRY_AFTER}


def _documented() -> dict[int | str, dict[str, Any]]:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}},
            "headers": REFUSAL_HEADERS.get(status, {}),
        }
        for status, text in REFUSALS.items()
    }
    picture = {"schema": {"type": "string", "format": "binary"}}
    content = {"application/json": {}, "image/png": picture, "image/jpeg": picture}
    success = {
        "model": Found | Coco,
        "description": "In the form that was asked for.",
        "content": content,
        "headers": SERVER_TIMING,
    }
    return {200: success, **refusals}


def _photo_body() -> dict[str, Any]:
    schema = {"schema": {"type": "string", "format": "binary"}}
    kinds = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
    return {"requestBody": {"required": True, "content": dict.fromkeys(kinds, schema)}}


RESPONSES, PHOTO_BODY = _documented(), _photo_body()


def describe(app: FastAPI, settings: ServeSettings) -> None:
    """Adds to an application's OpenAPI document how to send the token."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {
            "type": "http",
            "scheme": "bearer",
            "description": "The token that the server was started with.",
        }
        for path, operations in document["paths"].items():
            if path.startswith(PROTECTED):
                for operation in operations.values():
                    operation["security"] = [{"token": []}] if settings.token else [{}, {"token": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
