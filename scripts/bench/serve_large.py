r"""`eno serve` with a large collection: its start, memory, the map, and searches by name.

    python -m scripts.bench.serve_large --tracks 300000 --labels 1049 --folder made/

Makes the collection of `made_collection`, with as many albums as tracks in the catalogue and names as people give
them, and a predictor, and keeps them in the folder. Memory is that of the service and its worker processes, with shared
pages counted once (Linux); what it includes of mapped files, the system may reclaim.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import time
from pathlib import Path
from urllib.parse import quote_plus

import numpy as np
import pyarrow as pa

from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.library.scanning import TRACK_SCHEMA
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching.matcher import MATCH_SCHEMA
from eno.data.tables import write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import load_encoder
from eno.inference.predictor_folder import PredictorParts
from eno.models import create_head
from scripts.bench.catalogue.made_albums import FIRST, WORDS
from scripts.bench.made_collection import Size, make
from scripts.bench.serve import Request, Service, measure

_FITTED = 3_000  # rows that the predictor is trained on: its tags need not be good
_SEARCHES = ("night river", "the", "flac", "winter", "artist 77", "1999", "zzz", "ka", "a")


def add_names(folder: Path) -> None:
    """Write the tables of `eno scan`, `eno match` and `eno import`."""
    root, chosen = DataRoot(folder), random.Random(0)
    ids = EmbeddingStore.open(folder / "store").track_ids()

    def words(most: int) -> str:
        return " ".join(chosen.choices(WORDS, k=chosen.randint(1, most))).title()

    artists: dict[str, str] = {}
    albums: dict[str, str] = {}
    rows, matches, listed = [], [], []
    for name in ids:
        artist, _, _ = name.rsplit("/", 2)
        album = name.rpartition("/")[0]
        if album not in albums:
            albums[album] = words(4)
            artists.setdefault(artist, f"{chosen.choice(FIRST)} {words(2)}")
            listed.append(_album(f"release/album/{album}", albums[album], artists[artist], chosen))
        tags = {"artist": artists[artist], "album": albums[album], "title": words(5), "year": 1999}
        rows.append({"track_id": name, "size": 1, "mtime_ns": 1, "duration_s": 200.0, "codec": "PCM_16"} | tags)
        matches.append({"track_id": name, "file_name": f"release/album/{album}", "decision": "matched"})
    listed += [_album(f"release/album/other {i}", words(4), words(2), chosen) for i in range(len(ids) - len(listed))]
    for path, found, schema in (
        (root.tracks, rows, TRACK_SCHEMA),
        (root.matches, matches, MATCH_SCHEMA),
        (root.albums, listed, ALBUM_SCHEMA),
    ):
        write_table(path, pa.Table.from_pylist(found, schema=schema))


def _album(file_name: str, name: str, artist: str, chosen: random.Random) -> dict[str, object]:
    return {
        "file_name": file_name,
        "name": name,
        "artists": [{"name": artist, "file_name": f"artist/{artist}"}],
        "primary_genres": [f"genre {chosen.randrange(500):04d}"],
        "secondary_genres": [f"genre {chosen.randrange(500):04d}" for _ in range(2)],
        "descriptors": [f"mood {chosen.randrange(500):04d}" for _ in range(5)],
        "release_date": f"{chosen.randint(1960, 2025)}-03-01",
        "tracks": [{"name": chosen.choice(WORDS)} for _ in range(10)],
    }


def add_predictor(folder: Path, count: int) -> None:
    """Train a predictor of so many labels on a few tracks, with labels that depend on their vectors."""
    store, half = EmbeddingStore.open(folder / "store"), count // 2
    labels = LabelEncoder([f"genre {i:04d}" for i in range(half)], [f"mood {i:04d}" for i in range(count - half)])
    X = store.matrix(store.track_ids()[:: max(1, len(store.track_ids()) // _FITTED)])[1]
    flat = X.reshape(len(X), -1)
    drawn = np.random.default_rng(0)
    scores = flat @ drawn.standard_normal((flat.shape[1], len(labels))).astype(np.float32)
    Y = (scores > np.quantile(scores, 1 - np.geomspace(0.3, 0.001, len(labels)), axis=0).diagonal()).astype(np.float32)
    head = create_head("linear", l2=(0.03,), max_iterations=30)
    head.fit(X, Y)
    PredictorParts(specs=(store.spec,), labels=labels, head=head, policies=(store.policy,)).save(folder / "served")


def report(service: Service) -> None:
    """Measure, and print the results."""
    ready, began = service.start_s, time.monotonic()
    _, tags = service.ask(service.connect(), "GET", "/v1/tags")
    print(f"ready after {ready:.1f} s; /v1/tags {time.monotonic() - began:.2f} s, {len(tags) / 1e3:.0f} kB")
    connection = service.connect()
    connection.timeout = 3600
    began = time.monotonic()
    connection.request("GET", "/v1/map", headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    packed = answer.read()
    assert answer.status == 200, packed
    waited = time.monotonic() - began
    count = json.loads(gzip.decompress(packed))["count"]
    print(f"/v1/map with {count:,} tracks after {ready + waited:.0f} s: {len(packed) / 1e6:.2f} MB compressed")
    began = time.monotonic()
    service.ask(service.connect(), "GET", "/v1/tracks?q=first")
    print(f"first search {1000 * (time.monotonic() - began):.0f} ms")
    for words in _SEARCHES:
        line = []
        for clients in (1, 8):

            def ask(_number: int, words: str = words) -> Request:
                return "GET", f"/v1/tracks?q={quote_plus(words)}", None

            found = measure(service, clients, ask, seconds=2)
            line.append(f"{clients} clients p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms")
        total = json.loads(service.ask(service.connect(), "GET", f"/v1/tracks?limit=1&q={quote_plus(words)}")[1])
        print(f"q={words!r}, {total['total']:,} tracks: {'; '.join(line)}", flush=True)
    time.sleep(5)
    print(f"memory: peak {service.peak_mb:.0f} MB, at rest {service.memory_mb():.0f} MB")


def main() -> None:
    """Make the collection, and measure the service twice: the second time it finds on disk what the first one kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=30_000)
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--layout", default="auto", help="layout of the map")
    parser.add_argument("--fresh", action="store_true", help="remove the index, and what is kept beside it, first")
    options = parser.parse_args()
    folder: Path = options.folder
    if not (folder / "served").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        spec = load_encoder("musicnn").spec
        size = Size(options.tracks, options.tracks, options.labels, windows=1, dim=len(spec.layers) * spec.dim)
        make(folder, size, 0, spec)
        add_names(folder)
        add_predictor(folder, options.labels)
    if options.fresh:
        shutil.rmtree(folder / "store" / "index", ignore_errors=True)
    for run in ("the first time", "again"):
        print(f"-- {run}, load {os.getloadavg()[0]:.1f}", flush=True)
        service = Service(folder / "served", folder / "store", folder, layout=options.layout)
        try:
            report(service)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
