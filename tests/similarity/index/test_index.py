"""Indexes agree with exhaustive search, follow their store, and detect damage."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from eno.audio.track_decoding import FileStamp
from eno.audio.windows import WindowPolicy
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.embeddings.store.ledger import AMENDMENT_SCHEMA, Ledger
from eno.errors import ConfigError, FingerprintMismatch, SimilarityError
from eno.similarity.index.ann import choose_kind, estimate_memory_mb
from eno.similarity.index.build import Update, build_index, open_or_build, update_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.manifest import Manifest
from eno.similarity.index.measure import measure_index, recall_at
from eno.similarity.index.space import DEFAULT_METHOD
from tests.fakes import ProjectionEncoder

DIM, WINDOWS = 32, 3
KINDS = ["exact", "ivf", "ivfpq"]


def clustered(tracks: int, seed: int) -> np.ndarray:
    """Draw clusters of tracks, and windows around each track [shape=(tracks, WINDOWS, DIM)]."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIM))
    means = centres[rng.integers(40, size=tracks)] + 0.5 * rng.standard_normal((tracks, DIM))
    return (5 + means[:, None] + 0.2 * rng.standard_normal((tracks, WINDOWS, DIM))).astype(np.float32)


def add(store: EmbeddingStore, names: list[str], vectors: np.ndarray) -> None:
    stamps = {name: FileStamp(1, 1, f"{hash(vectors[i].tobytes()):x}") for i, name in enumerate(names)}
    ids = np.repeat(names, WINDOWS).tolist()
    store.append(ids, np.tile([0.0, 5.0, 10.0], len(names)), vectors.reshape(-1, 1, DIM), files=stamps)


def names_of(first: int, count: int) -> list[str]:
    return [f"artist {n % 7}/{n:05d}.ogg" for n in range(first, first + count)]


def new_store(path, tracks: int = 1500, seed: int = 0) -> EmbeddingStore:
    spec = ProjectionEncoder(dim=DIM).spec
    store = EmbeddingStore.create(path, spec, policy=WindowPolicy(count=WINDOWS), dtype="float32")
    add(store, names_of(0, tracks), clustered(tracks, seed))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return new_store(tmp_path_factory.mktemp("index") / "store")


def by_hand(index, store, level: str) -> tuple[list[str], np.ndarray]:
    """Compute the unit vectors of a store in the index's space, without the index."""
    if level == "tracks":
        ids, raw = store.matrix()
    else:
        ids, _, raw = store.windows()
        raw = raw[:, 0]
    return list(ids), index.space.apply(np.asarray(raw))


@pytest.mark.parametrize("level", ["tracks", "windows"])
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_exhaustive_search(store, tmp_path, kind, level):
    index = build_index(store, tmp_path / kind, kind=kind, level=level)
    ids, unit = by_hand(index, store, level)
    rows = np.arange(0, len(ids), len(ids) // 100)
    scores, found = index.search(unit[rows], 5)
    best = np.sort(unit[rows] @ unit.T, axis=1)[:, ::-1][:, :5]
    hits = np.isclose(scores, best, atol=2e-3)  # by score: rounding may swap neighbours that are equally near
    assert hits.mean() == 1.0 if kind == "exact" else hits.mean() > 0.93
    # For every kind, the score is the exact cosine.
    wanted = (unit[rows][:, None] * index.vectors(found.ravel()).reshape(len(rows), 5, -1)).sum(axis=2)
    np.testing.assert_allclose(scores, wanted, atol=1e-3)
    assert [index.ids[row] for row in found[:, 0]] == [ids[row] for row in rows] or level == "windows"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.01, 0.3])
