"""Text of any script on a picture: shaped, in its direction, and never as question marks."""

from pathlib import Path

import numpy as np
import pytest

from seg_edge.sinks import legend
from seg_edge.sinks.legend import TextRenderer

LETTERS = TextRenderer(900)


def ink(text: str, letters: TextRenderer) -> np.ndarray:
    """The dark pixels of the text on white: bool (height, width)."""
    picture = np.full((letters.line, letters.width(text) + 60, 3), 255, np.uint8)
    letters.write(picture, text, (20, 0), (0, 0, 0))
    dark = picture[..., 0] < 128
    assert not dark[:, :15].any(), "it begins where it should"
    assert not dark[:, -30:].any(), "and ends where its width says"
    return dark


def test_without_a_font_letters_are_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legend, "font_for", lambda text: None)
    letters = TextRenderer(900)
    np.testing.assert_array_equal(ink("हिन्दी", letters), ink("ha-i-na-virama-da-ii", letters))


def test_arabic_runs_from_right_to_left(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs Matplotlib: pip install 'seg-edge[train]'")
    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")  # it has Arabic letters
    monkeypatch.setattr(legend, "font_for", lambda text: font)
    rows, columns = np.nonzero(ink("اب", TextRenderer(900)))  # alef, tall, is read first; beh is flat with a dot below
    assert columns[rows.argmin()] > (columns.min() + columns.max()) / 2
    rows, columns = np.nonzero(ink("an اب", TextRenderer(900)))
    assert columns[rows.argmin()] > (columns.min() + columns.max()) / 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("क्\u200dष ३।", [("क्\u200dष ३।", False)]),  # joined letters, a digit and a full stop that OpenCV's font lacks
        ("می\u200cخواهم", [("می\u200cخواهم", False)]),
        ("رقم ٣ (ب) ok", [("رقم ٣ (ب)", False), (" ok", True)]),
        ("น้ำ, ๑ x", [("น้ำ, ๑", False), (" x", True)]),
        ("ḗ\u0301 x", [("ḗ\u0301", False), (" x", True)]),
        ("Việt ½ 人…", [("Việt ½ 人…", True)]),
        ("a\u200db", [("ab", True)]),
    ],
)
def test_text_for_pillow_stays_in_one_part(text: str, parts: list[tuple[str, bool]]) -> None:
    assert legend._parts(text) == parts


def test_letters_with_many_marks_fit_into_their_line(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs Matplotlib: pip install 'seg-edge[train]'")
    monkeypatch.setattr(
        legend, "font_for", lambda text: Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    )
    for text in ("Ḗ\u0301\u0301\u0301", "ب\u0650\u064d"):
        dark = ink(text, TextRenderer(900))
        assert dark.any()
        assert not dark[[0, -1]].any(), text


@pytest.mark.parametrize("text", ["", "abc", "Überall 95 %", "人物"])
def test_a_width_is_that_of_the_ink(text: str) -> None:
    assert ink(text, LETTERS).any() == bool(text)
