"""Garbage, made from the OpenAPI document by schemathesis, and damaged photos: never a 500 or a dead worker."""

from collections.abc import Callable, Iterator

import cv2
import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.serve.conftest import Server
from tests.tiny import GRACE_HOPPER, bright_square

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis isn't installed (pip install '.[dev]')")
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

FRAME = cv2.resize(cv2.imread(str(GRACE_HOPPER)), (64, 75), interpolation=cv2.INTER_AREA)
PHOTOS = [cv2.imencode(suffix, FRAME)[1].tobytes() for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff")]
GOOD = cv2.imencode(".png", bright_square((60, 80)))[1].tobytes()
REFUSED = {413, 422}


@pytest.fixture(scope="module")
def fuzzed(start: Callable[..., Server], models: tuple[str, str]) -> Iterator[httpx2.Client]:
    """A server over a real connection, with two workers and small limits."""
    server = start(
        "--model", models[0], "--model", models[1], "--workers", "2", "--max-mb", "0.2", "--max-megapixels", "0.1"
    )
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


def workers_live(client: httpx2.Client) -> bool:
    """Whether photos are segmented often enough to reach every worker."""
    return all(client.post("/v1/segment", content=GOOD).status_code == 200 for _ in range(8))


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/models", "/healthz", "/metrics"])
def test_requests_made_from_the_document(fuzzed: httpx2.Client, path: str) -> None:
    schema = schemathesis.openapi.from_dict(fuzzed.get("/openapi.json").json())
    operation = schema[path]["POST" if path == "/v1/segment" else "GET"]
    seen: list[int] = []

    @given(case=operation.as_strategy())
    @settings(max_examples=60 if path == "/v1/segment" else 5, deadline=None, suppress_health_check=list(HealthCheck))
    def send(case: schemathesis.Case) -> None:
        response = case.call(base_url=str(fuzzed.base_url))
        seen.append(response.status_code)
        case.validate_response(
            response, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
        )

    send()
    assert seen
    assert max(seen) < 500
    assert workers_live(fuzzed)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A photo cut short, with bytes changed, removed or put in, mostly in headers."""
    content = bytearray(draw(st.sampled_from(PHOTOS)))
    for _ in range(draw(st.integers(1, 6))):
        near = draw(st.sampled_from((32, 700, len(content) - 1)))
        at = draw(st.integers(0, max(min(near, len(content) - 1), 0)))
        match draw(st.sampled_from(("change", "remove", "insert", "cut"))):
            case "change":
                content[at : at + 1] = draw(st.sampled_from((b"\x00", b"\xff", b"\x7f", b"\x80", b"\x01")))
            case "remove":
                del content[at : at + draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=40))
            case "cut" if draw(st.booleans()):
                del content[at:]
    return bytes(content)


@given(photo=damaged(), output=st.sampled_from(("json", "labels", "overlay", "cutout")))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_photos(fuzzed: httpx2.Client, photo: bytes, output: str) -> None:
    response = fuzzed.post(f"/v1/segment?output={output}", content=photo)
    assert response.status_code in {200, *REFUSED}, response.text


@pytest.mark.parametrize("size_wh", [(65535, 65535), (100_000, 2), (0, 5)])
def test_a_header_with_an_impossible_size_is_refused(fuzzed: httpx2.Client, size_wh: tuple[int, int]) -> None:
    content = bytearray(PHOTOS[1])
    content[16:24] = np.array(size_wh, ">u4").tobytes()
    assert fuzzed.post("/v1/segment", content=bytes(content)).status_code in REFUSED


def test_after_all_that_every_worker_still_works(fuzzed: httpx2.Client) -> None:
    assert workers_live(fuzzed)
    assert 'status="500"' not in fuzzed.get("/metrics").text
