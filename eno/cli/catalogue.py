"""Commands for the collection: ``scan``, ``match``, ``labels``, ``split``, ``explore``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from eno.cli.commands import COLLECTION, command
from eno.cli.importing import import_lute_albums
from eno.cli.options import (
    AudioRootOption,
    ExcludeOption,
    FilesOption,
    FileTimeoutOption,
    JsonOption,
    LibraryOptions,
    MinCoverageOption,
    check_coverage,
    check_walk,
    prepare_output,
    print_json,
    print_lines,
    report_walk,
    shown,
    warn,
)
from eno.console import console, errors, progress
from eno.errors import ConfigError
from eno.files import AudioRoots
from eno.library import Library

app = typer.Typer()


@command(app, panel=COLLECTION)
def scan(
    where: LibraryOptions,
    folder: Annotated[list[Path] | None, typer.Argument(help="Audio folders (default: those of the library)")] = None,
    hash_audio: Annotated[
        bool, typer.Option("--hash", help="Read all audio to find files with identical content")
    ] = False,
    exclude: ExcludeOption = None,
    files: FilesOption = None,
    file_timeout: FileTimeoutOption = 120,
    min_coverage: MinCoverageOption = 0.99,
    as_json: JsonOption = False,
) -> None:
    """Read the tags, duration and format of every audio file. Only new and changed files are opened."""
    library = where.open(audio_root=folder, exclude=exclude, files=files)
    _scan(library, hash_audio=hash_audio, file_timeout_s=file_timeout, min_coverage=min_coverage, as_json=as_json)


@command(app, panel=COLLECTION)
def match(
    where: LibraryOptions,
    review: Annotated[Path | None, typer.Option(help="CSV file for your decisions (default: match_review.csv)")] = None,
    mbids: Annotated[
        Path | None, typer.Option(help="CSV file with the columns mbid and file_name, for tags with MusicBrainz ids")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="PATH", help="Show the evidence for this folder or file; change nothing")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the album of every track. Uncertain matches go to a CSV file for you to decide."""
    library = where.open()
    if explain is None:
        _match(library, review=review, mbids=mbids, as_json=as_json)
    else:
        _explain_match(library, explain, review=review, mbids=mbids, as_json=as_json)


@command(app, panel=COLLECTION, former={"--limit": "--top"})
def labels(
    where: LibraryOptions,
    all_albums: Annotated[bool, typer.Option("--all-albums", help="Also count albums without audio")] = False,
    top: Annotated[int, typer.Option("--top", min=0, help="Number of rows per table")] = 15,
    roll_up: Annotated[
        bool, typer.Option("--roll-up", help="Also count albums per top-level label of the hierarchy")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose the labels that are frequent enough to train on, and show why others are dropped."""
    _labels(where.open(), all_albums=all_albums, top=top, roll_up=roll_up, as_json=as_json)


@command(app, panel=COLLECTION)
def split(
    where: LibraryOptions,
    official: Annotated[Path | None, typer.Option(help="Use a published split: a folder with its files")] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Use a published split although it shares artists or songs")
    ] = False,
    anew: Annotated[bool, typer.Option("--new", help="Split all tracks again, also those that have a split")] = False,
    as_json: JsonOption = False,
) -> None:
    """Split the tracks into training, validation and test sets without shared artists, and check for leaks.

    Tracks stay in the split that they have; new ones join the split of their artists.
    """
    if allow_leaks and official is None:
        raise ConfigError("--allow-leaks is for published splits: --official FOLDER. Splits made by eno never leak.")
    _split(where.open(), official=official, allow_leaks=allow_leaks, anew=anew, as_json=as_json)


@command(app, panel=COLLECTION, former={"--output": "--out"})
def explore(
    where: LibraryOptions,
    track: Annotated[str | None, typer.Option(help="Track whose spectrogram is shown (default: the first one)")] = None,
    audio_root: AudioRootOption = None,
    out: Annotated[Path | None, typer.Option(help="HTML file (default: processed/exploration.html)")] = None,
) -> None:
    """Summarise the collection and its problems, in the terminal and as one HTML file."""
    from eno.exploration import explore as summarise
    from eno.exploration.terminal import terminal_tables

    library = where.open(audio_root=audio_root)
    place = out or library.data.exploration
    prepare_output(place)
    track = None if track is None else library.find_track(track)
    found = summarise(library.data, audio_roots=_explored(library), track=track)
    for table in terminal_tables(found):
        console.print(table)
    print_lines(found.hints)

    from eno.exploration.html import write_html  # needs matplotlib, which the tables above do not

    write_html(found, place)
    console.print(f"report  {shown(place)}")


def _explored(library: Library) -> AudioRoots | None:
    return library.audio_roots if library.settings.audio_roots else None


def prepare(library: Library) -> None:
    """Run those steps before training that were not run yet: import, scan, match, labels, split."""
    data = library.data
    if (data.splits / "train.parquet").is_file() and data.label_encoder.is_file():
        return
    steps: list[tuple[Path, Callable[[Library], None]]] = [
        (data.albums, import_lute_albums), (data.tracks, _scan), (data.matches, _match), (data.label_encoder, _labels),
        (data.splits / "train.parquet", _split),
    ]  # fmt: skip
    if not data.albums.is_file() and library.settings.lute is None:
        raise ConfigError(
            "Training needs labels such as genres, and none have been imported. Import them: "
            "eno import lute lute.db; or, after eno scan, eno import tags, eno import csv FILE or eno import folders"
        )
    for made, run in steps:
        if not made.is_file():
            errors.print(f"[dim]{run.__name__.strip('_').partition('_')[0]}: not run yet; running it now[/]")
            run(library)


def _scan(
    library: Library,
    *,
    hash_audio: bool = False,
    file_timeout_s: float = 120,
    min_coverage: float = 0,
    as_json: bool = False,
) -> None:
    from eno.data.library import scanning
    from eno.summary import scan_lines

    with progress("scanning") as show:
        report = scanning.scan(
            library.audio_roots,
            library.data.tracks,
            hash_audio=hash_audio,
            file_timeout_s=file_timeout_s,
            on_progress=show,
        )
    if as_json:
        print_json(asdict(report))
    else:
        print_lines(scan_lines(report))
        report_walk(report.unread, report.left_out)
        console.print(f"tracks  {shown(library.data.tracks)}")
    failed = len(report.problems)
    message = f"{failed} of {report.found} files could not be read. The next scan tries them again."
    check_coverage(failed, report.found, min_coverage, message)
    check_walk(library, report.found, report.unread)


def _match(library: Library, *, review: Path | None = None, mbids: Path | None = None, as_json: bool = False) -> None:
    from eno.data.matching import match as match_tracks
    from eno.data.matching import read_mbids
    from eno.summary import match_lines

    data, path = library.data, review or library.data.match_review
    tracks, albums = library.tracks, library.albums
    known = read_mbids(mbids) if mbids else None
    imported = _imported(library)
    with progress("matching") as show:
        report = match_tracks(
            tracks, albums, data.matches, path, album_of_mbid=known, imported=imported, on_progress=show
        )
    if as_json:
        print_json({**asdict(report), "review": str(path)})
        return
    print_lines(match_lines(report, path))
    console.print(f"matches {shown(data.matches)}")


def _imported(library: Library) -> dict[str, str]:
    """Return the albums that were imported with their files, by track."""
    from eno.data.imports.items import read_track_labels

    own = read_track_labels(library.data.track_labels)
    return dict(zip(own["track_id"].to_pylist(), own["file_name"].to_pylist(), strict=True))


def _explain_match(library: Library, path: str, *, review: Path | None, mbids: Path | None, as_json: bool) -> None:
    from eno.data.matching import read_mbids
    from eno.data.matching.explaining import explain
    from eno.data.matching.matcher import without_imported
    from eno.summary import explanation_table

    known = read_mbids(mbids) if mbids else None
    for root in library.audio_roots.folders:
        if (place := Path(path).absolute()).is_relative_to(root.absolute()):
            path = place.relative_to(root.absolute()).as_posix()
    albums = without_imported(library.albums, _imported(library))
    for one in explain(library.tracks, albums, path, review or library.data.match_review, known):
        if as_json:
            print_json(asdict(one))
            continue
        console.print(explanation_table(one))
        decided = one.decision
        print_lines(
            [f"{decided.decision}{': ' if decided.file_name else ''}{decided.file_name or ''} ({decided.reason})"]
        )


def _labels(
    library: Library, *, all_albums: bool = False, top: int = 0, roll_up: bool = False, as_json: bool = False
) -> None:
    from eno.data.catalogue import choose_labels
    from eno.data.labels.hierarchy import Hierarchy, load_aliases
    from eno.data.labels.vocabulary import roll_up as sum_up
    from eno.summary import label_lines, label_table

    data, limits = library.data, library.settings.labels
    hierarchy = Hierarchy.load(limits.hierarchy) if limits.hierarchy else None
    if roll_up and hierarchy is None:
        raise ConfigError("--roll-up needs a hierarchy: --set labels.hierarchy=FILE")
    encoder, counts = choose_labels(
        data,
        min_albums=limits.min_albums,
        min_artists=limits.min_artists,
        secondary_weight=limits.secondary_weight,
        aliases=load_aliases(limits.aliases) if limits.aliases else None,
        hierarchy=hierarchy,
        all_albums=all_albums,
    )
    if as_json:
        for row in counts.to_pylist():
            print_json(row)
        return
    for kept in (True, False) if top else ():
        console.print(label_table(counts, kept=kept, limit=top))
    if roll_up and hierarchy is not None:
        print_lines([f"{name}: {albums} albums, {below} labels" for name, albums, below in sum_up(counts, hierarchy)])
    print_lines(label_lines(encoder, counts))
    console.print(f"labels  {shown(data.label_encoder)}, {shown(data.label_counts)}")


def _split(
    library: Library,
    *,
    official: Path | None = None,
    allow_leaks: bool = False,
    anew: bool = False,
    as_json: bool = False,
) -> None:
    from eno.data.catalogue import split_tracks
    from eno.summary import split_lines

    options = library.settings.split.model_dump()
    report, unknown = split_tracks(library.data, official=official, allow_leaks=allow_leaks, anew=anew, **options)
    if unknown:
        warn(f"{len(unknown)} track ids in {official} are not in the collection, for example {unknown[0]}")
    if as_json:
        print_json(asdict(report))
        return
    print_lines(split_lines(report))
    console.print(f"splits  {shown(library.data.splits)}")
