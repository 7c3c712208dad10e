"""Experiment tracking of commands: its options, settings that come back changed, and ``tracking import``."""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from eno.cli.commands import SERVICE, EnoGroup, command
from eno.cli.options import TRACKING, shown
from eno.config import Settings, has_options, make_settings, option_defaults
from eno.console import console, errors
from eno.errors import ConfigError
from eno.library import Library

if TYPE_CHECKING:
    from eno.tracking.experiment import Experiment

app = typer.Typer()
tracking_app = typer.Typer(help="Runs that were tracked offline.", no_args_is_help=True, cls=EnoGroup)
app.add_typer(tracking_app, name="tracking", rich_help_panel=SERVICE)

_GENERAL, _ARGS = "General", "Args"
_NOT_SHOWN = ("tracking", "options")  # tracking is decided where the command is given; options have sections

FORMER_TRACKING = {"--name": "--clearml-name", "--project": "--clearml-project", "--queue": "--clearml-queue"}
"""Former spellings of the options of `TrackingOptions`."""


class Mode(StrEnum):
    """Whether a run is tracked."""

    AUTO = "auto"
    ONLINE = "online"
    OFFLINE = "offline"
    OFF = "off"


@dataclass(frozen=True)
class TrackingOptions:
    """Whether and where a command is tracked."""

    panel: ClassVar[str] = TRACKING

    tracking: Annotated[
        Mode | None,
        typer.Option(
            "--tracking",
            help="Track with ClearML, as an offline session to import later, or not (default: if it is configured)",
        ),
    ] = None
    clearml_queue: Annotated[
        str | None, typer.Option("--clearml-queue", help="Run on a ClearML worker of this queue")
    ] = None
    clearml_project: Annotated[
        str | None, typer.Option("--clearml-project", help="ClearML project (default: eno/training …)")
    ] = None
    clearml_name: Annotated[
        str | None, typer.Option("--clearml-name", help="ClearML task name (default: what is done)")
    ] = None


@dataclass(frozen=True)
class Run:
    """A command that is being tracked.

    Attributes
    ----------
    experiment : Experiment
    library : Library
        With the settings to use: on a worker those that were changed in ClearML.
    arguments : dict
        Arguments of the command, likewise.
    """

    experiment: Experiment
    library: Library
    arguments: dict[str, Any]


@contextmanager
def tracked(
    command: Callable[..., None],
    kind: str,
    library: Library,
    arguments: Mapping[str, Any],
    options: TrackingOptions,
    *,
    name: str,
    used: tuple[str, ...] = (),
) -> Iterator[Run]:
    """Track what happens in the context.

    Parameters
    ----------
    command : callable
        The command, whose annotations say which types its arguments have.
    kind : str
        See `eno.tracking.experiment.Command`.
    library : Library
        With the settings as the user gave them.
    arguments : mapping
        Arguments that are not settings.
    options : TrackingOptions
    name : str
        Name of the run unless the user gives one.
    used : tuple of str
        Names of the heads and encoders whose options are recorded with their defaults.

    Raises
    ------
    ConfigError
        Tracking is not configured as requested, or a value that was changed in ClearML is wrong.
    TrackingError
        A worker cannot find out what to run.
    typer.Exit
        The run was queued for a worker.
    """
    from eno.tracking.experiment import Command, Tracking, open_experiment

    chosen = library.settings
    tracking = Tracking(
        mode=options.tracking.value if options.tracking else chosen.tracking.mode,
        project=options.clearml_project or chosen.tracking.project,
        name=options.clearml_name,
        queue=options.clearml_queue,
        close_s=chosen.tracking.close_s,
    )
    experiment = open_experiment(tracking, Command(kind, name, ("-m", "eno", *sys.argv[1:])), say=say)
    with closing(experiment):
        changed = experiment.connect(sections_of(chosen, used) | {_ARGS: dict(arguments)})
        if experiment.queued:
            _warn_of_changes()
            raise typer.Exit
        of_command = changed.pop(_ARGS, {})
        yield Run(
            experiment,
            Library(with_changes(chosen, changed)),
            {**arguments, **_arguments(command, of_command)},
        )


