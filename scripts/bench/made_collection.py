"""A made-up collection of any size: Lute's database, the table of `eno scan`, a store, and settings.

Vectors and labels are those of `tagging.long_tail`, three albums of ten tracks for each artist. The windows of a track
scatter around its vector. The database has many more albums, as Lute's has. Tags of files differ from the database as
those of `catalogue.catalogue_data` do. There is no audio: by default the store says that another program computed its
vectors. One track in a hundred is new on the second day: `arrive` adds them, half of them on new albums.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from eno.audio.windows import WindowPolicy
from eno.data.layout import DataRoot
from eno.data.matching.candidates import LocalAlbum
from eno.data.tables import write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.spec import IMPORTED, EncoderSpec
from eno.views import RowView
from scripts.bench.catalogue.catalogue_data import EDITIONS, local_tracks, spoil
from scripts.bench.catalogue.catalogue_data import albums as made_albums
from scripts.bench.catalogue.lute_database import write_database
from scripts.bench.tagging import long_tail

TRACKS_EACH, ALBUMS_EACH = 10, 3  # of an album, of an artist; those of `tagging.long_tail`
_AT_ONCE = 10_000  # tracks
_NEW = 0.01  # share of the tracks that are new on the second day
_NEW_TRACKS, _NEW_VECTORS = "new_tracks.parquet", "new_vectors.npy"
_NOISE = 0.3  # of a window around its track
_WINDOW_S, _RATE = 10.0, 16_000
_SETTINGS = """data_root = "."
lute = "lute.db"
store = "store"
model = "model"

