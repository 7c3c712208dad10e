"""The tracks table: the audio files of a collection, their formats, tags and problems."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eno.audio.reading import probe
from eno.data.library.files import IO_THREADS, Track, find_tracks
from eno.data.library.packets import packet_hash
from eno.data.library.tags import read_tags
from eno.data.tables import read_table, write_table
from eno.errors import AudioError, CatalogueError
from eno.files import AudioRoots, printable

logger = logging.getLogger(__name__)

TRACK_SCHEMA = pa.schema([
    ("track_id", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()),
    ("artist", pa.string()), ("album_artist", pa.string()), ("album", pa.string()), ("title", pa.string()),
    ("track_number", pa.int32()), ("disc_number", pa.int32()), ("year", pa.int32()), ("genres", pa.list_(pa.string())),
    ("musicbrainz_recording_id", pa.string()), ("musicbrainz_release_id", pa.string()),
    ("musicbrainz_release_group_id", pa.string()), ("spotify_album_id", pa.string()),
    ("duration_s", pa.float64()), ("sample_rate", pa.int32()), ("channels", pa.int32()),
    ("container", pa.string()), ("codec", pa.string()),
    ("packet_hash", pa.string()), ("problem", pa.string()),
])  # fmt: skip
"""Columns of ``tracks.parquet``; DATA.md describes them."""

_NEEDED = ("track_id", "size", "mtime_ns", "problem")
_SAVE_S = 60.0  # how often a scan saves its progress


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
    seconds: float


def scan(
    audio_roots: AudioRoots | Path | str | Iterable[Path | str],
    destination: Path,
    *,
    hash_audio: bool = False,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScanReport:
    """Read the tags and formats of all audio files and write the tracks table.

    Only new and changed files are opened, and those that could not be read last time, in case the network was down. An
    interrupted scan is resumed by the next one from ``tracks.partial.parquet`` beside the table.

    Parameters
    ----------
    audio_roots : AudioRoots, path or several paths
        See `eno.data.library.files.find_tracks`. If one of them contains no audio files, it may not be mounted, and no
        track is removed from the table.
    destination : Path
        The table, which is updated if it exists; a damaged one raises a `CatalogueError` and is not changed.
    hash_audio : bool
        Find duplicates by the `eno.data.library.packets.packet_hash` of every file, which reads all of it.
    workers : int, optional
        Number of threads; `IO_THREADS` by default.
    on_progress : callable, optional
        Receives the number of files done and of all files.
    """
    began = time.monotonic()
    partial = destination.with_suffix(".partial.parquet")
    finished, unfinished = _earlier(destination), _unfinished(partial)
    known = pa.concat_tables([finished, unfinished])
    readable, hashed = _readable(known), known["packet_hash"].is_valid().to_pylist()
    tracks = find_tracks(audio_roots)
    report_progress = on_progress or (lambda done, total: None)

    def read(track: Track, stamp: _Stamp, row: int | None) -> dict[str, Any]:
        if row is None:
            return _read(track, stamp, hash_audio=hash_audio)
        return _with_hash(known.slice(row, 1).to_pylist()[0], track)

    with ThreadPoolExecutor(workers or IO_THREADS, thread_name_prefix="scan") as pool:
        try:
            stamps = [(track, _stamp(track)) for track in tracks]
            found = [(track, stamp, readable.get((track.id, stamp))) for track, stamp in stamps]
            todo = [file for file in found if (row := file[2]) is None or (hash_audio and not hashed[row])]
            kept = [row for _, _, row in found if row is not None and (hashed[row] or not hash_audio)]
            results = pool.map(lambda file: read(*file), todo)
            fresh = _collect(results, partial, unfinished, lambda n: report_progress(len(kept) + n, len(tracks)))
        finally:
            pool.shutdown(cancel_futures=True)
    # Compared with the finished table only, since an interrupted scan has reported nothing.
    before, now = dict(_files(finished)), {track.id: stamp for track, stamp, _ in found}
    removed = before.keys() - now.keys()
    missing = {track_id: row for row, (track_id, _) in enumerate(_files(known)) if track_id not in now}
    if missing and tracks.empty_roots:
        tracks.warn_of_empty_roots()
        kept += missing.values()
        removed = set()
    table = pa.concat_tables([known.take(pa.array(kept, pa.int64())), fresh]).sort_by("track_id")
    write_table(destination, table)
    partial.unlink(missing_ok=True)
    unchanged = sum(before.get(track_id) == stamp for track_id, stamp in now.items() if stamp is not None)
    added = len(now.keys() - before.keys())
    bad = table.filter(pc.is_valid(table["problem"]))
    return ScanReport(
        found=len(tracks),
        added=added,
        changed=len(tracks) - added - unchanged,
        unchanged=unchanged,
        removed=len(removed),
        problems=list(zip(bad["track_id"].to_pylist(), bad["problem"].to_pylist(), strict=True)),
        duplicates=_duplicates(table),
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
    """Map every readable file to its last row."""
    fine = table["problem"].is_null().to_pylist()
    return {file: row for row, file in enumerate(_files(table)) if fine[row]}


def _stamp(track: Track) -> _Stamp:
    return None if track.size is None or track.mtime_ns is None else (track.size, track.mtime_ns)


def _read(track: Track, stamp: _Stamp, *, hash_audio: bool) -> dict[str, Any]:
    size, mtime_ns = stamp or (None, None)
    row: dict[str, Any] = {"track_id": track.id, "size": size, "mtime_ns": mtime_ns}
    with _problem_recorded(row, track):
        info = probe(track.path, listen=False)
        row |= {name: getattr(info, name) for name in ("duration_s", "sample_rate", "channels", "container", "codec")}
        row |= vars(read_tags(track.path))
    return _with_hash(row, track) if hash_audio and "problem" not in row else row


def _with_hash(row: dict[str, Any], track: Track) -> dict[str, Any]:
    with _problem_recorded(row, track):
        row["packet_hash"] = packet_hash(track.path)
    return row


@contextmanager
def _problem_recorded(row: dict[str, Any], track: Track) -> Iterator[None]:
    """Record in the row why its file cannot be read, so that one bad file does not stop the scan."""
    try:
        yield
    except AudioError as error:
        row["problem"] = printable(error.reason)  # may contain a name that is not UTF-8
    except Exception as error:
        logger.debug("%s", printable(track.path), exc_info=True)
        reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
        row["problem"] = printable(f"cannot be read ({reason})")


def _collect(
    results: Iterator[dict[str, Any]], partial: Path, earlier: pa.Table, report: Callable[[int], None]
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
