"""What a report is made of, before it is Markdown or HTML: plain text, never markup, so that each escapes all of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Code:
    """Words as they are typed or as a file spells them."""

    text: str


@dataclass(frozen=True)
class Link:
    """Words that lead somewhere; `to` is ours, never of a result."""

    text: str
    to: str


Inline = str | Code | Link
Text = Sequence[Inline]


def pieces(text: Text | Inline) -> Text:
    """The pieces of a text, which may be one alone."""
    return [text] if isinstance(text, str | Code | Link) else text


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; a `loud` one says what must not be missed."""

    text: Text
    loud: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    items: Sequence[Text]


@dataclass(frozen=True)
class Terms:
    """A glossary."""

    terms: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Commands:
    """Lines for a terminal."""

    lines: str


@dataclass(frozen=True)
class Heading:
    """A heading below a section's."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table; its first column is words that name the row, the others figures unless named in `words`."""

    caption: str
    heads: Sequence[Inline]
    rows: Sequence[Sequence[Inline]]
    note: str = ""
    words: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Plot:
    """An SVG, what to say to those who can't see it, and what to say to all."""

    svg: str
    alt: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Photos:
    """A JPEG of photos side by side; `private` ones are only in the page that stays on this machine."""

    jpeg: bytes
    alt: str
    caption: str
    private: bool


Block = Paragraph | Items | Terms | Commands | Heading | Table | Plot | Photos


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What links lead to, in HTML as in GitHub's Markdown."""
        return re.sub(r"[^a-z -]", "", self.title.lower()).replace(" ", "-")
