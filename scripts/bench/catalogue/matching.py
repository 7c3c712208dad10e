"""How long it takes to match many local albums with all of RateYourMusic, and how much memory.

Local albums are listed ones with other spellings, editions, lost letters and bonus tracks, and some that are not
listed.

Run it with nothing else on the machine: ``python -m scripts.bench.catalogue.matching [--local N] [--listed N]``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.data.library.scanning import read_tracks
from eno.data.lute.albums import ALBUM_SCHEMA, read_albums
from eno.data.matching.candidates import LocalAlbum
from eno.data.matching.matcher import match, read_matches
from eno.data.tables import write_table
from scripts.bench.catalogue.catalogue_data import EDITIONS, albums, local_tracks, spoil


def make(folder: Path, local: int, listed: int) -> None:
    """Make both tables, and the ``file_name`` of the right album of each local one, or nothing."""
    albums_made = list(albums(listed))
    write_table(folder / "albums.parquet", pa.Table.from_pylist(albums_made, schema=ALBUM_SCHEMA))
    rng = np.random.default_rng(0)
    wanted, copies = [], []
    for row in rng.integers(0, listed, local).tolist():
        album, edition = albums_made[row], EDITIONS[rng.integers(len(EDITIONS))]
        strange = rng.random() < 0.2
        title = spoil(rng, album["name"]) + edition + " Qyzzy" * strange
        artist = spoil(rng, album["artists"][0]["name"])
        songs = [] if strange else album["tracks"]
        lengths, titles = tuple(one["duration_seconds"] for one in songs), tuple(one["name"] for one in songs)
        copies.append(LocalAlbum(artist, title, int(album["release_date"][:4]), lengths, titles=titles))
        wanted.append("" if strange else album["file_name"])
    write_table(folder / "tracks.parquet", local_tracks(rng, copies))
    (folder / "wanted.txt").write_text("\n".join(wanted), encoding="utf-8")


def match_tables(folder: Path) -> None:
    """Match the tables in a folder, and print how long it takes and how much is found."""
    began, began_cpu = time.perf_counter(), time.process_time()
    report = match(
        read_tracks(folder / "tracks.parquet"), read_albums(folder / "albums.parquet"),
        folder / "matches.parquet", folder / "review.csv",
    )  # fmt: skip
    print(
        f"{report.tracks} tracks: {time.perf_counter() - began:.1f} s, {time.process_time() - began_cpu:.1f} s of CPU, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )
    print(f"matched {report.matched}, ambiguous {report.ambiguous}, unmatched {report.unmatched} tracks")
    wanted = (folder / "wanted.txt").read_text(encoding="utf-8").split("\n")
    chosen = read_matches(folder / "matches.parquet").filter(pc.field("decision") == "matched").to_pylist()
    right = sum(row["file_name"] == wanted[int(row["track_id"].split("/")[0])] for row in chosen)
    print(f"right {right} of the matched ({right / max(1, report.matched):.4f})")


def main() -> None:
    """Make albums, and match them in a new process, so that its memory is that of the matching only."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", type=int, default=100_000)
    parser.add_argument("--listed", type=int, default=300_000)
    parser.add_argument("--tables", type=Path, help="keep the tables in this folder, and use those that are there")
    parser.add_argument("--match", action="store_true", help="only match the tables")
    arguments = parser.parse_args()
    if arguments.match:
        match_tables(arguments.tables)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.tables or Path(temporary)
        if not (folder / "wanted.txt").is_file():
            make(folder, arguments.local, arguments.listed)
        subprocess.run(
            [sys.executable, "-m", "scripts.bench.catalogue.matching", "--match", "--tables", folder], check=True
        )


if __name__ == "__main__":
    main()
