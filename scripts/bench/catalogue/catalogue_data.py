"""Synthetic albums shaped like RateYourMusic's and local copies of them, for the benchmarks of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from eno.data.library.scanning import TRACK_SCHEMA
from eno.data.matching.candidates import LocalAlbum

SYLLABLES = "ka lo mi ra to ne shi va dor el quin bar tes um or lys fen gra pol ix".split()
EDITIONS = ["", "", "", " (Remastered)", " [Deluxe Edition]", " (2011 Remaster)", " EP", " (Live)"]


def words(rng: np.random.Generator, count: int, low: int, high: int) -> list[str]:
    """Make up so many words of `low` to `high` syllables, some of them more than once."""
    lengths = rng.integers(low, high + 1, count)
    picks = rng.integers(0, len(SYLLABLES), (count, high))
    return ["".join(SYLLABLES[i] for i in row[:n]).title() for row, n in zip(picks, lengths, strict=True)]


def zipf_lists(rng: np.random.Generator, rows: int, names: list[str], mean: float) -> list[list[str]]:
    """Draw a few names a row, the first ones far more often than the last."""
    weights = 1 / np.arange(1, len(names) + 1)
    counts = rng.poisson(mean, rows)
    picks = rng.choice(len(names), counts.sum(), p=weights / weights.sum())
    ends = np.cumsum(counts)
    return [list(dict.fromkeys(names[i] for i in picks[end - n : end])) for n, end in zip(counts, ends, strict=True)]


def albums(
    count: int,
    *,
    genres: int = 1000,
    descriptors: int = 500,
    per_artist: int | None = None,
    tracks_each: int | None = None,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Make up albums as Lute's JSON has them, about 2.5 kB each.

    By default an artist has about three albums and an album 4 to 17 tracks. With `per_artist`, successive albums are of
    the same artist.
    """
    rng = np.random.default_rng(seed)
    genre_names = [f"{name} {i}" for i, name in enumerate(words(rng, genres, 2, 3))]
    descriptor_names = [f"{name.lower()} {i}" for i, name in enumerate(words(rng, descriptors, 2, 3))]
    artist_count = count // (per_artist or 3) + 1
    artists = [f"{a} {b}" for a, b in zip(words(rng, artist_count, 2, 4), words(rng, artist_count, 1, 3), strict=True)]
    titles = [f"{a} {b}" for a, b in zip(words(rng, count, 1, 4), words(rng, count, 1, 3), strict=True)]
    primary, secondary = zipf_lists(rng, count, genre_names, 1.8), zipf_lists(rng, count, genre_names, 1.5)
    described = zipf_lists(rng, count, descriptor_names, 8.0)
    owner = rng.integers(0, len(artists), count) if per_artist is None else np.arange(count) // per_artist
    tracks = rng.integers(4, 18, count) if tracks_each is None else np.full(count, tracks_each)
    years = rng.integers(1955, 2026, count)
    for i in range(count):
        artist = {"name": artists[owner[i]], "file_name": f"artist/{artists[owner[i]].lower().replace(' ', '-')}"}
        durations = rng.integers(90, 420, tracks[i]).tolist()
        yield {
            "name": titles[i],
            "file_name": f"release/album/{artist['file_name'][7:]}/{titles[i].lower().replace(' ', '-')}-{i}",
            "rating": round(2 + 2 * float(rng.random()), 2),
            "rating_count": int(rng.integers(1, 20_000)),
            "artists": [artist],
            "primary_genres": primary[i],
            "secondary_genres": secondary[i],
            "descriptors": described[i],
            "tracks": [
                {"name": f"{titles[(i + n) % count]} {n}", "duration_seconds": d, "rating": None, "position": str(n)}
                for n, d in enumerate(durations, 1)
            ],
            "release_date": f"{years[i]}-01-01",
            "languages": ["English"],
            "credits": [
                {
                    "artist": {"name": artists[(owner[i] + n) % len(artists)], "file_name": f"artist/{n}"},
                    "roles": ["guitar"],
                }
                for n in range(int(tracks[i]) // 2)
            ],
            "duplicate_of": None,
            "duplicates": [],
            "cover_image_url": f"https://e.example/covers/{i}.jpg",
            "spotify_id": None,
        }  # fmt: skip


def spoil(rng: np.random.Generator, text: str) -> str:
    """Sometimes lose a letter or the case."""
    if rng.random() < 0.1:
        position = int(rng.integers(1, len(text)))
        text = text[:position] + text[position + 1 :]
    return text.lower() if rng.random() < 0.2 else text


def local_tracks(
    rng: np.random.Generator, albums: list[LocalAlbum], each: int = 10, folders: list[str] | None = None
) -> pa.Table:
    """Make the tracks table of these albums, with their own tracks first and made-up ones after them.

    Folders are numbered unless they are named.
    """
    folders = folders or [str(number) for number in range(len(albums))]
    count = len(albums) * each
    lengths = rng.integers(90, 420, count).astype(float)
    titles = [f"Bonus {i % 977}" for i in range(count)]
    for i, album in enumerate(albums):
        own = min(each, len(album.titles))
        lengths[i * each : i * each + own] = album.durations_s[:own]
        titles[i * each : i * each + own] = album.titles[:own]
    columns = {
        "track_id": [f"{folder}/{n:02}.flac" for folder in folders for n in range(each)],
        "album": [album.title for album in albums for _ in range(each)],
        "artist": [album.artist for album in albums for _ in range(each)],
        "album_artist": [album.artist for album in albums for _ in range(each)],
        "year": [album.year for album in albums for _ in range(each)],
        "title": titles,
        "track_number": [n + 1 for _ in albums for n in range(each)],
        "duration_s": lengths + rng.normal(0, 1, count),
    }
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in TRACK_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=TRACK_SCHEMA)
