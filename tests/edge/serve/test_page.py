"""The page, used as users do, in a real Chromium."""

import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from seg_edge import __version__
from seg_edge.card import strip_card
from seg_edge.effects import EffectSettings, render
from seg_edge.photo.header import parse_header
from seg_edge.photo.read import load_photo, read_photo
from seg_edge.segmenter import Segmenter
from seg_edge.tiling import segment_tiled
from seg_edge.transparency import draw_transparent, find_seen
from tests.edge.serve.browser import DESKTOP, PHONE, Page, chromium
from tests.edge.serve.conftest import Server
from tests.tiny import GRACE_HOPPER, SIGMOID_FLOAT32, TWO_CARD, TWO_INT8, carded, noise

WEB = Path(__file__).resolve().parents[3] / "edge" / "web"
LOOKED_AT = Path(__file__).with_name("looked_at")
TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def more_models(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bundled model, two of two and four classes in bytes, one of float32, and one that no browser runs."""
    folder = tmp_path_factory.mktemp("more")
    real = carded(SIGMOID_FLOAT32, folder, replace(TWO_CARD, output="probabilities")).rename(folder / "real.tflite")
    signed = carded(TWO_INT8, folder).rename(folder / "signed.tflite")
    return {"person": "person", "bright": models[0], "colours": models[1], "real": str(real), "signed": str(signed)}


@pytest.fixture(scope="module")
def server(start: Callable[..., Server], more_models: dict[str, str]) -> Server:
    return start(*(part for model in more_models.values() for part in ("--model", model)), "--on-server")


@pytest.fixture(scope="module")
def plain_server(start: Callable[..., Server], models: tuple[str, str]) -> Server:
    """Started without options, but with a model that doesn't change."""
    return start("--model", models[0])


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def go(url: str, **context: Any) -> Page:
        pages.append(Page(browser, url, **context))
        return pages[-1]

    yield go
    for page in pages:
        page.close()


def png(frame: np.ndarray) -> bytes:
    return cv2.imencode(".png", frame)[1].tobytes()


def test_a_photo_is_segmented_at_once_and_nothing_leaves_the_browser(
    visit: Callable[..., Page], server: Server
) -> None:
    page = visit(server.url).open()
    page.expect(page.page.get_by_text("Your photos stay on this device")).to_be_visible()
    page.choose("portrait.jpg", GRACE_HOPPER.read_bytes(), "image/jpeg")
    page.says("Done.")
    page.unfold()
    shares = segment_tiled(Segmenter("person", 1), read_photo(GRACE_HOPPER)).areas
    page.expect(page.page.locator("#legend")).to_contain_text(f"{shares['person']:.1%}".replace("%", " %"))
    page.expect(page.page.locator("#timing")).to_contain_text("Model")
    page.expect(page.page.locator("#threads")).to_contain_text("threads" if (os.cpu_count() or 1) > 1 else "One thread")
    page.expect(page.page.get_by_role("img", name="The photo portrait.jpg with the effect Cut out")).to_be_visible()
    assert {request.method for request in page.requests} == {"GET"}
    assert all(request.url.startswith((server.url, "blob:", "data:")) for request in page.requests)


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_photo_can_be_pasted_and_dropped(visit: Callable[..., Page], plain_server: Server, way: str) -> None:
    page = visit(plain_server.url).open()
    page.forget()
    page.page.evaluate(
        """async ([way, bytes]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
          const event = way === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer })
            : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
          document.dispatchEvent(event);
        }""",
        [way, list(png(noise((30, 40))))],
    )
    page.done()
    assert page.save("Save label map").shape == (30, 40)


def test_several_photos_are_browsed_and_saved_at_once(
    visit: Callable[..., Page], server: Server, models: tuple[str, str]
) -> None:
    page = visit(server.url).open()
    page.model("bright")
    frames = {"one.png": noise((30, 40)), "two.png": noise((50, 20)), "ONE.png": noise((20, 60))}
    files = [{"name": name, "mimeType": "image/png", "buffer": png(frame)} for name, frame in frames.items()]
    broken = {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear Sir or Madam"}
    page.page.locator("#files").set_input_files([files[0], broken, *files[1:]])
    page.complains("letter.jpg is not a picture")
    page.page.get_by_role("button", name="Photo 2 of 3: two.png").click()
    page.done()
    assert page.save("Save label map").shape == (50, 20)
    page.effect("Mask")
    with ZipFile(io.BytesIO(page.saved("Save all 3"))) as archive:
        assert archive.namelist() == ["one.mask.png", "two.mask.png", "ONE.mask.png"]
        for name, frame in frames.items():
            content = np.frombuffer(archive.read(name.replace(".png", ".mask.png")), np.uint8)
            expected = render(frame, segment_tiled(Segmenter(models[0], 1), frame), EffectSettings("mask"))
            assert np.array_equal(cv2.imdecode(content, cv2.IMREAD_COLOR), expected)
    page.page.get_by_role("button", name="Remove all").click()
    page.expect(page.page.locator("#drop")).to_be_visible()


def test_the_same_pixels_give_the_same_label_map(
    visit: Callable[..., Page], server: Server, more_models: dict[str, str]
) -> None:
    page = visit(server.url).open()
    portrait = cv2.imread(str(GRACE_HOPPER))
    patches = cv2.resize(noise((4, 5)), (250, 190), interpolation=cv2.INTER_CUBIC)
    sizes = [(480, 640), (256, 256), (32, 32), (97, 61), (20, 301)]
    frames = [portrait, patches, cv2.resize(portrait, (1280, 960)), *(noise(size) for size in sizes)]
    for name, tried in (("person", frames[:3]), ("bright", frames), ("colours", frames[:2])):
        if name != "person":
            page.model(name)
        segmenter = Segmenter(more_models[name], 1)
        for frame in tried:
            labels = page.labels("photo.png", png(frame))
            expected = segment_tiled(segmenter, frame).labels
            assert labels.shape == expected.shape
            assert np.array_equal(labels, expected), f"{name}, {frame.shape}: {(labels != expected).mean():%}"
    assert len(np.unique(labels)) > 2


def test_a_float32_model_gives_nearly_the_same(
    visit: Callable[..., Page], server: Server, more_models: dict[str, str]
) -> None:
    page = visit(server.url).open()
    page.model("real")
    frame = cv2.imread(str(GRACE_HOPPER))
    labels = page.labels("photo.png", png(frame))
    assert (labels != segment_tiled(Segmenter(more_models["real"], 1), frame).labels).mean() < 1e-4


def test_jpeg_files_differ_only_by_their_decoders(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    segmenter = Segmenter("person", 1)
    labels = page.labels("photo.jpg", GRACE_HOPPER.read_bytes(), "image/jpeg")
    assert (labels == segment_tiled(segmenter, read_photo(GRACE_HOPPER)).labels).mean() >= 0.999


def test_real_photos_differ_only_by_their_decoders(
    visit: Callable[..., Page], server: Server, shared_data: Path
) -> None:
    page = visit(server.url).open()
    segmenter = Segmenter("person", 1)
    photos = sorted((shared_data / "cohort" / "photos").glob("*.jpg"))[::8]
    assert photos
    for photo in photos:
        labels = page.labels("photo.jpg", photo.read_bytes(), "image/jpeg")
        assert (labels == segment_tiled(segmenter, read_photo(photo)).labels).mean() >= 0.999, photo.name


EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0"


def turned_photo(kind: str, frame: np.ndarray, orientation: int) -> bytes:
    """A photo with an EXIF orientation."""
    exif = EXIF % orientation
    if kind == "avif":
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(frame[..., ::-1]).save(file, "AVIF", quality=100, subsampling="4:4:4", speed=10, exif=exif)
        return file.getvalue()
    content = cv2.imencode(f".{kind}", frame, [cv2.IMWRITE_WEBP_QUALITY, 101] if kind == "webp" else [])[1].tobytes()
    if kind == "jpg":
        return content[:2] + b"\xff\xe1" + (len(exif) + 8).to_bytes(2) + b"Exif\0\0" + exif + content[2:]
    if kind == "png":
        chunk = b"eXIf" + exif
        return content[:33] + len(exif).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + content[33:]
    height, width = frame.shape[:2]
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0" + sides + content[12:] + b"EXIF" + len(exif).to_bytes(4, "little") + exif
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "avif"])
def test_a_rotated_photo_is_upright_as_in_python(
    visit: Callable[..., Page], server: Server, kind: str, tmp_path: Path
) -> None:
    frame = cv2.imread(str(GRACE_HOPPER))[:500, 50:400]
    page, segmenter = visit(server.url).open(), Segmenter("person", 1)
    for orientation in range(1, 9):
        file = tmp_path / f"{orientation}.{kind}"
        file.write_bytes(turned_photo(kind, frame, orientation))
        expected = segment_tiled(segmenter, read_photo(file)).labels
        labels = page.labels(file.name, file.read_bytes(), f"image/{'jpeg' if kind == 'jpg' else kind}")
        assert labels.shape == expected.shape
        assert (labels != expected).mean() < (0 if kind == "png" else 1e-3) + 1e-9, orientation
    # The original photo next to it has the same orientation.
    assert page.page.evaluate("['before', 'after'].map((id) => document.getElementById(id).width)") == [500, 500]


def test_the_effects_are_python_s(visit: Callable[..., Page], server: Server, more_models: dict[str, str]) -> None:
    page = visit(server.url).open()
    frame = cv2.imread(str(GRACE_HOPPER))
    green = EffectSettings("replace", background=(0, 177, 64))
    effects: dict[str, EffectSettings] = {
        "Mask": EffectSettings("mask"),
        "Cut out": EffectSettings("cutout"),
        "Highlight": EffectSettings("overlay"),
        "Blur background": EffectSettings("blur"),
        "New background": green,
        "Hide people": EffectSettings("anonymize"),
    }
    for model in ("person", "colours"):
        page.model(model)
        page.cut("photo.png", png(frame))
        segmentation = segment_tiled(Segmenter(more_models[model], 1), frame)
        for name, settings in effects.items():
            page.effect(name)
            picture, expected = page.save("Save picture"), render(frame, segmentation, settings)
            assert picture.shape[:2] == expected.shape[:2], name
            difference = np.abs(picture[..., : expected.shape[2]].astype(int) - expected)  # a browser's PNG has alpha
            if settings.effect == "cutout":  # browsers store colours multiplied by alpha
                difference[..., :3] = difference[..., :3] * expected[..., 3:] // 255
            if settings.effect in ("mask", "cutout"):
                assert difference.max() <= 1, f"{model}, {name}: {difference.max()}"
            else:  # JPEG encoders round differently
                assert difference.mean() < 1.5, f"{model}, {name}: {difference.mean()}"


def test_pictures_saved_by_the_page_are_recognised_as_results(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    page.cut("photo.png", png(cv2.imread(str(GRACE_HOPPER))))
    for effect, button, kind in (
        ("Cut out", "Save picture", "PNG"),
        ("Blur background", "Save picture", "JPEG"),
        ("Cut out", "Save label map", "PNG"),
    ):
        page.effect(effect)
        content = page.saved(button)
        header = parse_header(io.BytesIO(content))
        assert header is not None
        assert (header.format, header.size_wh, header.is_result) == (kind, (512, 600), True)
        assert b"seg-edge " + __version__.encode() in content[:200]
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded.shape[:2] == (600, 512)


def test_small_people_and_holes_are_hidden_as_in_python(
    visit: Callable[..., Page], server: Server, more_models: dict[str, str]
) -> None:
    page = visit(server.url).open()
    page.model("bright")
    frame = noise((120, 160), seed=3) // 4
    cv2.circle(frame, (53, 60), 40, (255, 255, 255), 10)  # its middle is a hole in the foreground
    cv2.circle(frame, (133, 24), 7, (255, 255, 255), -1)  # smaller than four cells
    page.cut("photo.png", png(frame))
    page.effect("Hide people")
    segmentation = segment_tiled(Segmenter(more_models["bright"], 1), frame)
    expected = render(frame, segmentation, "anonymize")
    hidden = (expected != frame).any(axis=2)
    assert hidden[60, 53]
    assert hidden[24, 133]
    difference = np.abs(page.save("Save picture").astype(int) - expected).max(axis=2)
    assert (difference[hidden] > 20).mean() < 0.02  # JPEG blurs where cells meet


def test_long_and_large_photos_are_cut_into_the_tiles_of_python(
    visit: Callable[..., Page], server: Server, more_models: dict[str, str]
) -> None:
    page = visit(server.url).open()
    panorama = cv2.resize(noise((4, 20)), (500, 90), interpolation=cv2.INTER_CUBIC)
    large = np.zeros((300, 401, 3), np.uint8)
    for left in range(30, 380, 60):
        large[50:70, left : left + 14] = (40, 255 - left // 2, 250)
    for name in ("bright", "colours", "real"):
        page.model(name)
        segmenter = Segmenter(more_models[name], 1)
        for frame in (panorama, panorama[:, :230].transpose(1, 0, 2), large):
            labels, expected = page.labels("photo.png", png(frame)), segment_tiled(segmenter, frame).labels
            assert (expected != segmenter(frame).labels).any()
            assert (labels != expected).mean() <= (1e-3 if name == "real" else 0), f"{name}, {frame.shape}"


def test_a_photo_s_own_transparency_is_kept_as_in_python(
    visit: Callable[..., Page], server: Server, more_models: dict[str, str], tmp_path: Path
) -> None:
    page = visit(server.url).open()
    page.model("bright")
    frame = cv2.cvtColor(cv2.resize(noise((6, 8)), (160, 120), interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2BGRA)
    frame[..., 3] = np.clip(np.arange(160) * 3 - 60, 0, 255)
    file = tmp_path / "sheer.png"
    file.write_bytes(png(frame))
    photo = load_photo(file)
    page.cut(file.name, file.read_bytes())
    segmentation = find_seen(segment_tiled(Segmenter(more_models["bright"], 1), photo.frame), photo.alpha, "cutout")
    assert (page.save("Save label map") != segmentation.labels).mean() < 1e-3
    for name, settings in (
        ("Cut out", EffectSettings("cutout")),
        ("New background", EffectSettings("replace", background=(0, 177, 64))),
    ):
        page.effect(name)
        picture = page.save("Save picture").astype(int)
        expected = draw_transparent(photo.frame, photo.colour, photo.alpha, segmentation, settings).whole()
        difference = np.abs(picture[..., : expected.shape[2]] - expected)
        if settings.transparent:  # browsers store colours multiplied by alpha
            difference[..., :3] = difference[..., :3] * expected[..., 3:] // 255
            assert set(np.unique(expected[..., 3])) >= {0, 201, 255}
            assert np.mean(difference.max(axis=2) > 1) < 1e-3
        else:
            assert difference.mean() < 2


def test_your_own_picture_becomes_the_background(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    frame, background = cv2.imread(str(GRACE_HOPPER)), np.zeros((90, 160, 3), np.uint8)
    background[:, :80], background[:, 80:] = (200, 20, 20), (20, 20, 200)
    page.cut("photo.png", png(frame))
    page.effect("New background")
    page.page.locator("#background-file").set_input_files(
        {"name": "background.png", "mimeType": "image/png", "buffer": png(background)}
    )
    page.expect(page.page.locator("#background")).to_have_class("chosen")
    picture = page.save("Save picture")
    expected = render(frame, segment_tiled(Segmenter("person", 1), frame), EffectSettings("replace", background))
    assert np.abs(picture.astype(int) - expected).mean() < 1.5


def test_an_empty_result_is_stated_in_words(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    page.choose("wall.png", png(np.full((200, 300, 3), 120, np.uint8)))
    page.says("Nobody was found in this photo.")


@pytest.mark.parametrize(
    ("locale", "title", "ready"),
    [
        ("de-AT", "Personen freistellen", "Bereit."),
        ("fr", "Détourer des personnes", "Prêt."),
        ("ja", "Cut out people", "Ready."),
    ],
)
def test_it_speaks_the_browser_s_language(
    visit: Callable[..., Page], server: Server, locale: str, title: str, ready: str
) -> None:
    page = visit(server.url, locale=locale).open(ready)
    page.expect(page.page.get_by_role("heading", level=1)).to_have_text(title)
    assert page.page.evaluate("document.documentElement.lang") == (locale[:2] if locale != "ja" else "en")


def test_your_own_model_is_opened_and_never_sent(
    visit: Callable[..., Page], plain_server: Server, models: tuple[str, str], tmp_path: Path
) -> None:
    page = visit(plain_server.url).open()
    frame = cv2.resize(noise((4, 5)), (250, 190), interpolation=cv2.INTER_CUBIC)
    page.choose("colours.tflite", Path(models[1]).read_bytes())
    page.says("The model colours is open.")
    page.expect(page.page.get_by_role("heading", level=1)).to_have_text("Cut out: red, green, blue")
    assert np.array_equal(page.labels("photo.png", png(frame)), segment_tiled(Segmenter(models[1], 1), frame).labels)
    cardless = tmp_path / "cardless.tflite"
    cardless.write_bytes(strip_card(Path(models[1]).read_bytes()))
    page.choose(cardless.name, cardless.read_bytes())
    page.expect(page.page.get_by_role("heading", level=1)).to_have_text("Cut out: class 1, class 2, class 3")
    page.done()
    assert np.array_equal(page.save("Save label map"), segment_tiled(Segmenter(cardless, 1), frame).labels)
    for content, reason in (
        (b"\0\0\0\0TFL3", "it has no graph"),
        (b"hello", "is not a TensorFlow Lite model"),
        (Path(models[1]).read_bytes()[:-300], "card"),
        (strip_card(Path(models[1]).read_bytes())[:600], "wrong.tflite"),
    ):
        page.choose("wrong.tflite", content)
        page.complains(reason)
    assert np.array_equal(page.labels("photo.png", png(frame)), segment_tiled(Segmenter(cardless, 1), frame).labels)
    assert {request.method for request in page.requests} == {"GET"}


def test_without_isolation_it_says_why_there_is_one_thread(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url, service_workers="block")

    def strip(route: Any) -> None:
        response = route.fetch()
        headers = {name: value for name, value in response.headers.items() if not name.startswith("cross-origin")}
        route.fulfill(response=response, headers=headers)

    page.page.route("**/*", strip)
    page.open()
    frame = cv2.imread(str(GRACE_HOPPER))
    assert np.array_equal(page.labels("photo.png", png(frame)), segment_tiled(Segmenter("person", 1), frame).labels)
    page.expect(page.page.locator("#threads")).to_contain_text("One thread: browsers allow more only on https")


def test_it_works_offline_after_the_first_load_with_each_model(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str]
) -> None:
    page = visit(start("--model", models[0], "--model", models[1]).url).open()
    page.expect(page.page.locator("html[data-offline=ready]")).to_be_attached()
    page.context.set_offline(True)
    page.page.reload()
    page.says("Ready")
    page.page.get_by_role("button", name="Try the sample photo").click()
    page.done()
    page.model("colours")
    page.done()


def test_a_new_build_keeps_unchanged_files_and_nothing_of_other_programs(
    visit: Callable[..., Page], plain_server: Server
) -> None:
    page = visit(plain_server.url)
    model, foreign = f"/v1/models/{'0' * 64}.tflite", "/assets/foreign-0123456789.js"
    page.page.goto(f"{page.url}/healthz")
    page.page.evaluate(
        """async (addresses) => {
          const old = await caches.open("seg-edge-0");
          for (const address of addresses) await old.put(address, new Response("old"));
        }""",
        [model, foreign],
    )
    page.open()
    page.expect(page.page.locator("html[data-offline=ready]")).to_be_attached()
    page.until("async () => !(await caches.has('seg-edge-0'))")
    assert page.page.evaluate("async (address) => (await fetch(address)).text()", model) == "old"
    # Another program may have used the port before.
    put = "async (address) => (await caches.open((await caches.keys())[0])).put(address, new Response('other'))"
    page.page.evaluate(put, foreign)
    assert page.page.evaluate("async (address) => (await fetch(address)).status", foreign) == 404


def test_the_page_works_with_a_full_disk(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url).open()
    page.expect(page.page.locator("html[data-offline=ready]")).to_be_attached()
    page.page.evaluate("async () => Promise.all((await caches.keys()).map((name) => caches.delete(name)))")
    devtools = page.context.new_cdp_session(page.page)
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": plain_server.url.rstrip("/"), "quotaSize": 1})
    page.page.reload()
    page.says("Ready")


def test_the_page_is_small(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    loaded: dict[str, int] = {}

    def received(response: Any) -> None:
        loaded[response.url.rpartition("/")[2]] = int(response.headers["content-length"])

    page.page.on("response", received)
    page.open()
    assert any(name.endswith(".wasm") for name in loaded)
    assert any(name.endswith(".tflite") for name in loaded)
    assert sum(loaded.values()) < 3_100_000
    assert sum(size for name, size in loaded.items() if "litert-" not in name) < 60_000


def test_the_webcam_is_segmented_as_it_runs(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    page.model("bright")
    page.unfold()
    page.page.get_by_role("button", name="Camera", exact=True).click()
    page.expect(page.page.locator("#threads")).to_contain_text("pictures a second")
    page.expect(page.page.locator("#legend")).to_contain_text("bright")
    page.page.get_by_role("radio", name="Blur background").check()
    page.page.get_by_role("button", name="Take a photo").click()
    page.done()
    assert len(page.save("Save label map").shape) == 2
    page.page.get_by_role("button", name="Camera", exact=True).click()
    page.expect(page.page.locator("#video")).to_be_visible()
    page.page.get_by_role("button", name="Close camera").click()
    page.expect(page.page.locator("#video")).to_be_hidden()
    assert {request.method for request in page.requests} == {"GET"}


def test_a_reopened_webcam_is_read_once(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url)
    page.context.add_init_script(HOLD)
    page.open().unfold()
    page.page.get_by_role("button", name="Camera", exact=True).click()
    page.expect(page.page.locator("#threads")).to_contain_text("pictures a second")
    for _ in range(3):
        page.page.evaluate("document.getElementById('stop').click(); document.getElementById('webcam').click()")
        page.expect(page.page.get_by_role("button", name="Take a photo")).to_be_visible()
    page.page.evaluate("total = 0")
    page.until("total > 3")  # requests for the earlier streams are done
    page.page.evaluate("most = total = 0")
    page.until("total > 10")
    assert page.page.evaluate("most") == 1


def test_a_lost_webcam_is_reported_and_closed(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url).open()
    button = page.page.get_by_role("button", name="Camera", exact=True)
    button.click()
    page.expect(page.page.get_by_role("button", name="Take a photo")).to_be_visible()
    page.page.evaluate("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    page.complains("The camera was unplugged")
    page.expect(button).to_be_enabled()
    page.page.evaluate("""() => {
      const open = MediaDevices.prototype.getUserMedia;
      MediaDevices.prototype.getUserMedia = async function (wanted) {
        return (window.opened = await open.call(this, wanted));
      };
      HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException("no decoder", "NotSupportedError"));
    }""")
    button.click()
    page.complains("The camera cannot be opened (no decoder).")
    assert page.page.evaluate("opened.getTracks()[0].readyState") == "ended"
    page.expect(button).to_be_enabled()


def test_without_a_webcam_it_says_why(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url)
    page.context.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.open()
    page.expect(page.page.get_by_role("button", name="Camera", exact=True)).to_be_disabled()
    page.expect(page.page.get_by_text("The camera needs an address that starts with https")).to_be_visible()


def test_the_server_can_be_chosen_if_it_is_allowed(
    visit: Callable[..., Page], server: Server, plain_server: Server, tmp_path: Path
) -> None:
    page = visit(server.url).open()
    page.unfold()
    page.page.get_by_label("On the server").check()
    page.expect(page.page.get_by_text("Your photos are sent to this server")).to_be_visible()
    frame = cv2.imread(str(GRACE_HOPPER))
    labels = page.labels("photo.png", png(frame))
    segmentation = segment_tiled(Segmenter("person", 1), frame)
    assert np.array_equal(labels, segmentation.labels)
    page.expect(page.page.locator("#timing")).to_contain_text("Transfer")
    picture = page.save("Save picture")  # with the browser's edges, too
    assert (
        np.abs(picture[..., 3].astype(int) - render(frame, segmentation, EffectSettings("cutout"))[..., 3]).max() <= 1
    )
    assert [request.method for request in page.requests].count("POST") == 1
    turned = tmp_path / "turned.webp"
    turned.write_bytes(turned_photo("webp", frame, 6))
    expected = segment_tiled(Segmenter("person", 1), read_photo(turned)).labels
    assert np.array_equal(page.labels("turned.webp", turned.read_bytes(), "image/webp"), expected)
    other = visit(plain_server.url).open()
    other.unfold()
    other.expect(other.page.get_by_label("On the server")).to_be_hidden()


def test_a_label_map_of_another_size_is_not_drawn(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url, service_workers="block").open()
    page.unfold()
    page.page.get_by_label("On the server").check()
    wrong = png(np.zeros((40, 30, 3), np.uint8))
    page.page.route("**/v1/segment*", lambda route: route.fulfill(body=wrong, content_type="image/png"))
    page.choose("photo.png", png(noise((30, 40))))
    page.complains("The server's mask is for a picture of 30×40 pixels, and the photo has 40×30.")
    page.expect(page.page.locator("#after")).to_be_hidden()
    page.expect(page.page.locator("#save")).to_be_disabled()


def test_a_busy_server_is_asked_again(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url, service_workers="block").open()
    page.unfold()
    page.page.get_by_label("On the server").check()
    statuses = [429, 503]

    def busy(route: Any) -> None:
        if statuses:
            route.fulfill(status=statuses.pop(), headers={"Retry-After": "1"}, body="{}")
        else:
            route.continue_()

    page.page.route("**/v1/segment*", busy)
    page.choose("photo.png", png(noise((30, 40))))
    page.says("The server is busy. Trying again in")
    page.done()
    assert not statuses


def test_an_access_code_is_asked_for_once_and_comes_with_the_address(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str]
) -> None:
    server = start("--model", models[0], "--token", TOKEN)
    assert server.url.endswith(f"#token={TOKEN}")
    visit(server.url).open()
    page = visit(server.url.partition("#")[0])
    page.page.goto(page.url)
    page.complains("This page needs an access code.")
    field, button = page.page.get_by_label("Access code"), page.page.get_by_role("button", name="Open", exact=True)
    field.fill("not-the-token-of-this-one")
    button.click()
    page.complains("This access code is wrong.")
    field.fill(server.url)  # the whole address works
    button.click()
    page.says("Ready")
    tab = page.context.new_page()
    tab.goto(page.url)
    page.expect(tab.locator("#status")).to_contain_text("Ready")


@pytest.mark.parametrize("written", [lambda token: quote(token, safe=""), str], ids=["quoted", "plain"])
def test_a_token_with_signs_comes_with_the_address(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str], written: Callable[[str], str]
) -> None:
    token = "a+token/of~some.length"
    server = start("--model", models[0], "--token", token)
    visit(f"{server.url.partition('#')[0]}#token={written(token)}").open()


def test_a_token_works_if_the_browser_can_not_store_it(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str]
) -> None:
    page = visit(start("--model", models[0], "--token", TOKEN).url)
    page.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } })"
    )
    page.open()


def test_errors_are_sentences_and_the_page_keeps_working(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    page.choose("letter.jpg", b"Dear Sir or Madam", "image/jpeg")
    page.complains("letter.jpg is not a picture that this browser can read. Save it as JPEG or PNG.")
    page.choose("nothing.jpg", b"", "image/jpeg")
    page.complains("nothing.jpg is empty.")
    page.choose("IMG_1.jpg", b"\0\0\0\x18ftypheic" + bytes(100), "image/jpeg")
    page.complains("IMG_1.jpg is in Apple's HEIC format")
    page.page.locator("#model").select_option("signed")
    page.complains("signed works with int8 numbers")
    page.model("bright")
    page.labels("photo.png", png(noise((40, 60))))
    page.expect(page.page.get_by_role("alert")).to_be_empty()


# `held` keeps requests of this kind to the worker until the test calls them; they are counted until there is a reply.
HOLD = """
window.asked = window.most = window.total = 0;
window.Worker = class extends Worker {
  photos = new Set();
  constructor(...given) {
    super(...given); // and sees a reply before the page, which may ask again at once
    this.addEventListener("message", ({ data }) => (window.asked -= this.photos.delete(data.id)));
  }
  postMessage(message, ...rest) {
    const post = () => super.postMessage(message, ...rest);
    if (!["segment", "frame"].includes(message.request?.kind)) return post();
    this.photos.add(message.id);
    window.total++;
    window.most = Math.max(window.most, ++window.asked);
    if (window.held) window.held.push(post);
    else post();
  }
};
"""


def test_results_of_an_earlier_choice_of_photo_or_model_are_not_shown(
    visit: Callable[..., Page], server: Server
) -> None:
    page = visit(server.url)
    page.context.add_init_script(HOLD)
    page.open().model("bright")
    page.page.evaluate("held = []")
    page.choose("first.png", png(noise((40, 60))))
    page.until("held.length === 1")
    page.choose("second.png", png(noise((50, 30))))
    page.until("held.length === 2")
    page.page.evaluate("held.shift()()")
    page.until("asked === 1")
    page.expect(page.page.locator("#after")).to_be_hidden()
    page.page.evaluate("held.shift()(), held = undefined")
    page.done()
    assert page.save("Save label map").shape == (50, 30)


def test_a_failed_load_is_tried_again(visit: Callable[..., Page], plain_server: Server) -> None:
    for missed in ("**/litert-*.wasm", "**/litert-*.js", "**/*.tflite"):
        page = visit(plain_server.url, service_workers="block")
        page.page.route(missed, lambda route: route.abort())
        page.page.goto(page.url)
        page.expect(page.page.get_by_role("alert")).not_to_be_empty()
        page.page.unroute(missed)
        page.cut("photo.png", png(noise((40, 60))))


def test_a_dead_worker_is_reported_each_time(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    page.page.route("**/worker-*.js", lambda route: route.fulfill(body="throw 1", content_type="text/javascript"))
    page.page.goto(page.url)
    page.complains("The model could not be run. Load the page again.")
    page.choose("photo.png", png(noise((40, 60))))
    page.complains("The model could not be run. Load the page again.")


def test_loading_is_announced_once(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    page.context.add_init_script("""
      window.lines = [];
      addEventListener("DOMContentLoaded", () => {
        const status = document.getElementById("status");
        new MutationObserver(() => lines.push(status.textContent)).observe(status, { childList: true });
      });
    """)
    page.open()
    lines = page.page.evaluate("lines")
    assert any("MB" in text for text in lines)
    assert len(lines) == len(set(lines)) <= 4, lines


def test_a_photo_too_large_for_the_server_is_not_sent(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str]
) -> None:
    limits = ("--max-mb", "0.05", "--max-megapixels", "0.3")
    page = visit(start("--model", models[0], "--on-server", *limits).url).open()
    page.unfold()
    page.page.get_by_label("On the server").check()
    for frame, reason in (
        (noise((200, 300)), "the server accepts 0.05 MB"),
        (np.zeros((600, 800, 3)), "0.3 megapixels"),
    ):
        page.choose("photo.png", png(frame))
        page.complains(reason)
    assert {request.method for request in page.requests} == {"GET"}
    page.forget()
    page.page.get_by_label("On this device").check()
    page.done()


def test_a_photo_too_large_for_a_phone_s_canvas_is_scaled_down(
    visit: Callable[..., Page], plain_server: Server
) -> None:
    page = visit(plain_server.url).open()
    page.cut("large.jpg", cv2.imencode(".jpg", np.zeros((4000, 5000, 3), np.uint8))[1].tobytes(), "image/jpeg")
    page.says("scaled down from 5000×4000")
    labels = page.save("Save label map")
    assert labels.size <= 16_000_000
    assert labels.shape[1] / labels.shape[0] == pytest.approx(1.25, abs=0.01)


def test_an_old_browser_gets_a_message(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    page.page.route(
        "**/worker-*.js",
        lambda route: route.fulfill(response=(got := route.fetch()), body=f"delete self.OffscreenCanvas;{got.text()}"),
    )
    page.page.goto(page.url)
    page.complains("This browser is too old.")


def test_it_can_be_used_with_the_keyboard_alone(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url).open()

    def focused() -> str:
        return page.page.evaluate("document.activeElement.id || document.activeElement.value")

    page.page.get_by_role("button", name="Try the sample photo").focus()
    page.page.keyboard.press("Enter")
    page.done()
    page.expect(page.page.locator("#save")).to_be_focused()  # the button has disappeared
    page.page.locator("#divider").focus()
    page.page.keyboard.press("End")
    page.until("getComputedStyle(document.getElementById('picture')).getPropertyValue('--cut') === '1'")
    page.page.keyboard.press("Tab")
    assert focused() == "cutout"
    page.page.keyboard.press("ArrowRight")
    page.expect(page.page.get_by_role("radio", name="Blur background")).to_be_checked()
    page.page.keyboard.press("Tab")
    assert focused() == "save"
    page.page.locator("#webcam").focus()
    for button, next_button in (("webcam", "shoot"), ("shoot", "save")):  # each disappears when it is pressed
        assert focused() == button
        page.page.keyboard.press("Enter")
        page.expect(page.page.locator(f"#{next_button}")).to_be_focused()


class Proxy(ThreadingHTTPServer):
    """A proxy that serves a server under another path, as nginx's `location /seg/` does."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path.startswith("/seg/"), self.path
                request = Request(f"http://127.0.0.1:{port}/{self.path[5:]}", headers={"Host": self.headers["Host"]})
                with urlopen(request) as response:
                    content = response.read()
                    self.send_response(response.status)
                    for name, value in response.headers.items():
                        if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                            self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


def test_it_works_under_a_path_behind_a_proxy(visit: Callable[..., Page], plain_server: Server) -> None:
    proxy = Proxy(plain_server.port)
    Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        page = visit(f"http://127.0.0.1:{proxy.server_port}/seg/").open()
        page.page.get_by_role("button", name="Try the sample photo").click()
        page.done()
        page.expect(page.page.locator("html[data-offline=ready]")).to_be_attached()
        assert all("/seg/" in request.url for request in page.requests if request.url.startswith("http"))
        page.context.set_offline(True)
        page.page.reload()
        page.says("Ready")
    finally:
        proxy.shutdown()


@contextmanager
def shown(visit: Callable[..., Page], url: str, viewport: dict[str, int], scheme: str) -> Iterator[Page]:
    """The page with the sample segmented, its timings hidden, as they differ from run to run."""
    page = visit(url, viewport=viewport, color_scheme=scheme, reduced_motion="reduce", has_touch=viewport == PHONE)
    page.open()
    page.page.get_by_role("button", name="Try the sample photo").click()
    page.done()
    yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_no_accessibility_problems(
    visit: Callable[..., Page], plain_server: Server, viewport: dict[str, int], scheme: str
) -> None:
    axe = WEB / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core isn't installed (make web)")
    with shown(visit, plain_server.url, viewport, scheme) as page:
        page.unfold()
        page.page.get_by_text("About the model").click()
        page.page.evaluate(axe.read_text())
        found = page.page.evaluate(
            "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
        )
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
        assert len(found["passes"]) > 15
        assert page.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
def test_it_looks_as_in_the_reviewed_pictures(
    visit: Callable[..., Page], plain_server: Server, viewport: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    with shown(visit, plain_server.url, viewport, scheme) as page:
        taken = tmp_path / f"{viewport['width']}x{viewport['height']}.png"
        hidden = [page.page.locator("#quality-note")]
        page.page.screenshot(path=taken, mask=hidden, mask_color="#808080")
    looked_at = LOOKED_AT / f"{taken.stem}.jpg"
    expected = cv2.imread(str(looked_at))
    assert expected is not None, f"look at {taken}, and if it is good, put it in place of {looked_at}"
    # Fonts differ from machine to machine, so blocks of 10 pixels are compared.
    seen, before = (
        cv2.resize(picture, None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA).astype(int)
        for picture in (cv2.imread(str(taken)), expected)
    )
    assert seen.shape == before.shape
    difference = np.abs(seen - before)
    share = (difference.max(axis=2) > 24).mean()
    assert share < 0.05, f"{share:.1%} of {taken} is unlike {looked_at}; if it is good, replace that"
