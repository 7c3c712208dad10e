"""Reading a store while another process merges its parts."""

import numpy as np
import pyarrow as pa
import pytest

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.ledger import AMENDMENT_SCHEMA
from eno.embeddings.store.maintenance import compact_store, export_store, verify_store
from eno.errors import StoreError
from eno.similarity.index.build import build_index
from tests.embeddings.store.test_store import POLICY, fill
from tests.fakes import ProjectionEncoder


@pytest.fixture
def store(tmp_path):
    store = EmbeddingStore.create(tmp_path / "s", ProjectionEncoder(dim=16).spec, policy=POLICY)
    for part in range(4):
        fill(store, {f"{part}-{i}": 1 + i % 3 for i in range(10)}, seed=part)
    return store


def during(monkeypatch, store, method, number, action):
    """Do something before the call with this number of a method of the store's parts."""
    original, calls = getattr(store.parts, method), []

    def called(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            action()
        return original(*arguments)

    monkeypatch.setattr(store.parts, method, called)
    return calls


def gone(store, *ids):
    rows = [{"track_id": one, "gone": True} for one in ids]
    store.ledger.write_amendments(pa.Table.from_pylist(rows, schema=AMENDMENT_SCHEMA))


def compact(store):
    compact_store(EmbeddingStore.open(store.path))


@pytest.mark.parametrize("read", [1, 2, 4])
def test_windows_are_complete_if_their_parts_are_merged_while_they_are_read(store, monkeypatch, read):
    expected = store.windows()
    during(monkeypatch, store, "read", read, lambda: compact(store))
    for found, wanted in zip(store.windows(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert len(store.parts.all()) == 1


@pytest.mark.parametrize("read", [1, 3])
def test_a_deleted_track_does_not_reappear_in_the_table_of_tracks(store, monkeypatch, read):
    gone(store, "0-3")
    expected = store.tracks().drop_columns("part")
    during(monkeypatch, store, "tracks", read, lambda: compact(store))
    assert store.tracks().drop_columns("part").equals(expected)
    assert len(store.ledger.amendments()) == 0


def test_means_are_those_of_an_undisturbed_store(store, monkeypatch):
    ids, undisturbed = store.matrix()
    undisturbed = undisturbed.copy()
    for cached in (store.path / "cache").iterdir():
        cached.unlink()
    during(monkeypatch, store, "read", 2, lambda: compact(store))
    found, means = store.matrix()
    assert found == ids
    np.testing.assert_array_equal(means, undisturbed)


def test_exports_and_indexes_are_complete(store, tmp_path, monkeypatch):
    during(monkeypatch, store, "read", 3, lambda: compact(store))
    assert export_store(store, tmp_path / "out", windows=True) == len(store.windows()[0])
    assert np.isfinite(np.load(tmp_path / "out" / "vectors.npy")).all()
    fill(store, {f"4-{i}": 2 for i in range(10)}, seed=4)
    during(monkeypatch, store, "read", 2, lambda: compact(store))
    assert len(build_index(store, tmp_path / "index", level="windows")) == len(store.windows()[0])


def test_tracks_that_were_removed_meanwhile_are_named(store, monkeypatch):
    def remove():
        gone(store, "1-2", "3-4")
        compact(store)

    during(monkeypatch, store, "read", 1, remove)
    with pytest.raises(StoreError, match=r"2 tracks were removed or embedded again .* example 1-2\. Run"):
        store.windows()


def test_merged_parts_are_not_damage(store, monkeypatch):
    during(monkeypatch, store, "read", 3, lambda: compact(store))
    assert verify_store(store).problems == []


def test_a_missing_or_damaged_part_is_reported(store):
    damaged = store.path / store.parts.all()[1].entry.name
    damaged.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="is damaged"):
        store.tracks()
    assert "is damaged" in verify_store(store).problems[0]


def test_cached_means_may_be_removed_at_any_moment(store, monkeypatch):
    ids, means = store.matrix()
    (store.path / "cache" / f"tracks-{store.state()}.npy").unlink()
    again, computed = store.matrix()
    assert again == ids
    np.testing.assert_array_equal(computed, means)
