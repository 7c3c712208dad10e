"""A collection whose labels depend on the vectors: 60 albums of four tracks by 30 artists."""

import numpy as np
import pyarrow as pa
import pytest

from eno.audio.windows import WindowPolicy
from eno.data.labels.encoder import LabelEncoder
from eno.data.splits.artist_split import SPLIT_SCHEMA, write_splits
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.training.collection import Collection
from tests.fakes import ProjectionEncoder

GENRES, DESCRIPTORS = ["jazz", "rock", "techno"], ["calm", "loud"]
ALBUMS, TRACKS, DIM = 60, 4, 6


def make_splits(folder, *, genres=GENRES, shifted=False):
    """Write splits of 20, 5 and 5 artists with two albums each, and return the vector of each track."""
    rng = np.random.default_rng(0)
    directions = np.random.default_rng(99).standard_normal((DIM, len(GENRES) + len(DESCRIPTORS)))
    rows, vectors, splits, groups = [], {}, [], []
    for album in range(ALBUMS):
        artist = album // 2
        latent = rng.standard_normal(DIM)
        has = latent @ directions > 0.5
        names = [[name for name, on in zip(family, present, strict=True) if on]
                 for family, present in ((GENRES, has[:3]), (DESCRIPTORS, has[3:]))]  # fmt: skip
        for track in range(TRACKS):
            track_id = f"album-{album:02d}/{track}.flac"
            vectors[track_id] = latent + 0.3 * rng.standard_normal(DIM)
            rows.append({
                "track_id": track_id, "file_name": f"album-{album:02d}", "descriptors": names[1],
                "primary_genres": [name for name in names[0] if name in genres], "secondary_genres": [],
            })  # fmt: skip
            place = (artist + 5) % 30 if shifted else artist
            splits.append("train" if place < 20 else "val" if place < 25 else "test")
            groups.append(f"artist {artist}")
    write_splits(folder, pa.Table.from_pylist(rows, schema=SPLIT_SCHEMA), np.array(splits), groups)
    return vectors


def make_store(path, vectors, *, seed=0, windows=2):
    encoder = ProjectionEncoder(dim=DIM, seed=seed)
    store = EmbeddingStore.create(path, encoder.spec, policy=WindowPolicy(count=windows), dtype="float32")
    ids = [track_id for track_id in vectors for _ in range(windows)]
    offsets = np.linspace(-1, 1, windows) if windows > 1 else np.zeros(1)
    values = [vectors[track_id] + offset for track_id in vectors for offset in offsets]
    starts = np.tile(np.arange(windows, dtype=float), len(vectors))
    store.append(ids, starts, np.array(values, np.float32)[:, None])
    return store


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    root = tmp_path_factory.mktemp("collection")
    vectors = make_splits(root / "splits")
    return Collection(make_store(root / "store", vectors), root / "splits", LabelEncoder(GENRES, DESCRIPTORS))
