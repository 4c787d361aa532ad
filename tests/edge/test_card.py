"""The card inside a `.tflite`: it reads back as written, and anything else is a ModelError."""

import contextlib
import io
import json
import warnings
import zipfile
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_edge.card import (
    MAX_CARD_BYTES,
    ClassInfo,
    ModelCard,
    append_card,
    class_colour,
    make_classes,
    read_card,
    strip_card,
)
from seg_edge.errors import ModelError
from seg_edge.interpreter import LiteRT
from tests import tiny

MODEL = tiny.TWO_UINT8.read_bytes()
CARD = ModelCard(
    name="people",
    classes=(ClassInfo("background", (0, 0, 0)), ClassInfo("Mädchen", (1, 128, 255))),
    input_size_wh=(320, 192),
    version="1.2",
    scale=2 / 255,
    offset=-1.0,
    output="probabilities",
    parent_sha256="ab" * 32,
    recipe={"prune": {"keep": 0.5}, "quantise": "int8"},
    seed=7,
    data={"photos": 3, "split": [0.8, 0.2]},
    versions={"tensorflow": "2.21"},
    scores={"int8": {"mean_dice": 0.9}},
    licence="Apache-2.0",
    created="2026-11-20",
    notes="Not for surveillance.",
)
CARDED = append_card(MODEL, CARD)


