"""Describes a growth curve as Markdown, for the report and `benchmarks/studies/scale.py`."""

from __future__ import annotations

from benchmarks.reporting.document import Curve
from benchmarks.reporting.tables import escape, markdown_table, number


def describe_curve(curve: Curve) -> list[str]:
    """The fitted law, and a table of the points."""
    fit = curve.fit.text + ("" if curve.fit.r2 is None else f" (R² {curve.fit.r2:.3f})")
    rows = [[f"{p.x:,g}", number(p.y), f"{number(p.p5)}–{number(p.p95)}", str(p.n)] for p in curve.points]
    heads = (curve.unit_x, f"{curve.y}, {curve.unit_y}", "5–95 %", "samples")
    return [f"**{escape(curve.name)}**: {escape(fit)}.", markdown_table(heads, rows)]
