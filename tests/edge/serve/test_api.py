"""The API's responses: the results of `Segmenter`, in the form that was asked for."""

import hashlib
import io
import json
import os
import sys
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from seg_edge.card import ModelCard
from seg_edge.effects import render
from seg_edge.photo.header import parse_header
from seg_edge.segmenter import Segmenter
from seg_edge.serve.answer import Output
from seg_edge.tiling import segment_tiled
from tests.edge.serve.conftest import MakeClient
from tests.tiny import GRACE_HOPPER, bright_square, noise

PNG = cv2.imencode(".png", bright_square((60, 80)))[1].tobytes()


def test_the_label_map_is_the_segmenter_s(make_client: MakeClient) -> None:
    client = make_client(models=("person",))
    response = client.post("/v1/segment?output=labels", content=GRACE_HOPPER.read_bytes())
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    labels = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, Segmenter("person", 1)(cv2.imread(str(GRACE_HOPPER))).labels)


def test_json_gives_shares_and_outlines(client: TestClient, models: tuple[str, str]) -> None:
    response = client.post("/v1/segment", content=PNG, headers={"Content-Type": "image/png"})
    assert response.headers["content-type"] == "application/json"
    found = response.json()
    assert found["size_wh"] == [80, 60]
    assert found["classes"] == {"bright": pytest.approx(0.25, abs=0.03)}
    (outline,) = found["polygons"]
    assert outline["class"] == "bright"
    points = np.array(outline["points"])
    assert abs(points.min(axis=0) - (20, 15)).max() <= 2
    assert abs(points.max(axis=0) - (59, 44)).max() <= 2
    assert set(found["timing_ms"]) == {"decode", "preprocess", "inference", "postprocess", "encode"}
    assert found["model"] == {"name": "bright", "sha256": hashlib.sha256(Path(models[0]).read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    "output", [Output.overlay, Output.mask, Output.matte, Output.cutout, Output.blur, Output.anonymize]
)
def test_pictures_are_those_of_the_command(client: TestClient, models: tuple[str, str], output: Output) -> None:
    frame = noise((48, 64))
    response = client.post(f"/v1/segment?output={output}", content=cv2.imencode(".png", frame)[1].tobytes())
    picture = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = render(frame, Segmenter(models[0], 1)(frame), output.value)
    assert picture.shape == expected.shape
    if response.headers["content-type"] == "image/png":
        assert np.array_equal(picture, expected)
    assert "decode;dur=" in response.headers["server-timing"]
    header = parse_header(io.BytesIO(response.content))
    assert header is not None
    assert header.is_result  # so that a later `seg-edge image *` skips it


def test_coco_is_a_document_for_annotation_tools(client: TestClient) -> None:
    document = client.post("/v1/segment?output=coco&model=colours", content=PNG).json()
    assert [category["name"] for category in document["categories"]] == ["red", "green", "blue"]
    assert document["images"][0]["width"] == 80


def test_the_model_is_chosen_by_name(client: TestClient) -> None:
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 2] = 255
    found = client.post("/v1/segment?model=colours", content=cv2.imencode(".png", red)[1].tobytes()).json()
    assert found["classes"] == {"red": 1.0, "green": 0.0, "blue": 0.0}


def test_a_photo_is_turned_upright(client: TestClient) -> None:
    jpeg = cv2.imencode(".jpg", bright_square((40, 80)))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + jpeg[2:]
    assert client.post("/v1/segment", content=jpeg).json()["size_wh"] == [80, 40]
    assert client.post("/v1/segment", content=turned).json()["size_wh"] == [40, 80]


def test_the_models_are_listed_with_what_a_browser_needs(client: TestClient, models: tuple[str, str]) -> None:
    listing = client.get("/v1/models").json()
    assert [model["name"] for model in listing["models"]] == ["bright", "colours"]
    assert listing["on_server"] is False
    first = listing["models"][0]
    assert first["input"] == {
        "size_wh": [32, 32],
        "channels": 3,
        "dtype": "uint8",
        "scale": pytest.approx(1 / 255),
        "zero_point": 0,
    }
    assert [info["name"] for info in first["card"]["classes"]] == ["background", "bright"]
    file = client.get(first["url"])
    assert file.content == Path(models[0]).read_bytes()
    assert "immutable" in file.headers["cache-control"]


def test_health_and_metrics(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"ok": True}
    client.post("/v1/segment", content=PNG)
    client.post("/v1/segment", content=b"nonsense")
    text = client.get("/metrics").text
    assert 'seg_edge_requests_total{status="200"} 1.0' in text
    assert 'seg_edge_requests_total{status="422"} 1.0' in text
    assert 'seg_edge_stage_seconds_count{stage="inference"} 1.0' in text
    assert "seg_edge_requests_inside 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_the_openapi_document_describes_the_request_and_every_refusal(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/segment"]["post"]
    assert "image/jpeg" in operation["requestBody"]["content"]
    assert {"200", "413", "422", "429", "503"} <= set(operation["responses"])
    assert {"/v1/segment", "/v1/models", "/healthz", "/metrics"} <= set(document["paths"])
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert operation["security"] == [{}, {"token": []}]  # this server has none
    assert "Server-Timing" in operation["responses"]["200"]["headers"]
    assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_uploads_never_touch_the_disk(client: TestClient) -> None:
    written: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple) -> None:
        if watching and event == "open":
            path, mode, flags = arguments
            writes = any(letter in str(mode or "") for letter in "wax+") or (flags or 0) & 3
            if writes and path != os.devnull:
                written.append(str(path))

    content = cv2.imencode(".png", noise((1500, 2000)))[1].tobytes()
    assert len(content) > 5_000_000
    client.post("/v1/segment?output=overlay", content=PNG)  # for what is imported and cached at the first request
    sys.addaudithook(hook)
    for output in ("json", "labels", "overlay"):
        assert client.post(f"/v1/segment?output={output}", content=content).status_code == 200
    watching = False
    assert written == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(100), "GIF"),
        (json.dumps({"url": "http://127.0.0.1/"}).encode(), "text"),
        (b"/etc/passwd", "text"),
        (PNG[:-40], "cut short"),
        (cv2.imencode(".tiff", bright_square())[1].tobytes(), "TIFF"),
        (cv2.imencode(".bmp", bright_square())[1].tobytes(), "BMP"),
        (bytes(100), "The file is not a photo (JPEG, PNG or WebP); export it as JPEG or PNG."),
    ],
)
def test_anything_but_a_photo_is_refused_in_a_sentence(client: TestClient, content: bytes, message: str) -> None:
    response = client.post("/v1/segment", content=content)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert message in response.json()["detail"]


