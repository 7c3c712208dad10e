"""Options that several commands share, and how text reaches the console."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from eno.config import Settings, load_settings
from eno.files import printable

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file (default: $ENO_CONFIG, or eno.toml if there is one)")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting that goes over the file, e.g. windows.count=16"),
]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 …")]
DataRootOption = Annotated[Path | None, typer.Option("--data-root", help="Folder of raw/ and processed/")]


def settings(config: Path | None, overrides: list[str] | None, **options: str | Path | None) -> Settings:
    """Settings of the file, then --set, then the options that have a name of their own."""
    named = [f"{name}={json.dumps(str(value))}" for name, value in options.items() if value is not None]
    return load_settings(config, [*(overrides or ()), *named])


def shown(value: Any) -> str:
    """Text that may hold brackets and odd bytes of file names, as the console takes it."""
    return escape(printable(str(value)))
