"""The tracks table: the audio files of a collection, their formats, tags and problems."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eno.audio.worker_handle import TaskDone, TaskFailed
from eno.audio.worker_pool import FILE_TIMEOUT_S, WorkerPool
from eno.cores import usable_cores
from eno.data.library.files import Track, find_tracks
from eno.data.library.rows import RowRequest, empty_row, read_row
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
])  # fmt: skip
"""Columns of ``tracks.parquet``; DATA.md describes them."""

_NEEDED = ("track_id", "size", "mtime_ns", "problem")
_SAVE_S = 60.0  # how often a scan saves its progress
_FILES_PER_WORKER = 200  # fewer are read faster than another process starts
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

    Only new and changed files are opened, and those that could not be read last time, in case the network was down. An
    interrupted scan is resumed by the next one from ``tracks.partial.parquet`` beside the table.

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
    readable, hashed = _readable(known), known["packet_hash"].is_valid().to_pylist()
    given = AudioRoots.of(audio_roots)
    tracks, roots = find_tracks(given), sorted(printable(folder.resolve()) for folder in given.folders)
    report_progress = on_progress or (lambda done, total: None)
    now = {track.id: _stamp(track) for track in tracks}
    _check_same_collection(destination, finished, now, roots)
    found = [(track, readable.get((track.id, now[track.id]))) for track in tracks]
    todo = [
        RowRequest(track, None if row is None else known.slice(row, 1).to_pylist()[0], hash_audio)
        for track, row in found
        if row is None or (hash_audio and not hashed[row])
    ]
    kept = [row for _, row in found if row is not None and (hashed[row] or not hash_audio)]
    results = _read_all(todo, workers, file_timeout_s)
    with closing(results):
        fresh = _collect(results, partial, unfinished, lambda n: report_progress(len(kept) + n, len(tracks)))
    # Compared with the finished table only, since an interrupted scan has reported nothing.
    before = dict(_files(finished))
    missing = {track_id: row for row, (track_id, _) in enumerate(_files(known)) if track_id not in now}
    deleted = tracks.deleted(missing)
    kept += [row for track_id, row in missing.items() if track_id not in deleted]
    table = pa.concat_tables([known.take(pa.array(kept, pa.int64())), fresh]).sort_by("track_id")
    write_table(destination, table.replace_schema_metadata({_ROOTS: json.dumps(roots)}))
    partial.unlink(missing_ok=True)
    unchanged = sum(before.get(track_id) == stamp for track_id, stamp in now.items() if stamp is not None)
    added = len(now.keys() - before.keys())
    bad = table.filter(pc.is_valid(table["problem"]))
    return ScanReport(
        found=len(tracks),
        added=added,
        changed=len(tracks) - added - unchanged,
        unchanged=unchanged,
        removed=len(deleted & before.keys()),
        problems=list(zip(bad["track_id"].to_pylist(), bad["problem"].to_pylist(), strict=True)),
        duplicates=_duplicates(table),
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
    return _read_table(path, origin).select(TRACK_SCHEMA.names)


def _read_table(path: Path, origin: str) -> pa.Table:
    earlier_names = {"packet_hash": "audio_hash"}
    return read_table(path, schema=TRACK_SCHEMA, needed=_NEEDED, origin=origin, earlier_names=earlier_names)


def _check_same_collection(path: Path, table: pa.Table, now: Collection[str], roots: list[str]) -> None:
    """Raise a CatalogueError if the tracks of another folder would be removed from the table."""
    ids = table["track_id"].to_pylist()
    here = sum(track_id in now for track_id in ids)
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


def _files(table: pa.Table) -> list[tuple[str, _Stamp]]:
    columns = [table[name].to_pylist() for name in ("track_id", "size", "mtime_ns")]
    return [(track_id, (size, mtime_ns)) for track_id, size, mtime_ns in zip(*columns, strict=True)]


def _readable(table: pa.Table) -> dict[tuple[str, _Stamp], int]:
    """Map every file that need not be read again to its last row. Earlier versions did not read moods."""
    fine = pc.and_(table["problem"].is_null(), table["moods"].is_valid()).to_pylist()
    return {file: row for row, file in enumerate(_files(table)) if fine[row]}


def _stamp(track: Track) -> _Stamp:
    return None if track.size is None or track.mtime_ns is None else (track.size, track.mtime_ns)


def _read_all(
    requests: list[RowRequest], workers: int | None, file_timeout_s: float
) -> Generator[dict[str, Any], None, None]:
    """Yield the rows of files in the order in which they are finished."""
    if workers is None:
        workers = min(IO_THREADS, max(4, 2 * usable_cores()), -(-len(requests) // _FILES_PER_WORKER))
    if workers < 1:
        yield from map(read_row, requests)
        return
    # A decoder that crashes or hangs affects only its own file.
    with WorkerPool(read_row, workers=workers, timeout_s=file_timeout_s) as pool:
        for event in pool.run(requests):
            if isinstance(event, TaskDone):
                yield event.result
            elif isinstance(event, TaskFailed):
                yield empty_row(event.task.track) | {"problem": printable(event.reason)}


def _collect(
    results: Iterable[dict[str, Any]], partial: Path, earlier: pa.Table, report: Callable[[int], None]
) -> pa.Table:
    """Collect rows, and save them periodically and if an error or Ctrl-C ends the scan."""
    rows: list[dict[str, Any]] = []

    def save() -> None:
        write_table(partial, pa.concat_tables([earlier, pa.Table.from_pylist(rows, schema=TRACK_SCHEMA)]))

    saved = time.monotonic()
    try:
        for row in results:
            rows.append(row)
            report(len(rows))
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
