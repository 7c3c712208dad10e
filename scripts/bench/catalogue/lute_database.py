"""Write albums to a database with Lute's tables."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

TABLES = """
CREATE TABLE albums (id INTEGER PRIMARY KEY, file_name TEXT UNIQUE, name TEXT, rating REAL, rating_count INTEGER,
                     release_date DATE, cover_image_url TEXT, spotify_id TEXT);
CREATE TABLE album_duplicates (original_album_id INTEGER, duplicate_album_id INTEGER);
CREATE TABLE artists (id INTEGER PRIMARY KEY, name TEXT, file_name TEXT UNIQUE);
CREATE TABLE album_artists (album_id INTEGER, artist_id INTEGER, PRIMARY KEY (album_id, artist_id));
CREATE TABLE genres (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE album_genres (album_id INTEGER, genre_id INTEGER, is_primary BOOLEAN,
                           PRIMARY KEY (album_id, genre_id, is_primary));
CREATE TABLE descriptors (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE album_descriptors (album_id INTEGER, descriptor_id INTEGER, PRIMARY KEY (album_id, descriptor_id));
CREATE TABLE languages (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE album_languages (album_id INTEGER, language_id INTEGER, PRIMARY KEY (album_id, language_id));
CREATE TABLE tracks (id INTEGER PRIMARY KEY, album_id INTEGER, name TEXT, duration_seconds INTEGER, rating REAL,
                     position TEXT);
CREATE TABLE credits (id INTEGER PRIMARY KEY, album_id INTEGER, artist_id INTEGER);
CREATE TABLE roles (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE credit_roles (credit_id INTEGER, role_id INTEGER, PRIMARY KEY (credit_id, role_id));
"""
_OF_ALBUM = ("file_name", "name", "rating", "rating_count", "release_date", "cover_image_url", "spotify_id")
_OF_TRACK = ("name", "duration_seconds", "rating", "position")
_ROWS_AT_ONCE = 200_000

Row = tuple[Any, ...]


def write_database(path: Path, albums: Iterable[Mapping[str, Any]]) -> Path:
    """Write albums, which have the fields of Lute's JSON, to a new database."""
    writer, original_of = _Writer(), dict[int, str]()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(TABLES)
        for album in albums:
            number = writer.add(album)
            if album["duplicate_of"] is not None:
                original_of[number] = album["duplicate_of"]
            if writer.waiting > _ROWS_AT_ONCE:
                writer.flush(database)
        for number, original in original_of.items():
            if original in writer.ids["albums"]:
                writer.insert("album_duplicates", writer.ids["albums"][original], number)
        writer.flush(database)
        for table, rows in writer.named():
            _insert(database, table, rows)
        database.commit()
    return path


class _Writer:
    """Numbers everything that has a name, and collects rows."""

    def __init__(self) -> None:
        self.ids: dict[str, dict[str, int]] = defaultdict(dict)
        self._artist_names: dict[int, str | None] = {}
        self._rows: dict[str, list[Row]] = defaultdict(list)
        self.waiting = self._credits = 0

    def add(self, album: Mapping[str, Any]) -> int:
        """Add an album; return its number."""
        number = self._id("albums", album["file_name"])
        self.insert("albums", number, *(album[column] for column in _OF_ALBUM))
        for artist in album["artists"]:
            self.insert("album_artists", number, self._artist(artist))
        for field, primary in (("primary_genres", True), ("secondary_genres", False)):
            for name in album[field]:
                self.insert("album_genres", number, self._id("genres", name), primary)
        for table in ("descriptors", "languages"):
            for name in album[table]:
                self.insert(f"album_{table}", number, self._id(table, name))
        for track in album["tracks"]:
            self.insert("tracks", None, number, *(track[column] for column in _OF_TRACK))
        for credit in album["credits"]:
            self._credits += 1
            self.insert("credits", self._credits, number, self._artist(credit["artist"]))
            for role in credit["roles"]:
                self.insert("credit_roles", self._credits, self._id("roles", role))
        return number

    def insert(self, table: str, *values: Any) -> None:
        """Add a row."""
        self._rows[table].append(values)
        self.waiting += 1

    def flush(self, database: sqlite3.Connection) -> None:
        """Write the collected rows."""
        for table, rows in self._rows.items():
            _insert(database, table, rows)
        self._rows.clear()
        self.waiting = 0

    def named(self) -> Iterator[tuple[str, list[Row]]]:
        """Iterate over the tables of names, with their rows."""
        for table in ("genres", "descriptors", "languages", "roles"):
            yield table, [(number, name) for name, number in self.ids[table].items()]
        yield "artists", [(number, self._artist_names[number], name) for name, number in self.ids["artists"].items()]

    def _artist(self, artist: Mapping[str, Any]) -> int:
        number = self._id("artists", artist["file_name"])
        self._artist_names.setdefault(number, artist["name"])
        return number

    def _id(self, table: str, name: str) -> int:
        return self.ids[table].setdefault(name, len(self.ids[table]) + 1)


def _insert(database: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    if rows:
        database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
