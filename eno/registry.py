"""Names that stand for classes: encoders and heads are looked up, and their options checked, in one way."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from eno.errors import ConfigError, UnknownName


def find_class(kind: str, name: str, table: Mapping[str, str], *, also: Iterable[str] = ()) -> Any:
    """Import the class that a name stands for.

    Parameters
    ----------
    kind : str
        What it is, for the message: ``"encoder"``.
    name : str
        Its name.
    table : mapping
        Name → ``module:class``.
    also : iterable of str
        What else may be named, for the message.

    Raises
    ------
    UnknownName
        The table has no such name.
    """
    if name not in table:
        raise UnknownName(kind, name, [*table, *also])
    return import_class(table[name])


def import_class(place: str) -> Any:
    """Import the class at ``module.path:ClassName``."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def check_options(kind: str, name: str, made: Any, options: Iterable[str], *, runtime: Iterable[str] = ()) -> None:
    """Make sure that a class takes these options, and gets those that it needs.

    Parameters
    ----------
    kind, name : str
        For the message.
    made : type
        The class.
    options : iterable of str
        Names of the options.
    runtime : iterable of str
        Parameters that are no options, for the list in the message.

    Raises
    ------
    ConfigError
        An option is unknown or missing.
    """
    given = set(options)
    parameters = inspect.signature(made).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    known = [one for one in parameters if one not in set(runtime)]
    for option in given:
        if option not in known:
            raise ConfigError(
                f"{kind.capitalize()} {name!r} has no option {option!r}; it has: {', '.join(known) or 'none'}."
            )
    for option in known:
        if parameters[option].default is inspect.Parameter.empty and option not in given:
            raise ConfigError(f"{kind.capitalize()} {name!r} needs the option {option!r}: set {name}.{option}.")
