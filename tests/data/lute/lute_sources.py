"""Albums in the formats that Lute exports."""

import json
import sqlite3
from pathlib import Path

ALBUMS = [
    {
        "name": "Souvlaki",
        "file_name": "release/album/slowdive/souvlaki",
        "rating": 4.0,
        "rating_count": 3,
        "artists": [{"name": "Slowdive", "file_name": "artist/slowdive"}],
        "primary_genres": ["Shoegaze", "Dream Pop"],
        "secondary_genres": ["Noise Pop"],
        "descriptors": ["ethereal", "melancholic"],
        "tracks": [
            {"name": "Alison", "duration_seconds": 231, "rating": 4.5, "position": "A1"},
            {"name": "Machine Gun", "duration_seconds": None, "rating": None, "position": None},
        ],
        "release_date": "1993-05-17",
        "languages": ["English"],
        "credits": [
            {"artist": {"name": "Brian Eno", "file_name": "artist/brian-eno"}, "roles": ["keyboards", "synthesizer"]}
        ],
        "cover_image_url": "https://covers.example/1.jpg",
        "spotify_id": "spotify:album:1",
        "duplicate_of": None,
        "duplicates": [],
    },
    {
        "name": "空洞です",
        "file_name": "release/album/ゆらゆら帝国/空洞です",
        "rating": 0.0,
        "rating_count": 0,
        "artists": [{"name": "ゆらゆら帝国 [Yura Yura Teikoku]", "file_name": "artist/yura-yura-teikoku"}],
        "primary_genres": ["Neo-Psychedelia"],
        "secondary_genres": [],
        "descriptors": [],
        "tracks": [],
        "release_date": None,
        "languages": [],
        "credits": [],
        "cover_image_url": None,
        "spotify_id": None,
        "duplicate_of": None,
        "duplicates": ["release/album/yura-yura/kudo-desu"],
    },
    {
        "name": "Kūdō desu",
        "file_name": "release/album/yura-yura/kudo-desu",
        "rating": 3.5,
        "rating_count": 1,
        "artists": [
            {"name": 'The "Yura"', "file_name": "artist/yura"},
            {"name": "Slowdive", "file_name": "artist/slowdive"},
        ],
        "primary_genres": ["Shoegaze"],
        "secondary_genres": ["Dream Pop"],
        "descriptors": ["melancholic"],
        "tracks": [{"name": "Ohayō", "duration_seconds": 100, "rating": 1.0, "position": "1"}],
        "release_date": "2007-01-01",
        "languages": ["Japanese", "English"],
        "credits": [],
        "cover_image_url": None,
        "spotify_id": None,
        "duplicate_of": "release/album/ゆらゆら帝国/空洞です",
        "duplicates": [],
    },
]  # fmt: skip
"""Three albums, the last of which is a duplicate of the second."""

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


def write_lines(path: Path, albums: list) -> Path:
    with path.open("wb") as file:
        for one in albums:
            text = one if isinstance(one, bytes | str) else json.dumps(one)
            file.write((text.encode() if isinstance(text, str) else text) + b"\n")
    return path


def write_database(path: Path, albums: list[dict]) -> Path:  # noqa: C901
    database = sqlite3.connect(path)
    database.executescript(TABLES)

    def id_of(table: str, **values) -> int:
        marks, columns = ", ".join("?" * len(values)), ", ".join(values)
        found = database.execute(f"SELECT id FROM {table} WHERE name = ?", [values["name"]]).fetchone()
        found = (
            found
            or database.execute(
                f"INSERT INTO {table} ({columns}) VALUES ({marks}) RETURNING id", list(values.values())
            ).fetchone()
        )
        return found[0]

    ids = {}
    for album in albums:
        columns = ("file_name", "name", "rating", "rating_count", "release_date", "cover_image_url", "spotify_id")
        (album_id,) = database.execute(
            f"INSERT INTO albums ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) RETURNING id",
            [album[column] for column in columns],
        ).fetchone()
        ids[album["file_name"]] = album_id
        for artist in album["artists"]:
            database.execute("INSERT INTO album_artists VALUES (?, ?)", [album_id, id_of("artists", **artist)])
        for field, primary in (("primary_genres", True), ("secondary_genres", False)):
            for name in album[field]:
                genre = [album_id, id_of("genres", name=name), primary]
                database.execute("INSERT INTO album_genres VALUES (?, ?, ?)", genre)
        for table in ("descriptors", "languages"):
            for name in album[table]:
                database.execute(f"INSERT INTO album_{table} VALUES (?, ?)", [album_id, id_of(table, name=name)])
        for track in album["tracks"]:
            values = [album_id, *(track[key] for key in ("name", "duration_seconds", "rating", "position"))]
            database.execute("INSERT INTO tracks VALUES (NULL, ?, ?, ?, ?, ?)", values)
        for credit in album["credits"]:
            (credit_id,) = database.execute(
                "INSERT INTO credits VALUES (NULL, ?, ?) RETURNING id", [album_id, id_of("artists", **credit["artist"])]
            ).fetchone()
            for role in credit["roles"]:
                database.execute("INSERT INTO credit_roles VALUES (?, ?)", [credit_id, id_of("roles", name=role)])
    for album in albums:
        if album["duplicate_of"] in ids:
            pair = [ids[album["duplicate_of"]], ids[album["file_name"]]]
            database.execute("INSERT INTO album_duplicates VALUES (?, ?)", pair)
    database.commit()
    database.close()
    return path