def used_of(chosen: Settings, *heads: str) -> tuple[str, ...]:
    """Return the names whose options are recorded with their defaults when heads are trained."""
    blend = chosen.options_of("blend").get("heads") or option_defaults("blend")["heads"]
    members = [member for head in heads if head == "blend" for member in blend]
    return (*heads, *members, "calibration")


@contextmanager
def closing(experiment: Experiment) -> Iterator[None]:
    """Close the experiment at the end of the context, as failed if an error ended it."""
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
    """Print a line about tracking."""
    errors.print(f"[dim]{shown(line)}[/]")


def sections_of(chosen: Settings, used: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return all settings by section, as ClearML shows them.

    Parameters
    ----------
    chosen : Settings
    used : tuple of str
        Encoders, heads or ``"calibration"``: their options are included with their defaults. Sections of others are
        included if something in them was set.

    Returns
    -------
    dict of str to dict
        Section → name → value. Settings without a section are in ``General``.
    """
    values = chosen.model_dump(mode="json", exclude=set(_NOT_SHOWN))
    sections: dict[str, dict[str, Any]] = {_GENERAL: {}}
    for name, value in values.items():
        if not isinstance(getattr(chosen, name), BaseModel):
            sections[_GENERAL][name] = value
        elif name in used or value != type(getattr(chosen, name))().model_dump(mode="json"):
            sections[name] = value
    for name in dict.fromkeys((*(one for one in used if has_options(one)), *chosen.options)):
        own = chosen.options_of(name) if name != "own" else chosen.options[name]
        own.pop("options", None)  # of a blend's members, which have sections of their own
        sections[name] = (option_defaults(name) if name in used else {}) | own
    return {section: values for section, values in sections.items() if values}


def with_changes(chosen: Settings, changed: Mapping[str, Mapping[str, str]]) -> Settings:
    """Apply what was changed in ClearML; an empty text stands for the default.

    Raises
    ------
    ConfigError
        A value is wrong.
    """
    if not changed:
        return chosen
    values = chosen.model_dump(mode="json", exclude={"options"}) | {
        name: dict(section) for name, section in chosen.options.items()
    }
    for section, texts in changed.items():
        place = values if section == _GENERAL else values.setdefault(section, {})
        for name, text in texts.items():
            value = _value(text)
            if value is None:
                place.pop(name, None)
            else:
                place[name] = value
    made = make_settings({name: value for name, value in values.items() if value != {}}, source="ClearML task")
    for section in changed:
        made.options_of(section)  # so that a wrong value is reported before the work begins
    return made


def _arguments(command: Callable[..., None], texts: Mapping[str, str]) -> dict[str, Any]:
    hints = typing.get_type_hints(command)
    found = {}
    for name, text in texts.items():
        try:
            found[name] = TypeAdapter(hints[name]).validate_python(_value(text))
        except ValidationError:
            raise ConfigError(f"The argument {name} of the ClearML task has the invalid value {text!r}.") from None
    return found


def _value(text: str) -> Any:
    if text == "":
        return None
    if text[0] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text  # pydantic converts it to a number where one is expected


def _warn_of_changes() -> None:
    from eno.tracking.git_state import uncommitted

    if uncommitted():
        say("the worker uses the commit that is checked out here; uncommitted changes are not sent")


@tracking_app.callback()
def _tracking() -> None:
    """Runs that were tracked offline."""


@command(tracking_app, "import")
def import_sessions(
    sessions: Annotated[list[Path], typer.Argument(metavar="ZIP", help="Files that '--tracking offline' wrote")],
) -> None:
    """Upload offline sessions to the configured ClearML server, each as a new task."""
    from eno.tracking.clearml_environment import configured

    if not configured():
        raise ConfigError("ClearML is not configured, so there is no server to import to. Run: clearml-init")
    from eno.tracking.clearml_import import import_session

    for session in sessions:
        task_id, address = import_session(session)
        console.print(f"task    {task_id}  {shown(address)}")
