"""Text of any script on a picture: shaped, in its direction, and never a question mark."""

from pathlib import Path

import numpy as np
import pytest

from seg_edge.sinks import legend
from seg_edge.sinks.legend import TextRenderer

LETTERS = TextRenderer(900)


def ink(text: str, letters: TextRenderer) -> np.ndarray:
    """Where the text is dark on white paper: bool (height, width)."""
    picture = np.full((letters.line, letters.width(text) + 60, 3), 255, np.uint8)
    letters.write(picture, text, (20, 0), (0, 0, 0))
    dark = picture[..., 0] < 128
    assert not dark[:, :15].any(), "it begins where it should"
    assert not dark[:, -30:].any(), "and ends where its width says"
    return dark


def test_without_a_font_letters_are_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("text", ["", "abc", "Überall 95 %", "人物"])
def test_a_width_is_that_of_the_ink(text: str) -> None:
    assert ink(text, LETTERS).any() == bool(text)