def test_nothing_is_found_in_transparent_parts_and_they_stay_transparent(client: TestClient) -> None:
    photo = cv2.cvtColor(bright_square((60, 80)), cv2.COLOR_BGR2BGRA)
    photo[:, :40, 3], photo[:, 40:50, 3] = 0, 200
    content = cv2.imencode(".png", photo)[1].tobytes()
    picture, labels = (
        cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)
        for response in (
            client.post(f"/v1/segment?output={output}", content=content) for output in ("cutout", "labels")
        )
    )
    assert not labels[:, :40].any()
    assert labels[30, 40:58].all()
    assert not picture[:, :39].any()
    assert (picture[30, 42:50, 3] == 200).all()
    assert (picture[30, 50:58, 3] == 255).all()


@pytest.mark.parametrize("shape_hw", [(60, 160), (300, 400)])
def test_long_and_large_photos_are_cut_into_tiles(
    client: TestClient, models: tuple[str, str], shape_hw: tuple[int, int]
) -> None:
    frame = np.zeros((*shape_hw, 3), np.uint8)
    for left in (50, 80, 110):
        frame[10:40, left : left + shape_hw[1] // 27] = 255
    response = client.post("/v1/segment?output=labels", content=cv2.imencode(".png", frame)[1].tobytes())
    labels = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)
    segmenter = Segmenter(models[0], 1)
    assert np.array_equal(labels, segment_tiled(segmenter, frame).labels)
    assert not np.array_equal(labels, segmenter(frame).labels)


def test_a_jpeg_of_endless_scans_is_refused(client: TestClient) -> None:
    whole = cv2.imencode(".jpg", bright_square(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1].tobytes()
    at = whole.index(b"\xff\xda")
    again = whole[at : at + 2 + int.from_bytes(whole[at + 2 : at + 4])] * 200
    response = client.post("/v1/segment", content=whole[:-2] + again + whole[-2:])
    assert response.status_code == 422
    assert "more scans" in response.json()["detail"]


def test_a_side_too_long_for_a_jpeg_is_refused(client: TestClient) -> None:
    content = cv2.imencode(".png", np.zeros((2, 65_501, 3), np.uint8))[1].tobytes()
    response = client.post("/v1/segment?output=overlay", content=content)
    assert response.status_code == 422
    assert "65,500" in response.json()["detail"]
    assert client.post("/v1/segment?output=mask", content=content).status_code == 200


def test_opencv_errors_are_not_reported_as_out_of_memory(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, status in ((cv2.Error.StsNoMem, 503), (cv2.Error.StsBadArg, 500)):
        error = cv2.error("of a kind")
        error.code = code
        monkeypatch.setattr("seg_edge.serve.answer.draw_transparent", Mock(side_effect=error))
        assert client.post("/v1/segment?output=mask", content=PNG).status_code == status


def test_a_card_with_nan_leaves_the_list_readable(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelCard, "to_json", lambda *_: '{"name": "\\ud800", "miou": [NaN, {"best": -Infinity}]}')
    text = make_client().get("/v1/models").text
    listing = json.loads(text, parse_constant=pytest.fail)
    assert listing["models"][0]["card"]["miou"] == [None, {"best": None}]


@pytest.mark.parametrize("path", ["/v1/segment?output=tiff", "/v1/segment?model=other"])
def test_a_wrong_parameter_is_refused_with_the_right_values(client: TestClient, path: str) -> None:
    response = client.post(path, content=PNG)
    assert response.status_code == 422
    assert any(name in response.json()["detail"] for name in ("labels", "bright"))


def test_a_form_is_refused_with_how_to_send_a_photo(client: TestClient) -> None:
    response = client.post("/v1/segment", files={"photo": PNG})
    assert response.status_code == 415
    assert "--data-binary" in response.json()["detail"]
    assert client.post("/v1/segment", content=PNG, headers={"Content-Type": "Multipart/Form-Data"}).status_code == 415


def test_a_compressed_body_is_refused_as_such(client: TestClient) -> None:
    response = client.post("/v1/segment", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert response.status_code == 415
    assert "Content-Encoding" in response.json()["detail"]


def test_other_addresses_and_methods_are_refused_in_the_same_form(client: TestClient) -> None:
    for response, status in ((client.get("/nothing"), 404), (client.get("/v1/segment"), 405), (client.put("/"), 405)):
        assert response.status_code == status
        assert response.json()["status"] == status
    assert client.get("/v1/models/" + "0" * 64 + ".tflite").status_code == 404
    assert client.post("/v1/segment/", content=PNG, follow_redirects=False).status_code == 404
