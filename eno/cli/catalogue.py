"""What is known about the music: ``import``, ``scan``, ``match``, ``labels``, ``split``, ``explore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.options import ConfigOption, DataRootOption, SetOption, settings, shown
from eno.config import Settings
from eno.console import console, progress
from eno.errors import EnoError

if TYPE_CHECKING:
    from eno.data.layout import DataRoot

app = typer.Typer()
importing = typer.Typer(help="Bring album metadata in.", no_args_is_help=True)
app.add_typer(importing, name="import")


@importing.command("lute")
def import_lute_albums(
    source: Annotated[str, typer.Argument(help="lute.db, JSON lines, JSON, Parquet, or grpc://host:port")],
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first malformed record")] = False,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Bring in albums of RateYourMusic as Lute collects them."""
    root, _ = _prepare(config, overrides, data_root)

    from eno.data.lute.importing import import_lute
    from eno.summary import import_lines

    with progress("importing") as show:
        report = import_lute(source, root.albums, strict=strict, on_progress=show)
    _print(import_lines(report))
    console.print(f"albums  {shown(root.albums)}")


@app.command()
def scan(
    audio_root: Annotated[Path | None, typer.Argument(help="Folder of audio (default: DATA_ROOT/raw/audio)")] = None,
    hash_audio: Annotated[bool, typer.Option("--hash", help="Read all audio to find files with the same")] = False,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Look at every audio file: tags, length, format, what is wrong; only new and changed files are opened."""
    root, _ = _prepare(config, overrides, data_root)

    from eno.data.library import scanning
    from eno.summary import scan_lines

    with progress("scanning") as show:
        report = scanning.scan(audio_root or root.audio, root.tracks, hash_audio=hash_audio, on_progress=show)
    _print(scan_lines(report))
    console.print(f"tracks  {shown(root.tracks)}")


@app.command()
def match(
    review: Annotated[
        Path | None, typer.Option(help="CSV of your decisions (default: processed/match_review.csv)")
    ] = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Find the album of every track; what is unsure goes into a CSV for you to decide."""
    root, _ = _prepare(config, overrides, data_root)

    from eno.data.library.scanning import read_tracks
    from eno.data.lute.albums import read_albums
    from eno.data.matching import matcher as matching
    from eno.summary import match_lines

    path = review or root.match_review
    tracks, albums = read_tracks(root.tracks), read_albums(root.albums)
    with progress("matching") as show:
        report = matching.match(tracks, albums, root.matches, path, on_progress=show)
    _print(match_lines(report, path))
    console.print(f"matches {shown(root.matches)}")


@app.command()
def labels(
    all_albums: Annotated[bool, typer.Option("--all-albums", help="Count albums without audio too")] = False,
    limit: Annotated[int, typer.Option(min=0, help="So many rows of each table")] = 15,
    roll_up: Annotated[bool, typer.Option("--roll-up", help="Sum up the hierarchy by its top headings")] = False,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Choose the labels that are frequent enough to be learned, and say why the others are not."""
    root, chosen = _prepare(config, overrides, data_root)

    from eno.data.catalogue import choose_labels
    from eno.data.labels.hierarchy import Hierarchy, load_aliases
    from eno.data.labels.vocabulary import roll_up as sum_up
    from eno.summary import label_lines, label_table

    limits = chosen.labels
    hierarchy = Hierarchy.load(limits.hierarchy) if limits.hierarchy else None
    if roll_up and hierarchy is None:
        raise EnoError("--roll-up needs a hierarchy: --set labels.hierarchy=FILE")
    encoder, counts = choose_labels(
        root,
        min_albums=limits.min_albums,
        min_artists=limits.min_artists,
        secondary_weight=limits.secondary_weight,
        aliases=load_aliases(limits.aliases) if limits.aliases else None,
        hierarchy=hierarchy,
        all_albums=all_albums,
    )
    for kept in (True, False) if limit else ():
        console.print(label_table(counts, kept=kept, limit=limit))
    if roll_up and hierarchy is not None:
        _print([f"{heading}: {albums} albums, {below} labels" for heading, albums, below in sum_up(counts, hierarchy)])
    _print(label_lines(encoder, counts))
    console.print(f"labels  {shown(root.label_encoder)}, {shown(root.label_counts)}")


@app.command()
def split(
    official: Annotated[Path | None, typer.Option(help="Folder with the files of a division to use instead")] = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Divide the tracks into train, validation and test, no artist on two sides; then look for leaks."""
    root, chosen = _prepare(config, overrides, data_root)

    from eno.data.catalogue import split_tracks
    from eno.summary import split_lines

    report, unknown = split_tracks(root, official=official, **chosen.split.model_dump())
    if unknown:
        console.print(f"{len(unknown)} names of {shown(official)} are unknown here, such as {shown(unknown[0])}")
    _print(split_lines(report))
    console.print(f"splits  {shown(root.splits)}")


@app.command()
def explore(
    track: Annotated[str | None, typer.Option(help="Track to picture, by its id (default: the first one)")] = None,
    audio_root: Annotated[Path | None, typer.Option(help="Folder that was scanned, if not raw/audio")] = None,
    output: Annotated[Path | None, typer.Option(help="HTML file (default: processed/exploration.html)")] = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show what is in the collection and what is wrong with it, here and as one HTML file with pictures."""
    root, _ = _prepare(config, overrides, data_root)

    from eno.exploration import explore as explore_collection
    from eno.exploration.terminal import terminal_tables

    found = explore_collection(root, audio_roots=audio_root, track=track)
    for table in terminal_tables(found):
        console.print(table)
    _print(found.hints)

    from eno.exploration.html import write_html

    write_html(found, output or root.exploration)
    console.print(f"report  {shown(output or root.exploration)}")


def _prepare(config: Path | None, overrides: list[str] | None, data_root: Path | None) -> tuple[DataRoot, Settings]:
    from eno.data.layout import DataRoot

    chosen = settings(config, overrides, data_root=data_root)
    return DataRoot(chosen.data_root), chosen


def _print(lines: list[str]) -> None:
    for line in lines:
        console.print(shown(line))
