"""Commands that import albums and labels: ``import …``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.commands import COLLECTION, EnoGroup, command
from eno.cli.options import JsonOption, LibraryOptions, print_json, print_lines, shown
from eno.console import console, progress
from eno.errors import ConfigError
from eno.library import Library

if TYPE_CHECKING:
    from eno.data.imports import Item
    from eno.data.imports.paths import TrackPaths

app = typer.Typer()
importing = typer.Typer(help="Import labels and album metadata.", no_args_is_help=True, cls=EnoGroup)
app.add_typer(importing, name="import", rich_help_panel=COLLECTION)

SeparatorsOption = Annotated[str, typer.Option("--separators", help="Characters that separate labels in one text")]


@importing.callback()
def _importing() -> None:
    """Import labels and album metadata."""


@command(importing, "lute")
def _lute(
    where: LibraryOptions,
    source: Annotated[
        str | None,
        typer.Argument(help="lute.db, JSON Lines, JSON, Parquet, or grpc://host:port (default: 'lute' in eno.toml)"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first malformed record")] = False,
    as_json: JsonOption = False,
) -> None:
    """Import the albums from RateYourMusic that Lute collected."""
    library = where.open(lute=source)
    if library.settings.lute is None:
        raise ConfigError("The source of Lute's albums is unknown. Specify it: eno import lute lute.db")
    import_lute_albums(library, strict=strict, as_json=as_json)


@command(importing, "tags")
def _tags(
    where: LibraryOptions,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="TAG=FAMILY",
            help="Tag with labels (default: genre and style=genre, mood and grouping=descriptor); repeatable",
        ),
    ] = None,
    separators: SeparatorsOption = ";|",
    as_json: JsonOption = False,
) -> None:
    """Import the genres, styles, moods and groupings in the tags of the audio files, track by track."""
    from eno.data.imports.tags import FIELDS, labels_of_tags

    library = where.open()
    fields = _pairs("--field", field) or FIELDS
    _write(library, "tags", labels_of_tags(library.tracks, fields, separators), as_json=as_json)


@command(importing, "csv")
def _csv(
    where: LibraryOptions,
    file: Annotated[Path, typer.Argument(help="CSV or TSV file with a header")],
    family: Annotated[str, typer.Option("--family", help="Family of labels for which the file names none")] = "genre",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=FAMILY", help="Further column with labels; repeatable"),
    ] = None,
    separators: SeparatorsOption = ";|",
    as_json: JsonOption = False,
) -> None:
    """Import labels of tracks (column path) or albums (columns artist and album).

    Labels are in the column label, in columns named genre, mood or style, or in one column each with values from 0
    to 1. Several labels in one cell are separated by ; or |.
    """
    from eno.data.imports.csv_file import read_label_csv

    library = where.open()
    columns = _pairs("--column", column)
    items, skipped = read_label_csv(file, _paths(library), family=family, columns=columns, separators=separators)
    _write(library, "csv", items, skipped, as_json=as_json)


@command(importing, "folders")
def _folders(
    where: LibraryOptions,
    pattern: Annotated[
        str, typer.Argument(help="Folders from the audio folder down, such as {genre}/{artist}/{album}")
    ] = "{genre}",
    separators: SeparatorsOption = ";|",
    as_json: JsonOption = False,
) -> None:
    """Import the names of folders as labels, by default those directly in the audio folder as genres."""
    from eno.data.imports.folders import labels_of_folders

    library = where.open()
    items, skipped = labels_of_folders(library.tracks["track_id"].to_pylist(), pattern, separators)
    _write(library, "folders", items, skipped, as_json=as_json)


def _pairs(option: str, texts: Iterable[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, family = text.partition("=")
        if not (name and equals and family):
            raise ConfigError(f"{option} {text}: expected a name and a family, such as {option} mood=descriptor.")
        pairs[name] = family
    return pairs


def _paths(library: Library) -> TrackPaths:
    from eno.data.imports.paths import TrackPaths

    return TrackPaths(library.tracks["track_id"].to_pylist(), library.audio_roots.folders)


def _write(
    library: Library, source: str, items: Iterable[Item], skipped: Iterable[str] = (), *, as_json: bool = False
) -> None:
    from eno.data.imports import write_import
    from eno.summary import label_import_lines

    report = write_import(library.data, source, items, list(skipped))
    if as_json:
        print_json(asdict(report))
        return
    print_lines(label_import_lines(report))
    console.print(f"albums  {shown(library.data.albums)}")


def import_lute_albums(library: Library, *, strict: bool = False, as_json: bool = False) -> None:
    """Import Lute's albums; labels from other places are kept."""
    from eno.data.imports.items import imported_albums, keep_imported
    from eno.data.lute.importing import import_lute
    from eno.summary import import_lines

    assert library.settings.lute is not None
    others = imported_albums(library.data.albums)
    with progress("importing") as show:
        report = import_lute(library.settings.lute, library.data.albums, strict=strict, on_progress=show)
    keep_imported(library.data.albums, others)
    if as_json:
        print_json(asdict(report))
        return
    print_lines(import_lines(report))
    console.print(f"albums  {shown(library.data.albums)}")
