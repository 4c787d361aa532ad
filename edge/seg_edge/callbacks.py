"""Callbacks with which long work reports to its caller."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str], None]  # receives a line of text for the user
OnProgress = Callable[[int, int | None], None]  # receives how many are done, and of how many if that is known
