"""`seg-edge doctor`."""

from __future__ import annotations

import dataclasses

import typer

from seg_edge.commands.console import echo_json, fail
from seg_edge.commands.options import JsonOption


def doctor(as_json: JsonOption = False) -> None:
    """Check whether this machine can segment, and say what to do if it can't."""
    try:
        from seg_edge.apps.doctor import examine
    except ImportError as error:  # NumPy itself: without it nothing else can be checked
        fail(
            f"NumPy does not load ({error}); run 'pip install --force-reinstall numpy', "
            "on a Raspberry Pi 'sudo apt install libopenblas0'.",
            1,
        )
    findings = examine()
    if as_json:
        echo_json([dataclasses.asdict(finding) for finding in findings], indent=2)
    else:
        for finding in findings:
            colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.status]
            typer.echo(f"{typer.style(f'{finding.status:<8}', fg=colour)}{finding.check:<12} {finding.found}")
            if finding.advice:
                typer.echo(f"{'':20} {finding.advice}")
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)
