"""How long it takes to match many local albums with all of RateYourMusic, and how much memory.

The obvious alternative compares every local album with every listed one by rapidfuzz; it is measured on a small part
and scaled up. Local albums are listed ones with other spellings, editions and lost letters, and some that are not
listed. The peak of memory includes the made-up albums themselves.

Run it with nothing else on the machine: ``python scripts/bench/matching.py [--local N] [--listed N]``.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pyarrow as pa
import rapidfuzz
from catalogue_data import albums

from eno.data.album_index import AlbumIndex, LocalAlbum
from eno.data.albums import ALBUM_SCHEMA
from eno.data.matching import decide

EDITIONS = ["", "", "", " (Remastered)", " [Deluxe Edition]", " (2011 Remaster)", " EP", " (Live)"]


def spoil(rng: np.random.Generator, text: str) -> str:
    """Sometimes lose a letter or the case."""
    if rng.random() < 0.1:
        position = int(rng.integers(1, len(text)))
        text = text[:position] + text[position + 1 :]
    return text.lower() if rng.random() < 0.2 else text


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
        wanted.append(
            (None if strange else album["file_name"], LocalAlbum(artist, title, int(album["release_date"][:4])))
        )
    names = [album["file_name"] for album in listed]

    began = time.perf_counter()
    index = AlbumIndex(table)
    indexed = time.perf_counter()
    chosen = [decide(index.candidates(local), names).file_name for _, local in wanted]
    ended = time.perf_counter()
    ours = ended - began
    right = sum(one is not None and one == answer for one, (answer, _) in zip(chosen, wanted, strict=True))
    matched = sum(one is not None for one in chosen)
    print(
        f"{arguments.local} local albums against {arguments.listed}: index {indexed - began:.1f} s, "
        f"matching {ended - indexed:.1f} s, together {ours:.1f} s; peak "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )
    print(f"matched {matched}, of these right {right} ({right / max(1, matched):.4f})")

    some = wanted[:20]
    joined = [f"{album['artists'][0]['name']} {album['name']}" for album in listed]
    began = time.perf_counter()
    for _, local in some:
        rapidfuzz.process.extractOne(f"{local.artist} {local.title}", joined, scorer=rapidfuzz.fuzz.token_sort_ratio)
    each = (time.perf_counter() - began) / len(some)
    print(
        f"all pairs by rapidfuzz: {each * arguments.local:.0f} s, {each * arguments.local / (ended - began):.0f} times"
    )


if __name__ == "__main__":
    main()
