"""The page, used as people use it, in a real Chromium."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from seg_edge.effects import render
from seg_edge.photo.read import read_photo
from seg_edge.segmenter import Segmenter
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
    """The bundled one, one of two and one of four classes in bytes, one of real numbers, and one for no browser."""
    folder = tmp_path_factory.mktemp("more")
    real = carded(SIGMOID_FLOAT32, folder, replace(TWO_CARD, output="probabilities")).rename(folder / "real.tflite")
    signed = carded(TWO_INT8, folder).rename(folder / "signed.tflite")
    return {"person": "person", "bright": models[0], "colours": models[1], "real": str(real), "signed": str(signed)}


@pytest.fixture(scope="module")
def server(start: Callable[..., Server], more_models: dict[str, str]) -> Server:
    return start(*(part for model in more_models.values() for part in ("--model", model)), "--on-server")


@pytest.fixture(scope="module")
def plain_server(start: Callable[..., Server], models: tuple[str, str]) -> Server:
    """As it is started without options, but with a model that stays as it is."""
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


def test_a_photo_is_segmented_and_nothing_leaves_the_browser(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    page.expect(page.page.get_by_text("Nothing is uploaded")).to_be_visible()
    page.choose("portrait.jpg", GRACE_HOPPER.read_bytes(), "image/jpeg")
    page.segment()
    shares = Segmenter("person", 1)(read_photo(GRACE_HOPPER)).areas
    page.expect(page.page.locator("#legend")).to_contain_text(f"{shares['person']:.1%}".replace("%", " %"))
    page.expect(page.page.locator("#timing")).to_contain_text("Model")
    page.expect(page.page.locator("#threads")).to_contain_text("threads" if (os.cpu_count() or 1) > 1 else "One thread")
    page.expect(page.page.get_by_role("img", name="Mask: person")).to_be_visible()
    assert {request.method for request in page.requests} == {"GET"}
    assert all(request.url.startswith((server.url, "blob:", "data:")) for request in page.requests)


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
            expected = segmenter(frame).labels
            assert labels.shape == expected.shape
            assert np.array_equal(labels, expected), f"{name}, {frame.shape}: {(labels != expected).mean():%}"
    assert len(np.unique(labels)) > 2


def test_a_model_of_real_numbers_gives_nearly_the_same(
    visit: Callable[..., Page], server: Server, more_models: dict[str, str]
) -> None:
    page = visit(server.url).open()
    page.model("real")
    frame = cv2.imread(str(GRACE_HOPPER))
    labels = page.labels("photo.png", png(frame))
    assert (labels != Segmenter(more_models["real"], 1)(frame).labels).mean() < 1e-4


def test_jpeg_files_differ_by_their_decoders_alone(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    segmenter = Segmenter("person", 1)
    labels = page.labels("photo.jpg", GRACE_HOPPER.read_bytes(), "image/jpeg")
    assert (labels == segmenter(read_photo(GRACE_HOPPER)).labels).mean() >= 0.999


def test_real_photos_differ_by_their_decoders_alone(
    visit: Callable[..., Page], server: Server, shared_data: Path
) -> None:
    page = visit(server.url).open()
    segmenter = Segmenter("person", 1)
    photos = sorted((shared_data / "cohort" / "photos").glob("*.jpg"))[::8]
    assert photos
    for photo in photos:
        labels = page.labels("photo.jpg", photo.read_bytes(), "image/jpeg")
        assert (labels == segmenter(read_photo(photo)).labels).mean() >= 0.999, photo.name


def test_a_turned_photo_is_upright(visit: Callable[..., Page], server: Server) -> None:
    jpeg = cv2.imencode(".jpg", cv2.imread(str(GRACE_HOPPER)))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + jpeg[2:]
    assert visit(server.url).open().labels("turned.jpg", turned, "image/jpeg").shape == (512, 600)


def test_the_cut_out_is_python_s(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    frame = cv2.imread(str(GRACE_HOPPER))
    page.choose("photo.png", png(frame))
    page.segment()
    page.page.get_by_label("Cut-out").check()
    page.expect(page.page.get_by_role("img", name="The cut-out: person")).to_be_visible()
    picture = page.save("Save cut-out")
    expected = render(frame, Segmenter("person", 1)(frame), "cutout")
    assert np.abs(picture[..., 3].astype(int) - expected[..., 3]).max() <= 1
    opaque = expected[..., 3] == 255
    assert np.array_equal(picture[opaque][:, :3], frame[opaque])


def test_without_isolation_it_says_why_there_is_one_thread(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url, service_workers="block")

    def strip(route: Any) -> None:
        answer = route.fetch()
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("cross-origin")}
        route.fulfill(response=answer, headers=headers)

    page.page.route("**/*", strip)
    page.open()
    frame = cv2.imread(str(GRACE_HOPPER))
    assert np.array_equal(page.labels("photo.png", png(frame)), Segmenter("person", 1)(frame).labels)
    page.expect(page.page.locator("#threads")).to_contain_text("One thread: browsers allow more only where")


def test_it_works_offline_after_the_first_load(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url).open()
    page.expect(page.page.locator("html[data-offline=ready]")).to_be_attached()
    page.context.set_offline(True)
    page.page.reload()
    page.says("Ready")
    page.page.get_by_role("button", name="Sample photo").click()
    page.says("press Segment")
    page.segment()


def test_a_new_build_keeps_what_lasts_and_nothing_of_other_programs(
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
    # Another program may have had the port before.
    put = "async (address) => (await caches.open((await caches.keys())[0])).put(address, new Response('other'))"
    page.page.evaluate(put, foreign)
    assert page.page.evaluate("async (address) => (await fetch(address)).status", foreign) == 404


def test_a_full_disk_keeps_nobody_from_the_page(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url).open()
    page.expect(page.page.locator("html[data-offline=ready]")).to_be_attached()
    page.page.evaluate("async () => Promise.all((await caches.keys()).map((name) => caches.delete(name)))")
    devtools = page.context.new_cdp_session(page.page)
    devtools.send("Storage.overrideQuotaForOrigin", {"origin": plain_server.url.rstrip("/"), "quotaSize": 1})
    page.page.reload()
    page.says("Ready")


def test_what_is_loaded_is_small(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    loaded: dict[str, int] = {}

    def received(response: Any) -> None:
        loaded[response.url.rpartition("/")[2]] = int(response.headers["content-length"])

    page.page.on("response", received)
    page.open()
    assert any(name.endswith(".wasm") for name in loaded)
    assert any(name.endswith(".tflite") for name in loaded)
    assert sum(loaded.values()) < 3_100_000
    assert sum(size for name, size in loaded.items() if "litert-" not in name) < 40_000


def test_the_webcam_is_segmented_as_it_runs(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    page.model("bright")
    page.page.get_by_role("button", name="Webcam").click()
    page.expect(page.page.locator("#threads")).to_contain_text("pictures a second")
    page.expect(page.page.locator("#legend")).to_contain_text("bright")
    page.page.get_by_role("button", name="Take a photo").click()
    page.says("Done")
    assert len(page.save("Save label map").shape) == 2
    page.page.get_by_role("button", name="Webcam").click()
    page.expect(page.page.locator("#video")).to_be_visible()
    page.page.get_by_role("button", name="Stop the webcam").click()
    page.expect(page.page.locator("#video")).to_be_hidden()
    assert {request.method for request in page.requests} == {"GET"}


def test_a_webcam_opened_again_is_read_once(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url)
    page.context.add_init_script(HOLD)
    page.open()
    page.page.get_by_role("button", name="Webcam").click()
    page.expect(page.page.locator("#threads")).to_contain_text("pictures a second")
    for _ in range(3):
        page.page.evaluate("document.getElementById('stop').click(); document.getElementById('webcam').click()")
        page.expect(page.page.get_by_role("button", name="Take a photo")).to_be_visible()
    page.page.evaluate("total = 0")
    page.until("total > 3")  # what was asked for the streams before is answered
    page.page.evaluate("most = total = 0")
    page.until("total > 10")
    assert page.page.evaluate("most") == 1


def test_a_webcam_that_goes_is_told_and_closed(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url).open()
    button = page.page.get_by_role("button", name="Webcam")
    button.click()
    page.expect(page.page.get_by_role("button", name="Take a photo")).to_be_visible()
    page.page.evaluate("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    page.complains("The webcam was unplugged")
    page.expect(button).to_be_enabled()
    page.page.evaluate("""() => {
      const open = MediaDevices.prototype.getUserMedia;
      MediaDevices.prototype.getUserMedia = async function (wanted) {
        return (window.opened = await open.call(this, wanted));
      };
      HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException("no decoder", "NotSupportedError"));
    }""")
    button.click()
    page.complains("The webcam can't be opened (no decoder).")
    assert page.page.evaluate("opened.getTracks()[0].readyState") == "ended"
    page.expect(button).to_be_enabled()


def test_without_a_webcam_it_says_why(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url)
    page.context.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.open()
    page.expect(page.page.get_by_role("button", name="Webcam")).to_be_disabled()
    page.expect(page.page.get_by_text("The webcam needs an address that browsers trust")).to_be_visible()


def test_on_the_server_is_another_choice_where_it_is_allowed(
    visit: Callable[..., Page], server: Server, plain_server: Server
) -> None:
    page = visit(server.url).open()
    page.page.get_by_label("On the server").check()
    page.expect(page.page.get_by_text("Your photo is sent to this server")).to_be_visible()
    frame = cv2.imread(str(GRACE_HOPPER))
    labels = page.labels("photo.png", png(frame))
    assert np.array_equal(labels, Segmenter("person", 1)(frame).labels)
    assert [request.method for request in page.requests].count("POST") == 1
    page.expect(page.page.locator("#timing")).to_contain_text("Transfer")
    other = visit(plain_server.url).open()
    other.expect(other.page.get_by_label("On the server")).to_be_hidden()


def test_a_token_is_asked_for_and_comes_with_the_address(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str]
) -> None:
    server = start("--model", models[0], "--token", TOKEN)
    assert server.url.endswith(f"#token={TOKEN}")
    visit(server.url).open()
    page = visit(server.url.partition("#")[0])
    page.page.goto(page.url)
    page.complains("The server's token is needed")
    page.page.get_by_label("Token").fill(TOKEN)
    page.page.get_by_role("button", name="Use this token").click()
    page.says("Ready")


@pytest.mark.parametrize("written", [lambda token: quote(token, safe=""), str], ids=["quoted", "plain"])
def test_a_token_with_signs_comes_with_the_address(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str], written: Callable[[str], str]
) -> None:
    token = "a+token/of~some.length"
    server = start("--model", models[0], "--token", token)
    visit(f"{server.url.partition('#')[0]}#token={written(token)}").open()


def test_a_token_is_enough_where_the_browser_forbids_to_store_it(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str]
) -> None:
    page = visit(start("--model", models[0], "--token", TOKEN).url)
    page.context.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('', 'SecurityError'); } })"
    )
    page.open()


def test_errors_are_sentences_and_the_page_goes_on(visit: Callable[..., Page], server: Server) -> None:
    page = visit(server.url).open()
    page.choose("letter.jpg", b"Dear Sir or Madam", "image/jpeg")
    page.complains("letter.jpg is no picture that this browser can show; export it as JPEG or PNG.")
    page.choose("IMG_1.HEIC", bytes(1000), "image/heic")
    page.complains("Most Compatible")
    page.page.locator("#model").select_option("signed")
    page.complains("signed has an input of int8")
    page.model("bright")
    page.labels("photo.png", png(noise((40, 60))))
    page.expect(page.page.get_by_role("alert")).to_be_empty()


# `held` is where questions of this kind to the worker wait for whoever calls them; they are counted until answered.
HOLD = """
const post = Worker.prototype.postMessage;
window.asked = window.most = window.total = 0;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message.request?.kind !== "segment") return post.call(this, message, ...rest);
  window.total++;
  window.most = Math.max(window.most, ++window.asked);
  this.addEventListener("message", ({ data }) => (window.asked -= data.id === message.id));
  if (window.held) window.held.push(() => post.call(this, message, ...rest));
  else post.call(this, message, ...rest);
};
"""


def test_an_answer_to_a_photo_or_model_no_longer_asked_for_is_not_shown(
    visit: Callable[..., Page], server: Server
) -> None:
    page = visit(server.url)
    page.context.add_init_script(HOLD)
    page.open().model("bright")
    button = page.page.get_by_role("button", name="Segment", exact=True)
    page.choose("first.png", png(noise((40, 60))))
    page.says("first.png: press Segment")

    def choose_another() -> None:
        page.choose("second.png", png(noise((50, 30))))
        page.says("second.png: press Segment")

    for change in (choose_another, lambda: page.model("colours")):
        page.page.evaluate("held = []")
        button.click()
        page.until("held.length === 1")
        change()
        page.expect(button).to_be_disabled()
        page.page.evaluate("held[0]()")
        page.expect(button).to_be_enabled()
        page.expect(page.page.locator("#result")).to_be_hidden()
        page.expect(page.page.locator("#answer")).to_be_hidden()
    page.page.evaluate("held = undefined")
    page.segment()
    assert page.save("Save label map").shape == (50, 30)


def test_what_could_not_be_loaded_is_tried_again(visit: Callable[..., Page], plain_server: Server) -> None:
    for missed in ("**/litert-*.wasm", "**/litert-*.js", "**/*.tflite"):
        page = visit(plain_server.url, service_workers="block")
        page.page.route(missed, lambda route: route.abort())
        page.page.goto(page.url)
        page.expect(page.page.get_by_role("alert")).not_to_be_empty()
        page.choose("photo.png", png(noise((40, 60))))
        page.says("press Segment")
        page.page.unroute(missed)
        page.segment()


def test_a_worker_that_died_is_told_each_time(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    page.page.route("**/worker-*.js", lambda route: route.fulfill(body="throw 1", content_type="text/javascript"))
    page.page.goto(page.url)
    page.complains("The browser could not run the model; reload the page.")
    page.choose("photo.png", png(noise((40, 60))))
    page.says("press Segment")
    page.page.get_by_role("button", name="Segment", exact=True).click()
    page.complains("The browser could not run the model; reload the page.")


def test_the_loading_is_said_once(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    page.context.add_init_script("""
      window.said = [];
      addEventListener("DOMContentLoaded", () => {
        const status = document.getElementById("status");
        new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
      });
    """)
    page.open()
    said = page.page.evaluate("said")
    assert any("engine" in text for text in said)
    assert len(said) == len(set(said)) <= 4, said


def test_a_photo_too_large_for_the_server_is_not_sent(
    visit: Callable[..., Page], start: Callable[..., Server], models: tuple[str, str]
) -> None:
    limits = ("--max-mb", "0.05", "--max-megapixels", "0.3")
    page = visit(start("--model", models[0], "--on-server", *limits).url).open()
    page.page.get_by_label("On the server").check()
    button = page.page.get_by_role("button", name="Segment", exact=True)
    for frame, reason in ((noise((200, 300)), "the server takes 0.05 MB"), (np.zeros((600, 800, 3)), "0.3 megapixels")):
        page.choose("photo.png", png(frame))
        page.says("press Segment")
        button.click()
        page.complains(reason)
    assert {request.method for request in page.requests} == {"GET"}
    page.page.get_by_label("In this browser").check()
    page.segment()


def test_a_photo_too_large_for_a_phone_s_canvas_is_scaled_down(
    visit: Callable[..., Page], plain_server: Server
) -> None:
    page = visit(plain_server.url).open()
    page.choose("large.jpg", cv2.imencode(".jpg", np.zeros((4000, 5000, 3), np.uint8))[1].tobytes(), "image/jpeg")
    page.segment()
    page.says("scaled down from 5000×4000")
    labels = page.save("Save label map")
    assert labels.size <= 16_000_000
    assert labels.shape[1] / labels.shape[0] == pytest.approx(1.25, abs=0.01)


def test_an_old_browser_is_told(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url, service_workers="block")
    page.page.route(
        "**/worker-*.js",
        lambda route: route.fulfill(response=(got := route.fetch()), body=f"delete self.OffscreenCanvas;{got.text()}"),
    )
    page.page.goto(page.url)
    page.complains("This browser is too old to run the model")


def test_it_can_be_used_by_keys_alone(visit: Callable[..., Page], plain_server: Server) -> None:
    page = visit(plain_server.url).open()
    page.page.get_by_role("button", name="Sample photo").focus()
    page.page.keyboard.press("Enter")
    page.says("press Segment")
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.id") == "segment"
    page.page.keyboard.press("Space")
    page.says("Done")
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.id") == "opacity"
    page.page.keyboard.press("End")
    page.expect(page.page.locator("#opacity-said")).to_have_text("100 %")
    page.page.get_by_role("button", name="Webcam").focus()
    for button, next_one in (("webcam", "shoot"), ("shoot", "segment")):  # each goes when it was pressed
        assert page.page.evaluate("document.activeElement.id") == button
        page.page.keyboard.press("Enter")
        page.expect(page.page.locator(f"#{next_one}")).to_be_focused()


@contextmanager
def shown(visit: Callable[..., Page], url: str, viewport: dict[str, int], scheme: str) -> Iterator[Page]:
    """The page with the sample segmented, its timings hidden, as they differ from run to run."""
    page = visit(url, viewport=viewport, color_scheme=scheme, reduced_motion="reduce", has_touch=viewport == PHONE)
    page.open()
    page.page.get_by_role("button", name="Sample photo").click()
    page.says("press Segment")
    page.segment()
    yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_to_object_to(
    visit: Callable[..., Page], plain_server: Server, viewport: dict[str, int], scheme: str
) -> None:
    axe = WEB / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core isn't installed (make web)")
    with shown(visit, plain_server.url, viewport, scheme) as page:
        page.page.get_by_text("Model card").click()
        page.page.evaluate(axe.read_text())
        found = page.page.evaluate(
            "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
        )
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
        assert len(found["passes"]) > 15
        assert page.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
def test_it_looks_as_it_did_when_a_person_looked_at_it(
    visit: Callable[..., Page], plain_server: Server, viewport: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    with shown(visit, plain_server.url, viewport, scheme) as page:
        taken = tmp_path / f"{viewport['width']}x{viewport['height']}.png"
        hidden = [page.page.locator("#timing"), page.page.locator("#threads"), page.page.locator("#status")]
        page.page.screenshot(path=taken, mask=hidden, mask_color="#808080")
    looked_at = LOOKED_AT / f"{taken.stem}.jpg"
    expected = cv2.imread(str(looked_at))
    assert expected is not None, f"look at {taken}, and if it is good, put it in place of {looked_at}"
    # Fonts differ from machine to machine: what is compared is blocks of 10 pixels.
    seen, before = (
        cv2.resize(picture, None, fx=0.1, fy=0.1, interpolation=cv2.INTER_AREA).astype(int)
        for picture in (cv2.imread(str(taken)), expected)
    )
    assert seen.shape == before.shape
    difference = np.abs(seen - before)
    share = (difference.max(axis=2) > 24).mean()
    assert share < 0.05, f"{share:.1%} of {taken} is unlike {looked_at}; if it is good, replace that"
