"""Set up a library and inspect it: ``init``, ``status``, ``info``."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from eno.cli.commands import SETUP, command
from eno.cli.options import ExcludeOption, FilesOption, JsonOption, LibraryOptions, print_json, print_rows, shown
from eno.config import FILE, Settings
from eno.console import console, errors
from eno.errors import AudioError, ConfigError, EnoError
from eno.files import AudioRoots
from eno.library import Library, Step

app = typer.Typer()

_CATALOGUE = ("imported", "scanned", "matched", "labelled", "split", "trained")
_SOURCES = "eno import tags, eno import csv FILE, eno import folders, or eno import lute lute.db"
_EXAMPLE = """
# Each encoder, head and other step has a section for its options. Two of the defaults:
# [windows]
# count = 8          # windows per track
# [labels]
# min_albums = 100   # minimum number of albums of a label; by default 2 % of all, from 5 to 100
"""


@command(app, panel=SETUP)
def init(
    folder: Annotated[list[Path] | None, typer.Argument(help="Audio folders (default: ~/Music)")] = None,
    lute: Annotated[
        str | None, typer.Option(help="Lute's albums: lute.db, JSON Lines, Parquet, or grpc://host:port")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Folder for eno's tables (default: data)")
    ] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="Encoder by name (default: musicnn)")] = None,
    exclude: ExcludeOption = None,
    files: FilesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing eno.toml")] = False,
) -> None:
    """Write eno.toml to the current folder. Other commands then need no paths."""
    from eno.data.library.files import find_tracks

    place = Path(FILE)
    if place.exists() and not force:
        raise ConfigError(f"{place} already exists. Edit it, or replace it with --force.")
    roots = [path.expanduser().resolve() for path in folder or _default_roots()]
    if files is None:
        found = {str(root): len(find_tracks(AudioRoots((root,), tuple(exclude or ())))) for root in roots}
    else:
        given = Library(Settings(audio_roots=tuple(roots), exclude=tuple(exclude or ()), files=files))
        found = {str(files): len(find_tracks(given.audio_roots))}
    if lute is not None and "://" not in lute:
        path = Path(lute).expanduser().resolve()
        if not path.exists():
            raise ConfigError(f"{path}: no such file. --lute takes a file of albums, or grpc://host:port.")
        lute = str(path)
    values = {
        "audio_roots": [str(root) for root in roots],
        "exclude": exclude,
        "files": None if files is None else str(files.expanduser().resolve()),
        "lute": lute,
        "data_root": None if data_root is None else str(data_root),
        "encoder": encoder,
    }
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if value is not None]
    place.write_text("# Settings of eno for this collection.\n" + "\n".join(lines) + "\n" + _EXAMPLE, encoding="utf-8")
    for root, count in found.items():
        console.print(f"{count:,} audio files in {shown(root)}")
    console.print(f"settings {shown(place)}")
    _print_next(Library.open())


def _default_roots() -> list[Path]:
    music = Path.home() / "Music"
    if not music.is_dir():
        raise ConfigError("There is no folder ~/Music. Specify where your music is: eno init /path/to/music")
    return [music]


@command(app, panel=SETUP)
def status(where: LibraryOptions, as_json: JsonOption = False) -> None:
    """Show which steps have been done, how long ago, and the next command to run."""
    library = where.open()
    steps = library.status()
    if as_json:
        for step in steps:
            print_json(asdict(step) | {"due": step.due})
        return
    console.print(f"audio     {shown(library.audio_roots)}")
    for step in steps:
        state = "[green]done[/]    " if not step.due else "[yellow]outdated[/]" if step.stale else "[dim]not yet[/] "
        age = _age(step.changed) if step.changed else ""
        command_line = f"[dim]{shown(step.command)}[/]" if step.due else ""
        console.print(f"{step.name:<9} {state}  {age:<15} {shown(step.detail)}{'  ' * bool(step.detail)}{command_line}")
    _print_next(library, steps)


def _age(when: datetime) -> str:
    """Format how long ago a time was.

    Examples
    --------
    >>> from datetime import timedelta
    >>> [_age(datetime.now(UTC) - timedelta(seconds=s)) for s in (5, 200, 7300, 200_000)]
    ['just now', '3 minutes ago', '2 hours ago', '2 days ago']
    """
    seconds = (datetime.now(UTC) - when).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"


def _print_next(library: Library, steps: list[Step] | None = None) -> None:
    """Print the next command to run. Without albums, steps that need them are skipped."""
    steps = steps if steps is not None else library.status()
    has_albums = library.settings.lute is not None or library.data.albums.is_file()
    due = [step for step in steps if step.due and (has_albums or step.name not in _CATALOGUE)]
    if due:
        console.print(f"next      {shown(due[0].command)}")
    elif has_albums:
        console.print("next      eno tag FILE, eno similar TRACK, or eno serve")
    else:
        scan = "" if library.data.tracks.is_file() else "eno scan, then "
        console.print(f"next      eno similar TRACK; to train your own tags, import labels: {scan}{_SOURCES}")


@command(app, panel=SETUP)
def info(
    where: LibraryOptions,
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Audio files, stores and predictors (default: this installation)")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Describe an audio file, a store or a predictor, or this installation of eno."""
    from eno.describe import describe, describe_installation

    library = where.open()
    if not paths:
        print_rows(describe_installation(library.settings), as_json=as_json)
    failed = 0
    for path in paths or ():
        try:
            print_rows(describe(path), as_json=as_json)
        except EnoError as error:
            failed += 1
            if as_json:
                reason = error.reason if isinstance(error, AudioError) else str(error)
                print_json({"path": str(path), "error": reason})
            else:
                errors.print(f"[red]error[/]  {shown(error)}")
    if failed:
        raise EnoError(f"{failed} of {len(paths or ())} could not be described.")
