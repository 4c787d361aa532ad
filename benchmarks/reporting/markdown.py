"""The report as Markdown, without its pictures: what GitHub shows on opening the folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from benchmarks.reporting.parts import (
    Block,
    Code,
    Commands,
    Heading,
    Inline,
    Items,
    Link,
    Paragraph,
    Section,
    Table,
    Terms,
    Text,
    pieces,
)

# What means something inside a line, and on GitHub: also mentions, issues, formulas and addresses.
SPECIAL = re.compile(r"[\\`*_\[\]|~$@#]|:(?=//)|(?<=www)\.")


def page(title: str, lead: Text, sections: Sequence[Section]) -> str:
    """The whole file; what is only pictures is left out."""
    parts = [f"# {escape(title)}", inline(lead)]
    for section in sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        if blocks and any(not isinstance(block, Paragraph) or block.loud for block in _written(section.blocks)):
            parts += [f"## {escape(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown and the HTML in it take for text."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", plain)


def inline(text: Text | Inline) -> str:
    """Words, code and links."""
    return "".join(_piece(piece) for piece in pieces(text))


def _piece(piece: Inline) -> str:
    if isinstance(piece, Link):
        return f"[{escape(piece.text)}]({piece.to})"
    if isinstance(piece, Code):
        return f"<code>{escape(piece.text)}</code>"
    lead, tail = (" " if piece[:1] == " " else ""), (" " if piece[-1:] == " " and piece.strip() else "")
    return lead + escape(piece) + tail


def _written(blocks: Iterable[Block]) -> list[Block]:
    return [block for block in blocks if _block(block)]


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return inline(block.text)
    if isinstance(block, Heading):
        return f"### {escape(block.text)}"
    if isinstance(block, Items):
        return "\n".join(f"- {inline(item)}" for item in block.items)
    if isinstance(block, Terms):
        return "\n".join(f"- **{escape(term)}**: {escape(text)}" for term, text in block.terms)
    if isinstance(block, Commands):
        return f"```console\n{block.lines}\n```"
    if isinstance(block, Table):
        return _table(block)
    return ""


def _table(table: Table) -> str:
    ruler = ["---" if not column or column in table.words else "---:" for column in range(len(table.heads))]
    rows = [[inline(cell) for cell in table.heads], ruler, *([inline(cell) for cell in row] for row in table.rows)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = f"\n\n{escape(table.note)}" if table.note else ""
    return f"**{escape(table.caption)}**\n\n{lines}{note}"
