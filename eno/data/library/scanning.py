"""The tracks table: the audio files of a collection, their formats, tags and problems."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eno.audio.workers.handle import TaskDone, TaskFailed
from eno.audio.workers.pool import FILE_TIMEOUT_S, WorkerPool
from eno.cores import usable_cores
from eno.data.library.files import Track, find_tracks
from eno.data.library.outlines import cue_outlines, may_have_outline
from eno.data.library.rows import RowRequest, empty_row, read_rows
from eno.data.library.walking import IO_THREADS
from eno.data.tables import read_table, write_table
from eno.errors import CatalogueError
from eno.files import AudioRoots, printable

logger = logging.getLogger(__name__)

TRACK_SCHEMA = pa.schema([
    ("track_id", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()),
    ("artist", pa.string()), ("album_artist", pa.string()), ("album", pa.string()), ("title", pa.string()),
    ("track_number", pa.int32()), ("disc_number", pa.int32()), ("year", pa.int32()), ("genres", pa.list_(pa.string())),
    ("styles", pa.list_(pa.string())), ("moods", pa.list_(pa.string())), ("groupings", pa.list_(pa.string())),
    ("musicbrainz_recording_id", pa.string()), ("musicbrainz_release_id", pa.string()),
    ("musicbrainz_release_group_id", pa.string()), ("spotify_album_id", pa.string()),
    ("duration_s", pa.float64()), ("sample_rate", pa.int32()), ("channels", pa.int32()),
    ("container", pa.string()), ("codec", pa.string()),
    ("packet_hash", pa.string()), ("problem", pa.string()),
    ("start_s", pa.float64()), ("end_s", pa.float64()), ("cue_hash", pa.string()),
])  # fmt: skip
"""Columns of ``tracks.parquet``; DATA.md describes them."""

_NEEDED = ("track_id", "size", "mtime_ns", "problem")
_SAVE_S = 60.0  # how often a scan saves its progress
_FILES_PER_WORKER = 200  # fewer are read faster than another process starts
_IS_EARLIER = b"is_earlier"  # metadata of a table, in memory, by a version that did not look for tracks inside files
_ROOTS = b"audio_roots"  # metadata of the table: the folders of the latest scan


@dataclass(frozen=True)
class ScanReport:
    """Counts of a scan. ``found == added + changed + unchanged``."""

    found: int
    added: int
    changed: int  # files with another size or modification time than in the last scan
    unchanged: int
    removed: int
    problems: list[tuple[str, str]]  # track id and reason of every unreadable file, including known ones
    duplicates: list[list[str]]  # ids of tracks with equal packet hashes
    sections: int  # tracks that are sections of a file
    divided: int  # files with such sections
    unread: dict[str, str]  # folders that cannot be listed, and why
    left_out: dict[str, int]  # numbers of other files by suffix, and of folders that were not entered by name
    seconds: float


def scan(
    audio_roots: AudioRoots | Path | str | Iterable[Path | str],
    destination: Path,
    *,
    hash_audio: bool = False,
    workers: int | None = None,
    file_timeout_s: float = FILE_TIMEOUT_S,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScanReport:
    """Read the tags and formats of all audio files and write the tracks table.

    A file with a CUE sheet or chapters gets a row for each of its tracks, see `eno.data.library.outlines`. Only new and
    changed files are opened, and those that could not be read last time, in case the network was down. An interrupted
    scan is resumed by the next one from ``tracks.partial.parquet`` beside the table.

    Parameters
    ----------
    audio_roots : AudioRoots, path or several paths
        See `eno.data.library.files.find_tracks`. Tracks that may be in a folder that cannot be read or is not mounted
        are not removed from the table, see `eno.data.library.files.Tracks.deleted`.
    destination : Path
        The table, which is updated if it exists. It is not changed, and a `CatalogueError` raised, if it is damaged or
        belongs to another collection.
    hash_audio : bool
        Find duplicates by the `eno.data.library.packets.packet_hash` of every file, which reads all of it.
    workers : int, optional
        Maximum number of processes that read files; 0 reads them in this process, where a crash of a decoder ends the
        scan. By default up to `IO_THREADS`, depending on the number of files.
    file_timeout_s : float
        A file fails if reading it makes no progress for this long.
    on_progress : callable, optional
        Receives the number of files done and of all files.
    """
    began = time.monotonic()
    partial = destination.with_suffix(".partial.parquet")
    finished, unfinished = _earlier(destination), _unfinished(partial)
    known = pa.concat_tables([finished, unfinished])
    readable, hashed = _readable([finished, unfinished]), known["packet_hash"].is_valid().to_pylist()
    given = replace(AudioRoots.of(audio_roots), sections={})
    tracks, roots = find_tracks(given), sorted(printable(folder.resolve()) for folder in given.folders)
    report_progress = on_progress or (lambda done, total: None)
    now = {track.id: _stamp(track) for track in tracks}
    _check_same_collection(destination, finished, now, roots)
    outlines = cue_outlines(tracks)
    found = []
    for track in tracks:
        outline = outlines.get(track.id)
        rows = readable.get((track.id, now[track.id], None if outline is None else outline.cue_hash))
        found.append((track, outline, rows))
    todo = [
        RowRequest(track, None if rows is None else known.take(pa.array(rows)).to_pylist(), hash_audio, outline)
        for track, outline, rows in found
        if rows is None or (hash_audio and not all(hashed[row] for row in rows))
    ]
    files_to_read = {request.track.id for request in todo}
    kept = [row for track, _, rows in found if track.id not in files_to_read for row in rows or ()]
    results = _read_all(todo, workers, file_timeout_s)
    with closing(results):
        done = len(tracks) - len(todo)
        fresh = _collect(results, partial, unfinished, lambda n: report_progress(done + n, len(tracks)))
    # Compared with the finished table only, since an interrupted scan has reported nothing.
    before = dict(_files(finished))
    rows_of: dict[str, dict[str, int]] = defaultdict(dict)  # file → track → row
    for row, (track_id, (file, _)) in enumerate(zip(known["track_id"].to_pylist(), _files(known), strict=True)):
        if file not in now:
            rows_of[file][track_id] = row
    deleted = tracks.deleted(rows_of)
    kept += [row for file, rows in rows_of.items() if file not in deleted for row in rows.values()]
    table = pa.concat_tables([known.take(pa.array(kept, pa.int64())), fresh]).sort_by("track_id")
    write_table(destination, table.replace_schema_metadata({_ROOTS: json.dumps(roots)}))
    partial.unlink(missing_ok=True)
    unchanged = sum(before.get(track_id) == stamp for track_id, stamp in now.items() if stamp is not None)
    added = len(now.keys() - before.keys())
    sections = table.filter(pc.is_valid(table["start_s"]))["track_id"].to_pylist()
    bad = table.filter(pc.is_valid(table["problem"]))
    return ScanReport(
        found=len(tracks),
        added=added,
        changed=len(tracks) - added - unchanged,
        unchanged=unchanged,
        removed=len(deleted & before.keys()),
        problems=list(zip(bad["track_id"].to_pylist(), bad["problem"].to_pylist(), strict=True)),
        duplicates=_duplicates(table),
        sections=len(sections),
        divided=len({track_id.rpartition("#")[0] for track_id in sections}),
        unread={printable(folder): reason for folder, reason in tracks.unread.items()},
        left_out=dict(tracks.left_out.most_common()),
        seconds=time.monotonic() - began,
    )


def read_tracks(path: Path) -> pa.Table:
    """Read the tracks table, with the columns of `TRACK_SCHEMA`."""
    return _read_table(path, "Create it with: eno scan")


def _earlier(path: Path) -> pa.Table:
    if not path.is_file():
        return TRACK_SCHEMA.empty_table()
    origin = "Move or delete it to scan all files again."
    table = _read_table(path, origin).select(TRACK_SCHEMA.names)
    earlier = "start_s" not in pq.read_schema(path).names
    return table.replace_schema_metadata({_IS_EARLIER: b""} if earlier else None)


def _read_table(path: Path, origin: str) -> pa.Table:
    earlier_names = {"packet_hash": "audio_hash"}
    return read_table(path, schema=TRACK_SCHEMA, needed=_NEEDED, origin=origin, earlier_names=earlier_names)


def _check_same_collection(path: Path, table: pa.Table, now: Collection[str], roots: list[str]) -> None:
    """Raise a CatalogueError if the tracks of another folder would be removed from the table."""
    ids = [file for file, _ in _files(table)]
    here = sum(file in now for file in ids)
    if not now or not ids or 2 * here >= len(ids):
        return
    scanned = json.loads((pq.read_schema(path).metadata or {}).get(_ROOTS, "null"))
    if scanned == roots or (scanned is None and here):
        return
    absent = next(track_id for track_id in ids if track_id not in now)
    raise CatalogueError(
        f"{printable(path)}: lists {len(ids)} tracks of {', '.join(scanned or ['another folder'])}, for example "
        f"{absent}, and {len(ids) - here} of them are not in {', '.join(roots)}. To add a folder, name all of them: "
        "eno scan FOLDER FOLDER. For another collection, specify another --data-root. If the tracks were renamed, "
        "delete the table and scan again."
    )


def _unfinished(partial: Path) -> pa.Table:
    try:
        return _earlier(partial)
    except CatalogueError:  # the table only saves time
        logger.warning("%s is damaged and ignored; its files are read again.", printable(partial))
        return TRACK_SCHEMA.empty_table()


_Stamp = tuple[int, int] | None  # size and modification time, if the file has them


def _file_of(track_id: str, start_s: float | None) -> str:
    """Return the path of a track's file below its audio folder, which is its id unless it is a section of a file."""
    return track_id if start_s is None else track_id.rpartition("#")[0]


