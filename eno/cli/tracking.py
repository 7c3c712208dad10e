"""``tracking``: what was tracked without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eno.cli.options import shown
from eno.console import console
from eno.errors import ConfigError

app = typer.Typer(help="Runs that were tracked offline.", no_args_is_help=True)


@app.callback()
def _tracking() -> None:
    """Keep ``import`` a command of its own, though it is the only one."""


@app.command("import")
def import_(
    sessions: Annotated[list[Path], typer.Argument(metavar="ZIP", help="What '--tracking offline' left; several")],
) -> None:
    """Bring sessions to the ClearML server that is configured, each as a new task."""
    from eno.tracking.clearml_environment import configured

    if not configured():
        raise ConfigError("ClearML is not configured, so that there is no server to import to. Run: clearml-init")
    from eno.tracking.clearml_import import import_session

    for session in sessions:
        task_id, address = import_session(session)
        console.print(f"task    {task_id}  {shown(address)}")
