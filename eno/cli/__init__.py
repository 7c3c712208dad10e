"""The command line: verbs that call the library and show what comes back."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eno import __version__
from eno.cli import (
    catalogue,
    duplicates,
    embedding,
    encoders,
    indexes,
    info,
    judging,
    learning,
    mapping,
    serving,
    similar,
    stores,
    tagging,
    tracking,
    writing,
)
from eno.cli.options import shown
from eno.console import console, errors
from eno.errors import EnoError

app = typer.Typer(
    help="Tag your music with your own words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(catalogue.app)
app.add_typer(embedding.app)
app.add_typer(learning.app)
app.add_typer(judging.app)
app.add_typer(info.app)
app.add_typer(tagging.app)
app.add_typer(writing.app)
app.add_typer(similar.app)
app.add_typer(duplicates.app)
app.add_typer(mapping.app)
app.add_typer(serving.app)
app.add_typer(encoders.app)
app.add_typer(stores.app, name="store")
app.add_typer(indexes.app, name="index")
app.add_typer(tracking.app, name="tracking")


def main() -> None:
    """Run the command line; an error of eno's own is shown without a traceback."""
    try:
        app()
    except EnoError as error:
        errors.print(f"[bold red]error:[/] {shown(error)}")
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit")] = False) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit
