import numpy as np
import pytest

from eno.audio.track_decoding import FileStamp
from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.joined_stores import JoinedStores, open_stores
from eno.embeddings.store.ledger import Failure
from eno.errors import FingerprintMismatch, StoreError
from eno.views import JoinedView, RowView
from tests.fakes import ProjectionEncoder

FLAT, LAYERED = ProjectionEncoder(dim=4, seed=1), ProjectionEncoder(dim=3, layers=2, seed=2)


def filled(path, encoder, ids, *, size=lambda name: len(name)):
    store = EmbeddingStore.create(path, encoder.spec, policy=WindowPolicy(count=2), dtype="float32")
    names = [name for name in ids for _ in range(2)]
    shape = (len(names), len(encoder.spec.layers), encoder.spec.dim)
    values = np.random.default_rng(encoder.spec.options["seed"]).random(shape, np.float32)
    store.append(
        names, np.tile([0.0, 1.0], len(ids)), values, files={name: FileStamp(size(name), 0, "") for name in ids}
    )
    return store


def test_vectors_of_both_stores_side_by_side_with_layers_flattened(tmp_path):
    flat, layered = filled(tmp_path / "f", FLAT, "abc"), filled(tmp_path / "l", LAYERED, "cab")
    joined = open_stores([flat.path, layered.path])
    assert joined.track_ids() == ["a", "b", "c"]
    view = joined.view(["c", "a", "b"])
    assert view.shape == (3, 4 + 2 * 3)
    expected = np.hstack([flat.matrix(["c", "a", "b"])[1], layered.matrix(["c", "a", "b"])[1].reshape(3, -1)])
    np.testing.assert_array_equal(np.asarray(view), expected)
    np.testing.assert_array_equal(view[np.array([2, 0])], expected[[2, 0]])
    np.testing.assert_array_equal(view[1], expected[1])
    assert joined.state() != JoinedStores([layered, flat]).state()


def test_tracks_that_are_not_in_all_stores_are_left_out_and_counted(tmp_path, caplog):
    flat, layered = filled(tmp_path / "f", FLAT, "abcd"), filled(tmp_path / "l", LAYERED, "cdef")
    layered.ledger.write_failures([Failure("x", "x.mp3", "breaks off")])
    joined = JoinedStores([flat, layered])
    assert joined.track_ids() == ["c", "d"]
    assert sorted(joined.unavailable()) == ["a", "b", "e", "f", "x"]
    (record,) = caplog.records
    assert "4 of 6 tracks are left out" in record.message
    assert f"2 in {flat.path}, 2 in {layered.path} are missing" in record.message
    with pytest.raises(StoreError, match="1 tracks are not in this store, for example a"):
        joined.view(["a", "c"])


def test_stores_that_cannot_be_joined(tmp_path):
    flat = filled(tmp_path / "f", FLAT, "abc")
    with pytest.raises(StoreError, match="both hold vectors of projection-"):
        open_stores([flat.path, flat.path])
    with pytest.raises(StoreError, match="have no tracks in common"):
        JoinedStores([flat, filled(tmp_path / "others", LAYERED, "xyz")])
    with pytest.raises(StoreError, match="the files of most tracks have different sizes"):
        JoinedStores([flat, filled(tmp_path / "same names", LAYERED, "abc", size=lambda name: 77)])


def test_stores_in_the_order_of_the_encoders(tmp_path):
    flat, layered = filled(tmp_path / "f", FLAT, "abc"), filled(tmp_path / "l", LAYERED, "abc")
    joined = JoinedStores([flat, layered])
    assert joined.require(LAYERED.spec, FLAT.spec).specs == (LAYERED.spec, FLAT.spec)
    assert joined.require(FLAT.spec, LAYERED.spec) is joined
    for store, specs in ((joined, [FLAT.spec]), (flat, [FLAT.spec, LAYERED.spec])):
        with pytest.raises(FingerprintMismatch, match=r"Specify one store|Use a store"):
            store.require(*specs)


def test_a_joined_view_reads_only_the_rows_that_are_indexed():
    class Source:
        shape, read = (1000, 2), 0

        def __getitem__(self, rows):
            self.read += len(rows)
            return np.zeros((len(rows), 2))

    source = Source()
    view = JoinedView([RowView(source, np.arange(1000)), RowView(source, np.arange(1000))])
    assert view[10:15].shape == (5, 4)
    assert source.read == 10
