"""A made-up collection of any size: Lute's database, the table of `eno scan`, a store, and settings.

Vectors and labels are those of `tagging.long_tail`, three albums of ten tracks for each artist. The windows of a track
scatter around its vector. The database has many more albums, as Lute's has. Tags of files differ from the database as
those of `catalogue.catalogue_data` do. There is no audio: by default the store says that another program computed its
vectors.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from catalogue.catalogue_data import EDITIONS, local_tracks, spoil
from catalogue.catalogue_data import albums as made_albums
from catalogue.lute_database import write_database
from scipy import sparse
from tagging import long_tail

from eno.audio.windows import WindowPolicy
from eno.data.layout import DataRoot
from eno.data.matching.candidates import LocalAlbum
from eno.data.tables import write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.spec import IMPORTED, EncoderSpec

TRACKS_EACH, ALBUMS_EACH = 10, 3  # of an album, of an artist; those of `tagging.long_tail`
_AT_ONCE = 10_000  # tracks
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
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        made = Path(temporary)
        long_tail.write(made, size.tracks, size.dim, size.labels, test=TRACKS_EACH, seed=seed)
        owned: list[dict[str, Any]] = []
        labels = sparse.load_npz(made / "train_labels.npz").tocsr()[::TRACKS_EACH]
        write_database(folder / "lute.db", _listed(size, labels, owned, seed))
        ids = _write_tracks(folder, size, owned, seed)
        X = np.load(made / "train.npy", mmap_mode="r")
        _write_store(folder / "store", size, spec or _spec(size.dim), ids, X, seed)
    (folder / "eno.toml").write_text(_SETTINGS)


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


def _write_tracks(folder: Path, size: Size, owned: list[dict[str, Any]], seed: int) -> list[str]:
    """Write the table of the files; return the ids of the tracks."""
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
    data = DataRoot(folder)
    write_table(data.tracks, tracks)
    (folder / "owned.txt").write_text("".join(f"{album['file_name']}\n" for album in owned), encoding="utf-8")
    ids: list[str] = tracks["track_id"].to_pylist()
    return ids


def _spec(dim: int) -> EncoderSpec:
    return EncoderSpec(
        name=f"{IMPORTED}made-up", revision="1", weights_sha256="", sample_rate=_RATE,
        window_samples=round(_WINDOW_S * _RATE), layers=("layer 0",), pooling="unknown", dim=dim,
    )  # fmt: skip


def _write_store(place: Path, size: Size, spec: EncoderSpec, ids: list[str], X: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    store = EmbeddingStore.create(place, spec, policy=WindowPolicy(count=size.windows), dtype="float16")
    with store.writing():
        for first in range(0, size.tracks, _AT_ONCE):
            rows = slice(first, min(first + _AT_ONCE, size.tracks))
            vectors = np.repeat(np.asarray(X[rows], np.float32), size.windows, axis=0)
            if size.windows > 1:
                vectors += _NOISE * random.standard_normal(vectors.shape, np.float32)
            names = [name for name in ids[rows] for _ in range(size.windows)]
            starts = np.tile(np.arange(size.windows) * _WINDOW_S, len(ids[rows]))
            store.append(names, starts, vectors.reshape(len(vectors), len(spec.layers), spec.dim))