[labels]
min_albums = 5
min_artists = 2
"""
_FORMAT = {"container": "FLAC", "codec": "PCM_16", "sample_rate": 44_100, "channels": 2, "size": 30_000_000}


@dataclass(frozen=True)
class Size:
    """How large a collection is; `listed` counts the albums in the database, `dim` the values of a vector."""

    tracks: int
    listed: int
    labels: int
    windows: int
    dim: int

    @property
    def owned(self) -> int:
        """Number of albums of the tracks."""
        return -(-self.tracks // TRACKS_EACH)


def make(folder: Path, size: Size, seed: int, spec: EncoderSpec | None = None) -> None:
    """Make a collection in an empty folder. The store says that an encoder made its vectors, if one is given."""
    new = max(1, round(_NEW * size.tracks))
    size = replace(size, tracks=size.tracks + new)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary)
        long_tail.write(made, size.tracks, size.dim, size.labels, test=TRACKS_EACH, seed=seed)
        owned: list[dict[str, Any]] = []
        labels = sparse.load_npz(made / "train_labels.npz").tocsr()[::TRACKS_EACH]
        write_database(folder / "lute.db", _listed(size, labels, owned, seed))
        tracks = _tracks(folder, size, owned, seed)
        X = np.load(made / "train.npy", mmap_mode="r")
        last = size.tracks - new // 2
        others = np.sort(np.random.default_rng(seed).choice(last, new - new // 2, replace=False))
        later = np.concatenate([others, np.arange(last, size.tracks)])
        now = np.setdiff1d(np.arange(size.tracks), later)
        write_table(DataRoot(folder).tracks, tracks.take(pa.array(now)))
        write_table(folder / _NEW_TRACKS, tracks.take(pa.array(later)))
        np.save(folder / _NEW_VECTORS, X[later])
        store = EmbeddingStore.create(
            folder / "store", spec or _spec(size.dim), policy=WindowPolicy(count=size.windows), dtype="float16"
        )
        _embed(store, tracks["track_id"].take(pa.array(now)).to_pylist(), RowView(X, now), seed)
    (folder / "eno.toml").write_text(_SETTINGS)


def arrive(folder: Path, seed: int) -> int:
    """Add the tracks of the second day, unless they are there; return their number."""
    waiting, vectors = folder / _NEW_TRACKS, folder / _NEW_VECTORS
    if not waiting.is_file():
        return 0
    path = DataRoot(folder).tracks
    new = pq.read_table(waiting)
    _embed(EmbeddingStore.open(folder / "store"), new["track_id"].to_pylist(), np.load(vectors), seed + 1)
    write_table(path, pa.concat_tables([pq.read_table(path), new]))
    waiting.unlink()
    vectors.unlink()
    return len(new)


def relabel(folder: Path, share: float, seed: int) -> int:
    """Give a share of the albums with tracks one more genre each, as their listeners may; return their number."""
    random = np.random.default_rng(seed)
    with closing(sqlite3.connect(folder / "lute.db")) as database:
        (genres,) = database.execute("SELECT count(*) FROM genres").fetchone()
        owned = (folder / "owned.txt").read_text(encoding="utf-8").count("\n")
        chosen = random.choice(owned, max(1, round(share * owned)), replace=False) + 1
        pairs = zip(chosen.tolist(), random.integers(1, genres + 1, len(chosen)).tolist(), strict=True)
        database.executemany("INSERT OR IGNORE INTO album_genres VALUES (?, ?, 1)", pairs)
        database.commit()
    return len(chosen)


def _listed(size: Size, labels: sparse.csr_array, owned: list[dict[str, Any]], seed: int) -> Iterator[dict[str, Any]]:
    """Yield the albums of the database. The first ones are those of the tracks, and are also appended to `owned`."""
    names = [f"Genre {i}" if i < size.labels // 2 else f"mood {i}" for i in range(size.labels)]
    count = max(size.listed, size.owned)
    albums = made_albums(count, per_artist=ALBUMS_EACH, tracks_each=TRACKS_EACH, seed=seed)
    for number, album in enumerate(albums):
        row = number % size.owned
        own = labels.indices[labels.indptr[row] : labels.indptr[row + 1]].tolist()
        album["primary_genres"] = [names[i] for i in own if i < size.labels // 2]
        album["secondary_genres"] = []
        album["descriptors"] = [names[i] for i in own if i >= size.labels // 2]
        if number < size.owned:
            owned.append(album)
        yield album


def _tracks(folder: Path, size: Size, owned: list[dict[str, Any]], seed: int) -> pa.Table:
    """Return the table of the files, and write which albums they are of."""
    random = np.random.default_rng(seed)
    copies, folders = [], []
    for number, album in enumerate(owned):
        artist, title, year = album["artists"][0]["name"], album["name"], album["release_date"][:4]
        folders.append(f"{artist}/{year} {title} {number}")
        copies.append(
            LocalAlbum(
                artist=spoil(random, artist),
                title=spoil(random, title) + EDITIONS[random.integers(len(EDITIONS))],
                year=int(year),
                durations_s=tuple(track["duration_seconds"] for track in album["tracks"]),
                titles=tuple(track["name"] for track in album["tracks"]),
            )
        )
    tracks = local_tracks(random, copies, TRACKS_EACH, folders).slice(0, size.tracks)
    for name, value in _FORMAT.items():
        field = tracks.schema.field(name)
        column = pa.repeat(pa.scalar(value, field.type), len(tracks))
        tracks = tracks.set_column(tracks.schema.get_field_index(name), field, column)
    (folder / "owned.txt").write_text("".join(f"{album['file_name']}\n" for album in owned), encoding="utf-8")
    return tracks


def _spec(dim: int) -> EncoderSpec:
    return EncoderSpec(
        name=f"{IMPORTED}made-up", revision="1", weights_sha256="", sample_rate=_RATE,
        window_samples=round(_WINDOW_S * _RATE), layers=("layer 0",), pooling="unknown", dim=dim,
    )  # fmt: skip


def _embed(store: EmbeddingStore, ids: list[str], X: np.ndarray | RowView, seed: int) -> None:
    """Add windows that scatter around the vectors of tracks."""
    random, spec, windows = np.random.default_rng(seed), store.spec, store.policy.count or 1
    with store.writing():
        for first in range(0, len(ids), _AT_ONCE):
            rows = slice(first, min(first + _AT_ONCE, len(ids)))
            vectors = np.repeat(np.asarray(X[rows], np.float32), windows, axis=0)
            if windows > 1:
                vectors += _NOISE * random.standard_normal(vectors.shape, np.float32)
            names = [name for name in ids[rows] for _ in range(windows)]
            starts = np.tile(np.arange(windows) * _WINDOW_S, len(ids[rows]))
            store.append(names, starts, vectors.reshape(len(vectors), len(spec.layers), spec.dim))