def _files(table: pa.Table) -> list[tuple[str, _Stamp]]:
    """Return the file of each row and its stamp."""
    ids, starts_s, *stamps = (table[name].to_pylist() for name in ("track_id", "start_s", "size", "mtime_ns"))
    return [(_file_of(*names), stamp) for *names, stamp in zip(ids, starts_s, zip(*stamps, strict=True), strict=True)]


def _readable(tables: Sequence[pa.Table]) -> dict[tuple[str, _Stamp, str | None], Sequence[int]]:
    """Map every file that need not be read again, with its stamp and CUE sheet, to its rows in the joined tables.

    Earlier versions did not read moods, and did not look for the tracks inside files.
    """
    latest: dict[str, tuple[_Stamp, str | None, Sequence[int]] | None] = {}
    first = 0
    for table in tables:
        fine = pc.and_(table["problem"].is_null(), table["moods"].is_valid())
        if _IS_EARLIER in (table.schema.metadata or {}):
            fine = pc.and_(fine, pc.invert(pc.fill_null(may_have_outline(table["container"]), True)))
        columns = table["cue_hash"].to_pylist(), fine.to_pylist()
        rows = zip(range(first, first + len(table)), _files(table), *columns, strict=True)
        for file, several in groupby(rows, key=lambda row: row[1][0]):
            (row, (_, stamp), cue_hash, is_fine), *more = several
            numbers = (row, *(one[0] for one in more))
            latest[file] = (stamp, cue_hash, numbers) if is_fine and all(one[-1] for one in more) else None
        first += len(table)
    return {(file, one[0], one[1]): one[2] for file, one in latest.items() if one is not None}


