"""Lute's SQLite database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from eno.data.lute.json_source import parse_lines
from eno.data.lute.records import AlbumBatch, Malformed, ProgressCallback
from eno.errors import CatalogueError

_LOCK_WAIT_S = 10.0
_BATCH_ALBUMS = 4096
_COLUMNS = ("name", "file_name", "rating", "rating_count", "release_date", "cover_image_url", "spotify_id")
_TABLE = re.compile(r"(?:FROM|JOIN) (\w+)")
_ARTIST = "json_object('name', artists.name, 'file_name', artists.file_name)"
_TRACK = "json_object('name', name, 'duration_seconds', duration_seconds, 'rating', rating, 'position', position)"
_ROLES = (
    "json((SELECT json_group_array(roles.name) FROM credit_roles JOIN roles ON roles.id = role_id"
    " WHERE credit_id = credits.id))"
)


@dataclass(frozen=True)
class _List:
    """A list field of an album: each item as JSON, the tables it comes from, and the column with the album's id."""

    item: str
    source: str
    where: str = "1"
    album: str = "album_id"

    @property
    def tables(self) -> set[str]:
        return set(_TABLE.findall(f"FROM {self.source} {self.item}"))

    @property
    def query(self) -> str:
        items = (
            f"SELECT {self.album} AS album, {self.item} AS item FROM {self.source}"
            f" WHERE {self.where} AND {self.album} IS NOT NULL"
            f" ORDER BY {self.album}, {self.source.split()[0]}.rowid"
        )
        return f"SELECT album, json_group_array(json(item)) FROM ({items}) GROUP BY album ORDER BY album"


def _names(table: str, key: str, where: str = "1") -> _List:
    return _List(f"json_quote({table}.name)", f"album_{table} JOIN {table} ON {table}.id = {key}", where)


_LISTS = {
    "artists": _List(_ARTIST, "album_artists JOIN artists ON artists.id = artist_id"),
    "primary_genres": _names("genres", "genre_id", "is_primary"),
    "secondary_genres": _names("genres", "genre_id", "NOT coalesce(is_primary, 0)"),
    "descriptors": _names("descriptors", "descriptor_id"),
    "languages": _names("languages", "language_id"),
    "tracks": _List(_TRACK, "tracks"),
    "credits": _List(
        f"json_object('artist', {_ARTIST}, 'roles', {_ROLES})", "credits JOIN artists ON artists.id = artist_id"
    ),
    "duplicates": _List(
        "json_quote(albums.file_name)",
        "album_duplicates JOIN albums ON albums.id = duplicate_album_id",
        album="original_album_id",
    ),
}
_ORIGINALS = (
    "SELECT duplicate_album_id, json_quote(albums.file_name) FROM album_duplicates"
    " JOIN albums ON albums.id = original_album_id"
)
_NEEDED = ("albums", "album_genres", "genres", "album_descriptors", "descriptors")


def read_sqlite(path: Path, reject: Callable[[Malformed], None], on_progress: ProgressCallback) -> Iterator[AlbumBatch]:
    """Yield albums from ``lute.db``, also while Lute is running.

    One read-only transaction covers everything, so the albums are a consistent snapshot. With write-ahead logging, it
    includes ``lute.db-wal`` beside the database.
    """
    try:
        with closing(_connect(path)) as database:
            tables = _tables(path, database)
            (total,) = database.execute("SELECT count(*) FROM albums").fetchone()
            lines = _album_lines(database, tables)
            done = 0
            while batch := list(islice(lines, _BATCH_ALBUMS)):
                yield from parse_lines(batch, "albums.id", reject)
                done += len(batch)
                on_progress(done, total)
    except sqlite3.Error as error:
        raise CatalogueError(f"{path}: {_explain(error)}; nothing was imported.") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open read-only and start a transaction, without the write-ahead log if the folder is not writable."""
    address = path.resolve().as_uri() + "?mode=ro"
    try:
        return _begin(address)
    except sqlite3.OperationalError as error:
        log = path.with_name(path.name + "-wal")
        # SQLite reads a database with a write-ahead log only if it can write a file beside it. If the log is empty, as
        # after a clean shutdown, "immutable" avoids that.
        if "unable to open" not in str(error) or (log.is_file() and log.stat().st_size):
            raise
        return _begin(address + "&immutable=1")


def _begin(address: str) -> sqlite3.Connection:
    database = sqlite3.connect(address, uri=True, timeout=_LOCK_WAIT_S, isolation_level=None)
    try:
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    # Text is read as bytes, so that invalid UTF-8 rejects one album and not the whole database.
    database.text_factory = bytes
    return database


def _tables(path: Path, database: sqlite3.Connection) -> set[str]:
    tables = {name.decode() for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = [name for name in _NEEDED if name not in tables]
    if missing:
        raise CatalogueError(
            f"{path}: is not Lute's database. Missing tables: {', '.join(missing)}; found "
            f"{', '.join(sorted(tables)) or 'none'}."
        )
    return tables


def _album_lines(database: sqlite3.Connection, tables: set[str]) -> Iterator[tuple[int, bytes]]:
    """Yield the id of every album and the album as JSON."""
    # A merge join of queries sorted by album. Each runs once, so the speed does not depend on the database's indexes.
    existing = {name.decode() for _, name, *_ in database.execute("PRAGMA table_info(albums)")}
    columns = ", ".join(f"'{name}', {name}" for name in _COLUMNS if name in existing)
    albums = database.execute(f"SELECT id, json_object({columns}) FROM albums ORDER BY id")
    lists = {field: database.execute(one.query) for field, one in _LISTS.items() if tables >= one.tables}
    heads = {field: next(rows, None) for field, rows in lists.items()}
    original_of = dict(database.execute(_ORIGINALS)) if "album_duplicates" in tables else {}
    for album_id, line in albums:
        parts = [line[:-1]]
        for field, rows in lists.items():
            while (head := heads[field]) is not None and _rank(head[0]) < _rank(album_id):  # rows of deleted albums
                heads[field] = next(rows, None)
            items = b"[]"
            if head is not None and head[0] == album_id:
                items, heads[field] = head[1], next(rows, None)
            parts.append(b'"%s":%s' % (field.encode(), items))
        if album_id in original_of:
            parts.append(b'"duplicate_of":' + original_of[album_id])
        yield album_id, b",".join(parts) + b"}"


def _rank(value: Any) -> tuple[int, Any]:
    """Order values of any type as SQLite does: null, numbers, text."""
    return (0, 0) if value is None else (1, value) if isinstance(value, int | float) else (2, value)


def _explain(error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return (
            f"another program has locked the database for {_LOCK_WAIT_S:.0f} s ({error}); try again, or import a copy"
        )
    if "unable to open" in str(error):
        return (
            f"cannot be opened ({error}); its folder is not writable and a write-ahead log is in use. Copy the "
            "database and its -wal file to a writable folder"
        )
    return f"cannot be read as Lute's SQLite database ({error})"
