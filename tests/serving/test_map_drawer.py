"""Positions of the map are computed once per state of the index, and abandoned if a newer one is wanted."""

import gzip
import json
import shutil
import threading
from dataclasses import replace

import httpx
import numpy as np
import pyarrow as pa
import pytest

from eno.data.layout import DataRoot
from eno.data.lute.albums import FAMILY_LABELS, read_albums
from eno.data.tables import with_column, write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.mapping import places
from eno.serving.map_drawer import MapDrawer
from eno.serving.snapshot import Snapshot, Sources
from eno.similarity.index.build import build_index, update_index
from tests.mapping.test_map import unpack
from tests.serving.conftest import make_service, running, save_predictor
from tests.similarity.small_collection import OwnEncoder


@pytest.fixture
def sources(collection, tmp_path):
    store = shutil.copytree(collection[1].path, tmp_path / "store")
    shutil.rmtree(store / "index" / "tracks" / "map", ignore_errors=True)  # of other tests
    model = shutil.copytree(collection[0].root / "model", tmp_path / "model")
    return Sources(model=model, store=store, data_root=collection[0].root, map_method="pca")


@pytest.fixture
def placed(monkeypatch):
    calls, original = [], places.place_tracks

    def counted(vectors, **options):
        calls.append(len(vectors))
        return original(vectors, **options)

    monkeypatch.setattr(places, "place_tracks", counted)
    return calls


def drawn(drawer, snapshot):
    drawer.draw(snapshot)
    return answered(snapshot.map.result(60).answer)


def answered(answer):
    return json.loads(gzip.decompress(answer.packed))


def strengths(snapshot):
    found = snapshot.map.result(60)
    return [unpack(answered(found.strengths(code))).tolist() for code in range(found.tags)]


def test_a_new_predictor_changes_tags_but_not_positions(sources, placed):
    drawer = MapDrawer()
    first_snapshot = Snapshot.open(sources, OwnEncoder())
    first, before = drawn(drawer, first_snapshot), strengths(first_snapshot)
    save_predictor(EmbeddingStore.open(sources.store), sources.model, folders=("heap", "V", "SR"))
    second_snapshot = Snapshot.open(sources, OwnEncoder())
    second = drawn(drawer, second_snapshot)
    assert placed == [24]
    assert first["x"] == second["x"]
    assert first["version"] != second["version"]
    assert before != strengths(second_snapshot)


@pytest.mark.parametrize("change", ["tracks", "space", "layout"])
def test_positions_change_with_what_they_depend_on(sources, placed, change):
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
    # Of so few tracks, the layout "auto" is also that by principal components.
    assert placed == {"tracks": [24, 25], "space": [24, 24], "layout": [24]}[change]


@pytest.mark.parametrize("changed", [False, True])
def test_a_newer_map_joins_the_one_that_is_drawn_or_replaces_it(sources, placed, monkeypatch, changed):
    drawer, old, waiting, go = MapDrawer(), Snapshot.open(sources, OwnEncoder()), threading.Event(), threading.Event()
    original = places.place_tracks

    def slow(vectors, *, on_progress, **options):
        waiting.set()
        assert go.wait(30)
        return original(vectors, on_progress=on_progress, **options)

    monkeypatch.setattr(places, "place_tracks", slow)
    drawer.draw(old)
    assert waiting.wait(30)
    if changed:
        build_index(EmbeddingStore.open(sources.store), space="whiten")
    new = Snapshot.open(sources, OwnEncoder())
    drawer.draw(new)
    go.set()
    assert (old.map.result(60) is new.map.result(60)) == changed
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


def test_places_are_read_from_disk_by_the_next_service(sources, placed, caplog):
    first = drawn(MapDrawer(), Snapshot.open(sources, OwnEncoder()))
    assert drawn(MapDrawer(), Snapshot.open(sources, OwnEncoder())) == first
    assert placed == [24]
    (kept,) = (Snapshot.open(sources, OwnEncoder()).sounds.index.folder / "map").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert drawn(MapDrawer(), Snapshot.open(sources, OwnEncoder())) == first
    assert placed == [24, 24]
    assert "drawn again" in caplog.text


@pytest.mark.parametrize("tagged", [True, False])
def test_what_a_page_asks_about_points(sources, tagged, tmp_path):
    root = DataRoot(tmp_path / "catalogue")
    for name in ("albums", "matches", "tracks"):
        getattr(root, name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(getattr(DataRoot(sources.data_root), name), getattr(root, name))
    albums = with_column(read_albums(root.albums), FAMILY_LABELS).drop_columns([FAMILY_LABELS.name])
    organs = [[{"family": "instrument", "label": "organ"}] if row % 2 else None for row in range(len(albums))]
    write_table(root.albums, albums.append_column(FAMILY_LABELS, pa.array(organs, FAMILY_LABELS.type)))
    sources = replace(sources, data_root=root.root)
    snapshot = Snapshot.open(sources if tagged else replace(sources, model=None), OwnEncoder())
    content, found = drawn(MapDrawer(), snapshot), snapshot.map.result(60)
    assert ("organ" in content["tags"]["names"]) != tagged
    tracks, catalogue = snapshot.sounds.tracks, snapshot.catalogue
    ids = tracks.index.track_ids()
    assert found.rows_of([*ids[::-1], "other", ids[0]]) == [*range(24)[::-1], None, 0]
    assert (content["count"], content["of"]) == (24, 24)
    for row, track_id in enumerate(ids):
        at = catalogue.row_of(track_id)
        track = found.track(row)
        assert {name: track[name] for name in catalogue.summary(at)} == catalogue.summary(at)
        vectors = tracks.index.vectors(np.arange(24))
        cosines = vectors @ tracks.index.vectors(np.array([at]))[0]
        scores = [one["score"] for one in track["neighbours"]]
        assert scores == pytest.approx(np.sort(cosines)[::-1][1:9], abs=0.006)
    tags = content["tags"]
    assert tags["graded"] == tagged
    shown = np.array(strengths(snapshot))
    for row, track_id in enumerate(ids):
        at = catalogue.row_of(track_id)
        if tagged:
            known = {one.tag: one.probability for one in catalogue.predicted(at)}
            assert shown[:, row] / 255 == pytest.approx([known[name] for name in tags["names"]], abs=1 / 255)
        else:
            own = catalogue.detail(at)
            named = {name for name, strength in zip(tags["names"], shown[:, row], strict=True) if strength}
            assert named == {*own["genres"], *own["descriptors"], *own["others"].get("instrument", [])}
    genres = content["columns"]["genre"]
    first = [catalogue.detail(catalogue.row_of(name))["genres"][:1] for name in ids]
    named = [genres["names"][code - 1 : code] if code else [] for code in unpack(genres["codes"])]
    assert named == first