def _stamp(track: Track) -> _Stamp:
    return None if track.size is None or track.mtime_ns is None else (track.size, track.mtime_ns)


def _read_all(
    requests: list[RowRequest], workers: int | None, file_timeout_s: float
) -> Generator[list[dict[str, Any]], None, None]:
    """Yield the rows of each file in the order in which they are finished."""
    if workers is None:
        workers = min(IO_THREADS, max(4, 2 * usable_cores()), -(-len(requests) // _FILES_PER_WORKER))
    if workers < 1:
        yield from map(read_rows, requests)
        return
    # A decoder that crashes or hangs affects only its own file.
    with WorkerPool(read_rows, workers=workers, timeout_s=file_timeout_s) as pool:
        for event in pool.run(requests):
            if isinstance(event, TaskDone):
                yield event.result
            elif isinstance(event, TaskFailed):
                yield [empty_row(event.task.track) | {"problem": printable(event.reason)}]


def _collect(
    results: Iterable[list[dict[str, Any]]], partial: Path, earlier: pa.Table, report: Callable[[int], None]
) -> pa.Table:
    """Collect rows, and save them periodically and if an error or Ctrl-C ends the scan."""
    rows: list[dict[str, Any]] = []

    def save() -> None:
        write_table(partial, pa.concat_tables([earlier, pa.Table.from_pylist(rows, schema=TRACK_SCHEMA)]))

    saved = time.monotonic()
    try:
        for done, of_file in enumerate(results, 1):
            rows += of_file
            report(done)
            if time.monotonic() - saved > _SAVE_S:
                save()
                saved = time.monotonic()
    except BaseException:
        if rows:
            save()
        raise
    return pa.Table.from_pylist(rows, schema=TRACK_SCHEMA)


def _duplicates(table: pa.Table) -> list[list[str]]:
    hashed = table.filter(pc.is_valid(table["packet_hash"]))
    groups = defaultdict(list)
    for track_id, digest in zip(hashed["track_id"].to_pylist(), hashed["packet_hash"].to_pylist(), strict=True):
        groups[digest].append(track_id)
    return [ids for ids in groups.values() if len(ids) > 1]
