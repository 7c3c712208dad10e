"""Synthetic albums shaped like RateYourMusic's, for the benchmarks of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

SYLLABLES = "ka lo mi ra to ne shi va dor el quin bar tes um or lys fen gra pol ix".split()


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


def albums(count: int, *, genres: int = 1000, descriptors: int = 500, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Make up albums as Lute's JSON has them, about 2.5 kB each."""
    rng = np.random.default_rng(seed)
    genre_names = [f"{name} {i}" for i, name in enumerate(words(rng, genres, 2, 3))]
    descriptor_names = [f"{name.lower()} {i}" for i, name in enumerate(words(rng, descriptors, 2, 3))]
    artists = [
        f"{a} {b}" for a, b in zip(words(rng, count // 3 + 1, 2, 4), words(rng, count // 3 + 1, 1, 3), strict=True)
    ]
    titles = [f"{a} {b}" for a, b in zip(words(rng, count, 1, 4), words(rng, count, 1, 3), strict=True)]
    primary, secondary = zipf_lists(rng, count, genre_names, 1.8), zipf_lists(rng, count, genre_names, 1.5)
    described = zipf_lists(rng, count, descriptor_names, 8.0)
    owner = rng.integers(0, len(artists), count)
    tracks = rng.integers(4, 18, count)
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
