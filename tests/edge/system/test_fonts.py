"""Fonts for text in any script, and what is drawn if there is none."""

import logging
import subprocess
from pathlib import Path

import pytest

from seg_edge.system import fonts


@pytest.fixture(autouse=True)
def no_cached_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts.font_for.cache_clear()
    monkeypatch.setattr(fonts, "_missing", [])


def listing(monkeypatch: pytest.MonkeyPatch, *files: str) -> None:
    done = subprocess.CompletedProcess([], 0, "\n".join(files), "")
    monkeypatch.setattr(fonts.subprocess, "run", lambda *args, **options: done)


def test_a_plain_font_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    listing(
        monkeypatch,
        "/f/NotoSansThai-Bold.ttf",
        "/f/NotoSerifThai.ttf",
        "/f/Loma.otf",
        "/f/NotoSansThai.ttf",
        "/f/a.pcf",
    )
    assert fonts.font_for("ไทย") == Path("/f/NotoSansThai.ttf")


def test_a_missing_font_is_reported_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    listing(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert [fonts.font_for(text) for text in ("ไทย", "हिन्दी", "ไทย")] == [None] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "No font has the letters of 'ไทย', so they are spelled in ASCII; sudo apt install fonts-noto-core"
    ]


def test_without_fontconfig_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert fonts.font_for("ไทย") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Zoë", "Zoe"), ("हिन्दी", "ha-i-na-virama-da-ii"), ("人 7", "unified ideograph-4eba 7"), ("ა ბ", "an ban")],
)
def test_letters_are_spelled_in_ascii(text: str, expected: str) -> None:
    assert fonts.spelled(text) == expected
