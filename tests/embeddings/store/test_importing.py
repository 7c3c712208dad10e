"""Stores of vectors that another program computed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eno.embeddings.store import importing
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.importing import import_vectors, read_vectors
from eno.encoders import load_encoder
from eno.errors import ConfigError, StoreError

IDS = ["b.ogg", "a.ogg", "b.ogg", "c.ogg"]
VECTORS = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


def write(folder, kind):
    (folder / "ids.csv").write_text("path,start_s\n" + "".join(f"{one},{n}\n" for n, one in enumerate(IDS)))
    table = pa.table({"track_id": IDS, "start_s": np.arange(4.0), "embedding": list(VECTORS)})
    if kind == "npy":
        np.save(folder / "x.npy", VECTORS)
        return folder / "x.npy", folder / "ids.csv"
    if kind == "npz":
        np.savez(folder / "x.npz", X=VECTORS, track_id=np.array(IDS), start_s=np.arange(4.0))
        return folder / "x.npz", None
    if kind == "parquet":
        pq.write_table(table, folder / "x.parquet")
        return folder / "x.parquet", None
    (folder / "dataset").mkdir()  # as datasets.Dataset.save_to_disk writes it
    with pa.ipc.new_stream(folder / "dataset" / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table)
    return folder / "dataset", None


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet", "dataset"])
def test_vectors_of_all_formats_become_a_store(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(importing, "_AT_A_TIME", 2)
    foreign = read_vectors(*write(tmp_path, kind))
    import_vectors(tmp_path / "store", foreign, encoder_name="theirs", sample_rate=16_000)
    store = EmbeddingStore.open(tmp_path / "store")
    names, means = store.matrix()
    assert list(names) == ["a.ogg", "b.ogg", "c.ogg"]
    np.testing.assert_allclose(means, [VECTORS[1], (VECTORS[0] + VECTORS[2]) / 2, VECTORS[3]], rtol=1e-6)
    assert (store.spec.name, store.spec.sample_rate, store.spec.window_s) == ("imported:theirs", 16_000, 10)


def test_the_identity_is_what_the_user_says(tmp_path):
    foreign = read_vectors(*write(tmp_path, "npy"))
    made = [
        import_vectors(tmp_path / str(n), foreign, sample_rate=16_000, **options).spec.fingerprint
        for n, options in enumerate(
            [
                {"encoder_name": "x"},
                {"encoder_name": "x"},
                {"encoder_name": "y"},
                {"encoder_name": "x", "revision": "2"},
            ]
        )
    ]
    assert made[0] == made[1]
    assert len(set(made)) == 3


def test_ids_are_turned_into_those_of_tracks_and_unknown_starts_follow_each_other(tmp_path):
    np.save(tmp_path / "x.npy", VECTORS[:, np.newaxis])
    (tmp_path / "ids.csv").write_text("id\n" + "".join(f"{one}\n" for one in IDS))
    foreign = read_vectors(tmp_path / "x.npy", tmp_path / "ids.csv")
    store = import_vectors(
        tmp_path / "store",
        foreign,
        encoder_name="x",
        sample_rate=8000,
        window_s=3,
        track_of=lambda name: f"rock/{name}",
    )
    assert store.tracks()["track_id"].to_pylist() == ["rock/a.ogg", "rock/b.ogg", "rock/c.ogg"]
    assert store.tracks()["windows"].to_pylist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        (VECTORS[:3], "id\na\nb\nc\nd\n", r"has 4 ids and an array vectors of float32 with the shape \(3, 5\)"),
        (VECTORS, "name\na\nb\nc\nd\n", "has no column track_id, path"),
        (VECTORS, "id,start_s\na,x\nb,0\nc,0\nd,0\n", "start_s is not a number of seconds"),
        (VECTORS, None, "has no ids, so name a CSV file"),
        (np.array([{}, {}, {}, {}]), "id\na\nb\nc\nd\n", "cannot be read"),
    ],
)
def test_mistakes_are_named(tmp_path, vectors, ids, message):
    np.save(tmp_path / "x.npy", vectors)
    if ids is not None:
        (tmp_path / "ids.csv").write_text(ids)
    with pytest.raises(StoreError, match=message):
        read_vectors(tmp_path / "x.npy", None if ids is None else tmp_path / "ids.csv")


def test_vectors_that_are_not_finite_name_their_track(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1.0], [np.nan]]))
    (tmp_path / "ids.csv").write_text("id\na\nb\n")
    with pytest.raises(StoreError, match="vectors of b are not finite"):
        import_vectors(
            tmp_path / "store", read_vectors(tmp_path / "x.npy", tmp_path / "ids.csv"), encoder_name="x", sample_rate=1
        )


def test_the_encoder_of_imported_vectors_cannot_be_loaded():
    with pytest.raises(ConfigError, match="The vectors of theirs were imported"):
        load_encoder("imported:theirs")
