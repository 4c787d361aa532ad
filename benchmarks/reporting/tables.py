"""Markdown tables and the figures in them. All text is escaped, as it may come from an untrusted file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg_edge.errors import UsageError
from seg_edge.system.files import write_file

ROLES = {"model": "ours", "full": "ours, the full one", "peer": "others'", "reference": "the reference"}
NONE = "–"
# Characters with a meaning inside a line of Markdown, or GitHub's dialect of it.
SPECIAL = re.compile(r"[\\`*_\[\]|~$@#]|:(?=//)|(?<=www)\.")


class Markdown(str):
    """Text that is already Markdown."""


def escape(text: str) -> str:
    """Escapes text for Markdown."""
    if isinstance(text, Markdown):
        return text
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", plain)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table whose first `left` columns are text and the others figures."""
    ruler = ["---" if column < left else "---:" for column in range(len(heads))]
    lines = [[escape(cell) for cell in heads], ruler, *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_block(page: str, name: str, text: str) -> str:
    """Puts `text` between `<!-- NAME: the command -->` and `<!-- /NAME -->` of a Markdown page.

    Raises:
        UsageError: It has no such markers.
    """
    begin, end = re.escape(f"<!-- {name}: "), re.escape(f"<!-- /{name} -->")
    updated, count = re.subn(
        f"({begin}[^>]*-->\n).*?({end})", lambda match: f"{match[1]}{text}\n{match[2]}", page, flags=re.DOTALL
    )
    if not count:
        raise UsageError(f"the page has no '<!-- {name}: ... -->' and '<!-- /{name} -->' markers for the table.")
    return updated


def update_page(path: Path, name: str, text: str) -> None:
    """Puts `text` into a page's block of this name.

    Raises:
        UsageError: The page has no such block.
        OutputError: It can't be written.
    """
    write_file(path, replace_block(path.read_text(encoding="utf-8"), name, text).encode())


def number(value: float | None) -> str:
    """A figure with three significant digits."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}".rstrip(".")


def with_interval(figure: tuple[float | None, float | None, float | None] | None) -> str:
    """A figure with its interval (value, low, high): three digits, or three decimals below 1."""
    if figure is None or figure[0] is None:
        return NONE
    value, low, high = figure
    digits = [f"{x:.3f}" if figure[0] < 1 else number(x) for x in (value, low, high) if x is not None]
    return digits[0] if len(digits) < 3 or low == high else f"{digits[0]} ({digits[1]}–{digits[2]})"


def percent(value: float | None) -> str:
    """A share in per cent."""
    return NONE if value is None else f"{100 * value:.2f} %"


def file_size(count: int | None) -> str:
    """A file size in 10^6 bytes."""
    return NONE if count is None else f"{count / 1e6:.2f} MB" if count < 1e7 else f"{count / 1e6:.0f} MB"


def thread_count(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def by_role(about: Any) -> tuple[int, float]:
    """Sorts models (anything with `role` and `bytes`): ours, the full one, others', the reference; small first."""
    order = list(ROLES)
    return order.index(about.role) if about.role in order else len(order), about.bytes or float("inf")