def with_files(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    buffer.write(MODEL)
    with zipfile.ZipFile(buffer, "a", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def document(**changes: Any) -> str:
    return json.dumps({**json.loads(CARD.to_json()), **changes})


def test_a_card_reads_back_as_written() -> None:
    card = read_card(CARDED, "m.tflite")
    assert card is not None
    # JSON knows lists only; everything the class declares as a tuple must come back as one.
    assert card == CARD
    assert card.class_names == ("background", "Mädchen")
    assert CARDED.startswith(MODEL)


def test_same_card_gives_the_same_bytes() -> None:
    again = ModelCard.from_json(CARD.to_json(), "m.tflite")
    assert append_card(MODEL, again) == CARDED


def test_appending_again_replaces() -> None:
    twice = append_card(CARDED, replace(CARD, name="other"))
    assert read_card(twice, "m") == replace(CARD, name="other")
    assert strip_card(twice) == MODEL
    assert append_card(twice, CARD) == CARDED


def test_it_is_a_zip_of_labels_and_card() -> None:
    with zipfile.ZipFile(io.BytesIO(CARDED)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["card.json", "labels.txt"]
        assert archive.read("labels.txt").decode() == "background\nMädchen\n"
        assert json.loads(archive.read("card.json"))["scores"] == {"int8": {"mean_dice": 0.9}}


def test_the_interpreter_ignores_the_card() -> None:
    bare, carded = LiteRT(MODEL, 1, "bare"), LiteRT(CARDED, 1, "carded")
    assert (bare.input, bare.output) == (carded.input, carded.output)


def test_a_file_without_a_card_gives_none() -> None:
    assert read_card(MODEL, "m") is None
    assert strip_card(MODEL) == MODEL
    assert read_card(with_files({"labels.txt": b"a\nb\n"}), "m") is None


def test_another_tools_labels_are_replaced() -> None:
    assert append_card(with_files({"labels.txt": b"a\nb\n"}), CARD) == CARDED


@pytest.mark.parametrize("missing", ["name", "classes", "input_size_wh", "scale", "format"])
def test_a_card_without_what_the_runtime_needs_is_refused(missing: str) -> None:
    values = json.loads(CARD.to_json())
    del values[missing]
    with pytest.raises(ModelError, match=r"^m\.tflite: its card"):
        read_card(with_files({"card.json": json.dumps(values).encode()}), "m.tflite")


def test_unknown_keys_are_ignored() -> None:
    assert ModelCard.from_json(document(mood="good"), "m") == CARD


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "format 2 .* reads 1"),
        ({"format": None}, "format None"),
        ({"output": "boxes"}, "logits or probabilities"),
        ({"output": []}, "logits or probabilities"),
        ({"specks": -1}, "-1 is not a number of pixels"),
        ({"specks": "many"}, "'many' is not a number of pixels"),
        ({"classes": [{"name": "a", "colour": [0, 0, 0]}]}, "1 classes"),
        ({"classes": [{"name": str(i), "colour": [0, 0, 0]} for i in range(257)]}, "257 classes"),
        ({"classes": [{"name": "a", "colour": [0, 0, 256]}] * 2}, "0 to 255"),
        ({"classes": [{"name": "a", "colour": [0, 0]}] * 2}, "can't be read"),
        ({"classes": ["a", "b"]}, "can't be read"),
        ({"classes": None}, "can't be read"),
        ({"input_size_wh": [32]}, "can't be read"),
        ({"input_size_wh": "wide"}, "can't be read"),
        ({"input_size_wh": [float("inf"), 32]}, "can't be read"),
        ({"classes": [{"name": "a", "colour": [0, 0, float("inf")]}] * 2}, "can't be read"),
        ({"scale": "half"}, "can't be read"),
        ({"scale": 10**400}, "can't be read"),
        ({"scale": float("nan")}, "can't be read"),
        ({"offset": float("inf")}, "can't be read"),
        ({"name": 5}, "can't be read"),
        ({"name": None}, "can't be read"),
        ({"licence": {}}, "can't be read"),
        ({"scores": [1]}, "can't be read"),
        ({"recipe": "secret"}, "can't be read"),
        ({"seed": "seven"}, "can't be read"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_nonsense_in_a_card_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refusal:
        ModelCard.from_json(document(**changes), "m.tflite")
    assert str(refusal.value).startswith("m.tflite: ")


def test_two_classes_with_the_same_name_are_refused() -> None:
    """Areas are a dict by name: the second would hide the first."""
    classes = [{"name": name, "colour": [0, 0, 0]} for name in ("background", "cat", "cat")]
    with pytest.raises(ModelError, match="cat"):
        ModelCard.from_json(document(classes=classes), "m")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"card"', "[" * 100_000])
def test_what_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"^m: its card can't be read"):
        ModelCard.from_json(text, "m")


def test_a_zip_bomb_is_refused() -> None:
    bomb = with_files({"card.json": b" " * (20 * MAX_CARD_BYTES)})
    assert len(bomb) < 100_000
    with pytest.raises(ModelError, match=r"^m\.tflite: .*larger than 1000000"):
        read_card(bomb, "m.tflite")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_read_too(compression: int) -> None:
    content = with_files({"card.json": CARD.to_json().encode()}, compression)
    assert read_card(content, "m") == CARD


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^m: .*UTF-8"):
        read_card(with_files({"card.json": b'{"name": "M\xe4dchen"}'}), "m")


def test_an_encrypted_card_is_refused() -> None:
    damaged = bytearray(CARDED)
    for start in (CARDED.index(b"PK\x03\x04") + 6, CARDED.index(b"PK\x01\x02") + 8):
        damaged[start] |= 1
    local = CARDED.rindex(b"PK\x03\x04") + 6
    central = CARDED.rindex(b"PK\x01\x02") + 8
    damaged[local] |= 1
    damaged[central] |= 1
    with pytest.raises(ModelError, match=r"^m: its card is damaged"):
        read_card(bytes(damaged), "m")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_byte_in_the_card_is_noticed(compression: int) -> None:
    content = with_files({"card.json": CARD.to_json().encode()}, compression)
    middle = content.index(b"card.json") + len(b"card.json") + 20
    damaged = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
    with pytest.raises(ModelError, match=r"^m: its card is damaged"):
        read_card(damaged, "m")


def never_another_error(content: bytes) -> None:
    for action in (read_card, append_card):
        with contextlib.suppress(ModelError):
            action(content, CARD if action is append_card else "m")


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_card_none_or_a_model_error(content: bytes, after_a_model: bool) -> None:
    never_another_error(MODEL + content if after_a_model else content)


@given(
    st.lists(
        st.tuples(st.integers(len(MODEL), len(CARDED) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_card_never_raises_anything_else(changes: list[tuple[int, int]]) -> None:
    content = bytearray(CARDED)
    for index, value in changes:
        content[index] = value
    with warnings.catch_warnings():  # zipfile warns about duplicate names
        warnings.simplefilter("ignore", UserWarning)
        never_another_error(bytes(content))


@given(st.integers(0, len(CARDED)))
def test_a_cut_off_file_never_raises_anything_else(length: int) -> None:
    never_another_error(CARDED[:length])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(json.loads(CARD.to_json()))), JSON)
def test_any_json_in_any_field_is_a_card_or_a_model_error(key: str, value: Any) -> None:
    with contextlib.suppress(ModelError):
        card = ModelCard.from_json(document(**{key: value}), "m")
        again = read_card(append_card(MODEL, card), "m")
        assert again is not None
        assert again.to_json() == card.to_json()  # as text, for NaN is not equal to itself


def test_default_colours_are_distinct_and_start_with_black() -> None:
    colours = [class_colour(index) for index in range(8)]
    assert colours[0] == (0, 0, 0)
    assert len(set(colours)) == 8
    assert class_colour(8) == class_colour(1)
    assert make_classes(["background", "cat"])[1] == ClassInfo("cat", colours[1])


def test_a_file_cut_short_inside_its_card_is_refused() -> None:
    whole = append_card(tiny.TWO_UINT8.read_bytes(), tiny.TWO_CARD)
    for missing in (1, 30, 100):
        with pytest.raises(ModelError, match="its card is damaged"):
            read_card(whole[:-missing], "cut.tflite")
