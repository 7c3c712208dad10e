"""Declare commands: groups of options, deprecated spellings, and checks that all commands share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ParameterInfo

from eno.cli.options import warn

Function = Callable[..., None]

SETUP, COLLECTION, EMBEDDINGS, TRAINING, TAGS, SEARCH, SERVICE = (
    "Setup", "Collection", "Embeddings", "Training", "Tags", "Search", "Service and tracking",
)  # fmt: skip
# Commands are listed in workflow order.
_ORDER = """init status info import scan match labels split explore embed store encoders weights train retrain tune
evaluate compare teach tag write-tags similar index duplicates map serve tracking""".split()


class EnoGroup(TyperGroup):
    """A group whose commands are listed in workflow order."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


class EnoCommand(TyperCommand):
    """A command that accepts deprecated spellings with a warning, and refuses options that are repeated.

    Attributes
    ----------
    former : mapping of str to str
        Former name of an option → its present name.
    former_argument : str or None
        The option that used to be a positional argument.
    """

    former: ClassVar[Mapping[str, str]] = {}
    former_argument: ClassVar[str | None] = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        if ctx.resilient_parsing:  # the shell asks for completions
            return super().parse_args(ctx, args)
        args = [present_spelling(one, self.former) for one in args]
        _, rest, given = self.make_parser(ctx).parse_args(args=list(args))
        one: Any
        for one in given:
            once = one.param_type_name == "option" and not one.multiple and not one.is_flag
            if once and given.count(one) > 1:
                raise typer.BadParameter(f"{one.opts[0]} is given {given.count(one)} times; it takes one value.")
        if self.former_argument and rest:
            warn_former(f"{rest[0]} without an option", f"{self.former_argument} {rest[0]}")
            args.remove(rest[0])
            args += [self.former_argument, rest[0]]
        return super().parse_args(ctx, args)


def present_spelling(argument: str, former: Mapping[str, str]) -> str:
    """Return an argument with the present name of its option, and warn if that is another one."""
    name, equals, value = argument.partition("=")
    if name not in former:
        return argument
    warn_former(name, former[name])
    return former[name] + equals + value


def warn_former(before: str, now: str) -> None:
    """Warn about a deprecated spelling."""
    warn(f"{before} is deprecated and will be removed; use {now}")


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    panel: str | None = None,
    former: Mapping[str, str] | None = None,
    former_argument: str | None = None,
) -> Callable[[Function], Function]:
    """Register a command.

    A parameter that is a dataclass stands for one option per field, so that commands can share options; its class
    variable ``panel`` is their heading in the help.

    Parameters
    ----------
    name : str, optional
        By default that of the function.
    panel : str, optional
        Heading in ``eno --help``.
    former, former_argument
        See `EnoCommand`.
    """
    attributes = {"former": former or {}, "former_argument": former_argument}

    def register(function: Function) -> Function:
        flat = _flattened(function)
        kind = type("EnoCommand", (EnoCommand,), attributes)
        # Rich would keep the line breaks of the docstring, which are those of another width.
        paragraphs = (inspect.getdoc(function) or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        app.command(name, cls=kind, rich_help_panel=panel, help=text)(flat)
        return flat

    return register


def _flattened(function: Function) -> Function:
    """Replace each parameter that is a dataclass by parameters for its fields."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for one in inspect.signature(function).parameters.values():
        kind = hints[one.name]
        if dataclasses.is_dataclass(kind):
            groups[one.name] = kind
            parameters += _parameters_of(kind)
        else:
            parameters.append(one.replace(annotation=_described(kind), kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def flat(**values: Any) -> None:
        grouped = {
            name: kind(**{field.name: values.pop(field.name) for field in dataclasses.fields(kind)})
            for name, kind in groups.items()
        }
        function(**values, **grouped)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {one.name: one.annotation for one in parameters}
    del flat.__wrapped__  # otherwise its signature is used instead of this one
    return flat


def _parameters_of(group: Any) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_described(hints[field.name], panel=getattr(group, "panel", None)),
        )
        for field in dataclasses.fields(group)
    ]


def _described(hint: Any, panel: str | None = None) -> Any:
    """Put an option under its group's heading. Hide its default if the help text mentions one."""
    for one in getattr(hint, "__metadata__", ()):
        if isinstance(one, ParameterInfo):
            one.rich_help_panel = one.rich_help_panel or panel
            one.show_default = one.show_default and "(default:" not in (one.help or "")
    return hint
