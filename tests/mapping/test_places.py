"""Places of tracks are kept by what they depend on, and do not depend on whether vectors are read in blocks."""

import multiprocessing

import numpy as np
import pytest

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import SimilarityError
from eno.mapping import places
from eno.mapping.place_process import place_in_process
from eno.mapping.places import drawn_at_random, find_places, place_indexed, place_tracks
from eno.similarity.index.build import build_index
from eno.views import MappedView, RowView, forget
from tests.fakes import ProjectionEncoder

IDS = [f"{i:02d}.flac" for i in range(40)]


@pytest.fixture
def store(tmp_path):
    spec = ProjectionEncoder(dim=6, layers=2).spec
    store = EmbeddingStore.create(tmp_path / "store", spec, policy=WindowPolicy(), dtype="float32")
    store.append(IDS, np.zeros(40), np.random.default_rng(0).normal(size=(40, 2, 6)).astype(np.float32))
    return store


def same(one, other):
    arrays = [(places.projection.coordinates, *places.neighbours) for places in (one, other)]
    assert (one.projection.method, one.projection.explained) == (other.projection.method, other.projection.explained)
    return all(map(np.array_equal, *arrays))


def test_places_are_computed_once(store, monkeypatch):
    index, computed, original = build_index(store), [], place_tracks
    monkeypatch.setattr(
        places, "place_tracks", lambda *args, **options: computed.append(1) or original(*args, **options)
    )
    first = place_indexed(index, store, IDS, method="pca")
    assert same(place_indexed(index, store, IDS, method="pca"), first)
    assert same(place_indexed(index, store, IDS, method="auto"), first)  # too few for UMAP
    assert len(computed) == 1
    place_indexed(index, store, IDS[1:], method="pca")
    place_indexed(index, store, IDS, method="pca", seed=1)
    place_indexed(build_index(store, space="whiten"), store, IDS, method="pca")
    assert len(computed) == 4
    assert len(list((index.folder / "map").iterdir())) == 3


def test_a_store_that_changed_after_it_was_indexed_is_placed_by_its_own_vectors(store):
    index = build_index(store)
    store.append(["00.flac", "new.flac"], np.zeros(2), np.ones((2, 2, 6), np.float32))
    ids = store.track_ids()
    places = place_indexed(index, store, ids, method="pca")
    new, former = ids.index("new.flac"), ids.index("00.flac")
    assert places.neighbours[0][new, 0] == former  # they have the same vector now
    assert places.neighbours[1][new, 0] == pytest.approx(1)


def test_views_are_read_in_blocks(store, monkeypatch):
    vectors = store.matrix(IDS)[1]
    whole = place_tracks(vectors, method="pca")
    monkeypatch.setattr("eno.mapping.projection.VALUES_AT_ONCE", 12 * 7)
    monkeypatch.setattr("eno.similarity.index.neighbours.ROWS_AT_ONCE", 9)
    blocks = place_tracks(store.view(IDS), method="pca")
    np.testing.assert_allclose(blocks.projection.coordinates, whole.projection.coordinates, atol=1e-5)
    np.testing.assert_array_equal(blocks.neighbours[0], whole.neighbours[0])


def test_a_sample_keeps_the_order():
    drawn = drawn_at_random(IDS, 7, seed=2)
    assert (len(set(drawn)), drawn) == (7, sorted(drawn))
    assert drawn == drawn_at_random(IDS, 7, seed=2) != drawn_at_random(IDS, 7, seed=3)
    assert drawn_at_random(IDS, 40) == IDS


def test_another_process_places_the_same(store):
    index = build_index(store)
    waits = []
    found = place_in_process(index, store, IDS, method="pca", on_wait=lambda: waits.append(1))
    assert same(found, find_places(index, store, IDS, method="pca"))
    own = place_tracks(store.matrix(IDS)[1], space=index.space, method="pca")
    np.testing.assert_array_equal(found.neighbours[0], own.neighbours[0])
    np.testing.assert_allclose(found.neighbours[1], own.neighbours[1], atol=2e-4)  # the index has 16 bits per value
    with pytest.raises(SimilarityError, match=r"cannot be placed: .*gone\.flac"):
        place_in_process(index, store, [*IDS, "gone.flac"], method="pca")
    with pytest.raises(KeyError, match="stop"):
        place_in_process(index, store, IDS[::-1], method="pca", on_wait=lambda: {}["stop"])
    assert multiprocessing.active_children() == []


def test_vectors_are_read_again_after_they_were_forgotten(tmp_path):
    np.save(tmp_path / "vectors.npy", np.arange(12.0).reshape(6, 2))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    view = MappedView(RowView(mapped.reshape(3, 4), np.array([2, 0])), lambda rows: -rows, 4)
    before = view[:].tolist()
    forget(view)
    assert view[:].tolist() == before == [[-8, -9, -10, -11], [0, -1, -2, -3]]
    forget(np.zeros(3))
    changed = np.load(tmp_path / "vectors.npy", mmap_mode="c")
    changed[:] = 1
    forget(RowView(changed, np.array([0])))
    assert (changed == 1).all()