def test_filters_apply_during_the_search(store, tmp_path, monkeypatch, kind, kept):
    monkeypatch.setattr("eno.similarity.index.ann._SUBSET_ROWS", 50)  # so that both ways of filtering are covered
    index = build_index(store, tmp_path / kind, kind=kind)
    allowed = np.random.default_rng(0).random(1500) < kept
    queries = index.vectors(np.arange(40))
    scores, rows = index.search(queries, 10, allowed=allowed)
    assert allowed[rows].all()
    cosines = np.where(allowed, queries @ index.vectors(np.arange(1500)).T, -2)
    assert recall_at(rows, np.argsort(-cosines, axis=1)[:, :10]) > 0.93
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, rows, axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_results_are_padded(store, tmp_path, kind):
    index = build_index(store, tmp_path / kind, kind=kind)
    allowed = np.zeros(1500, bool)
    allowed[[3, 700]] = True
    for queries in (index.vectors(np.arange(2)), index.vectors(np.arange(20))):
        scores, rows = index.search(queries, 4, allowed=allowed)
        assert {*rows[:, :2].ravel()} == {3, 700}
        assert (rows[:, 2:] == -1).all()
        assert np.isneginf(scores[:, 2:]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_follows_its_store(tmp_path, kind):
    store = new_store(tmp_path / "store")
    folder = tmp_path / "index"
    built = build_index(store, folder, kind=kind)
    assert not built.is_older_than(store)
    fresh, changed = clustered(60, seed=5), clustered(10, seed=6)
    add(store, names_of(1500, 60), fresh)
    add(store, names_of(0, 10), changed)
    gone = [{"track_id": name, "gone": True} for name in names_of(20, 15)]
    Ledger(store.folder).write_amendments(pa.Table.from_pylist(gone, schema=AMENDMENT_SCHEMA))
    assert built.is_older_than(store)

    assert update_index(store, folder) == Update(added=60, removed=15, changed=10)

    index = SimilarityIndex.open(folder)
    assert not index.is_older_than(store)
    assert index.track_ids() == store.track_ids()
    # The same as an exhaustive search of what the store holds now.
    ids, unit = by_hand(index, store, "tracks")
    scores, rows = index.search(unit, 1)
    np.testing.assert_allclose(scores[:, 0], 1, atol=2e-3)
    assert np.mean([index.ids[row] == name for row, name in zip(rows[:, 0], ids, strict=True)]) > 0.99
    assert len(index.rows_of(names_of(20, 1)[0])) == 0
    assert update_index(store, folder) == Update(0, 0, 0)


def test_an_index_is_rebuilt_after_large_changes(tmp_path):
    store = new_store(tmp_path / "store", tracks=200)
    build_index(store, tmp_path / "index")
    add(store, names_of(200, 50), clustered(50, seed=1))
    assert update_index(store, tmp_path / "index").rebuilt is None
    add(store, names_of(250, 50), clustered(50, seed=2))
    assert update_index(store, tmp_path / "index").rebuilt == "50% of its rows have changed since it was built"
    assert SimilarityIndex.open(tmp_path / "index").manifest.built_rows == 300


def test_an_index_is_rebuilt_if_the_mean_has_moved(tmp_path):
    store = new_store(tmp_path / "store", tracks=200)
    build_index(store, tmp_path / "index")
    add(store, names_of(200, 50), clustered(50, seed=1) + 40 * np.eye(DIM, dtype=np.float32)[0])
    assert "mean of its vectors has moved" in update_index(store, tmp_path / "index").rebuilt


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tracks", [1, 3])
def test_an_index_of_few_tracks(tmp_path, kind, tracks):
    index = build_index(new_store(tmp_path / "store", tracks), kind=kind)
    _, rows = index.search(index.vectors(np.arange(tracks)), np.int64(10))
    assert rows[:, 0].tolist() == list(range(tracks))
    assert (np.sort(rows[:, :tracks], axis=1) == np.arange(tracks)).all()
    assert (rows[:, tracks:] == -1).all()


@pytest.mark.parametrize("kind", ["exact", "ivfpq"])
def test_an_interrupted_update_leaves_the_index_unchanged(tmp_path, monkeypatch, kind):
    store = new_store(tmp_path / "store", tracks=300)
    before = build_index(store, tmp_path / "index", kind=kind)
    wanted = before.search(before.vectors(np.arange(50)), 5)
    add(store, names_of(300, 30), clustered(30, seed=1))

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            update_index(store, tmp_path / "index")

    after = SimilarityIndex.open(tmp_path / "index")
    for one, other in zip(wanted, after.search(after.vectors(np.arange(50)), 5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert update_index(store, tmp_path / "index").added == 30
    index = SimilarityIndex.open(tmp_path / "index")
    assert len(index) == 330
    # The files before the last change are kept for readers; those of the interrupted update are gone.
    assert {path.name for path in (tmp_path / "index").iterdir()} == index.manifest.files | before.manifest.files


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("vectors", lambda path: path.write_bytes(path.read_bytes()[:-1]), r"vectors-1\.i16: is truncated"),
        ("vectors", lambda path: path.unlink(), r"vectors-1\.i16: is missing"),
        ("finder", lambda path: path.write_bytes(path.read_bytes()[:2000]), r"finder-1\.faiss: is missing or damaged"),
        ("rows_file", lambda path: path.write_bytes(b"ARROW1"), r"rows-1\.arrow: is missing or damaged"),
        ("space", lambda path: path.write_bytes(b""), r"space-1\.safetensors"),
    ],
)
def test_damaged_files_are_reported(store, tmp_path, file, damage, message):
    index = build_index(store, tmp_path / "index", kind="ivf")
    damage(tmp_path / "index" / getattr(index.manifest, file))
    with pytest.raises(SimilarityError, match=message):
        SimilarityIndex.open(tmp_path / "index")


def test_an_index_belongs_to_one_encoder(store, tmp_path):
    index = build_index(store, tmp_path / "index")
    other = ProjectionEncoder(dim=DIM, seed=1).spec
    with pytest.raises(FingerprintMismatch, match="eno index build"):
        index.require(other)


def test_windows_of_a_track_are_in_order_of_time(store, tmp_path):
    index = build_index(store, tmp_path / "index", level="windows")
    rows = index.rows_of("artist 1/00001.ogg")
    assert index.starts_s[rows].tolist() == [0, 5, 10]
    assert {index.track_id(row) for row in rows} == {"artist 1/00001.ogg"}
    assert len(index.rows_of("artist 1/00001.mp3")) == 0


def test_measurements_are_stored_in_the_manifest(store, tmp_path):
    index = build_index(store, tmp_path / "index", kind="ivf")
    result = measure_index(index, queries=100)
    assert SimilarityIndex.open(tmp_path / "index").manifest.measured["recall"] == result.recall > 0.9
    assert result.saved and min(result.deeper["100"], result.deeper["1000"]) > 0.9
    assert recall_at(np.array([[1, 2], [3, 9]]), np.array([[2, 1], [3, 4]])) == 0.75
    assert recall_at(np.array([[1, -1]]), np.array([[1, -1]])) == 1.0


def test_the_kind_depends_on_size_and_memory():
    assert choose_kind(100_000, 512, None) == "exact"
    assert choose_kind(100_001, 512, None) == "ivfpq"
    assert choose_kind(10**6, 512, estimate_memory_mb("ivf", 10**6, 512)) == "ivf"
    assert choose_kind(10**6, 512, estimate_memory_mb("ivf", 10**6, 512) - 1) == "ivfpq"


@pytest.mark.parametrize("manifest", ["{", '{"format": 99}'])
def test_a_damaged_index_can_be_rebuilt(store, tmp_path, manifest):
    build_index(store, tmp_path / "index")
    (tmp_path / "index" / "manifest.json").write_text(manifest)
    assert len(build_index(store, tmp_path / "index")) == 1500


@pytest.mark.parametrize("prepare", [lambda folder: None, lambda folder: folder.mkdir()])
def test_a_folder_without_an_index_is_not_updated(store, tmp_path, prepare):
    prepare(tmp_path / "index")
    with pytest.raises(SimilarityError, match="there is no index here"):
        update_index(store, tmp_path / "index")


def test_invalid_options_are_refused(store, tmp_path):
    for options in ({"kind": "tree"}, {"level": "albums"}, {"space": "fancy"}):
        with pytest.raises(ConfigError, match=str(next(iter(options.values())))):
            build_index(store, tmp_path / "index", **options)
    empty = EmbeddingStore.create(tmp_path / "empty", store.spec, policy=store.policy)
    with pytest.raises(SimilarityError, match="has no tracks yet"):
        build_index(empty)


class TestOpenOrBuild:
    def test_builds_the_index_of_a_store_once(self, tmp_path):
        store = new_store(tmp_path / "store", tracks=60)
        built = open_or_build(store, space="whiten")
        assert built.folder == store.path / "index" / "tracks"
        assert open_or_build(store, space="none").space.method == "whiten"

    def test_updates_it_if_it_must_be_current(self, tmp_path):
        store = new_store(tmp_path / "store", tracks=60)
        open_or_build(store)
        add(store, names_of(60, 5), clustered(5, seed=1))
        assert open_or_build(store).is_older_than(store)
        assert len(open_or_build(store, current=True)) == 65

    def test_an_index_in_another_place_is_only_opened(self, store, tmp_path):
        with pytest.raises(SimilarityError, match="there is no index here"):
            open_or_build(store, tmp_path / "nowhere")
        build_index(store, tmp_path / "index", level="windows")
        assert open_or_build(store, tmp_path / "index", level="windows").level == "windows"
        with pytest.raises(ConfigError, match="an index of windows, expected one of tracks"):
            open_or_build(store, tmp_path / "index")


@pytest.mark.parametrize("method", ["centre", "all-but-the-top"])
def test_indexes_in_spaces_of_earlier_versions_are_read_and_rebuilt_in_the_default(tmp_path, method):
    store = new_store(tmp_path / "store", tracks=60)
    index = build_index(store, tmp_path / "index", space="none")
    index.space.method = index.space.spec["method"] = method
    index.space.save(tmp_path / "index" / index.manifest.space)
    replace(index.manifest, asked={**index.manifest.asked, "space": method}).write(tmp_path / "index")
    index = SimilarityIndex.open(tmp_path / "index")
    assert index.space.method == method
    assert index.search(index.vectors(np.arange(3)), 1)[1].ravel().tolist() == [0, 1, 2]
    add(store, names_of(60, 30), clustered(30, seed=1))
    assert update_index(store, tmp_path / "index").rebuilt
    assert SimilarityIndex.open(tmp_path / "index").space.method == DEFAULT_METHOD
