"""Command-line options for every value of a recipe."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from train.augment import Augmentation
from train.compositing import Scenery
from train.options import comma_separated
from train.recipes import Recipe

PANELS = {Recipe: "Values of the recipe", Augmentation: "Augmentation", Scenery: "Scenes, for --scenes"}


def with_recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces a typer command's parameter `values` by an option for each value of a recipe and its parts.

    Args:
        command: Its parameter `values` gets the options that were given, for `Recipe.replace`.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "values"]
    options = {option.name: option for owner, panel in PANELS.items() for option in _options(owner, panel)}

    def with_options(**given: Any) -> None:
        values = {name: given.pop(name) for name in options}
        command(**given, values={name: value for name, value in values.items() if value is not None})

    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    with_options.__signature__ = signature.replace(parameters=[*own, *options.values()])  # type: ignore[attr-defined]
    return with_options


def _options(owner: type, panel: str) -> list[inspect.Parameter]:
    example, descriptions = owner(), _attribute_descriptions(owner)
    found = []
    for field in dataclasses.fields(owner):
        value = getattr(example, field.name)
        if dataclasses.is_dataclass(value):
            continue
        is_list = isinstance(value, tuple)
        option = typer.Option(
            help=descriptions[field.name],
            rich_help_panel=panel,
            show_default=False,
            parser=_number_list(int if field.name == "widths" else float) if is_list else None,
            metavar="N,N,..." if is_list else None,
        )
        annotation: Any = Annotated[Any if is_list else type(value) | None, option]
        found.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return found


def _attribute_descriptions(owner: type) -> dict[str, str]:
    """The texts under `Attributes:` in a class's docstring, by name."""
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", inspect.getdoc(owner) or "", re.MULTILINE)
    return {name: " ".join(text.replace("`", "").split()) for name, text in entries}


def _number_list(number: type) -> Callable[[str], tuple[float, ...]]:
    def parse(text: str) -> tuple[float, ...]:
        try:
            return tuple(number(part) for part in comma_separated(text))
        except ValueError as error:
            raise typer.BadParameter(f"must be numbers as in 8,16,32, got {text!r}") from error

    return parse
