"""Readers and writers of an index at the same time."""

import threading

import numpy as np
import pytest

from eno.errors import StoreError
from eno.similarity.index.build import build_index, update_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.manifest import Manifest, writing
from eno.similarity.index.measure import measure_index
from tests.similarity.index.test_index import add, clustered, names_of, new_store


@pytest.fixture
def store(tmp_path):
    return new_store(tmp_path / "store", tracks=200)


def add_tracks(store, first, count=10):
    add(store, names_of(first, count), clustered(count, seed=first))


def test_a_measurement_does_not_undo_an_update_that_ended_meanwhile(store, tmp_path):
    folder = tmp_path / "index"
    opened = build_index(store, folder)
    add_tracks(store, 200)
    update_index(store, folder)
    assert not measure_index(opened, queries=20).saved
    assert len(SimilarityIndex.open(folder)) == 210
    assert measure_index(SimilarityIndex.open(folder), queries=20).saved
    assert len(SimilarityIndex.open(folder)) == 210


def test_only_one_process_writes(store, tmp_path):
    folder = tmp_path / "index"
    index = build_index(store, folder)
    with writing(folder):
        assert not measure_index(index, queries=20).saved
        for write in (build_index, update_index):
            with pytest.raises(StoreError, match="is being written by"):
                write(store, folder)
    assert SimilarityIndex.open(folder).manifest == index.manifest


def test_nothing_is_published_without_the_lock(store, tmp_path):
    folder = tmp_path / "index"
    build_index(store, folder)
    add_tracks(store, 200)
    with pytest.raises(StoreError, match="lock of this run was removed"):
        update_index(store, folder, on_progress=lambda *_: (folder / "writer.lock").unlink())
    assert len(SimilarityIndex.open(folder)) == 200


def test_a_reader_that_has_read_the_manifest_finds_the_files_after_one_change(store, tmp_path):
    folder = tmp_path / "index"
    before = build_index(store, folder).manifest
    for change in (lambda: build_index(store, folder), lambda: (add_tracks(store, 200), update_index(store, folder))):
        change()
        assert len(SimilarityIndex.read(folder, before)) == 200
        before = SimilarityIndex.open(folder).manifest


def test_a_reader_tries_again_if_the_index_has_changed_twice(store, tmp_path, monkeypatch):
    folder = tmp_path / "index"
    build_index(store, folder)
    read, calls = Manifest.read.__func__, []

    def overtaken(cls, place):
        manifest = read(cls, place)
        calls.append(manifest.generation)
        if len(calls) == 1:
            with monkeypatch.context() as patch:
                patch.setattr(Manifest, "read", classmethod(read))
                build_index(store, folder)
                build_index(store, folder)
        return manifest

    monkeypatch.setattr(Manifest, "read", classmethod(overtaken))
    assert len(SimilarityIndex.open(folder)) == 200
    assert calls == [1, 3]


def test_readers_never_fail_while_an_index_is_rebuilt(store, tmp_path):
    folder = tmp_path / "index"
    build_index(store, folder)
    stop, counts, problems = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            try:
                index = SimilarityIndex.open(folder)
                counts.append(len(index))
                assert index.search(index.vectors(np.arange(3)), 1)[1].ravel().tolist() == [0, 1, 2]
            except Exception as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(15):
            build_index(store, folder)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not problems
    assert set(counts) == {200}


def test_files_of_a_killed_writer_are_removed(store, tmp_path):
    folder = tmp_path / "index"
    build_index(store, folder)
    (folder / ".finder-9.faiss.123.tmp").write_bytes(b"half")
    (folder / "vectors-9.i16").write_bytes(b"half")
    index = build_index(store, folder)
    assert index.manifest.generation == 10
    assert not (folder / ".finder-9.faiss.123.tmp").exists()
    assert not (folder / "vectors-9.i16").exists()
