"""Positions of the map are computed once per state of the index, and abandoned if a newer one is wanted."""

import gzip
import json
import shutil
import threading
from dataclasses import replace

import httpx
import numpy as np
import pytest

from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.serving import map_drawer
from eno.serving.map_drawer import MapDrawer
from eno.serving.snapshot import Snapshot, Sources
from eno.similarity.index.build import build_index, update_index
from tests.serving.conftest import make_service, running, save_predictor
from tests.similarity.small_collection import OwnEncoder


@pytest.fixture
def sources(collection, tmp_path):
    store = shutil.copytree(collection[1].path, tmp_path / "store")
    model = shutil.copytree(collection[0].root / "model", tmp_path / "model")
    return Sources(model=model, store=store, data_root=collection[0].root, map_method="pca")


@pytest.fixture
def placed(monkeypatch):
    calls, original = [], map_drawer.place_tracks

    def counted(vectors, **options):
        calls.append(len(vectors))
        return original(vectors, **options)

    monkeypatch.setattr(map_drawer, "place_tracks", counted)
    return calls


def drawn(drawer, snapshot):
    drawer.draw(snapshot)
    return json.loads(gzip.decompress(snapshot.map_json.result(60).packed))


def test_a_new_predictor_changes_tags_but_not_positions(sources, placed):
    drawer = MapDrawer()
    first = drawn(drawer, Snapshot.open(sources, OwnEncoder()))
    save_predictor(EmbeddingStore.open(sources.store), sources.model, folders=("heap", "V", "SR"))
    second = drawn(drawer, Snapshot.open(sources, OwnEncoder()))
    assert placed == [24]
    assert first["x"] == second["x"]
    assert first["tags"] != second["tags"]


@pytest.mark.parametrize("change", ["tracks", "space", "layout"])
def test_a_new_index_changes_positions(sources, placed, change):
    drawer, store = MapDrawer(), EmbeddingStore.open(sources.store)
    drawn(drawer, Snapshot.open(sources, OwnEncoder()))
    if change == "tracks":
        store.append(["new.wav"], np.zeros(1), np.ones((1, 1, store.spec.dim), np.float32))
        update_index(store)
    elif change == "space":
        build_index(store, space="whiten")
    else:
        sources = replace(sources, map_method="auto")
    drawn(drawer, Snapshot.open(sources, OwnEncoder()))
    assert placed == [24, 25 if change == "tracks" else 24]


@pytest.mark.parametrize("changed", [False, True])
def test_a_newer_map_joins_the_one_that_is_drawn_or_replaces_it(sources, placed, monkeypatch, changed):
    drawer, old, waiting, go = MapDrawer(), Snapshot.open(sources, OwnEncoder()), threading.Event(), threading.Event()
    original = map_drawer.place_tracks

    def slow(vectors, *, on_progress, **options):
        waiting.set()
        assert go.wait(30)
        return original(vectors, on_progress=on_progress, **options)

    monkeypatch.setattr(map_drawer, "place_tracks", slow)
    drawer.draw(old)
    assert waiting.wait(30)
    if changed:
        build_index(EmbeddingStore.open(sources.store), space="whiten")
    new = Snapshot.open(sources, OwnEncoder())
    drawer.draw(new)
    go.set()
    assert (old.map_json.result(60) is new.map_json.result(60)) == changed
    assert len(placed) == (2 if changed else 1)


def test_unchanged_answers_are_not_sent_again(collection, tmp_path):
    with running(make_service(collection, tmp_path)) as address, httpx.Client(base_url=address, timeout=60) as ask:
        for path in ("/v1/map", "/v1/tags"):
            tags = {}
            for encoding in ("gzip", "identity", "gzip;q=0, *;q=0"):
                answer = ask.get(path, headers={"Accept-Encoding": encoding})
                assert ("gzip" in answer.headers.get("content-encoding", "")) == (encoding == "gzip")
                tags[encoding] = answer.headers["etag"]
                known = f'"other", W/{answer.headers["etag"]}'
                again = ask.get(path, headers={"Accept-Encoding": encoding, "If-None-Match": known})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == answer.headers["etag"]
                assert again.headers["vary"] == "Accept-Encoding"
                other = ask.get(path, headers={"Accept-Encoding": encoding, "If-None-Match": '"other"'})
                assert other.json() == answer.json()
            assert tags["gzip"] != tags["identity"] == tags["gzip;q=0, *;q=0"]
