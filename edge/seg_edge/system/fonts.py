"""Text in any script: finds a font on this machine that has its letters, or spells them in ASCII."""

from __future__ import annotations

import logging
import subprocess
import unicodedata
from functools import cache
from pathlib import Path

LOG = logging.getLogger(__name__)
PLAINER = ("Bold", "Italic", "Oblique", "Mono", "Serif", "Condensed", "Light", "Thin", "Black")
DESCRIBING = ("LETTER", "CHARACTER", "SIGN", "VOWEL", "SMALL", "CAPITAL", "SYLLABLE")
_missing: list[str] = []


@cache
def font_for(text: str) -> Path | None:
    """A font file that has every letter of the text, sans-serif and regular if possible; None if there is none.

    Asks Fontconfig, which every desktop has. A missing font is reported once.
    """
    points = " ".join(sorted({f"{ord(letter):x}" for letter in text if not _is_invisible(letter)}))
    command = ["fc-list", "--format", "%{file}\n", f":charset={points}:scalable=true:color=false"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        listed = []
    fonts = [Path(line) for line in listed if line.lower().endswith((".ttf", ".otf", ".ttc"))]
    if not fonts:
        if not _missing:
            LOG.warning(
                "No font has the letters of %r, so they are spelled in ASCII; sudo apt install fonts-noto-core", text
            )
        _missing.append(text)
        return None
    return min(fonts, key=lambda font: (sum(word in font.stem for word in PLAINER), "Sans" not in font.stem, font.name))


def _is_invisible(letter: str) -> bool:
    """Spaces, and characters that join letters or choose between their forms, which fonts may lack."""
    return letter.isspace() or unicodedata.category(letter) == "Cf" or "\ufe00" <= letter <= "\ufe0f"


def spelled(text: str) -> str:
    """The text in ASCII: letters without accents, and of other scripts the names of the letters: `ha-i-na`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    if sum(letter.isalpha() for letter in plain) >= sum(letter.isalpha() for letter in text):
        return plain
    return " ".join("-".join(map(_name, word)) for word in text.split())


def _name(letter: str) -> str:
    if letter.isascii():
        return letter
    words = unicodedata.name(letter, f"U+{ord(letter):04X}").split()
    return " ".join(word for word in words[1:] if word not in DESCRIBING).lower() or words[0].lower()
