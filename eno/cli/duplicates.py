"""The same recording in several files: ``duplicates``."""

from __future__ import annotations

import csv
import errno
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.options import ConfigOption, DataRootOption, SetOption, StoreArgument, settings, shown
from eno.console import console, progress
from eno.errors import AudioError, ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from eno.data.layout import DataRoot
    from eno.duplicates.copies import Member
    from eno.duplicates.find import Duplicates
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.similarity.index.index import SimilarityIndex

app = typer.Typer()

_LISTED = 10


@app.command()
def duplicates(
    store: StoreArgument,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that track ids are relative to (default: DATA_ROOT/raw/audio)")
    ] = None,
    index: Annotated[Path | None, typer.Option(help="Index of tracks (default: the one in the store)")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all pairs as .csv, or everything as .json")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON")] = False,
    neighbours: Annotated[int | None, typer.Option(min=0, help="Nearest tracks of each that are compared …")] = None,
    min_cosine: Annotated[float | None, typer.Option(min=-1, max=1, help="… if they are at least so near")] = None,
    nearest: Annotated[int | None, typer.Option(min=0, help="Those compared however far they are")] = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Find files of the same recording, whatever their format, and say which to keep; nothing is deleted."""
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise ConfigError(f"--out {shown(out)}: name a file that ends in .csv or .json.")
    if out is not None:
        _prepare(out)
    chosen = settings(config, overrides, data_root=data_root)

    from eno.data.layout import DataRoot
    from eno.duplicates.find import MIN_COSINE, NEAREST, NEIGHBOURS, find_duplicates
    from eno.embeddings.store.embedding_store import EmbeddingStore

    root, opened = DataRoot(chosen.data_root), EmbeddingStore.open(store)
    if audio_root is not None and not audio_root.is_dir():
        raise AudioError(audio_root, "is not a folder; expected the one that was embedded")
    if audio_root is None and root.audio.is_dir():
        audio_root = root.audio
    with _index(opened, index) as near, progress("duplicates") as show:
        found = find_duplicates(
            near,
            audio_roots=audio_root,
            tracks=_tracks(root),
            neighbours=NEIGHBOURS if neighbours is None else neighbours,
            min_cosine=MIN_COSINE if min_cosine is None else min_cosine,
            nearest=NEAREST if nearest is None else nearest,
            on_progress=lambda stage, done, total: show(done, total, stage),
        )
    if out is not None:
        _write(found, out)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        _print(found, listened=audio_root is not None)


@contextmanager
def _index(store: EmbeddingStore, folder: Path | None) -> Iterator[SimilarityIndex]:
    """Open an up-to-date index of the store; the index of a remote store is temporary."""
    from eno.similarity.index.build import build_index, open_or_build

    if folder is None and store.folder.local is None:  # there is no disk to keep an index on
        with tempfile.TemporaryDirectory(prefix="eno-index-") as scratch, progress("indexing") as show:
            yield build_index(store, scratch, on_progress=show)
        return
    with progress("indexing") as show:
        index = open_or_build(store, folder, current=True, on_progress=show)
    yield index


def _tracks(root: DataRoot) -> pa.Table | None:
    from eno.data.library.scanning import read_tracks

    return read_tracks(root.tracks) if root.tracks.is_file() else None


def _prepare(out: Path) -> None:
    """Create the folder of an output file, and make sure that it can be written, before a long computation."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    except OSError as error:
        raise ConfigError(f"--out {shown(out)}: cannot be written ({error.strerror}). Choose another file.") from error


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


def _print(found: Duplicates, *, listened: bool) -> None:
    from eno.duplicates.copies import DIFFERENT, SAME, UNCONFIRMED, why_kept

    for group in found.groups:
        console.print(f"[bold]keep[/]  {shown(group[0].track_id)}  ({shown(why_kept(group))})")
        for member in group[1:]:
            console.print(f"      {shown(member.track_id)}  {shown(_said(member))}")
    unsure = [pair for pair in found.pairs if pair.decision == UNCONFIRMED]
    for pair in unsure[:_LISTED] if listened else []:
        console.print(
            f"[yellow]?[/]     {shown(pair.first)} and {shown(pair.second)}: {shown(pair.likeness.reason)} "
            f"(cosine {pair.cosine:.2f})"
        )
    for track_id, reason in found.problems.items():
        console.print(f"[red]failed[/]  {shown(track_id)}: {shown(reason)}")
    counts = ", ".join(f"{found.count(decision)} {decision}" for decision in (SAME, DIFFERENT, UNCONFIRMED))
    console.print(f"{found.tracks} tracks, {len(found.pairs)} pairs compared: {counts}")
    console.print(f"{len(found.groups)} groups with {sum(len(group) - 1 for group in found.groups)} files to spare")
    if not listened and found.pairs:
        console.print("[yellow]Not listened to: name the audio with --audio-root, and pairs are confirmed.[/]")


def _said(member: Member) -> str:
    if member.pair is None:
        return member.behind
    return f"score {member.pair.likeness.score:.3f}, {member.pair.likeness.overlap:.0%} of the sound; {member.behind}"
