"""The audio library as a table: what files there are, what they say of themselves, what is wrong with them."""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eno.data.audio import probe
from eno.data.library import IO_THREADS, Track, find_tracks
from eno.data.tables import read_table, write_table
from eno.data.tags import read_tags
from eno.errors import AudioError

TRACK_SCHEMA = pa.schema(
    [
        ("track_id", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("artist", pa.string()),
        ("album_artist", pa.string()),
        ("album", pa.string()),
        ("title", pa.string()),
        ("track_number", pa.int32()),
        ("disc_number", pa.int32()),
        ("year", pa.int32()),
        ("genres", pa.list_(pa.string())),
        ("musicbrainz_recording_id", pa.string()),
        ("musicbrainz_release_id", pa.string()),
        ("musicbrainz_release_group_id", pa.string()),
        ("spotify_album_id", pa.string()),
        ("duration_s", pa.float64()),
        ("sample_rate", pa.int32()),
        ("channels", pa.int32()),
        ("container", pa.string()),
        ("codec", pa.string()),
        ("audio_hash", pa.string()),
        ("problem", pa.string()),
    ]
)
"""Columns of ``tracks.parquet``; DATA.md says what each one means."""

_SAVE_S = 60.0
"""So much work at most is lost when a scan is killed."""


@dataclass(frozen=True)
class ScanReport:
    """How a scan went. ``found == added + changed + unchanged``.

    Attributes
    ----------
    found : int
        Audio files in the folder.
    added, changed, unchanged : int
        Files that are new, differ in size or time of change, or do neither.
    removed : int
        Files that are gone since the last scan.
    problems : list of tuple of str
        Track id and reason of every file that cannot be read, also of those known before.
    duplicates : list of list of str
        Track ids with the same audio, where audio was hashed.
    seconds : float
    """

    found: int
    added: int
    changed: int
    unchanged: int
    removed: int
    problems: list[tuple[str, str]]
    duplicates: list[list[str]]
    seconds: float


def scan(
    audio_root: Path | str,
    destination: Path,
    *,
    hash_audio: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScanReport:
    """Look at every audio file of a folder and write the tracks table.

    Files whose size and time of change are those of the last scan are not opened again, but for those that could not be
    read then: that may have been the network. A scan that is interrupted goes
    on where it was: what it has read lies in ``tracks.partial.parquet`` until the next one has finished.

    Parameters
    ----------
    audio_root : Path or str
        The audio folder, in whatever order.
    destination : Path
        The table; the one there is brought up to date.
    hash_audio : bool
        Also hash the audio of every file, which reads all of it, to find files with the same audio.
    on_progress : callable, optional
        Called with the numbers of files looked at and to look at.

    Returns
    -------
    ScanReport

    Raises
    ------
    AudioError
        The folder does not exist, or a folder in it cannot be listed.
    CatalogueError
        The table of the last scan is damaged.
    """
    began = time.monotonic()
    tracks = find_tracks(audio_root)
    report_progress = on_progress or (lambda done, total: None)
    partial = destination.with_suffix(".partial.parquet")
    known = _Known([path for path in (destination, partial) if path.is_file()])
    with ThreadPoolExecutor(IO_THREADS, thread_name_prefix="scan") as pool:
        stamps = list(pool.map(_stamp, tracks))
        kept = [known.row(t.id, stamp, hashed=hash_audio) for t, stamp in zip(tracks, stamps, strict=True)]
        todo = [(t, stamp) for t, stamp, row in zip(tracks, stamps, kept, strict=True) if row is None]
        results = pool.map(lambda one: _read(*one, hash_audio=hash_audio), todo)
        try:
            fresh = _collect(results, len(tracks) - len(todo), len(tracks), partial, report_progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    table = pa.concat_tables([known.take([row for row in kept if row is not None]), fresh]).sort_by("track_id")
    before, now = known.finished_ids(destination), {track.id for track in tracks}
    write_table(destination, table)
    partial.unlink(missing_ok=True)
    unchanged = len(before & {t.id for t, stamp in zip(tracks, stamps, strict=True) if known.same(t.id, stamp)})
    added = len(now - before)
    bad = table.filter(pc.is_valid(table["problem"]))
    return ScanReport(
        found=len(tracks),
        added=added,
        changed=len(tracks) - added - unchanged,
        unchanged=unchanged,
        removed=len(before - now),
        problems=list(zip(bad["track_id"].to_pylist(), bad["problem"].to_pylist(), strict=True)),
        duplicates=_duplicates(table),
        seconds=time.monotonic() - began,
    )


def read_tracks(path: Path) -> pa.Table:
    """Read the tracks table.

    Raises
    ------
    CatalogueError
        It is missing or is something else.
    """
    return read_table(
        path, schema=TRACK_SCHEMA, needed=("track_id", "size", "mtime_ns", "problem"), origin="Make it with: eno scan"
    )


_Stamp = tuple[int, int] | None
"""Size and time of change; None for what cannot be looked at."""


class _Known:
    """What earlier scans found, the finished one and the interrupted one; later tables go over earlier ones."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._tables = {path: read_tracks(path).select(TRACK_SCHEMA.names) for path in paths}
        self._table = pa.concat_tables([TRACK_SCHEMA.empty_table(), *self._tables.values()])
        columns = [self._table[name].to_pylist() for name in ("track_id", "size", "mtime_ns", "audio_hash", "problem")]
        self._rows = {
            track_id: (row, (size, mtime_ns), problem is None, audio_hash is not None)
            for row, (track_id, size, mtime_ns, audio_hash, problem) in enumerate(zip(*columns, strict=True))
        }

    def same(self, track_id: str, stamp: _Stamp) -> bool:
        """Whether a file has not changed since."""
        return stamp is not None and track_id in self._rows and self._rows[track_id][1] == stamp

    def row(self, track_id: str, stamp: _Stamp, *, hashed: bool) -> int | None:
        """Where a file stands that need not be read again; None if it must be."""
        if not self.same(track_id, stamp):
            return None
        row, _, readable, has_hash = self._rows[track_id]
        return row if readable and (has_hash or not hashed) else None

    def take(self, rows: Sequence[int]) -> pa.Table:
        return self._table.take(pa.array(rows, pa.int64()))

    def finished_ids(self, path: Path) -> set[str]:
        return set(self._tables[path]["track_id"].to_pylist()) if path in self._tables else set()


def _stamp(track: Track) -> _Stamp:
    try:
        status = os.stat(track.path)
    except OSError:
        return None  # whoever opens it says why
    return status.st_size, status.st_mtime_ns


def _read(track: Track, stamp: _Stamp, *, hash_audio: bool) -> dict[str, Any]:
    size, mtime_ns = stamp or (None, None)
    row: dict[str, Any] = {"track_id": track.id, "size": size, "mtime_ns": mtime_ns}
    try:
        info = probe(track.path, listen=False)
        row |= {name: getattr(info, name) for name in ("duration_s", "sample_rate", "channels", "container", "codec")}
        row |= asdict(read_tags(track.path))
        if hash_audio:
            row["audio_hash"] = audio_hash(track.path)
    except AudioError as error:
        row["problem"] = error.reason
    return row


def audio_hash(path: Path) -> str:
    """Hash the encoded audio of a file, without its tags and pictures.

    Parameters
    ----------
    path : Path
        An audio file.

    Returns
    -------
    str
        SHA-256 in hexadecimal. Copies have the same, also when they are tagged differently; the same music encoded
        again has another.

    Raises
    ------
    AudioError
        The file cannot be taken apart.
    """
    import av  # 0.1 s and 30 MB that only this needs

    digest = hashlib.sha256()
    try:
        with av.open(str(path)) as container:
            for packet in container.demux(container.streams.audio[0]):
                digest.update(bytes(packet))
    except (av.FFmpegError, IndexError) as error:
        raise AudioError(path, f"cannot be taken apart for hashing ({error})") from error
    return digest.hexdigest()


def _collect(
    results: Iterator[dict[str, Any]], done: int, total: int, partial: Path, report: Callable[[int, int], None]
) -> pa.Table:
    """Gather rows; what is there is saved from time to time, and whenever something ends the scan."""
    rows: list[dict[str, Any]] = []
    earlier = read_tracks(partial).select(TRACK_SCHEMA.names) if partial.is_file() else TRACK_SCHEMA.empty_table()

    def save() -> None:
        write_table(partial, pa.concat_tables([earlier, pa.Table.from_pylist(rows, schema=TRACK_SCHEMA)]))

    saved = time.monotonic()
    try:
        for row in results:
            rows.append(row)
            report(done + len(rows), total)
            if time.monotonic() - saved > _SAVE_S:
                save()
                saved = time.monotonic()
    except BaseException:
        if rows:
            save()
        raise
    return pa.Table.from_pylist(rows, schema=TRACK_SCHEMA)


def _duplicates(table: pa.Table) -> list[list[str]]:
    hashed = table.filter(pc.is_valid(table["audio_hash"]))
    groups = defaultdict(list)
    for track_id, digest in zip(hashed["track_id"].to_pylist(), hashed["audio_hash"].to_pylist(), strict=True):
        groups[digest].append(track_id)
    return [ids for ids in groups.values() if len(ids) > 1]
