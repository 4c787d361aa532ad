"""The HTTP API: `POST /v1/segment`, the models, health and metrics, and the page."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp

from seg_edge import __version__
from seg_edge.interpreter import TensorSpec
from seg_edge.json_text import json_text
from seg_edge.segmenter import Segmenter
from seg_edge.serve import site
from seg_edge.serve.answer import MEDIA_TYPES, Output, PhotoResponse, answer_photo
from seg_edge.serve.chunked import ChunkedResponse
from seg_edge.serve.client import client_of_request
from seg_edge.serve.document import DESCRIPTION, PHOTO_BODY, RESPONSES, describe
from seg_edge.serve.http_rules import with_http_rules
from seg_edge.serve.metrics import Metrics
from seg_edge.serve.problem import TRY_AGAIN, Problem, UnreadProblem
from seg_edge.serve.schema import Health, Models
from seg_edge.serve.security import SecurityMiddleware
from seg_edge.serve.settings import ServeSettings
from seg_edge.serve.transfers import Transfer, Transfers
from seg_edge.serve.workers import Workers
from seg_edge.system.port import AllowedHosts

SEGMENT = "/v1/segment"
LINGER_S = 5.0  # how long the rest of a refused upload is read


def make_app(
    settings: ServeSettings,
    model_sets: list[Mapping[str, Segmenter]],
    names: AllowedHosts,
    transfers: Transfers | None = None,
) -> ASGIApp:
    """The whole application.

    Args:
        settings: Its limits.
        model_sets: The models by name, the default first, once for each worker.
        names: The server's own host names.
        transfers: Counts the requests in progress.
    """
    if transfers is None:
        transfers = Transfers(settings.max_held_bytes)
    workers = Workers(model_sets, settings.queue)
    metrics = Metrics(SEGMENT, lambda: workers.inside, lambda: len(transfers))
    segmenters = model_sets[0]
    default = settings.default or next(iter(segmenters))
    listing = json_text(_list_models(segmenters, settings)).encode()
    files = {segmenter.file.sha256: segmenter.file.content for segmenter in segmenters.values()}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    app = FastAPI(
        title="seg-edge",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )

    @app.post(SEGMENT, response_class=Response, responses=RESPONSES, openapi_extra=PHOTO_BODY)
    async def segment(
        request: Request,
        output: Output = Query(Output.json, description="The kind of result."),
        model: str = Query(default, description="The model's name.", json_schema_extra={"enum": list(segmenters)}),
    ) -> Response:
        """Segment one photo: JPEG, PNG or WebP, turned upright by its EXIF data.

        `json` gives shares and outlines, `coco` the outlines as a COCO document, `labels` an 8-bit PNG of each pixel's
        class, the others a picture. The header `Server-Timing` says where the milliseconds went.
        """
        if model not in segmenters:
            raise Problem(422, f"There is no model of this name; the models here are {', '.join(segmenters)}.")
        late = Problem(503, f"The photo was not done within {settings.seconds:g} s; try again.", TRY_AGAIN)
        try:
            with ExitStack() as held:
                transfer = held.enter_context(transfers.admit(client_of_request(request, settings)))
                photo = await _receive(request, settings, transfer)
                async with transfer.within(settings.seconds, late):
                    work = workers.run(
                        transfer.client,
                        len(photo),
                        lambda models: answer_photo(models[model], photo, output, settings.max_pixels),
                    )
                    result = await _while_connected(request, work)
                transfer.start_download(len(result.content), request.scope.get("state", {}).get("abort"))
                release = held.pop_all().close  # once the response is received
        except UnreadProblem:
            await _discard(request)
            raise
        metrics.stages(result.timing_ms)
        timing = ", ".join(f"{stage};dur={elapsed:.3f}" for stage, elapsed in result.timing_ms.items())
        headers = {"Server-Timing": timing}
        return ChunkedResponse(result.content, transfer.moved, release, headers=headers, media_type=MEDIA_TYPES[output])

    @app.get("/v1/models", response_class=Response, responses={200: {"model": Models}})
    async def models() -> Response:
        """The served models, each with its card, tensors and file, and the limits on photos."""
        return Response(listing, media_type="application/json")

    @app.get("/v1/models/{sha256}.tflite", response_class=Response, include_in_schema=False)
    async def model_file(sha256: str) -> Response:
        if sha256 not in files:
            raise Problem(404, "No served model has this SHA-256.")
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return ChunkedResponse(files[sha256], headers=headers, media_type="application/octet-stream")

    @app.get("/healthz", responses={200: {"model": Health}})
    async def healthz() -> Health:
        """Responds while the server is up."""
        return Health(ok=True)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def prometheus() -> Response:
        """Counts and times, for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    app.router.routes.extend(site.routes())
    app.add_exception_handler(Problem, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(Exception, _fail)
    describe(app, settings)
    return with_http_rules(metrics.wrap(SecurityMiddleware(app, names, settings.token)))


async def _receive(request: Request, settings: ServeSettings, transfer: Transfer) -> bytearray:
    """The body of a request, within the limits."""
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Problem(415, "A form was sent; send the photo itself as the body, with curl --data-binary @photo.jpg.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnreadProblem(415, "The photo was sent compressed (Content-Encoding); send the file as it is.")
    too_large = UnreadProblem(
        413, f"The photo has more than the {settings.max_bytes / 1e6:g} MB that are accepted; scale it down."
    )
    if int(request.headers.get("content-length", 0)) > settings.max_bytes:
        raise too_large
    photo = bytearray()
    late = Problem(408, f"The photo did not arrive within {settings.seconds:g} s; make it smaller, or send it faster.")
    try:
        async with transfer.within(settings.seconds, late):
            async for chunk in request.stream():
                photo += chunk
                if len(photo) > settings.max_bytes:
                    raise too_large
                transfer.arrived(len(chunk))
    except ClientDisconnect:
        raise Problem(400, "The photo did not arrive as a whole.") from None
    transfer.end_upload()
    return photo


async def _while_connected(request: Request, work: Coroutine[Any, Any, PhotoResponse]) -> PhotoResponse:
    """The work's result; if the client disconnects first, a photo that is still queued leaves the queue."""

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    disconnecting, working = asyncio.create_task(disconnect()), asyncio.create_task(work)
    try:
        await asyncio.wait({disconnecting, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Problem(400, "The client has disconnected.")
        return working.result()
    finally:
        disconnecting.cancel()
        working.cancel()


async def _discard(request: Request) -> None:
    """Reads on for a while and discards it: most clients read the response only after sending everything."""
    if "expect" in request.headers:  # this client waits for permission before it sends
        return
    # RuntimeError: there is nothing left to read.
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(LINGER_S):
            async for _ in request.stream():
                pass


async def _refuse(request: Request, error: Exception) -> Response:
    """Turns every refusal into the same form."""
    if isinstance(error, Problem):
        return error.response()
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return Problem(422, f"The parameter {first['loc'][-1]} is wrong: {first['msg']}.").response()
    assert isinstance(error, HTTPException)
    details = {404: "There is nothing at this address; /openapi.json lists all addresses."}
    detail = details.get(error.status_code, f"{HTTPStatus(error.status_code).description or error.detail}.")
    return Problem(error.status_code, detail, error.headers).response()


async def _fail(request: Request, error: Exception) -> Response:
    """An internal error; uvicorn logs it, and the client learns no details."""
    return Problem(500, "The server failed; its log says why.").response()


def _list_models(segmenters: Mapping[str, Segmenter], settings: ServeSettings) -> dict[str, Any]:
    return {
        "models": [
            {
                "name": name,
                "sha256": segmenter.file.sha256,
                "bytes": len(segmenter.file.content),
                "url": f"/v1/models/{segmenter.file.sha256}.tflite",
                "has_card": segmenter.file.card is not None,
                "input": _tensor(segmenter.backend.input),
                "output": _tensor(segmenter.backend.output),
                "card": json.loads(segmenter.card.to_json()),
            }
            for name, segmenter in segmenters.items()
        ],
        "limits": {"bytes": settings.max_bytes, "pixels": settings.max_pixels},
        "on_server": settings.on_server,
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    _, height, width, channels = spec.shape
    dtype = spec.dtype.__name__
    return {
        "size_wh": [width, height],
        "channels": channels,
        "dtype": dtype,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }
