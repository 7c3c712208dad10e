"""Experiment tracking of commands: options, settings that were changed in ClearML, and ``tracking import``."""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from eno.cli.commands import SERVICE, EnoGroup, command
from eno.cli.options import TRACKING, shown
from eno.config import Settings, TrackingSettings, has_options, make_settings, option_defaults
from eno.console import console, errors
from eno.errors import ConfigError, Interrupted
from eno.library import Library

if TYPE_CHECKING:
    from eno.tracking.experiment import Command, Experiment
    from eno.training.collection import Collection

app = typer.Typer()
tracking_app = typer.Typer(help="Upload runs that were tracked offline.", no_args_is_help=True, cls=EnoGroup)
app.add_typer(tracking_app, name="tracking", rich_help_panel=SERVICE)

_GENERAL, _ARGS = "General", "Args"
_NOT_SHOWN = {"tracking", "options"}  # a worker cannot change tracking; options have their own sections

FORMER_TRACKING = {"--name": "--clearml-name", "--project": "--clearml-project", "--queue": "--clearml-queue"}
"""Former spellings of the options of `TrackingOptions`."""


@dataclass(frozen=True)
class TrackingOptions:
    """Whether and where a command is tracked."""

    panel: ClassVar[str] = TRACKING

    tracking: Annotated[
        Literal["auto", "online", "offline", "off"] | None,
        typer.Option(
            "--tracking",
            help="Track with ClearML, online or as an offline session to import later (default: if it is configured)",
        ),
    ] = None
    clearml_queue: Annotated[
        str | None, typer.Option("--clearml-queue", help="Run on a ClearML worker of this queue")
    ] = None
    clearml_project: Annotated[
        str | None, typer.Option("--clearml-project", help="ClearML project (default: for example eno/training)")
    ] = None
    clearml_name: Annotated[
        str | None, typer.Option("--clearml-name", help="ClearML task name (default: for example 'train mlp')")
    ] = None


@dataclass(frozen=True)
class Run:
    """A command that is being tracked.

    On a ClearML worker, `library` and `arguments` (of the command) include what was changed in ClearML.
    """

    experiment: Experiment
    library: Library
    arguments: dict[str, Any]

    def collection(self) -> Collection:
        """Open the store, splits and labels of the arguments, and record their origin."""
        from eno.training.tracker_reports import lineage

        given = self.arguments
        opened = self.library.collection(given["store"], splits=given["splits"], labels=given["labels"])
        self.experiment.describe("data", lineage(opened))
        return opened


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
    """Track what happens in the context. If the run is queued for a worker, exit.

    Parameters
    ----------
    command : callable
        The command; its annotations are the types of its arguments.
    kind : str
        See `eno.tracking.experiment.Command`.
    arguments : mapping
        Arguments that are not settings.
    name : str
        Default name of the run.
    used : tuple of str
        See `sections_of`.
    """
    from eno.tracking.experiment import Command

    chosen = library.settings
    command_line = Command(kind, name, ("-m", "eno", *sys.argv[1:]))
    with opened(options, chosen.tracking, command_line) as experiment:
        changed = experiment.connect(sections_of(chosen, used) | {_ARGS: dict(arguments)})
        if experiment.queued:
            raise typer.Exit
        changed_arguments = _arguments(command, changed.pop(_ARGS, {}))
        yield Run(experiment, Library(with_changes(chosen, changed)), {**arguments, **changed_arguments})


def one_or_all(stores: list[str]) -> str | list[str]:
    """Return a single store as text, as a person would write it in ClearML."""
    return stores[0] if len(stores) == 1 else stores


def used_of(chosen: Settings, *heads: str) -> tuple[str, ...]:
    """Return the heads, the members of a blend, and ``"calibration"``, for `sections_of`."""
    members = [
        member
        for head in heads
        if head in ("auto", "blend")
        for member in chosen.options_of(head).get("heads") or option_defaults(head)["heads"]
    ]
    return (*heads, *members, "calibration")


@contextmanager
def opened(options: TrackingOptions, settings: TrackingSettings, command: Command) -> Iterator[Experiment]:
    """Track a command with these options, or else those of the settings, and close the experiment at the end."""
    from eno.tracking.experiment import Tracking, open_experiment

    tracking = Tracking(
        mode=options.tracking or settings.mode,
        project=options.clearml_project or settings.project,
        name=options.clearml_name,
        queue=options.clearml_queue,
        close_s=settings.close_s,
    )
    experiment = open_experiment(tracking, command, say=say)
    with closing(experiment):
        yield experiment


@contextmanager
def closing(experiment: Experiment) -> Iterator[None]:
    """Close the experiment at the end of the context, as failed if there was an error."""
    from eno.tracking.experiment import INTERRUPTED

    try:
        yield
    except typer.Exit:
        experiment.close()
        raise
    except (KeyboardInterrupt, Interrupted):
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
    """Return all settings for ClearML: section → name → value. Those without a section are in ``General``.

    Options of the encoders, heads or ``"calibration"`` in `used` include their defaults. Other sections are included if
    something in them was set.
    """
    values = chosen.model_dump(mode="json", exclude=_NOT_SHOWN)
    sections: dict[str, dict[str, Any]] = {_GENERAL: {}}
    for name, value in values.items():
        if not isinstance(getattr(chosen, name), BaseModel):
            sections[_GENERAL][name] = value
        elif name in used or value != type(getattr(chosen, name))().model_dump(mode="json"):
            sections[name] = value
    for name in dict.fromkeys((*(one for one in used if has_options(one)), *chosen.options)):
        own = chosen.options_of(name) if name != "own" else chosen.options[name]
        own.pop("options", None)  # the members of a blend have their own sections
        sections[name] = (option_defaults(name) if name in used else {}) | own
    return {section: values for section, values in sections.items() if values}


def with_changes(chosen: Settings, changed: Mapping[str, Mapping[str, str]]) -> Settings:
    """Apply what was changed in ClearML; an empty string stands for the default."""
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
        made.options_of(section)  # reports an invalid value before the work begins
    return made


def _arguments(command: Callable[..., None], texts: Mapping[str, str]) -> dict[str, Any]:
    hints = typing.get_type_hints(command)
    found = {}
    for name, text in texts.items():
        try:
            found[name] = TypeAdapter(hints[name]).validate_python(_listed(_value(text), hints[name]))
        except ValidationError:
            raise ConfigError(f"The argument {name} of the ClearML task has the invalid value {text!r}.") from None
    return found


def _listed(value: Any, hint: Any) -> Any:
    """Put the only value of an argument that takes several into a list."""
    takes_several = any(typing.get_origin(one) is list for one in typing.get_args(hint))
    return [value] if takes_several and isinstance(value, str) else value


def _value(text: str) -> Any:
    if text == "":
        return None
    if text[0] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text  # pydantic converts it to a number where one is expected


@tracking_app.callback()
def _tracking() -> None:
    """Upload runs that were tracked offline."""


@command(tracking_app, "import")
def import_sessions(
    sessions: Annotated[list[Path], typer.Argument(metavar="ZIP", help="Files that '--tracking offline' wrote")],
) -> None:
    """Upload offline sessions to the configured ClearML server, each as a task."""
    from eno.tracking.clearml_environment import configured

    if not configured():
        raise ConfigError("ClearML is not configured, so there is no server to import to. Run: clearml-init")
    from eno.tracking.clearml_import import import_session

    for session in sessions:
        task_id, address, new = import_session(session)
        console.print(f"task    {task_id}  {shown(address)}{'' if new else '  (imported before)'}")
