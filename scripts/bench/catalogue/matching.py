"""How long it takes to match many local albums with all of RateYourMusic, and how much memory.

The obvious alternative compares every local album with every listed one by rapidfuzz; it is measured on a small part
and scaled up. Local albums are listed ones with other spellings, editions and lost letters, and some that are not
listed. The peak of memory includes the made-up albums themselves.

Run it with nothing else on the machine: ``python scripts/bench/catalogue/matching.py [--local N] [--listed N]``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import rapidfuzz
from catalogue_data import albums

from eno.data.library.scanning import TRACK_SCHEMA
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching.candidates import LocalAlbum
from eno.data.matching.matcher import match, read_matches

EDITIONS = ["", "", "", " (Remastered)", " [Deluxe Edition]", " (2011 Remaster)", " EP", " (Live)"]


def spoil(rng: np.random.Generator, text: str) -> str:
    """Sometimes lose a letter or the case."""
    if rng.random() < 0.1:
        position = int(rng.integers(1, len(text)))
        text = text[:position] + text[position + 1 :]
    return text.lower() if rng.random() < 0.2 else text


def local_tracks(rng: np.random.Generator, albums: list[LocalAlbum], each: int = 10) -> pa.Table:
    """Make the tracks table of these albums, with their own tracks first and made-up ones after them."""
    count = len(albums) * each
    lengths = rng.integers(90, 420, count).astype(float)
    titles = [f"Bonus {i % 977}" for i in range(count)]
    for i, album in enumerate(albums):
        own = min(each, len(album.titles))
        lengths[i * each : i * each + own] = album.durations_s[:own]
        titles[i * each : i * each + own] = album.titles[:own]
    columns = {
        "track_id": [f"{i}/{n:02}.flac" for i in range(len(albums)) for n in range(each)],
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


def main() -> None:
    """Make albums, match them, and print times and how many were found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", type=int, default=100_000)
    parser.add_argument("--listed", type=int, default=300_000)
    arguments = parser.parse_args()
    listed = list(albums(arguments.listed))
    table = pa.Table.from_pylist(listed, schema=ALBUM_SCHEMA)
    rng = np.random.default_rng(0)
    wanted = []
    for row in rng.integers(0, arguments.listed, arguments.local).tolist():
        album, edition = listed[row], EDITIONS[rng.integers(len(EDITIONS))]
        strange = rng.random() < 0.2
        title = spoil(rng, album["name"]) + edition + " Qyzzy" * strange
        artist = spoil(rng, album["artists"][0]["name"])
        songs = [] if strange else album["tracks"]
        lengths, titles = tuple(one["duration_seconds"] for one in songs), tuple(one["name"] for one in songs)
        local = LocalAlbum(artist, title, int(album["release_date"][:4]), lengths, titles=titles)
        wanted.append((None if strange else album["file_name"], local))
    tracks = local_tracks(rng, [local for _, local in wanted])
    with tempfile.TemporaryDirectory() as folder:
        began, began_cpu = time.perf_counter(), time.process_time()
        report = match(tracks, table, Path(folder, "matches.parquet"), Path(folder, "review.csv"))
        ours, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        chosen = read_matches(Path(folder, "matches.parquet")).filter(pc.field("decision") == "matched").to_pylist()
    right = sum(row["file_name"] == wanted[int(row["track_id"].split("/")[0])][0] for row in chosen)
    print(
        f"{len(tracks)} tracks of {arguments.local} local albums against {arguments.listed}: {ours:.1f} s, {cpu:.1f} s of CPU, peak "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )
    print(f"matched {report.matched}, ambiguous {report.ambiguous}, unmatched {report.unmatched} tracks")
    print(f"right {right} of the matched ({right / max(1, report.matched):.4f})")

    some = wanted[:20]
    joined = [f"{album['artists'][0]['name']} {album['name']}" for album in listed]
    began = time.perf_counter()
    for _, local in some:
        rapidfuzz.process.extractOne(f"{local.artist} {local.title}", joined, scorer=rapidfuzz.fuzz.token_sort_ratio)
    each = (time.perf_counter() - began) / len(some)
    everything = each * arguments.local
    print(f"all pairs by rapidfuzz: {everything:.0f} s, {everything / ours:.0f} times as long")


if __name__ == "__main__":
    main()
