"""Renders the report's Markdown as a self-contained HTML page: style and pictures embedded, no scripts."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path

from markdown_it import MarkdownIt

STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
p, ul { max-width: 52rem; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #8886; vertical-align: top; text-align: left; }
td[style*="right"] { white-space: nowrap; }
tbody tr:nth-child(even) { background: #8881; }
img { display: block; max-width: 100%; background: #fff; }
code { overflow-wrap: anywhere; }
"""
# Nothing may be loaded or run, whatever a results file contains.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html_page(title: str, markdown: str, folder: Path) -> str:
    """The complete page.

    Args:
        title: The page's title, plain text without markup.
        markdown: CommonMark with tables; HTML in it is shown as text.
        folder: Base of its pictures' relative paths.

    Raises:
        OSError: A picture can't be read.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                child.attrs["src"] = _inlined(folder / str(child.attrs["src"]))
    body = parser.renderer.render(tokens, parser.options, {})
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _inlined(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
