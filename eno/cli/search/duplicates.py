"""Find files of the same recording: ``duplicates``."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.commands import SEARCH, command
from eno.cli.options import (
    AudioRootOption,
    IndexOption,
    JsonOption,
    LibraryOptions,
    StoreOption,
    prepare_output,
    print_failure,
    print_json,
    shown,
    warn,
)
from eno.console import console, progress
from eno.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from eno.duplicates.copies import Member
    from eno.duplicates.find import Duplicates
    from eno.library import Library
    from eno.similarity.index.index import SimilarityIndex

app = typer.Typer()

_LISTED = 10


@command(app, panel=SEARCH, former_argument="--store")
def duplicates(
    where: LibraryOptions,
    store: StoreOption = None,
    audio_root: AudioRootOption = None,
    index: IndexOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write all pairs to this .csv or .json file")
    ] = None,
    neighbours: Annotated[int | None, typer.Option(min=0, help="Nearest neighbours per track to compare …")] = None,
    min_cosine: Annotated[float | None, typer.Option(min=-1, max=1, help="… above this cosine similarity")] = None,
    nearest: Annotated[int | None, typer.Option(min=0, help="Nearest neighbours to compare at any similarity")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find files of the same recording in any format, and recommend which one to keep. Nothing is deleted."""
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise ConfigError(f"--out {shown(out)}: the file name must end in .csv or .json.")
    library = where.open(store=store, audio_root=audio_root)
    roots = library.present_audio_roots
    if audio_root and roots is None:
        raise AudioError(str(library.audio_roots), "is not a folder; specify the one that was embedded")
    if out is not None:
        prepare_output(out)

    from eno.duplicates.find import MIN_COSINE, NEAREST, NEIGHBOURS, find_duplicates

    with _index(library, index) as near, progress("duplicates") as show:
        found = find_duplicates(
            near,
            audio_roots=roots,
            tracks=library.tracks if library.data.tracks.is_file() else None,
            neighbours=NEIGHBOURS if neighbours is None else neighbours,
            min_cosine=MIN_COSINE if min_cosine is None else min_cosine,
            nearest=NEAREST if nearest is None else nearest,
            on_progress=lambda stage, done, total: show(done, total, stage),
        )
    if out is not None:
        _write(found, out)
    if as_json:
        for row in found.rows():
            print_json(row)
    else:
        _print(found, compared=roots is not None)


@contextmanager
def _index(library: Library, folder: Path | None) -> Iterator[SimilarityIndex]:
    """Open an up-to-date index. That of a remote store is temporary, since an index must be on a local disk."""
    from eno.similarity.index.build import build_index

    store = library.store()
    if folder is None and store.folder.local is None:
        with tempfile.TemporaryDirectory(prefix="eno-index-") as scratch, progress("indexing") as show:
            yield build_index(store, scratch, on_progress=show)
        return
    with progress("indexing") as show:
        index = library.index(folder=folder, current=folder is None, on_progress=show)
    yield index


def _write(found: Duplicates, out: Path) -> None:
    from eno.files import replace_file, write_json

    if out.suffix.lower() == ".json":
        write_json(out, found.to_dict())
        return
    rows = found.rows()
    names = list(rows[0]) if rows else ["group", "first", "second", "decision", "keep"]
    with replace_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)


def _print(found: Duplicates, *, compared: bool) -> None:
    from eno.duplicates.copies import DIFFERENT, SAME, UNCONFIRMED, why_kept

    for group in found.groups:
        console.print(f"[bold]keep[/]  {shown(group[0].track_id)}  ({shown(why_kept(group))})")
        for member in group[1:]:
            console.print(f"      {shown(member.track_id)}  {shown(_reason(member))}")
    unconfirmed = [pair for pair in found.pairs if pair.decision == UNCONFIRMED]
    for pair in unconfirmed[:_LISTED] if compared else []:
        console.print(
            f"[yellow]?[/]     {shown(pair.first)} and {shown(pair.second)}: {shown(pair.likeness.reason)} "
            f"(cosine {pair.cosine:.2f})"
        )
    for track_id, reason in found.problems.items():
        print_failure(track_id, reason)
    counts = ", ".join(f"{found.count(decision)} {decision}" for decision in (SAME, DIFFERENT, UNCONFIRMED))
    console.print(f"{found.tracks} tracks, {len(found.pairs)} pairs compared: {counts}")
    console.print(f"groups: {len(found.groups)}, redundant files: {sum(len(group) - 1 for group in found.groups)}")
    if not compared and found.pairs:
        warn("The audio was not compared. Specify its folder with --audio-root to confirm the pairs.")


def _reason(member: Member) -> str:
    if member.pair is None:
        return member.behind
    return f"score {member.pair.likeness.score:.3f}, {member.pair.likeness.overlap:.0%} overlap; {member.behind}"
