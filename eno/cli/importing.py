"""Commands that import albums and labels: ``import …``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.commands import COLLECTION, EnoGroup, command
from eno.cli.options import JsonOption, LibraryOptions, pairs, print_json, print_lines, shown, warn
from eno.console import console, progress
from eno.errors import ConfigError
from eno.files import replace_file
from eno.library import Library

if TYPE_CHECKING:
    from eno.data.imports import Item
    from eno.data.imports.paths import TrackPaths
    from eno.data.imports.research import Imported

app = typer.Typer()
importing = typer.Typer(help="Import labels and album metadata.", no_args_is_help=True, cls=EnoGroup)
app.add_typer(importing, name="import", rich_help_panel=COLLECTION)

_EXAMPLE = "mood=descriptor"
_MOSTLY = 0.5  # of the tracks

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
    """Import the genres, styles, moods and groupings in the tags of the audio files, track by track.

    Those that eno predicted and wrote are left out.
    """
    from eno.data.imports.tags import FIELDS, labels_of_tags
    from eno.tagfiles.written import WrittenTags

    library = where.open()
    fields = pairs("--field", field, _EXAMPLE) or FIELDS
    written = WrittenTags(library.data.written_tags, library.present_audio_roots).read()
    _write(library, "tags", *labels_of_tags(library.tracks, fields, separators, written), as_json=as_json)


@command(importing, "csv")
def _csv(
    where: LibraryOptions,
    file: Annotated[Path, typer.Argument(help="CSV or TSV file with a header")],
    family: Annotated[str, typer.Option("--family", help="Family of labels for which the file names none")] = "genre",
    family_column: Annotated[
        str | None, typer.Option("--family-column", help="Column that names the family of each row (default: family)")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=FAMILY", help="Further column with labels; repeatable"),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="NAME", help="Column without labels; repeatable")
    ] = None,
    separators: SeparatorsOption = ";|",
    as_json: JsonOption = False,
) -> None:
    """Import labels of tracks (column path) or albums (columns artist and album).

    Labels are in the column label, in columns named genre, mood or style, or in one column each with values from 0
    to 1. Several labels in one cell are separated by ; or |. A family is genre, descriptor or any name of your own,
    such as instruments.

    A value, such as the share of listeners who named the label, is what training aims at; from 0.5 on, the label
    counts as present everywhere else.
    """
    from eno.data.imports.csv_file import read_label_csv

    library = where.open()
    columns = pairs("--column", column, _EXAMPLE)
    items, skipped = read_label_csv(
        file,
        _paths(library),
        family=family,
        family_column=family_column,
        columns=columns,
        separators=separators,
        ignored=ignore or (),
    )
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
    """Import the names of folders as labels.

    Without a pattern, the folders directly in the audio folder are the genres: Rock in Rock/song.flac,
    Rock/album/song.flac and Rock/artist/album/song.flac. If the first folder is the artist, name the places: in a
    pattern, {artist} and {album} name the album, {} stands for a folder that means nothing, and any other name is a
    family of labels, such as {genre}, {mood} or {instruments}.
    """
    from eno.data.imports.folders import labels_of_folders, named_after_artists

    library = where.open()
    items, skipped = labels_of_folders(library.tracks["track_id"].to_pylist(), pattern, separators)
    _write(library, "folders", items, skipped, as_json=as_json)
    if not as_json:
        labels = ", ".join(f"{family} {name}" for family, name in items[0].labels)
        print_lines([f"example {items[0].track_ids[0]}: {labels}"])
    artists, tagged = named_after_artists(items, library.tracks)
    if artists and artists >= _MOSTLY * tagged:
        warn(
            f"{artists:,} of {tagged:,} tracks have the name of their artist as a label. If their folders do not name "
            "genres, describe them with a pattern, such as '{artist}/{album} [{genre}]', or try: eno import tags"
        )


@command(importing, "beets")
def _beets(
    where: LibraryOptions,
    file: Annotated[Path, typer.Argument(help="library.db of beets")],
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="NAME=FAMILY",
            help="Field with labels, fixed or flexible (default: genre, genres, "
            "style, mood, moods and grouping); repeatable",
        ),
    ] = None,
    separators: SeparatorsOption = ";,|",
    as_json: JsonOption = False,
) -> None:
    """Import genres, styles and moods from the library of beets, which is only read."""
    from eno.data.imports.beets import FIELDS, read_beets

    library = where.open()
    items, skipped = read_beets(file, _paths(library), pairs("--field", field, _EXAMPLE) or FIELDS, separators)
    _write(library, "beets", items, skipped, as_json=as_json)


@command(importing, "jamendo")
def _jamendo(
    where: LibraryOptions,
    file: Annotated[Path, typer.Argument(help="A TSV file of MTG-Jamendo, such as autotagging.tsv")],
    as_json: JsonOption = False,
) -> None:
    """Import the tags of MTG-Jamendo."""
    from eno.data.imports.research import read_jamendo

    library = where.open()
    _write_research(library, "jamendo", read_jamendo(file, _paths(library)), as_json=as_json)


@command(importing, "magnatagatune")
def _magnatagatune(
    where: LibraryOptions,
    file: Annotated[Path, typer.Argument(help="annotations_final.csv of MagnaTagATune")],
    info: Annotated[Path | None, typer.Option("--info", help="clip_info_final.csv, for artists and albums")] = None,
    as_json: JsonOption = False,
) -> None:
    """Import the tags of MagnaTagATune, and write its usual split."""
    from eno.data.imports.research import read_magnatagatune

    library = where.open()
    _write_research(library, "magnatagatune", read_magnatagatune(file, _paths(library), info), as_json=as_json)


@command(importing, "fma")
def _fma(
    where: LibraryOptions,
    folder: Annotated[Path, typer.Argument(help="fma_metadata, with tracks.csv and genres.csv")],
    as_json: JsonOption = False,
) -> None:
    """Import the genres of the Free Music Archive's data set (FMA), and write its split."""
    from eno.data.imports.research import read_fma

    library = where.open()
    _write_research(library, "fma", read_fma(folder, _paths(library)), as_json=as_json)


def _write_research(library: Library, name: str, imported: Imported, *, as_json: bool) -> None:
    items, skipped, splits = imported
    _write(library, name, items, skipped, as_json=as_json)
    folder = library.data.published_splits / name
    for split, track_ids in splits.items():
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(folder / f"{split}.txt") as temporary:
            temporary.write_text("".join(f"{one}\n" for one in track_ids), encoding="utf-8")
    if splits and not as_json:
        console.print(f"splits  {shown(folder)}; use them with: eno split --official {shown(folder)}")


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
