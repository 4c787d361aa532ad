"""A model file is checked before the interpreter sees it, and every refusal says what and where in one line."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from seg_edge import models
from seg_edge.errors import ModelError
from seg_edge.interpreter import LiteRT
from seg_edge.models import MAX_MODEL_BYTES, bundled_models, open_model
from seg_edge.segmenter import Segmenter
from tests import tiny

CONTENT = tiny.TWO_UINT8.read_bytes()


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder with one bundled model, `mine`."""
    monkeypatch.setattr(models, "FOLDER", tmp_path)
    listing = {"mine": hashlib.sha256(CONTENT).hexdigest()}
    (tmp_path / "bundled.json").write_text(json.dumps(listing))
    (tmp_path / "mine.tflite").write_bytes(CONTENT)
    return tmp_path


def refusal(model: str | Path) -> str:
    with pytest.raises(ModelError) as raised:
        open_model(model)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_is_opened(as_text: bool) -> None:
    file = open_model(str(tiny.TWO_UINT8) if as_text else tiny.TWO_UINT8)
    assert file.name == "tiny_two_uint8"
    assert file.path == tiny.TWO_UINT8
    assert file.content == CONTENT
    assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert file.card is None


def test_a_files_card_is_read(tmp_path: Path) -> None:
    assert open_model(tiny.carded(tiny.TWO_UINT8, tmp_path)).card == tiny.TWO_CARD


def test_a_bundled_model_is_opened_by_name(shipped: Path) -> None:
    file = open_model("mine")
    assert (file.name, file.path, file.content) == ("mine", shipped / "mine.tflite", CONTENT)


def test_a_tampered_bundled_model_is_refused(shipped: Path) -> None:
    (shipped / "mine.tflite").write_bytes(CONTENT + b"\0")
    message = refusal("mine")
    assert str(shipped / "mine.tflite") in message
    assert "install seg-edge again" in message


def test_the_same_file_by_path_is_not_a_bundled_model(shipped: Path) -> None:
    (shipped / "mine.tflite").write_bytes(CONTENT + b"\0")
    assert open_model(shipped / "mine.tflite").content == CONTENT + b"\0"


def test_an_unknown_name_lists_what_is_bundled(shipped: Path) -> None:
    message = refusal("persn")
    assert message.startswith("persn: no such model")
    assert "bundled: mine" in message


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/y", "a\0b", "missing/m.tflite", ""])
def test_names_no_file_can_have_are_refused(name: str) -> None:
    assert refusal(name).startswith(f"{name}: ")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path}: not a file")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.tflite"
    os.mkfifo(pipe)
    assert refusal(pipe).startswith(f"{pipe}: not a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.tflite"
    path.write_bytes(CONTENT)
    path.chmod(0)
    assert refusal(path) == f"{path}: can't be read (Permission denied)."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.tflite", b""),
        ("short.tflite", CONTENT[:7]),
        ("notes.txt", b"dear diary, today I trained a model"),
        ("photo.tflite", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
        ("shifted.tflite", b"\0" + CONTENT),
    ],
)
def test_anything_but_a_tflite_flatbuffer_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: not a TensorFlow Lite model")
    assert "convert" not in message


@pytest.mark.parametrize("name", ["unet.keras", "unet.h5"])
def test_a_keras_file_gets_a_hint(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 and so on")
    assert "Convert it first with convert/quantize.py" in refusal(path)


def test_an_oversized_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as stream:
        stream.write(CONTENT)
        stream.truncate(MAX_MODEL_BYTES + 1)  # sparse: it takes no room on the disk
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert "200,000,001 bytes" in message


def test_the_size_limit_leaves_room_for_the_full_unet() -> None:
    assert MAX_MODEL_BYTES > 124_120_000


@pytest.mark.parametrize("length", [8, 64, len(CONTENT) // 2, len(CONTENT) - 4])
def test_a_truncated_model_is_refused_by_the_interpreter(tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(CONTENT[:length])
    assert open_model(path).content == CONTENT[:length]
    with pytest.raises(ModelError, match=r"^cut\b.*can't load it") as raised:
        Segmenter(path, threads=1)
    assert "\n" not in str(raised.value)


def test_person_is_bundled_and_the_default() -> None:
    assert models.DEFAULT_MODEL == "person"
    assert "person" in bundled_models()


def test_the_package_holds_nothing_else() -> None:
    files = {path.stem for path in models.FOLDER.glob("*.tflite")}
    assert files == set(bundled_models())


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_a_bundled_model_is_the_one_that_was_shipped_and_says_what_it_is(name: str) -> None:
    file = open_model(name)
    assert file.path.parent == models.FOLDER
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == bundled_models()[name]
    assert len(file.content) <= (4_000_000 if name == models.PHOTO_MODEL else 500_000)
    card = file.card
    assert card is not None
    assert card.name == name
    assert card.class_names[0] == "background"
    for value in (card.licence, card.scores, card.created, card.recipe, card.data, card.notes):
        assert value
    backend = LiteRT(file.content, 1, name)
    assert backend.input.shape == (1, card.input_size_wh[1], card.input_size_wh[0], 3)
