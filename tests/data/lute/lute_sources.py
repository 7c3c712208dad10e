"""Albums in the formats that Lute exports."""

import json
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


def write_lines(path: Path, albums: list) -> Path:
    with path.open("wb") as file:
        for one in albums:
            text = one if isinstance(one, bytes | str) else json.dumps(one)
            file.write((text.encode() if isinstance(text, str) else text) + b"\n")
    return path
