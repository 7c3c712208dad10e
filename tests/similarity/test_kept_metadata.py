"""The table of metadata that is kept beside an index, compared with the join of the collection's tables."""

import logging
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eno.data.imports.items import TRACK_LABELS_SCHEMA
from eno.data.layout import DataRoot
from eno.embeddings.store.ledger import AMENDMENT_SCHEMA, Ledger
from eno.similarity import joined_metadata, kept_metadata
from eno.similarity.index.build import build_index, update_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.indexed import IndexedTracks
from eno.similarity.kept_metadata import FILE, metadata_of
from eno.similarity.metadata import TrackMetadata
from tests.similarity.small_collection import OwnEncoder, build


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    data, store = build(tmp_path_factory.mktemp("made"), OwnEncoder())
    return data, store, build_index(store)


@pytest.fixture
def collection(made, tmp_path):
    data, store, index = made
    shutil.copytree(data.root / "raw" / "metadata", tmp_path / "raw" / "metadata")
    shutil.copytree(data.root / "processed", tmp_path / "processed")
    shutil.copytree(index.folder, tmp_path / "index")
    (tmp_path / "index" / FILE).unlink(missing_ok=True)
    return DataRoot(tmp_path), store, SimilarityIndex.open(tmp_path / "index")


@pytest.fixture
def joins(monkeypatch):
    """The number of times that tables were joined, as a list of that length."""
    calls, join = [], joined_metadata.join_tables
    monkeypatch.setattr(joined_metadata, "join_tables", lambda *given: (calls.append(given), join(*given))[1])
    return calls


def same(found, wanted):
    rows = pa.array(found.rows_of(wanted.table["track_id"].combine_chunks()))
    assert found.table.take(rows).to_pylist() == wanted.table.to_pylist()
    for one, other in ((found.artists, wanted.artists), (found.albums, wanted.albums)):
        assert partition(one, rows.to_numpy()) == partition(other, np.arange(len(wanted)))


def partition(groups, order):
    """Sets of positions that share a group."""
    codes, places = groups.of(order)
    return {frozenset(places[codes == code].tolist()) for code in codes.tolist()}


def test_it_is_joined_once(collection, joins):
    data, _, index = collection
    wanted = TrackMetadata.read(index.track_ids(), data)
    joins.clear()
    for _ in range(3):
        same(metadata_of(index, data), wanted)
    assert len(joins) == 1
    rows = IndexedTracks(index, metadata_of(index, data)).metadata_rows
    assert sorted(rows.tolist()) == list(range(len(index)))


@pytest.mark.parametrize("name", ["tracks", "matches", "albums"])
def test_it_is_made_again_when_a_table_changes(collection, joins, name):
    data, _, index = collection
    metadata_of(index, data)
    path = getattr(data, name)
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)
    found = metadata_of(index, data)
    same(found, TrackMetadata.read(index.track_ids(), data))
    path.unlink()
    same(metadata_of(index, data), TrackMetadata.read(index.track_ids(), data))
    assert len(joins) == 5


def test_it_is_made_again_when_labels_of_tracks_are_imported(collection, joins):
    data, _, index = collection
    metadata_of(index, data)
    pq.write_table(TRACK_LABELS_SCHEMA.empty_table(), data.track_labels)
    metadata_of(index, data)
    assert len(joins) == 2


def test_it_follows_the_index(tmp_path, joins):
    data, store = build(tmp_path / "collection", OwnEncoder())
    index = build_index(store)
    metadata_of(index, data)
    gone = [{"track_id": "heap/01.wav", "gone": True}]
    Ledger(store.folder).write_amendments(pa.Table.from_pylist(gone, schema=AMENDMENT_SCHEMA))
    update_index(store)
    updated = SimilarityIndex.open(index.folder)
    found = metadata_of(updated, data)
    assert len(found) == len(updated) == len(index) - 1
    same(found, TrackMetadata.read(updated.track_ids(), data))
    metadata_of(updated, data)
    assert len(joins) == 3


def test_a_damaged_table_is_made_again(collection, joins, caplog):
    data, _, index = collection
    wanted, path = TrackMetadata.read(index.track_ids(), data), index.folder / FILE
    metadata_of(index, data)
    content = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        for damaged in (b"", content[:100], content[: len(content) // 2]):
            path.write_bytes(damaged)
            same(metadata_of(index, data), wanted)
    assert caplog.text.count("metadata.arrow: is damaged") == 3
    assert len(joins) == 5


def test_an_index_that_cannot_be_written_to_is_searched_all_the_same(collection, joins, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    data, _, index = collection
    monkeypatch.setattr(kept_metadata, "replace_file", refuse)
    for _ in range(2):
        same(metadata_of(index, data), TrackMetadata.read(index.track_ids(), data))
    assert len(joins) == 4
    assert not (index.folder / FILE).exists()


def test_without_tables_there_is_what_follows_from_the_paths(collection):
    _, _, index = collection
    for _ in range(2):
        same(metadata_of(index, None), TrackMetadata.read(index.track_ids()))
