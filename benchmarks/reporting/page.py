"""The report as one HTML page that needs nothing else: style and pictures are inside, and there is no script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.reporting.parts import (
    Block,
    Code,
    Commands,
    Heading,
    Inline,
    Items,
    Link,
    Paragraph,
    Plot,
    Section,
    Table,
    Terms,
    Text,
    pieces,
)

STYLE = Path(__file__).with_name("page.css")
# Nothing may be loaded or run, whatever a file of results holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, lead: Text, sections: Sequence[Section]) -> str:
    """The whole file."""
    links = "".join(f'<li><a href="#{escape(s.key)}">{escape(s.title)}</a></li>' for s in sections)
    parts = "\n".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{inline(lead)}</p>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{parts}
</main>
</body>
</html>
"""


def inline(text: Text | Inline) -> str:
    """Words, code and links."""
    return "".join(_piece(piece) for piece in pieces(text))


def _piece(piece: Inline) -> str:
    if isinstance(piece, Link):
        return f'<a href="{escape(piece.to)}">{escape(piece.text)}</a>'
    if isinstance(piece, Code):
        return f"<code>{escape(piece.text)}</code>"
    return escape(piece)


def _section(section: Section) -> str:
    blocks, plots = [], []
    for block in section.blocks:
        if isinstance(block, Plot) and not block.wide:
            plots.append(_block(block))
            continue
        blocks += [_grid(plots)] if plots else []
        plots = []
        blocks.append(_block(block))
    blocks += [_grid(plots)] if plots else []
    body = "\n".join(blocks)
    key = escape(section.key)
    return f'<section aria-labelledby="{key}">\n<h2 id="{key}">{escape(section.title)}</h2>\n{body}\n</section>'


def _grid(plots: Sequence[str]) -> str:
    return f'<div class="grid">{"".join(plots)}</div>'


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f'<p class="loud">{inline(block.text)}</p>' if block.loud else f"<p>{inline(block.text)}</p>"
    if isinstance(block, Heading):
        return f"<h3>{escape(block.text)}</h3>"
    if isinstance(block, Items):
        return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in block.items)}</ul>"
    if isinstance(block, Terms):
        terms = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>" for term, text in block.terms)
        return f"<dl>{terms}</dl>"
    if isinstance(block, Commands):
        return f"<pre>{escape(block.lines)}</pre>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Plot):
        return _picture(
            "image/svg+xml", block.svg.encode(), block.alt, block.caption, "plot wide" if block.wide else "plot"
        )
    return _picture("image/jpeg", block.jpeg, block.alt, block.caption, "photos")


def _picture(kind: str, content: bytes, alt: str, caption: str, style: str) -> str:
    # As a file of its own and not as part of the page: it can't run or load anything, and its ids are its own.
    data = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    image = f'<img src="{data}" alt="{escape(alt)}">'
    scroll = f'<div class="scroll" role="group" tabindex="0" aria-label="{escape(caption)}">{image}</div>'
    return f'<figure class="{style}">{scroll}<figcaption>{escape(caption)}</figcaption></figure>'


def _table(table: Table) -> str:
    def style(column: int) -> str:
        return "" if not column or column in table.words else ' class="figure"'

    heads = "".join(f'<th scope="col"{style(i)}>{inline(head)}</th>' for i, head in enumerate(table.heads))
    rows = []
    for row in table.rows:
        cells = "".join(f"<td{style(i)}>{inline(cell)}</td>" for i, cell in enumerate(row) if i)
        rows.append(f'<tr><th scope="row">{inline(row[0])}</th>{cells}</tr>')
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{escape(table.caption)}">'
        f"<table><caption><span>{escape(table.caption)}</span></caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )
