"""The command line: verbs that call the library and print what comes back."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from eno.audio.decoder_messages import decoder_messages_hidden
from eno.cli import catalogue, embedding, encoders, importing, maintenance, serving, setup, tracked
from eno.cli.commands import EnoGroup
from eno.cli.options import shown
from eno.cli.search import duplicates, mapping, similar
from eno.cli.tags import tagging, teaching, writing
from eno.cli.training import evaluating, train, tuning
from eno.console import console, errors
from eno.errors import EnoError
from eno.files import visible
from eno.version import __version__

app = typer.Typer(
    cls=EnoGroup,
    help="Tag your music with your own words. Start with 'eno init FOLDER'; 'eno status' shows the next step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (
    setup, importing, catalogue, embedding, maintenance, encoders, train, tuning, evaluating, teaching, tagging,
    writing, similar, duplicates, mapping, serving, tracked,
):  # fmt: skip
    app.add_typer(module.app)


def main() -> None:
    """Run the command line. Errors that a user can do something about are printed without a traceback."""
    try:
        with decoder_messages_hidden():
            app()
    except (EnoError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of the output has gone, as with: eno … | head
            sys.stderr.close()
            sys.exit(1)
        errors.print(f"[bold red]error:[/] {shown(_message(error), lines=True)}")
        sys.exit(1)
    except Exception:  # a defect of eno; its message may contain the name of a file
        errors.print("\n".join(map(visible, traceback.format_exc().splitlines())), markup=False)
        sys.exit(1)


def _message(error: EnoError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit")] = False) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit
