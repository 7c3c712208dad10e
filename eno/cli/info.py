"""What is there: ``info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eno.cli.options import ConfigOption, SetOption, print_rows, settings, shown
from eno.console import console
from eno.errors import EnoError

app = typer.Typer()


@app.command()
def info(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Audio files, stores, predictors (default: this eno)")
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show what is in a file, a store or a predictor, or how this eno is set up."""
    from eno.describe import describe, describe_installation

    chosen = settings(config, overrides)
    if not paths:
        print_rows(describe_installation(chosen))
    failed = 0
    for path in paths or ():
        try:
            print_rows(describe(path))
        except EnoError as error:
            failed += 1
            console.print(f"[red]error[/]  {shown(error)}")
    if failed:
        raise EnoError(f"{failed} of {len(paths or ())} could not be shown.")
