"""How commands are tracked: the options, and settings that may come back changed."""

from __future__ import annotations

import inspect
import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from eno.cli.options import shown
from eno.config import Settings
from eno.console import errors
from eno.errors import ConfigError

if TYPE_CHECKING:
    from eno.tracking.experiment import Experiment

_GENERAL, _ARGS = "General", "Args"
_NOT_SHOWN = ("tracking",)  # decided where the command is given


class Mode(StrEnum):
    """Whether a run is tracked."""

    AUTO = "auto"
    ONLINE = "online"
    OFFLINE = "offline"
    OFF = "off"


TrackingOption = Annotated[
    Mode | None,
    typer.Option("--tracking", help="With ClearML, as a session to import later, or not (auto: as it is configured)"),
]
QueueOption = Annotated[str | None, typer.Option("--queue", help="ClearML queue whose worker runs this instead")]
ProjectOption = Annotated[str | None, typer.Option("--project", help="ClearML project (default: eno/training …)")]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the ClearML task (default: what is done)")]


@dataclass(frozen=True)
class Run:
    """A command that is tracked.

    Attributes
    ----------
    experiment : Experiment
        Receives what it tells.
    settings : Settings
        Those to use: on a worker with what was changed in the tracker.
    arguments : dict
        Arguments of the command, likewise.
    """

    experiment: Experiment
    settings: Settings
    arguments: dict[str, Any]


@contextmanager
def tracked(
    command: Callable[..., None],
    kind: str,
    chosen: Settings,
    arguments: Mapping[str, Any],
    *,
    name: str,
    used: tuple[str, ...],
    options: tuple[Mode | None, str | None, str | None, str | None],
) -> Iterator[Run]:
    """Track what happens in the context.

    Parameters
    ----------
    command : callable
        The command, whose annotations say what its arguments may be.
    kind : str
        See `eno.tracking.experiment.Command`.
    chosen : Settings
        As the user gave them.
    arguments : mapping
        Arguments that settings do not hold.
    name : str
        Of the run, where the user gives none.
    used : tuple of str
        Names of the heads and encoders whose options are shown with their defaults.
    options : tuple
        ``--tracking``, ``--queue``, ``--project``, ``--name``.

    Yields
    ------
    Run

    Raises
    ------
    ConfigError
        Tracking is not configured as it is asked for, or what was changed in the tracker has a wrong value.
    TrackingError
        A worker cannot learn what to run.
    typer.Exit
        The run waits in a queue now.
    """
    from eno.tracking.experiment import Command, Tracking, open_experiment

    mode, queue, project, own_name = options
    tracking = Tracking(
        mode=mode.value if mode else chosen.tracking.mode,
        project=project or chosen.tracking.project,
        name=own_name,
        queue=queue,
        close_s=chosen.tracking.close_s,
    )
    experiment = open_experiment(tracking, Command(kind, name, ("-m", "eno", *sys.argv[1:])), say=say)
    with closing(experiment):
        sections = sections_of(chosen, used) | {_ARGS: dict(arguments)}
        changed = experiment.connect(sections)
        if experiment.queued:
            _warn_of_changes()
            raise typer.Exit
        of_command = changed.pop(_ARGS, {})
        yield Run(
            experiment,
            with_changes(chosen, changed),
            {**arguments, **_arguments(command, of_command)},
        )


def used_of(chosen: Settings, *heads: str) -> tuple[str, ...]:
    """Give the names whose options are shown with their defaults when heads are trained."""
    members = [member for head in heads if head == "blend" for member in chosen.blend.heads]
    return (*heads, *members, "calibration")


@contextmanager
def closing(experiment: Experiment) -> Iterator[None]:
    """End the experiment with the context, as failed where an error leaves it."""
    from eno.tracking.experiment import INTERRUPTED

    try:
        yield
    except typer.Exit:
        experiment.close()
        raise
    except KeyboardInterrupt:
        experiment.close(INTERRUPTED)
        raise
    except BaseException as error:
        experiment.close(f"{type(error).__name__}: {error}")
        raise
    experiment.close()


def say(line: str) -> None:
    """Show a line about tracking."""
    errors.print(f"[dim]{shown(line)}[/]")


def sections_of(chosen: Settings, used: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Give all settings by section; options of the heads and encoders in use with their defaults.

    Parameters
    ----------
    chosen : Settings
    used : tuple of str
        Names in the registries, or ``"calibration"``.

    Returns
    -------
    dict of str to dict
        Section → name → value; settings without a section are in ``General``. Sections that are not in use are there
        if anything in them is set.
    """
    found: dict[str, dict[str, Any]] = {_GENERAL: {}}
    for name in Settings.model_fields:
        value = getattr(chosen, name)
        if name in _NOT_SHOWN:
            continue
        if not isinstance(value, BaseModel):
            found[_GENERAL][name] = value
            continue
        defaults = _defaults(name) if name in used else {}
        values = value.model_dump(mode="json", exclude_none=True)
        fields = {field: values.get(field, defaults.get(field)) for field in type(value).model_fields}
        if name in used or value != type(value)():
            found[name] = fields
    return {section: values for section, values in found.items() if values}


def with_changes(chosen: Settings, changed: Mapping[str, Mapping[str, str]]) -> Settings:
    """Give settings with what was changed in the tracker, where nothing stands for a default.

    Raises
    ------
    ConfigError
        A value is wrong.
    """
    if not changed:
        return chosen
    values = chosen.model_dump()
    for section, texts in changed.items():
        place = values if section == _GENERAL else values[section]
        place.update({name: _value(text) for name, text in texts.items()})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))} = {one['input']!r}: {one['msg']}" for one in error.errors()]
        raise ConfigError("The settings of the task cannot be used: " + "; ".join(problems)) from None


def _arguments(command: Callable[..., None], texts: Mapping[str, str]) -> dict[str, Any]:
    hints = typing.get_type_hints(command)
    found = {}
    for name, text in texts.items():
        try:
            found[name] = TypeAdapter(hints[name]).validate_python(_value(text))
        except ValidationError:
            raise ConfigError(f"The argument {name} of the task is {text!r}, which cannot be used.") from None
    return found


def _value(text: str) -> Any:
    if text == "":
        return None
    if text[0] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text  # pydantic makes numbers of it where numbers are wanted


def _defaults(name: str) -> dict[str, Any]:
    from eno.encoders import ENCODERS
    from eno.models import HEADS
    from eno.models.calibration.calibrate import fit_calibration
    from eno.registry import import_class

    place = (HEADS | ENCODERS).get(name)
    function: Callable[..., Any] = import_class(place) if place else fit_calibration
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


def _warn_of_changes() -> None:
    from eno.tracking.git_state import uncommitted

    if uncommitted():
        say("the worker takes the commit that is checked out here; what is not committed is not sent")
